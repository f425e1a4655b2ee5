//! From a sealed file to a plain tree.
//!
//! Everything goes into `<tree>.opening/tree`; only when the last chunk has verified and the archive
//! has ended does it get its name. After a fault that directory is removed.

use std::{
    fs::{self, File},
    io::{self, BufReader, Read},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    thread,
};

use rustix::fs::{CWD, IFlags, RenameFlags};
use zstd::bulk::Decompressor;

use super::{
    Fault, SealTerms,
    archive::Input,
    pipeline::{self, Back, Chunk, Front},
    remove::remove_tree,
    sealed_file::{self, ERASE_BYTES, Header, LAST},
    tree::{make_private, opening},
    unpack::unpack,
};
use crate::crypt::{ChunkCipher, Secret, TAG_BYTES, random_bytes};

pub(super) fn open(terms: &SealTerms, tree: &Path, uid: Option<u32>) -> Result<(), Fault> {
    let sealed = Source::new(terms)?;
    if fs::symlink_metadata(tree).is_ok() {
        return Err(Fault::Exists { path: tree.into() });
    }
    let opening = opening(tree);
    remove_tree(&opening)?;
    let opened = open_into(sealed, &opening, tree, uid);
    let tidied = remove_tree(&opening);
    opened.and(tidied)
}

fn open_into(sealed: Source<'_>, opening: &Path, tree: &Path, uid: Option<u32>) -> Result<(), Fault> {
    let fresh = opening.join(format!("tree-{}", hex::encode(random_bytes::<4>())));
    make_private(opening)?;
    spread(opening);
    make_private(&fresh)?;
    sealed.unpack(&fresh, &opening.join("links"), uid)?;
    rustix::fs::renameat_with(CWD, &fresh, CWD, tree, RenameFlags::NOREPLACE)
        .map_err(|error| Fault::io("rename", &fresh, error))
}

/// Asks ext4 to look for a block group of its own for what is made in this directory.
///
/// ext4 does not reuse an inode for minutes after its deletion, and looks at every such inode in its
/// way each time that it makes a file. The tree that was sealed just now was deleted in the group
/// where this one would otherwise be made: that makes opening three times as slow.
fn spread(dir: &Path) {
    if let Ok(dir) = File::open(dir)
        && let Ok(flags) = rustix::fs::ioctl_getflags(&dir)
    {
        // Only for speed: other file systems refuse.
        let _ = rustix::fs::ioctl_setflags(&dir, flags | IFlags::TOPDIR);
    }
}

/// A sealed file whose header was verified.
struct Source<'a> {
    path: &'a Path,
    file: BufReader<File>,
    cipher: ChunkCipher,
}

impl<'a> Source<'a> {
    fn new(terms: &'a SealTerms) -> Result<Self, Fault> {
        let path = terms.paths.sealed.as_path();
        let file = open_file(path)?.ok_or_else(|| Fault::Missing { path: path.into() })?;
        let secret = read_secret(&terms.paths.erase)?;
        let mut file = BufReader::with_capacity(pipeline::CHUNK_BYTES / 4, file);
        let (header, tag) = Header::read(&mut file, path)?;
        header.check(terms)?;
        let cipher = sealed_file::cipher(&terms.record_key, secret.expose(), &header);
        if !crate::crypt::same(&cipher.tag(), &tag) {
            return Err(Fault::WrongKey { path: path.into() });
        }
        Ok(Self { path, file, cipher })
    }

    /// Reads in a thread of its own, verifies and decompresses in workers, unpacks here.
    fn unpack(self, tree: &Path, links: &Path, uid: Option<u32>) -> Result<(), Fault> {
        let Self { path, file, cipher } = self;
        thread::scope(|scope| {
            let (front, back) = pipeline::start(scope, || worker(&cipher));
            let reader = scope.spawn(move || read_all(file, path, front));
            let mut stream = Stream { path, back, chunk: None, at: 0 };
            let unpacked = unpack(&mut stream, tree, links, uid).and_then(|()| stream.end());
            let cut = matches!(unpacked, Err(Fault::Truncated { .. }));
            drop(stream);
            match reader.join().expect("the reader does not panic") {
                // The unpacker only saw that nothing more came; the reader knows why.
                Err(fault) if cut || unpacked.is_ok() => Err(fault),
                _ => unpacked,
            }
        })
    }
}

fn open_file(path: &Path) -> Result<Option<File>, Fault> {
    let nofollow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    match fs::OpenOptions::new().read(true).custom_flags(nofollow).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Fault::io("open", path, error)),
    }
}

/// The erase secret. One that was cut short or overwritten is as good as gone.
fn read_secret(path: &Path) -> Result<Secret<[u8; ERASE_BYTES]>, Fault> {
    let gone = || Fault::NoEraseKey { path: path.into() };
    let mut file = open_file(path)?.ok_or_else(gone)?;
    let mut secret = Secret::new([0; ERASE_BYTES]);
    match file.read_exact(secret.expose_mut()) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(gone()),
        read => read.map_err(|error| Fault::io("read", path, error))?,
    }
    if *secret.expose() == [0; ERASE_BYTES] { Err(gone()) } else { Ok(secret) }
}

fn worker(cipher: &ChunkCipher) -> impl FnMut(&mut Chunk) + Send {
    let mut decompressor = Decompressor::new().expect("zstd makes a context");
    move |chunk| {
        let verified = cipher.open(chunk.at, &mut chunk.sealed).ok();
        let filled =
            verified.and_then(|frame| decompressor.decompress_to_buffer(frame, chunk.plain.as_mut_slice()).ok());
        chunk.good = filled.is_some();
        chunk.filled = filled.unwrap_or_default();
    }
}

/// Cuts the file into chunks up to the one that says it is the last.
fn read_all(mut file: BufReader<File>, path: &Path, mut front: Front) -> Result<(), Fault> {
    loop {
        let number = front.next();
        let short = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Fault::Truncated { path: path.into(), chunks: number },
            _ => Fault::io("read", path, error),
        };
        let mut length = [0; 4];
        file.read_exact(&mut length).map_err(short)?;
        let length = u32::from_be_bytes(length);
        let (bytes, last) = ((length & !LAST) as usize, length & LAST != 0);
        if !(TAG_BYTES..=pipeline::sealed_most()).contains(&bytes) {
            return Err(Fault::Damaged { path: path.into(), chunk: number });
        }
        // Stopped: the unpacker has a fault of its own.
        let Ok(mut chunk) = front.take() else { return Ok(()) };
        chunk.sealed.resize(bytes, 0);
        file.read_exact(&mut chunk.sealed).map_err(short)?;
        if last && !at_end(&mut file).map_err(short)? {
            return Err(Fault::Damaged { path: path.into(), chunk: number + 1 });
        }
        if front.send(chunk, last).is_err() || last {
            return Ok(());
        }
    }
}

fn at_end(file: &mut BufReader<File>) -> io::Result<bool> {
    Ok(file.read(&mut [0])? == 0)
}

/// The archive, chunk by verified chunk.
struct Stream<'a> {
    path: &'a Path,
    back: Back,
    chunk: Option<Chunk>,
    /// How much of the chunk was read.
    at: usize,
}

impl Stream<'_> {
    /// Makes sure that the present chunk has bytes left.
    fn advance(&mut self) -> Result<(), Fault> {
        while self.chunk.as_ref().is_none_or(|chunk| self.at == chunk.filled) {
            let before = self.chunk.take();
            if before.as_ref().is_some_and(|chunk| chunk.at.last) {
                return Err(Fault::Malformed { why: "it ends within an entry" });
            }
            let chunks = before.as_ref().map_or(0, |chunk| chunk.at.number + 1);
            if let Some(chunk) = before {
                self.back.give_back(chunk);
            }
            let next = self.back.next().ok_or_else(|| Fault::Truncated { path: self.path.into(), chunks })?;
            if !next.good {
                return Err(Fault::Damaged { path: self.path.into(), chunk: next.at.number });
            }
            (self.chunk, self.at) = (Some(next), 0);
        }
        Ok(())
    }

    /// The archive has ended: so must the file.
    fn end(&self) -> Result<(), Fault> {
        match &self.chunk {
            Some(chunk) if chunk.at.last && self.at == chunk.filled => Ok(()),
            _ => Err(Fault::Malformed { why: "something follows its end" }),
        }
    }
}

impl Input for Stream<'_> {
    fn piece(&mut self, most: usize) -> Result<&[u8], Fault> {
        self.advance()?;
        let chunk = self.chunk.as_ref().expect("advance leaves a chunk");
        let from = self.at;
        self.at = chunk.filled.min(from + most);
        Ok(&chunk.plain[from..self.at])
    }
}
