//! Files that are there whole or not at all, and files encrypted under a key that the caller holds.
//!
//! An encrypted file: `version (1) | salt (32) | chunks`. Every chunk but the last holds 64 KiB and
//! its tag. The chunks' key is derived from the caller's key and the salt, so that one key may
//! serve any number of files.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::{ChunkCipher, Key, Position, Secret, TAG_BYTES, Unauthentic, key::framed, random_bytes};

const VERSION: u8 = 1;
const SALT_BYTES: usize = 32;
const HEAD_BYTES: usize = 1 + SALT_BYTES;
const CHUNK_BYTES: usize = 64 * 1024;

/// Why an encrypted file was not read.
#[derive(Debug, thiserror::Error)]
pub enum FileUnderError {
    #[error("cannot read {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} has {bytes} bytes, more than the {most} that are expected", path.display())]
    TooLarge { path: PathBuf, bytes: u64, most: u64 },
    #[error("{} {source}", path.display())]
    Unauthentic { path: PathBuf, source: Unauthentic },
}

/// Encrypts what `plaintext` gives into a file (0600): written beside, fsynced, renamed, the
/// directory fsynced. Memory stays below 200 KiB. Returns the plaintext's bytes.
pub fn write_file_under(path: &Path, key: &Key, aad: &[u8], plaintext: &mut dyn Read) -> io::Result<u64> {
    let salt = random_bytes::<SALT_BYTES>();
    whole(path, Existing::Replace, |file| {
        file.write_all(&[VERSION])?;
        file.write_all(&salt)?;
        write_chunks(&cipher(key, &salt, aad), plaintext, file)
    })
}

/// What [`write_file_under`] wrote, if it is whole and not larger than `most` bytes.
pub fn read_file_under(path: &Path, key: &Key, aad: &[u8], most: u64) -> Result<Secret<Vec<u8>>, FileUnderError> {
    let bytes = read_bounded(path, most)?;
    decrypt(key, aad, bytes).map_err(|source| FileUnderError::Unauthentic { path: path.into(), source })
}

/// What a file that is there already means for writing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    Replace,
    Refuse,
}

/// Writes a file (0600) so that after a crash it is there whole or not at all.
pub(super) fn write_durably(path: &Path, bytes: &[u8], existing: Existing) -> io::Result<()> {
    whole(path, existing, |file| file.write_all(bytes))
}

pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

fn whole<T>(path: &Path, existing: Existing, write: impl FnOnce(&mut File) -> io::Result<T>) -> io::Result<T> {
    let beside = beside(path);
    let written = write_and_rename(path, &beside, existing, write);
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

fn write_and_rename<T>(
    path: &Path,
    beside: &Path,
    existing: Existing,
    write: impl FnOnce(&mut File) -> io::Result<T>,
) -> io::Result<T> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(beside)?;
    let result = write(&mut file)?;
    file.sync_all()?;
    match existing {
        Existing::Replace => fs::rename(beside, path)?,
        Existing::Refuse => {
            fs::hard_link(beside, path)?;
            fs::remove_file(beside)?;
        }
    }
    sync_parent(path)?;
    Ok(result)
}

fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{}.tmp", hex::encode(random_bytes::<4>())));
    name.into()
}

fn cipher(key: &Key, salt: &[u8], aad: &[u8]) -> ChunkCipher {
    ChunkCipher::new(&key.expand(salt, &[b"airlock file"]), [0; 7], framed(&[b"airlock file", &[VERSION], aad]))
}

fn write_chunks(cipher: &ChunkCipher, plaintext: &mut dyn Read, file: &mut File) -> io::Result<u64> {
    let (mut bytes, mut number) = (0, 0);
    let mut chunk = next_chunk(plaintext)?;
    loop {
        let next = if chunk.expose().len() == CHUNK_BYTES { next_chunk(plaintext)? } else { Secret::default() };
        let last = next.expose().is_empty();
        bytes += chunk.expose().len() as u64;
        cipher.seal(Position { number, last }, chunk.expose_mut());
        file.write_all(chunk.expose())?;
        if last {
            return Ok(bytes);
        }
        number = number.checked_add(1).ok_or(io::ErrorKind::FileTooLarge)?;
        chunk = next;
    }
}

fn next_chunk(plaintext: &mut dyn Read) -> io::Result<Secret<Vec<u8>>> {
    let mut chunk = Secret::new(Vec::with_capacity(CHUNK_BYTES + TAG_BYTES));
    plaintext.take(CHUNK_BYTES as u64).read_to_end(chunk.expose_mut())?;
    Ok(chunk)
}

fn read_bounded(path: &Path, most: u64) -> Result<Vec<u8>, FileUnderError> {
    let io_error = |source| FileUnderError::Io { path: path.into(), source };
    let file = File::open(path).map_err(io_error)?;
    let bytes = file.metadata().map_err(io_error)?.len();
    let overhead = (most / CHUNK_BYTES as u64 + 1) * TAG_BYTES as u64 + HEAD_BYTES as u64;
    if bytes > most + overhead {
        return Err(FileUnderError::TooLarge { path: path.into(), bytes, most });
    }
    let mut content = Vec::with_capacity(bytes as usize + 1);
    (&file).take(most + overhead).read_to_end(&mut content).map_err(io_error)?;
    Ok(content)
}

/// Decrypts in place and moves the chunks' contents together.
fn decrypt(key: &Key, aad: &[u8], mut bytes: Vec<u8>) -> Result<Secret<Vec<u8>>, Unauthentic> {
    if bytes.len() < HEAD_BYTES + TAG_BYTES || bytes[0] != VERSION {
        return Err(Unauthentic);
    }
    let cipher = cipher(key, &bytes[1..HEAD_BYTES], aad);
    let (mut from, mut to) = (HEAD_BYTES, 0);
    for number in 0.. {
        let end = bytes.len().min(from + CHUNK_BYTES + TAG_BYTES);
        let last = end == bytes.len();
        let length = cipher.open(Position { number, last }, &mut bytes[from..end])?.len();
        bytes.copy_within(from..from + length, to);
        to += length;
        if last {
            break;
        }
        from = end;
    }
    let mut plaintext = Secret::new(bytes);
    plaintext.expose_mut().truncate(to);
    Ok(plaintext)
}

#[cfg(test)]
mod tests;
