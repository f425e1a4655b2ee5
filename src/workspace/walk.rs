//! Walking through a tree that somebody else may be changing at this moment.
//!
//! Goes from descriptor to descriptor, follows no link and never leaves the tree. It needs no more
//! descriptors for a tree of a million levels than for one of [`LEVELS`]: of what lies deeper only the
//! directory that is being read is open. The way back from there is `..`, if that is still where the
//! walk came from; where it is not, the rest of what lies so deep is told as closed.
//!
//! A directory that its owner closed is opened to him again, where he is who walks: else nobody could
//! say what lies in it.

use std::ffi::{CStr, CString};

use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat},
    io::Errno,
};

use super::{remove::set_mode, tree::is_dot};

/// Directories that are open at the same time.
const LEVELS: usize = 64;
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A walk under way. What it comes to first is the first entry of the tree, not its root.
#[derive(Debug)]
pub struct Walk {
    /// The way to the directory that is being read, which is the last.
    open: Vec<Dir>,
    /// What lies between the last two of those, where there is no room for more.
    passed: Vec<Passed>,
    /// The directory that was told last, and where its parent goes on behind it.
    next: Option<(CString, i64)>,
}

/// A directory that the walk comes back to.
#[derive(Debug)]
struct Passed {
    is: (u64, u64),
    /// Where it goes on.
    at: i64,
}

/// What one step of a walk comes to.
#[derive(Debug)]
pub enum Step {
    /// An entry of [`Walk::dir`]. A directory is entered with the next step.
    Entry(CString, Stat),
    /// Something that cannot be looked at. What disappears meanwhile is none of that.
    Closed(Errno),
    /// Nothing to be told.
    Nothing,
    End,
}

impl Walk {
    pub fn new(root: impl AsFd) -> Result<Self, Errno> {
        let (root, ..) = open_dir(root, c".")?;
        Ok(Self { open: vec![Dir::new(root)?], passed: Vec::new(), next: None })
    }

    /// The directory that is being read.
    pub fn dir(&self) -> Result<BorrowedFd<'_>, Errno> {
        self.open.last().ok_or(Errno::BADF)?.fd()
    }

    /// Goes on to one entry at most.
    pub fn step(&mut self) -> Step {
        if let Some((name, at)) = self.next.take()
            && let Err(error) = self.enter(&name, at)
        {
            return unseen(error);
        }
        let Some(dir) = self.open.last_mut() else { return Step::End };
        match dir.read() {
            Some(Ok(entry)) if is_dot(entry.file_name()) => Step::Nothing,
            Some(Ok(entry)) => match look(dir, entry.file_name()) {
                Ok(stat) => {
                    let name = entry.file_name().to_owned();
                    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                        self.next = Some((name.clone(), entry.offset()));
                    }
                    Step::Entry(name, stat)
                }
                Err(error) => unseen(error),
            },
            Some(Err(error)) => {
                let _ = self.leave();
                Step::Closed(error)
            }
            None => self.leave().map_or_else(Step::Closed, |()| Step::Nothing),
        }
    }

    fn enter(&mut self, name: &CStr, at: i64) -> Result<(), Errno> {
        let (inner, ..) = open_dir(self.dir()?, name)?;
        let inner = Dir::new(inner)?;
        if self.open.len() == LEVELS
            && let Some(present) = self.open.pop()
        {
            self.passed.push(Passed { is: identity(&present.stat()?), at });
        }
        self.open.push(inner);
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Errno> {
        let above = self.passed.pop().map(|above| self.back_to(&above)).transpose();
        self.open.pop();
        match above {
            Ok(above) => self.open.extend(above),
            Err(error) => {
                // What is still open is where it goes on.
                self.passed.clear();
                return Err(error);
            }
        }
        Ok(())
    }

    fn back_to(&self, above: &Passed) -> Result<Dir, Errno> {
        let mut dir = Dir::new(rustix::fs::openat(self.dir()?, c"..", DIRECTORY, Mode::empty())?)?;
        if identity(&dir.stat()?) != above.is {
            return Err(Errno::STALE);
        }
        dir.seek(above.at)?;
        Ok(dir)
    }
}

/// Opens a directory, with its facts and, where it had to be opened up first, its mode before.
pub(super) fn open_dir(
    at: impl AsFd,
    name: impl rustix::path::Arg + Copy,
) -> Result<(OwnedFd, Stat, Option<Mode>), Errno> {
    let handle = rustix::fs::openat(&at, name, DIRECTORY, Mode::empty());
    let needed = Mode::RUSR | Mode::XUSR;
    if let Err(Errno::ACCESS) = handle {
        let handle = rustix::fs::openat(&at, name, DIRECTORY | OFlags::PATH, Mode::empty())?;
        let stat = rustix::fs::fstat(&handle)?;
        let mode = Mode::from_raw_mode(stat.st_mode);
        set_mode(&handle, mode | needed)?;
        let opened = rustix::fs::openat(&at, name, DIRECTORY, Mode::empty());
        return Ok((opened?, stat, Some(mode)));
    }
    let fd = handle?;
    let stat = rustix::fs::fstat(&fd)?;
    let mode = Mode::from_raw_mode(stat.st_mode);
    let closed = !mode.contains(needed) && !rustix::process::geteuid().is_root();
    if closed {
        rustix::fs::fchmod(&fd, mode | needed)?;
    }
    Ok((fd, stat, closed.then_some(mode)))
}

fn look(dir: &Dir, name: &CStr) -> Result<Stat, Errno> {
    rustix::fs::statat(dir.fd()?, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// It is gone or something else by now, or nobody is let at it.
const fn unseen(error: Errno) -> Step {
    match error {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Step::Nothing,
        error => Step::Closed(error),
    }
}

const fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}
