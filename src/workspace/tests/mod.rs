//! What every test of workspaces needs: a place, terms, a picture of a tree.

mod crash;
mod damage;
mod figures;
mod hostile;
mod removing;
mod round_trip;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{FileType, SeekFrom};
use tempfile::TempDir;

use super::{Binding, Fault, Open, SealFailed, SealPaths, SealReport, SealTerms, Sealed, Workspace};
use crate::{
    crypt::{Key, digest},
    domain::{CommitSha, Digest, RunId, StackId},
};

/// A data directory of its own.
pub(super) struct Place {
    pub(super) dir: TempDir,
}

impl Place {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sealed")).unwrap();
        Self { dir }
    }

    pub(super) fn tree(&self) -> PathBuf {
        self.dir.path().join("tree")
    }

    pub(super) fn sealed(&self) -> PathBuf {
        self.dir.path().join("sealed")
    }

    pub(super) fn terms(&self, run: u128) -> SealTerms {
        terms_in(&self.sealed(), run)
    }

    pub(super) fn create(&self) -> Workspace<Open> {
        Workspace::create(&self.tree(), None).unwrap()
    }

    /// A sealed workspace that holds one file.
    pub(super) fn sealed_with(&self, content: &[u8]) -> (Workspace<Sealed>, SealReport) {
        let workspace = self.create();
        fs::write(workspace.tree().join("workspace/main.tf"), content).unwrap();
        workspace.seal(self.terms(1)).unwrap()
    }

    /// Names in the directory of sealed workspaces.
    pub(super) fn names(&self) -> Vec<OsString> {
        let mut names: Vec<_> = fs::read_dir(self.sealed()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    /// Names beside the tree.
    pub(super) fn beside(&self) -> Vec<OsString> {
        let mut names: Vec<_> =
            fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }
}

/// The terms of run number `run`, sealed in `dir`.
pub(super) fn terms_in(dir: &Path, run: u128) -> SealTerms {
    let run = RunId::from_number(run);
    SealTerms {
        paths: SealPaths { sealed: dir.join(format!("{run}.sealed")), erase: dir.join(format!("{run}.key")) },
        record_key: Key::new([0x42; 32]),
        binding: Binding {
            run,
            stack: StackId::from_number(7),
            commit: Some(CommitSha::new("c".repeat(40)).unwrap()),
            plan: Some(Digest::from_bytes([0xd1; 32])),
        },
    }
}

/// All that a tree's entry is supposed to keep.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Facts {
    kind: u32,
    mode: u32,
    mtime: (i64, i64),
    size: u64,
    content: Option<Digest>,
    target: Option<PathBuf>,
    attributes: BTreeMap<OsString, Vec<u8>>,
    /// The first of all names of a file.
    first_name: Option<PathBuf>,
}

/// Everything below `tree`, by path.
pub(super) fn picture(tree: &Path) -> BTreeMap<PathBuf, Facts> {
    let mut found = BTreeMap::new();
    collect(tree, tree, &mut found);
    let mut first_names = BTreeMap::new();
    for (path, facts) in &mut found {
        let stat = fs::symlink_metadata(tree.join(path)).unwrap();
        if stat.nlink() > 1 && stat.is_file() {
            facts.first_name = Some(first_names.entry(stat.ino()).or_insert_with(|| path.clone()).clone());
        }
    }
    found
}

fn collect(top: &Path, dir: &Path, found: &mut BTreeMap<PathBuf, Facts>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let stat = fs::symlink_metadata(&path).unwrap();
        let facts = Facts {
            kind: FileType::from_raw_mode(stat.mode()).as_raw_mode(),
            mode: stat.mode() & 0o7777,
            mtime: (stat.mtime(), stat.mtime_nsec()),
            size: if stat.is_file() { stat.len() } else { 0 },
            content: (stat.is_file() && stat.len() < 8 << 20).then(|| digest(&fs::read(&path).unwrap())),
            target: stat.is_symlink().then(|| fs::read_link(&path).unwrap()),
            attributes: if stat.is_symlink() { BTreeMap::new() } else { attributes(&path) },
            first_name: None,
        };
        found.insert(path.strip_prefix(top).unwrap().into(), facts);
        if stat.is_dir() {
            collect(top, &path, found);
        }
    }
}

fn attributes(path: &Path) -> BTreeMap<OsString, Vec<u8>> {
    use std::os::unix::ffi::OsStringExt as _;
    let mut names = vec![0; 65_536];
    let length = rustix::fs::listxattr(path, names.as_mut_slice()).unwrap();
    names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| name.starts_with(b"user."))
        .map(|name| {
            let mut value = vec![0; 65_536];
            let length = rustix::fs::getxattr(path, name, value.as_mut_slice()).unwrap();
            value.truncate(length);
            (OsString::from_vec(name.to_vec()), value)
        })
        .collect()
}

/// Bytes of a file that are not holes.
pub(super) fn data_bytes(path: &Path) -> u64 {
    let file = fs::File::open(path).unwrap();
    let (mut at, mut bytes) = (0, 0);
    while let Ok(from) = rustix::fs::seek(&file, SeekFrom::Data(at)) {
        at = rustix::fs::seek(&file, SeekFrom::Hole(from)).unwrap();
        bytes += at - from;
    }
    bytes
}

pub(super) fn as_root(why: &str) {
    assert!(rustix::process::geteuid().is_root(), "this test needs root ({why}): run it as root");
}

pub(super) fn kept(failed: SealFailed) -> (Workspace<Open>, Fault) {
    match failed {
        SealFailed::Kept { workspace, fault } => (workspace, *fault),
        SealFailed::Remains { fault, .. } => panic!("the plain tree was touched: {fault}"),
    }
}
