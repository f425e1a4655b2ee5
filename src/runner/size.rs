//! How much room trees take that somebody else fills meanwhile.
//!
//! A [`Measure`] looks at a bounded number of entries at a time, so that it can be interleaved with
//! other work, and never leaves the trees. It counts what the disk holds, not what files claim, however
//! deep it lies.

use std::{collections::HashSet, os::fd::OwnedFd};

use rustix::fs::{FileType, Stat};

use crate::workspace::{Step, Walk};

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
    /// What could not be looked at, and may hold anything.
    pub closed: u64,
}

impl Extent {
    /// So much that can be looked at.
    pub const fn new(bytes: u64, entries: u64) -> Self {
        Self { bytes, entries, closed: 0 }
    }

    /// As many entries as there may be at all.
    pub const fn of_bytes(bytes: u64) -> Self {
        Self::new(bytes, ENTRIES)
    }

    pub const fn plus(self, more: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(more.bytes),
            entries: self.entries.saturating_add(more.entries),
            closed: self.closed.saturating_add(more.closed),
        }
    }

    pub const fn minus(self, less: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(less.bytes),
            entries: self.entries.saturating_sub(less.entries),
            closed: self.closed.saturating_sub(less.closed),
        }
    }

    /// Of each the larger one.
    pub fn at_least(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.max(other.bytes),
            entries: self.entries.max(other.entries),
            closed: self.closed.max(other.closed),
        }
    }

    pub const fn exceeds(self, most: Self) -> bool {
        self.bytes > most.bytes || self.entries > most.entries || self.closed > most.closed
    }
}

/// A walk through trees, under way.
#[derive(Debug)]
pub struct Measure {
    /// Yet to be walked through.
    roots: Vec<OwnedFd>,
    walk: Option<Walk>,
    /// Files with several names, which count once.
    linked: HashSet<(u64, u64)>,
    seen: Extent,
}

impl Measure {
    pub fn of(roots: Vec<OwnedFd>) -> Self {
        Self { roots, walk: None, linked: HashSet::new(), seen: Extent::default() }
    }

    /// What was seen so far.
    pub const fn seen(&self) -> Extent {
        self.seen
    }

    /// Whether more than that was seen so far.
    pub const fn exceeds(&self, most: Extent) -> bool {
        self.seen.exceeds(most)
    }

    /// Looks at `entries` more; true at the end. What disappears meanwhile is not counted.
    pub fn go_on(&mut self, entries: usize) -> bool {
        for _ in 0..entries {
            let Some(walk) = &mut self.walk else {
                let Some(root) = self.roots.pop() else { return true };
                match Walk::new(root) {
                    Ok(walk) => self.walk = Some(walk),
                    Err(_) => self.seen.closed += 1,
                }
                continue;
            };
            match walk.step() {
                Step::Entry(_, stat) => self.count(&stat),
                Step::Closed(_) => self.seen.closed += 1,
                Step::Nothing => {}
                Step::End => self.walk = None,
            }
        }
        false
    }

    fn count(&mut self, stat: &Stat) {
        self.seen.entries += 1;
        let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let again = !directory && stat.st_nlink > 1 && !self.linked.insert((stat.st_dev, stat.st_ino));
        if !again {
            self.seen.bytes += u64::try_from(stat.st_blocks).unwrap_or(0) * BLOCK;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::Write as _,
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    use rustix::fs::{Mode, OFlags};

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
        assert!(measure.exceeds(Extent::new(u64::MAX, 3)));
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
    fn what_no_path_reaches_counts_and_is_no_end_by_itself() {
        let root = tempfile::tempdir().unwrap();
        let mut at = OwnedFd::from(File::open(root.path()).unwrap());
        let name = "d".repeat(250);
        for n in 0..300 {
            // Two beside each other at each level: the walk has to find its way back.
            for name in [name.as_str(), "other"] {
                rustix::fs::mkdirat(&at, name, Mode::RWXU).unwrap();
            }
            if n == 299 {
                let flags = OFlags::CREATE | OFlags::WRONLY;
                let file = rustix::fs::openat(&at, "file", flags, Mode::RWXU).unwrap();
                File::from(file).write_all(&vec![1; 1 << 20]).unwrap();
            }
            at = rustix::fs::openat(&at, name.as_str(), OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        let measure = measured(root.path());
        assert_eq!((measure.seen().entries, measure.seen().closed), (601, 0));
        assert!(measure.seen().bytes >= 1 << 20);
        assert!(!measure.exceeds(measure.seen()));
        crate::workspace::remove_tree(root.path()).unwrap();
    }

    #[test]
    fn what_its_owner_closed_counts() {
        let root = tempfile::tempdir().unwrap();
        for (n, mode) in [0o300, 0o400, 0].into_iter().enumerate() {
            let closed = root.path().join(n.to_string());
            std::fs::create_dir(&closed).unwrap();
            std::fs::write(closed.join("file"), vec![1; 1 << 20]).unwrap();
            std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let seen = measured(root.path()).seen();
        assert_eq!((seen.entries, seen.closed), (6, 0));
        assert!(seen.bytes >= 3 << 20);
    }

    #[test]
    fn only_what_may_be_decides_what_is_too_much() {
        let before = Extent { bytes: 10, entries: ENTRIES + 5, closed: 1 };
        let most = Extent::of_bytes(100).at_least(before);
        assert!(!before.exceeds(most));
        for more in [Extent::new(91, 0), Extent::new(0, 1), Extent { closed: 1, ..Extent::default() }] {
            assert!(before.plus(more).exceeds(most), "{more:?}");
        }
    }
}
