//! How much room a tree takes that somebody else fills meanwhile.
//!
//! A [`Measure`] looks at a bounded number of entries at a time, so that it can be interleaved with
//! other work, and never leaves the tree. It counts what the disk holds, not what files claim.

use std::{
    collections::HashSet,
    ffi::{CStr, OsStr},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::PathBuf,
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};

/// Entries after which a tree counts as too large, whatever they hold.
const ENTRIES: u64 = 4_000_000;
/// Bytes of a block in `st_blocks`, by stat(2).
const BLOCK: u64 = 512;

/// A walk through a tree, under way.
#[derive(Debug)]
pub struct Measure {
    root: OwnedFd,
    /// Directories yet to be looked into, relative to the root.
    waiting: Vec<PathBuf>,
    /// The directory that is being looked into.
    open: Option<(PathBuf, Dir)>,
    /// Files with several names, which count once.
    linked: HashSet<(u64, u64)>,
    entries: u64,
    bytes: u64,
    /// There is something that no path reaches: not how honest trees look.
    hidden: bool,
}

impl Measure {
    pub fn of(root: OwnedFd) -> Self {
        Self {
            root,
            waiting: vec![PathBuf::from(".")],
            open: None,
            linked: HashSet::new(),
            entries: 0,
            bytes: 0,
            hidden: false,
        }
    }

    /// Whether more than `limit` bytes were seen so far, or a tree that only an attacker makes.
    pub fn exceeds(&self, limit: u64) -> bool {
        self.bytes > limit || self.entries > ENTRIES || self.hidden
    }

    /// Looks at `entries` more; true at the end. What disappears meanwhile is not counted.
    pub fn go_on(&mut self, entries: usize) -> bool {
        for _ in 0..entries {
            if let Some((path, dir)) = &mut self.open {
                match dir.read() {
                    Some(Ok(entry)) => {
                        let inner = look(path, dir, entry.file_name());
                        if let Some((path, stat)) = inner {
                            self.count(path, &stat);
                        }
                    }
                    Some(Err(_)) | None => self.open = None,
                }
            } else {
                let Some(next) = self.waiting.pop() else { return true };
                self.enter(next);
            }
        }
        false
    }

    fn enter(&mut self, path: PathBuf) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        match rustix::fs::openat2(&self.root, &path, flags, Mode::empty(), resolve).and_then(Dir::new) {
            Ok(dir) => self.open = Some((path, dir)),
            Err(Errno::NAMETOOLONG) => self.hidden = true,
            Err(_) => {}
        }
    }

    fn count(&mut self, path: PathBuf, stat: &Stat) {
        self.entries += 1;
        let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if directory {
            self.waiting.push(path);
        }
        let again = !directory && stat.st_nlink > 1 && !self.linked.insert((stat.st_dev, stat.st_ino));
        if !again {
            self.bytes += u64::try_from(stat.st_blocks).unwrap_or(0) * BLOCK;
        }
    }
}

fn look(path: &std::path::Path, dir: &Dir, name: &CStr) -> Option<(PathBuf, Stat)> {
    if matches!(name.to_bytes(), b"." | b"..") {
        return None;
    }
    let stat = rustix::fs::statat(dir.fd().ok()?, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some((path.join(OsStr::from_bytes(name.to_bytes())), stat))
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::unix::fs::symlink};

    use super::*;

    fn measured(root: &std::path::Path) -> Measure {
        let mut measure = Measure::of(OwnedFd::from(File::open(root).unwrap()));
        while !measure.go_on(1) {}
        measure
    }

    #[test]
    fn a_tree_counts_what_it_holds_once_and_nothing_outside() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("a")).unwrap();
        std::fs::write(root.path().join("a/file"), vec![1; 1 << 20]).unwrap();
        std::fs::hard_link(root.path().join("a/file"), root.path().join("again")).unwrap();
        symlink("/usr", root.path().join("out")).unwrap();
        let measure = measured(root.path());
        assert!(measure.exceeds((1 << 20) - 1));
        assert!(!measure.exceeds((1 << 20) + (64 << 10)));
    }

    #[test]
    fn what_no_path_reaches_counts_as_too_much() {
        let root = tempfile::tempdir().unwrap();
        let mut at = OwnedFd::from(File::open(root.path()).unwrap());
        let name = "d".repeat(250);
        for _ in 0..20 {
            rustix::fs::mkdirat(&at, name.as_str(), Mode::RWXU).unwrap();
            at = rustix::fs::openat(&at, name.as_str(), OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        assert!(measured(root.path()).exceeds(u64::MAX));
    }
}
