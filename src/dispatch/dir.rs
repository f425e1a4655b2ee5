//! A chain's directory as the server sees it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom},
    os::{
        fd::AsRawFd as _,
        unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::protocol::{self, Record, file};

/// A chain's directory.
#[derive(Clone, Debug)]
pub(super) struct ChainDir(PathBuf);

impl ChainDir {
    /// Makes it, where it is not there yet.
    pub(super) fn make(path: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        Ok(Self(path.to_owned()))
    }

    /// One that was made before.
    pub(super) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    fn lock_file(&self) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(self.0.join(file::LOCK))
    }

    /// The lock, if nobody holds it.
    pub(super) fn try_lock(&self) -> io::Result<Option<File>> {
        let lock = self.lock_file()?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(lock)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The whole records from `offset` on, and where they end.
    pub(super) fn records(&self, offset: u64) -> io::Result<(Vec<Record>, u64)> {
        let mut bytes = Vec::new();
        match File::open(self.0.join(file::RECORDS)) {
            Ok(mut records) => {
                records.seek(SeekFrom::Start(offset))?;
                records.read_to_end(&mut bytes)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let (records, consumed) = protocol::read_records(&bytes);
        Ok((records, offset + consumed as u64))
    }

    /// Where the runner writes its own complaints.
    pub(super) fn errors(&self) -> io::Result<File> {
        OpenOptions::new().append(true).create(true).mode(0o600).open(self.0.join(file::ERRORS))
    }

    /// The end of what the runner complained about.
    pub(super) fn complaint(&self) -> String {
        let text = fs::read_to_string(self.0.join(file::ERRORS)).unwrap_or_default();
        let lines: Vec<&str> = text.trim().lines().rev().take(3).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("; ").chars().take(500).collect()
    }

    /// Removes the files of a log that a runner had begun when it ended without a record: nothing was
    /// done yet, and the next one begins it again.
    pub(super) fn remove_begun_logs(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.0)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "log" || extension == "idx") {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Moves the workspace of the chain before here. Once moved it is left alone.
    pub(super) fn take_tree(&self, from: &Path) -> io::Result<()> {
        let (old, new) = (from.join(file::TREE), self.0.join(file::TREE));
        if old.exists() && !new.exists() {
            fs::rename(&old, &new)?;
        }
        Ok(())
    }

    /// The socket's path in a form that fits into 108 bytes, with the descriptor it goes through.
    pub(super) fn control(&self) -> io::Result<(rustix::fd::OwnedFd, PathBuf)> {
        let dir = rustix::fs::open(&self.0, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{}", dir.as_raw_fd(), file::CONTROL));
        Ok((dir, path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_was_begun_without_a_record_gives_way_to_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let chain = ChainDir::make(dir.path()).unwrap();
        let begun = [file::log(4, crate::domain::Phase::Planning), file::index(4, crate::domain::Phase::Planning)];
        for name in begun.iter().chain([&file::RECORDS.to_owned()]) {
            fs::write(dir.path().join(name), "").unwrap();
        }
        chain.remove_begun_logs().unwrap();
        assert!(begun.iter().all(|name| !dir.path().join(name).exists()));
        assert!(dir.path().join(file::RECORDS).exists());
    }
}
