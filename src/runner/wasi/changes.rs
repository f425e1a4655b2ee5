//! What a guest changed in its copy of the workspace.
//!
//! Only directories that the overlay's upper half holds can hold changes, so that a large workspace
//! costs nothing; what changed in them is found by comparing the copy with the original, not by
//! reading the overlay's own notes.

use std::{
    io::{self, Read},
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use rustix::io::Errno;

use super::beneath::{Kind, Root};
use crate::domain::limits::WORKSPACE_DEPTH;

/// One change, by its path in the workspace. Directories come before what is in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub path: PathBuf,
    pub before: Option<Kind>,
    pub after: Option<Kind>,
}

/// The three views of a workspace.
#[derive(Clone, Copy, Debug)]
pub struct Views<'a> {
    pub before: Root<'a>,
    /// Holds what was touched.
    pub touched: Root<'a>,
    pub after: Root<'a>,
}

impl<'a> Views<'a> {
    pub fn new(before: &'a impl AsFd, touched: &'a impl AsFd, after: &'a impl AsFd) -> Self {
        Self { before: Root(before.as_fd()), touched: Root(touched.as_fd()), after: Root(after.as_fd()) }
    }

    /// All changes, in the order of their paths; an error that [is told](super::beneath::is_too_deep)
    /// where the guest made more directories within each other than can be followed.
    pub fn changes(self) -> io::Result<Vec<Change>> {
        let mut changes = Vec::new();
        self.directory(Path::new(""), 0, &mut changes)?;
        changes.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(changes)
    }

    fn directory(self, path: &Path, depth: usize, changes: &mut Vec<Change>) -> io::Result<()> {
        if depth > WORKSPACE_DEPTH {
            return Err(Errno::NAMETOOLONG.into());
        }
        let after = self.after.names(path)?;
        for name in self.before.names(path)? {
            if after.binary_search(&name).is_err() {
                self.gone(&path.join(name), depth, changes)?;
            }
        }
        for name in self.touched.names(path)? {
            if after.binary_search(&name).is_ok() {
                self.entry(path.join(name), depth, changes)?;
            }
        }
        Ok(())
    }

    /// Something that was touched and is there.
    fn entry(self, path: PathBuf, depth: usize, changes: &mut Vec<Change>) -> io::Result<()> {
        let kind = |found: Option<(Kind, _)>| found.map(|(kind, _)| kind);
        let (before, after) = (kind(self.before.look(&path)?), kind(self.after.look(&path)?));
        if before == Some(Kind::Directory) && after != Some(Kind::Directory) {
            self.below(&path, depth, changes)?;
        }
        let same = match (before, after) {
            (Some(Kind::Directory), Some(Kind::Directory)) => true,
            (Some(Kind::File(one)), Some(Kind::File(other))) => one == other && self.same_content(&path)?,
            (Some(Kind::Link), Some(Kind::Link)) => self.before.link(&path)? == self.after.link(&path)?,
            _ => false,
        };
        if !same {
            changes.push(Change { path: path.clone(), before, after });
        }
        if after == Some(Kind::Directory) { self.directory(&path, depth + 1, changes) } else { Ok(()) }
    }

    /// Something that is no longer there, with all that was in it.
    fn gone(self, path: &Path, depth: usize, changes: &mut Vec<Change>) -> io::Result<()> {
        let before = self.before.look(path)?.map(|(kind, _)| kind);
        changes.push(Change { path: path.to_owned(), before, after: None });
        if before == Some(Kind::Directory) { self.below(path, depth, changes) } else { Ok(()) }
    }

    fn below(self, path: &Path, depth: usize, changes: &mut Vec<Change>) -> io::Result<()> {
        if depth > WORKSPACE_DEPTH {
            return Err(Errno::NAMETOOLONG.into());
        }
        self.before.names(path)?.into_iter().try_for_each(|name| self.gone(&path.join(name), depth + 1, changes))
    }

    fn same_content(self, path: &Path) -> io::Result<bool> {
        let (mut one, mut other) = (self.before.file(path)?, self.after.file(path)?);
        if one.metadata()?.len() != other.metadata()?.len() {
            return Ok(false);
        }
        let (mut left, mut right) = (vec![0; 64 << 10], vec![0; 64 << 10]);
        loop {
            let read = one.read(&mut left)?;
            if read == 0 {
                return Ok(true);
            }
            other.read_exact(&mut right[..read])?;
            if left[..read] != right[..read] {
                return Ok(false);
            }
        }
    }
}

#[cfg(test)]
mod tests;
