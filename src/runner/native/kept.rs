//! Directories that runs fill and that stay for later ones.
//!
//! Whatever lies in them was put there by a run, and another one may be changing it at this moment. So
//! no path is looked up in them: each component is opened by itself, in the mount namespace of the
//! jail that it is for, and what is mounted is the descriptor that this led to. A link is an error.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, fchmod, mkdirat, openat, openat2},
    io::Errno,
    mount::{MountAttrFlags, OpenTreeFlags, open_tree},
};

use super::{
    sys,
    wire::{Doing, Failure},
};
use crate::domain::RelativePath;

/// Everybody may do everything in it.
const SHARED: Mode = Mode::from_bits_retain(0o777);
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The directory at `path` in the kept one at `host`, made where it is missing, as a mount that is not
/// attached yet.
pub(super) fn copy_of(host: &Path, path: &RelativePath, attributes: MountAttrFlags) -> Result<OwnedFd, Failure> {
    let kept = openat(CWD, host, DIRECTORY, Mode::empty()).doing("open it")?;
    let dir = walk(kept, path)?;
    // For every uid of the stack's runs; nobody else can reach it.
    fchmod(&dir, SHARED).doing("open it for the run's user")?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let copy = open_tree(&dir, c"", flags).doing("copy it")?;
    sys::mount_setattr(copy.as_fd(), attributes, false).doing("restrict it")?;
    Ok(copy)
}

/// Opens each component in what the one before led to.
fn walk(kept: OwnedFd, path: &RelativePath) -> Result<OwnedFd, Failure> {
    let names = path.as_str().split('/').filter(|name| !name.is_empty());
    names.into_iter().try_fold(kept, |at, name| step(&at, name).doing(&format!("open the directory `{name}`")))
}

fn step(at: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    match mkdirat(at, name, SHARED) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(at, name, DIRECTORY, Mode::empty(), resolve)
}
