//! Plain trees: making, checking, measuring, discarding.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt as _, chown},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags},
    io::Errno,
};

use super::{Fault, Size, remove::remove_tree};
use crate::domain::limits;

/// What the tree of an open workspace holds.
const ROOMS: [&str; 2] = ["workspace", "run"];

pub(super) fn create(tree: &Path, uid: Option<u32>) -> Result<(), Fault> {
    make_private(tree)?;
    for room in ROOMS {
        let room = tree.join(room);
        make_private(&room)?;
        if uid.is_some() {
            chown(&room, uid, uid).map_err(|error| Fault::io("give away", &room, error))?;
        }
    }
    Ok(())
}

pub(super) fn check(tree: &Path) -> Result<(), Fault> {
    for dir in [tree.to_path_buf()].into_iter().chain(ROOMS.map(|room| tree.join(room))) {
        let found = fs::symlink_metadata(&dir).map_err(|error| Fault::io("find", &dir, error))?;
        if !found.is_dir() {
            return Err(Fault::io("enter", &dir, io::Error::from(io::ErrorKind::NotADirectory)));
        }
    }
    Ok(())
}

/// A new directory that only this user may enter.
pub(super) fn make_private(dir: &Path) -> Result<(), Fault> {
    DirBuilder::new().mode(0o700).create(dir).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Fault::Exists { path: dir.into() },
        _ => Fault::io("create", dir, error),
    })
}

/// Removes a tree with all that was left beside it. It loses its name first, so that half a tree is
/// never taken for a whole one.
pub(super) fn discard(tree: &Path) -> Result<(), Fault> {
    let removing = with_suffix(tree, ".removing");
    remove_tree(&removing)?;
    match fs::rename(tree, &removing) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Fault::io("rename", tree, error)),
        _ => {}
    }
    remove_tree(&removing)?;
    remove_tree(&opening(tree))?;
    sync_parent(tree)
}

/// Where a tree is unpacked before it gets its name.
pub(super) fn opening(tree: &Path) -> PathBuf {
    with_suffix(tree, ".opening")
}

pub(super) fn sync_parent(path: &Path) -> Result<(), Fault> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(|error| Fault::io("sync", parent, error))
}

/// Commands may be at work in the tree: what vanishes meanwhile does not count.
pub(super) fn size(tree: &Path) -> Result<Size, Fault> {
    let mut size = Size::default();
    let mut counted = HashSet::new();
    let top = open_dir(CWD, tree).map_err(|error| Fault::io("open", tree, error))?;
    let mut levels = vec![top];
    while let Some(level) = levels.last_mut() {
        let Some(entry) = level.read() else {
            levels.pop();
            continue;
        };
        let entry = entry.map_err(|error| Fault::io("read", tree, error))?;
        let name = entry.file_name();
        if is_dot(name) {
            continue;
        }
        let dir = level.fd().map_err(|error| Fault::io("read", tree, error))?;
        let Ok(stat) = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        size.entries += 1;
        if is_dir || stat.st_nlink == 1 || counted.insert(stat.st_ino) {
            size.disk_bytes += stat.st_blocks.cast_unsigned() * 512;
        }
        if is_dir && let Ok(inner) = open_dir(dir, name) {
            levels.push(inner);
        }
        if levels.len() > limits::WORKSPACE_DEPTH {
            return Err(Fault::TooDeep { path: tree.into() });
        }
    }
    Ok(size)
}

fn open_dir(at: impl rustix::fd::AsFd, name: impl rustix::path::Arg) -> Result<Dir, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Dir::new(rustix::fs::openat(at, name, flags, Mode::empty())?)
}

/// The entries that every directory has.
pub(super) fn is_dot(name: &std::ffi::CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}
