//! From a plain tree to a sealed file. The plain tree is not touched.
//!
//! Order: erase what was sealed there before (the plain tree, which is there, came after it); make
//! the erase secret and fsync it; write the sealed file beside its name; fsync; rename; fsync the
//! directory, which makes both names durable.

use std::{
    fs::{File, OpenOptions},
    io::{BufWriter, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    thread,
};

use zeroize::Zeroize as _;
use zstd::bulk::Compressor;

use super::{
    Fault, SealReport, SealTerms,
    archive::Output,
    erase::{beside, erase},
    pack::pack,
    pipeline::{self, Back, CHUNK_BYTES, Chunk, Front},
    sealed_file::{self, ERASE_BYTES, Header, LAST},
    tree::sync_parent,
};
use crate::crypt::{ChunkCipher, random_bytes};

/// Fast, and still a third of the size for providers.
const LEVEL: i32 = 1;

pub(super) fn seal(tree: &Path, terms: &SealTerms) -> Result<SealReport, Fault> {
    erase(&terms.paths)?;
    let sealed = write_sealed(tree, terms);
    if sealed.is_err() {
        // The first fault is the one to tell; what could not be tidied `recover` finds.
        let _ = erase(&terms.paths);
    }
    sealed
}

fn write_sealed(tree: &Path, terms: &SealTerms) -> Result<SealReport, Fault> {
    let mut secret = random_bytes::<ERASE_BYTES>();
    let header = Header { prefix: random_bytes(), binding: terms.binding.clone() };
    let cipher = sealed_file::cipher(&terms.record_key, &secret, &header);
    let stored = write_secret(&terms.paths.erase, &secret);
    secret.zeroize();
    stored?;

    let beside = beside(&terms.paths.sealed);
    let file = create(&beside)?;
    let report = write_chunks(tree, &file, &beside, &header, &cipher)?;
    file.sync_all().map_err(|error| Fault::io("write", &beside, error))?;
    std::fs::rename(&beside, &terms.paths.sealed).map_err(|error| Fault::io("rename", &beside, error))?;
    sync_parent(&terms.paths.sealed)?;
    Ok(report)
}

fn create(path: &Path) -> Result<File, Fault> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.map_err(|error| Fault::io("create", path, error))
}

fn write_secret(path: &Path, secret: &[u8; ERASE_BYTES]) -> Result<(), Fault> {
    let mut file = create(path)?;
    file.write_all(secret).and_then(|()| file.sync_all()).map_err(|error| Fault::io("write", path, error))
}

/// Archives here, compresses and encrypts in workers, writes in a thread of its own.
fn write_chunks(
    tree: &Path,
    file: &File,
    path: &Path,
    header: &Header,
    cipher: &ChunkCipher,
) -> Result<SealReport, Fault> {
    thread::scope(|scope| {
        let (front, back) = pipeline::start(scope, || worker(cipher));
        let head = [header.to_bytes(), cipher.tag().to_vec()].concat();
        let writer = scope.spawn(move || write_all(file, &head, back));
        let packed = pack_into(tree, front);
        let written = writer.join().expect("the writer does not panic");
        // A writer that failed is why the archiver was stopped.
        let sealed_bytes = written.map_err(|error| Fault::io("write", path, error))?;
        Ok(SealReport { tree_bytes: packed?, sealed_bytes })
    })
}

fn worker(cipher: &ChunkCipher) -> impl FnMut(&mut Chunk) + Send {
    let mut compressor = Compressor::new(LEVEL).expect("zstd makes a context of its own level");
    move |chunk| {
        chunk.sealed.clear();
        compressor
            .compress_to_buffer(&chunk.plain[..chunk.filled], &mut chunk.sealed)
            .expect("the buffer has the size that zstd may need");
        cipher.seal(chunk.at, &mut chunk.sealed);
    }
}

fn write_all(file: &File, head: &[u8], mut back: Back) -> std::io::Result<u64> {
    let mut out = BufWriter::new(file);
    out.write_all(head)?;
    let mut bytes = head.len() as u64;
    while let Some(chunk) = back.next() {
        let length = chunk.sealed.len() as u32 | if chunk.at.last { LAST } else { 0 };
        out.write_all(&length.to_be_bytes())?;
        out.write_all(&chunk.sealed)?;
        bytes += 4 + chunk.sealed.len() as u64;
        back.give_back(chunk);
    }
    out.flush()?;
    Ok(bytes)
}

fn pack_into(tree: &Path, front: Front) -> Result<u64, Fault> {
    let mut sink = Sink { chunk: front.take().map_err(stopped)?, front };
    sink.chunk.filled = 0;
    let bytes = pack(tree, &mut sink)?;
    sink.front.send(sink.chunk, true).map_err(stopped)?;
    Ok(bytes)
}

/// Fills chunks with the archive.
struct Sink {
    front: Front,
    chunk: Chunk,
}

impl Output for Sink {
    fn space(&mut self) -> Result<&mut [u8], Fault> {
        if self.chunk.filled == CHUNK_BYTES {
            let mut fresh = self.front.take().map_err(stopped)?;
            fresh.filled = 0;
            let full = std::mem::replace(&mut self.chunk, fresh);
            self.front.send(full, false).map_err(stopped)?;
        }
        Ok(&mut self.chunk.plain[self.chunk.filled..])
    }

    fn advance(&mut self, bytes: usize) {
        self.chunk.filled += bytes;
    }
}

/// Never the fault that is shown: whoever stopped the pipeline has the reason.
fn stopped(_: pipeline::Stopped) -> Fault {
    Fault::Malformed { why: "the archive was interrupted" }
}
