//! Compiled guests on disk, authenticated.
//!
//! A file is its content and, at its end, a salt and a tag under the installation's key over its name
//! and its content. Loading machine code that somebody else wrote is running it, so that a file without the
//! right tag counts as none. It is checked on the descriptor that is then loaded, and a file is never
//! written to again once it has its name.
//!
//! The directory is bounded. What was not looked up for the longest time goes first; code that an
//! engine has open is locked, and stays.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rustix::fs::{FlockOperation, OFlags};
use serde::{Deserialize, Serialize};

use crate::{
    crypt::{Key, LongTagger, random_bytes, same},
    domain::{Digest, Timestamp},
};

const LABEL: &[u8] = b"airlock compiled guest 2";
/// What the content and its seal look like. It is part of the name: what an earlier version wrote is not
/// looked at, rather than taken for a stranger's.
const FORMAT: u32 = 2;
const SALT_BYTES: usize = 16;
const TAG_BYTES: usize = 32;
/// Bytes behind the content.
const SEAL_BYTES: u64 = (SALT_BYTES + TAG_BYTES) as u64;
const PIECE: u64 = 1 << 20;
/// A draft this old belongs to nobody: compiling takes a minute at most.
const DRAFT_AGE: Duration = Duration::from_hours(1);

/// The directory of compiled guests, and the key that authenticates them.
#[derive(Debug)]
pub struct Cache {
    dir: PathBuf,
    key: Key,
}

/// One guest under one set of engine settings.
#[derive(Clone, Debug)]
pub struct Name(String);

impl Name {
    pub fn new(guest: &Digest, fingerprint: &str) -> Self {
        Self(format!("{}-{fingerprint}-{FORMAT}", guest.digits()))
    }
}

/// What the cache has.
#[derive(Debug)]
pub enum Found {
    Code(File),
    /// It cannot be compiled, and why.
    Refused(String),
    /// Something was there that nobody here wrote, or that was changed since.
    Tampered,
    Nothing,
}

/// A refusal that is remembered.
#[derive(Serialize, Deserialize)]
struct Refusal {
    reason: String,
    /// Time may bring a better machine; none: never.
    until: Option<Timestamp>,
}

/// An empty file that becomes a compiled guest; removed unless it is kept.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    pub file: File,
}

impl Cache {
    /// Opens the directory, made where it is missing.
    pub fn open(dir: &Path, key: Key) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        Ok(Self { dir: dir.to_owned(), key })
    }

    pub fn look(&self, name: &Name, now: Timestamp) -> io::Result<Found> {
        match self.authentic(&self.code_path(name))? {
            Authentic::Yes(file, _) => return in_use(file, now).map(Found::Code),
            Authentic::No => return Ok(Found::Tampered),
            Authentic::Missing => {}
        }
        let Authentic::Yes(file, bytes) = self.authentic(&self.refusal_path(name))? else {
            return Ok(Found::Nothing);
        };
        let mut json = Vec::new();
        file.take(bytes).read_to_end(&mut json)?;
        match serde_json::from_slice::<Refusal>(&json) {
            Ok(Refusal { reason, until }) if until.is_none_or(|until| now < until) => Ok(Found::Refused(reason)),
            Ok(_) | Err(_) => Ok(Found::Nothing),
        }
    }

    /// A new file for a compiler to write to.
    pub fn draft(&self) -> io::Result<Draft> {
        let path = self.dir.join(format!(".draft-{}", hex::encode(random_bytes::<16>())));
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Draft { path, file })
    }

    /// Authenticates what a compiler wrote, which nobody writes to any more.
    pub fn keep(&self, name: &Name, mut draft: Draft) -> io::Result<()> {
        let to = self.code_path(name);
        self.finish(&mut draft.file, &to)?;
        fs::rename(&draft.path, to)
    }

    /// Remembers that a guest cannot be compiled.
    pub fn refuse(&self, name: &Name, reason: &str, until: Option<Timestamp>) -> io::Result<()> {
        let mut draft = self.draft()?;
        let to = self.refusal_path(name);
        draft.file.write_all(&serde_json::to_vec(&Refusal { reason: reason.to_owned(), until })?)?;
        self.finish(&mut draft.file, &to)?;
        fs::rename(&draft.path, to)
    }

    /// Removes what was not used for the longest time, until so many bytes and files are left.
    pub fn evict(&self, now: Timestamp, most_bytes: u64, most_files: usize) -> io::Result<()> {
        let mut kept = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            // Somebody else may be removing it.
            let Ok(meta) = entry.metadata() else { continue };
            let (used, path) = (meta.modified()?, entry.path());
            if !entry.file_name().as_encoded_bytes().starts_with(b".draft-") {
                kept.push((used, meta.len(), path));
            } else if used + DRAFT_AGE < time(now) {
                remove(&path)?;
            }
        }
        kept.sort_unstable();
        let (mut bytes, mut files) = (kept.iter().map(|(_, bytes, _)| bytes).sum::<u64>(), kept.len());
        for (_, size, path) in kept {
            if bytes <= most_bytes && files <= most_files {
                break;
            }
            if is_free(&path)? {
                remove(&path)?;
                (bytes, files) = (bytes - size, files - 1);
            }
        }
        Ok(())
    }

    fn finish(&self, file: &mut File, named: &Path) -> io::Result<()> {
        file.rewind()?;
        let (bytes, salt) = (file.metadata()?.len(), random_bytes());
        let tag = self.tag(file, named, bytes, &salt)?;
        file.write_all(&[&salt[..], &tag].concat())
    }

    /// Opens a file and says how many bytes are before its salt, if its tag is right. Its position is
    /// the beginning.
    fn authentic(&self, path: &Path) -> io::Result<Authentic> {
        let no_follow = OFlags::NOFOLLOW.bits().cast_signed();
        let mut file = match OpenOptions::new().read(true).custom_flags(no_follow).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Authentic::Missing),
            Err(error) => return Err(error),
        };
        let Some(bytes) = file.metadata()?.len().checked_sub(SEAL_BYTES) else { return Ok(Authentic::No) };
        let (mut salt, mut tag) = ([0; SALT_BYTES], [0; TAG_BYTES]);
        file.seek(SeekFrom::Start(bytes))?;
        file.read_exact(&mut salt)?;
        file.read_exact(&mut tag)?;
        file.rewind()?;
        let expected = self.tag(&mut file, path, bytes, &salt)?;
        file.rewind()?;
        Ok(if same(&tag, &expected) { Authentic::Yes(file, bytes) } else { Authentic::No })
    }

    fn tag(&self, file: &mut File, named: &Path, bytes: u64, salt: &[u8; SALT_BYTES]) -> io::Result<[u8; TAG_BYTES]> {
        let name = named.file_name().unwrap_or_default().as_encoded_bytes();
        let mut tagger = LongTagger::new(&self.key, salt, &[LABEL, name, &bytes.to_be_bytes()]);
        let (mut content, mut piece) = (file.take(bytes), Vec::new());
        while (&mut content).take(PIECE).read_to_end(&mut piece)? > 0 {
            tagger.update(&piece);
            piece.clear();
        }
        Ok(tagger.tag())
    }

    fn code_path(&self, name: &Name) -> PathBuf {
        self.dir.join(format!("{}.cwasm", name.0))
    }

    fn refusal_path(&self, name: &Name) -> PathBuf {
        self.dir.join(format!("{}.refused", name.0))
    }
}

/// Code that was looked up now, and that is not evicted as long as any copy of this descriptor is open.
fn in_use(file: File, now: Timestamp) -> io::Result<File> {
    rustix::fs::flock(&file, FlockOperation::LockShared)?;
    file.set_modified(time(now))?;
    Ok(file)
}

/// Whether nobody has a file open to run it.
fn is_free(path: &Path) -> io::Result<bool> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn time(of: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(of.millis().unsigned_abs())
}

enum Authentic {
    /// With the bytes of its content.
    Yes(File, u64),
    No,
    Missing,
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Under its last name it is there no more.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests;
