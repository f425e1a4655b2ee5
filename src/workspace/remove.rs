//! Removing a tree that somebody else made.
//!
//! Follows no link; enters directories that their owner closed; needs no more descriptors for a tree
//! of a million levels than for one of [`LEVELS`]: what lies deeper is moved to the top and removed
//! from there in a further sweep.

use std::{
    ffi::{CStr, CString},
    fs, io,
    path::Path,
};

use rustix::{
    fd::{AsFd, AsRawFd as _, OwnedFd},
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags},
    io::Errno,
};

use super::{Fault, tree::is_dot};
use crate::crypt::random_bytes;

/// Directories that are open at the same time.
const LEVELS: usize = 64;

/// Removes whatever is at `path`. Nothing there is no fault. Goes on after a fault and reports the
/// first one if something is left in the end.
pub fn remove_tree(path: &Path) -> Result<(), Fault> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Fault::io("look at", path, error)),
        Ok(found) if !found.is_dir() => {
            return fs::remove_file(path).map_err(|error| Fault::io("remove", path, error));
        }
        Ok(_) => {}
    }
    loop {
        let top = open_dir(CWD, path).map_err(|error| Fault::io("open", path, error))?;
        let mut sweep = Sweep { levels: Vec::new(), moved_or_removed: 0, first: None };
        sweep.run(top);
        match fs::remove_dir(path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && sweep.moved_or_removed > 0 => {}
            Err(error) => return Err(Fault::io("remove", path, sweep.first.map_or(error, io::Error::from))),
        }
    }
}

/// One walk through a tree that removes what it can.
struct Sweep {
    levels: Vec<(Dir, CString)>,
    /// Whether another sweep could do better.
    moved_or_removed: u64,
    first: Option<Errno>,
}

impl Sweep {
    fn run(&mut self, top: Dir) {
        self.levels.push((top, CString::default()));
        while let Some((dir, _)) = self.levels.last_mut() {
            match dir.read() {
                Some(Ok(entry)) if is_dot(entry.file_name()) => {}
                Some(Ok(entry)) => {
                    let removed = self.remove(entry.file_name(), entry.file_type());
                    self.note(removed);
                }
                Some(Err(error)) => {
                    self.note(Err(error));
                    self.leave();
                }
                None => self.leave(),
            }
        }
    }

    fn remove(&mut self, name: &CStr, kind: FileType) -> Result<(), Errno> {
        if kind == FileType::Directory {
            return self.enter(name);
        }
        let dir = self.present()?;
        match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
            Ok(()) => self.moved_or_removed += 1,
            // A file system that does not tell the kinds of its entries.
            Err(Errno::ISDIR | Errno::PERM) if kind == FileType::Unknown => return self.enter(name),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn enter(&mut self, name: &CStr) -> Result<(), Errno> {
        let inner = open_dir(self.present()?, name)?;
        if self.levels.len() < LEVELS {
            self.levels.push((inner, name.to_owned()));
            return Ok(());
        }
        let top = self.levels[0].0.fd()?;
        let fresh = format!("moved-{}", hex::encode(random_bytes::<12>()));
        rustix::fs::renameat(self.present()?, name, top, fresh)?;
        self.moved_or_removed += 1;
        Ok(())
    }

    fn leave(&mut self) {
        let Some((_, name)) = self.levels.pop() else { return };
        if self.levels.is_empty() {
            return;
        }
        match self.present().and_then(|dir| rustix::fs::unlinkat(dir, &name, AtFlags::REMOVEDIR)) {
            Ok(()) => self.moved_or_removed += 1,
            // The next sweep will see what is in it.
            Err(Errno::NOTEMPTY) => {}
            Err(error) => self.note(Err(error)),
        }
    }

    fn present(&self) -> Result<rustix::fd::BorrowedFd<'_>, Errno> {
        self.levels.last().ok_or(Errno::BADF)?.0.fd()
    }

    fn note(&mut self, done: Result<(), Errno>) {
        if let Err(error) = done {
            self.first.get_or_insert(error);
        }
    }
}

/// Opens a directory so that its entries can be removed, whatever its mode says.
fn open_dir(at: impl AsFd, name: impl rustix::path::Arg + Copy) -> Result<Dir, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir: OwnedFd = match rustix::fs::openat(&at, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            let handle = rustix::fs::openat(&at, name, flags | OFlags::PATH, Mode::empty())?;
            set_mode(&handle, Mode::RWXU)?;
            rustix::fs::openat(&at, name, flags, Mode::empty())?
        }
        opened => opened?,
    };
    let mode = Mode::from_raw_mode(rustix::fs::fstat(&dir)?.st_mode);
    if !mode.contains(Mode::RWXU) {
        rustix::fs::fchmod(&dir, mode | Mode::RWXU)?;
    }
    Dir::new(dir)
}

/// Changes the mode of what a path descriptor stands for, which `fchmod` refuses and `chmod` by name
/// would do through a link.
pub(super) fn set_mode(handle: &OwnedFd, mode: Mode) -> Result<(), Errno> {
    rustix::fs::chmod(format!("/proc/self/fd/{}", handle.as_raw_fd()), mode)
}
