//! The chain's directory, held open: whatever happens to its path, these are its files.

use std::{
    fs::File,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use super::fault::Fault;

/// An open directory; names are relative to it.
#[derive(Debug)]
pub struct ChainDir {
    fd: OwnedFd,
    path: PathBuf,
}

impl ChainDir {
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, path, flags, Mode::empty())
            .map_err(Fault::io(format!("open the directory `{}`", path.display())))?;
        Ok(Self { fd, path: path.to_owned() })
    }

    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// The path by which the server knows it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of one of its files.
    pub fn file_path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A path to `name` that is short whatever the directory's own is: a socket's address has 108
    /// bytes at most.
    pub fn short(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.fd.as_raw_fd()))
    }

    /// Opens a file of the runner's own, created where it is missing.
    pub fn file(&self, name: &str, flags: OFlags) -> Result<File, Fault> {
        let flags = flags | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR)
            .map(File::from)
            .map_err(Fault::io(format!("open `{name}`")))
    }

    /// Removes a file; it is fine when there is none.
    pub fn remove(&self, name: &str) -> Result<(), Fault> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(Fault::io(format!("remove `{name}`"))(error)),
        }
    }

    /// Makes the names of new files durable.
    pub fn sync(&self) -> Result<(), Fault> {
        rustix::fs::fsync(&self.fd).map_err(Fault::io("make the chain's directory durable"))
    }
}
