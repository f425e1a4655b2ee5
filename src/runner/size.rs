//! How much room trees take that somebody else fills meanwhile.
//!
//! A [`Measure`] looks at a bounded number of entries at a time, so that it can be interleaved with
//! other work, and never leaves the trees. It counts what the disk holds, not what files claim.

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

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    pub bytes: u64,
    /// Files, directories and links.
    pub entries: u64,
}

impl Extent {
    /// As many entries as there may be at all.
    pub const fn of_bytes(bytes: u64) -> Self {
        Self { bytes, entries: ENTRIES }
    }

    pub const fn plus(self, more: Self) -> Self {
        let Self { bytes, entries } = self;
        Self { bytes: bytes.saturating_add(more.bytes), entries: entries.saturating_add(more.entries) }
    }

    pub const fn minus(self, less: Self) -> Self {
        let Self { bytes, entries } = self;
        Self { bytes: bytes.saturating_sub(less.bytes), entries: entries.saturating_sub(less.entries) }
    }

    /// Of each the larger one.
    pub fn at_least(self, other: Self) -> Self {
        Self { bytes: self.bytes.max(other.bytes), entries: self.entries.max(other.entries) }
    }

    pub const fn exceeds(self, most: Self) -> bool {
        self.bytes > most.bytes || self.entries > most.entries
    }
}

/// A walk through trees, under way.
#[derive(Debug)]
pub struct Measure {
    roots: Vec<OwnedFd>,
    /// Directories yet to be looked into, each relative to the root of that number.
    waiting: Vec<(usize, PathBuf)>,
    /// The directory that is being looked into.
    open: Option<(usize, PathBuf, Dir)>,
    /// Files with several names, which count once.
    linked: HashSet<(u64, u64)>,
    seen: Extent,
    /// There is something that no path reaches: not how honest trees look.
    hidden: bool,
}

impl Measure {
    pub fn of(roots: Vec<OwnedFd>) -> Self {
        let waiting = (0..roots.len()).map(|root| (root, PathBuf::from("."))).collect();
        Self { roots, waiting, open: None, linked: HashSet::new(), seen: Extent::default(), hidden: false }
    }

    /// What was seen so far.
    pub const fn seen(&self) -> Extent {
        self.seen
    }

    /// Whether more than that was seen so far, or a tree that only an attacker makes.
    pub const fn exceeds(&self, most: Extent) -> bool {
        self.seen.exceeds(most) || self.seen.entries > ENTRIES || self.hidden
    }

    /// Looks at `entries` more; true at the end. What disappears meanwhile is not counted.
    pub fn go_on(&mut self, entries: usize) -> bool {
        for _ in 0..entries {
            if let Some((root, path, dir)) = &mut self.open {
                match dir.read() {
                    Some(Ok(entry)) => {
                        let (root, inner) = (*root, look(path, dir, entry.file_name()));
                        if let Some((path, stat)) = inner {
                            self.count(root, path, &stat);
                        }
                    }
                    Some(Err(_)) | None => self.open = None,
                }
            } else {
                let Some((root, next)) = self.waiting.pop() else { return true };
                self.enter(root, next);
            }
        }
        false
    }

    fn enter(&mut self, root: usize, path: PathBuf) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        match rustix::fs::openat2(&self.roots[root], &path, flags, Mode::empty(), resolve).and_then(Dir::new) {
            Ok(dir) => self.open = Some((root, path, dir)),
            Err(Errno::NAMETOOLONG) => self.hidden = true,
            Err(_) => {}
        }
    }

    fn count(&mut self, root: usize, path: PathBuf, stat: &Stat) {
        self.seen.entries += 1;
        let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if directory {
            self.waiting.push((root, path));
        }
        let again = !directory && stat.st_nlink > 1 && !self.linked.insert((stat.st_dev, stat.st_ino));
        if !again {
            self.seen.bytes += u64::try_from(stat.st_blocks).unwrap_or(0) * BLOCK;
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
        let mut measure = Measure::of(vec![OwnedFd::from(File::open(root).unwrap())]);
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
        assert!(measure.exceeds(Extent::of_bytes((1 << 20) - 1)));
        assert!(!measure.exceeds(Extent::of_bytes((1 << 20) + (64 << 10))));
        assert_eq!(measure.seen().entries, 4);
        assert!(measure.exceeds(Extent { bytes: u64::MAX, entries: 3 }));
    }

    #[test]
    fn several_trees_count_together() {
        let roots = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        for root in &roots {
            std::fs::create_dir(root.path().join("a")).unwrap();
            std::fs::write(root.path().join("a/file"), vec![1; 1 << 20]).unwrap();
        }
        let mut measure =
            Measure::of(roots.iter().map(|root| OwnedFd::from(File::open(root.path()).unwrap())).collect());
        while !measure.go_on(1) {}
        assert_eq!(measure.seen().entries, 4);
        assert!(measure.exceeds(Extent::of_bytes((2 << 20) - 1)));
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
        assert!(measured(root.path()).exceeds(Extent::of_bytes(u64::MAX)));
    }
}
