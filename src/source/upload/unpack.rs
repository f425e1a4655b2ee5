//! Writes entries below a directory. The kernel itself is asked not to follow a link and not to leave
//! the directory (`openat2`), whatever else may be going on there.

use std::{
    ffi::OsStr,
    fs::File,
    io::Write as _,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
};

use rustix::{
    fs::{AtFlags, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid},
    io::Errno,
};

use super::{UploadError, walk::Sink};
use crate::archive::shown;

/// The last second of the year 9999; a later time is an accident.
const LATEST: u64 = 253_402_300_799;

pub struct Writer<'d> {
    root: BorrowedFd<'d>,
    owner: Option<(Uid, Gid)>,
    /// The file that is being written.
    open: Option<(Vec<u8>, File)>,
}

impl<'d> Writer<'d> {
    pub fn new(root: BorrowedFd<'d>, owner: Option<u32>) -> Self {
        let owner = owner.map(|id| (Uid::from_raw(id), Gid::from_raw(id)));
        Self { root, owner, open: None }
    }

    /// Opens something below the root, without following a link on the way or at its end.
    fn open_below(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let path = if path.is_empty() { b"." } else { path };
        rustix::fs::openat2(
            self.root,
            OsStr::from_bytes(path),
            flags | OFlags::CLOEXEC | OFlags::NOFOLLOW,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
        )
    }

    /// The directory that a path lies in, and its last part.
    fn parent<'p>(&self, path: &'p [u8]) -> Result<(OwnedFd, &'p OsStr), UploadError> {
        let (above, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (&path[..at], &path[at + 1..]),
            None => (&path[..0], path),
        };
        let directory = self.open_below(above, OFlags::PATH | OFlags::DIRECTORY).map_err(failed(path, "openat2"))?;
        Ok((directory, OsStr::from_bytes(name)))
    }

    fn set_owner_and_mode(&self, fd: BorrowedFd<'_>, mode: Mode, path: &[u8]) -> Result<(), UploadError> {
        // First the owner: the kernel drops bits of the mode when it changes.
        if let Some((user, group)) = self.owner {
            rustix::fs::fchown(fd, Some(user), Some(group)).map_err(failed(path, "fchown"))?;
        }
        rustix::fs::fchmod(fd, mode).map_err(failed(path, "fchmod"))
    }
}

/// Removes the file that an entry replaces.
fn make_way(directory: &OwnedFd, name: &OsStr, path: &[u8], replaces: bool) -> Result<(), UploadError> {
    if replaces {
        rustix::fs::unlinkat(directory, name, AtFlags::empty()).map_err(failed(path, "unlinkat"))?;
    }
    Ok(())
}

fn failed<'p>(path: &'p [u8], call: &'static str) -> impl Fn(Errno) -> UploadError + use<'p> {
    move |errno| UploadError::Write { entry: shown(path), call, error: errno.into() }
}

/// The permission bits of a mode, with what the owner needs in any case.
fn permissions(mode: u32, always: u32) -> Mode {
    Mode::from_raw_mode((mode & 0o777) | always)
}

impl Sink for Writer<'_> {
    fn directory(&mut self, path: &[u8], mode: u32) -> Result<(), UploadError> {
        let (above, name) = self.parent(path)?;
        match rustix::fs::mkdirat(&above, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed(path, "mkdirat")(errno)),
        }
        let directory = self.open_below(path, OFlags::RDONLY | OFlags::DIRECTORY).map_err(failed(path, "openat2"))?;
        self.set_owner_and_mode(std::os::fd::AsFd::as_fd(&directory), permissions(mode, 0o700), path)
    }

    fn file(&mut self, path: &[u8], replaces: bool) -> Result<(), UploadError> {
        let (above, name) = self.parent(path)?;
        make_way(&above, name, path, replaces)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&above, name, flags, Mode::RUSR | Mode::WUSR).map_err(failed(path, "openat"))?;
        self.open = Some((path.to_vec(), file.into()));
        Ok(())
    }

    fn content(&mut self, piece: &[u8]) -> Result<(), UploadError> {
        match &mut self.open {
            Some((path, file)) => {
                file.write_all(piece).map_err(|error| UploadError::Write { entry: shown(path), call: "write", error })
            }
            None => Ok(()),
        }
    }

    fn file_ends(&mut self, mode: u32, modified: u64) -> Result<(), UploadError> {
        let Some((path, file)) = self.open.take() else { return Ok(()) };
        let fd = std::os::fd::AsFd::as_fd(&file);
        self.set_owner_and_mode(fd, permissions(mode, 0o600), &path)?;
        let time = Timespec { tv_sec: modified.min(LATEST) as i64, tv_nsec: 0 };
        rustix::fs::futimens(fd, &Timestamps { last_access: time, last_modification: time })
            .map_err(failed(&path, "futimens"))
    }

    fn symlink(&mut self, path: &[u8], target: &[u8]) -> Result<(), UploadError> {
        let (above, name) = self.parent(path)?;
        rustix::fs::symlinkat(OsStr::from_bytes(target), &above, name).map_err(failed(path, "symlinkat"))?;
        if let Some((user, group)) = self.owner {
            rustix::fs::chownat(&above, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(failed(path, "fchownat"))?;
        }
        Ok(())
    }

    fn hard_link(&mut self, path: &[u8], target: &[u8], replaces: bool) -> Result<(), UploadError> {
        let (above, name) = self.parent(path)?;
        let (target_above, target_name) = self.parent(target)?;
        make_way(&above, name, path, replaces)?;
        rustix::fs::linkat(&target_above, target_name, &above, name, AtFlags::empty()).map_err(failed(path, "linkat"))
    }
}
