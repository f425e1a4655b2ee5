//! Making a sealed workspace unreadable for ever, and tidying after a crash.
//!
//! Erasing overwrites the erase secret: whatever copies of the sealed file, of old database pages or
//! of backups survive, the data key cannot be derived any more. Not covered: blocks that an SSD or a
//! copying file system keeps of the overwritten secret, and snapshots.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::{Fault, SealPaths, sealed_file::ERASE_BYTES, tree::sync_parent};
use crate::domain::RunId;

/// What [`recover`] tidied.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Files that were removed, by name.
    pub removed: Vec<OsString>,
}

/// Overwrites, fsyncs and unlinks the erase secret, then unlinks the sealed file, then fsyncs the
/// directory. What is gone already stays gone.
pub fn erase(paths: &SealPaths) -> Result<(), Fault> {
    let overwritten = overwrite(&paths.erase);
    let mut any = unlink(&paths.erase)?;
    // Only now: a secret that could not be overwritten is at least unlinked.
    overwritten?;
    any |= unlink(&paths.sealed)?;
    any |= unlink(&beside(&paths.sealed))?;
    if any { sync_parent(&paths.sealed) } else { Ok(()) }
}

/// Tidies a directory of sealed workspaces: half-written files, and erase secrets without a sealed
/// file. Files of runs that `is_live` knows are left alone, because a runner may be at work on them.
/// A sealed file without a secret stays, too: opening it says best what happened to it.
pub fn recover(dir: &Path, is_live: impl Fn(RunId) -> bool) -> Result<Recovered, Fault> {
    let mut recovered = Recovered::default();
    for entry in fs::read_dir(dir).map_err(|error| Fault::io("read", dir, error))? {
        let path = entry.map_err(|error| Fault::io("read", dir, error))?.path();
        if run_of(&path).is_none_or(&is_live) || !is_left_over(&path) {
            continue;
        }
        if path.extension() == Some(OsStr::new("key")) {
            overwrite(&path)?;
        }
        if unlink(&path)? {
            recovered.removed.extend(path.file_name().map(OsString::from));
        }
    }
    if !recovered.removed.is_empty() {
        sync_parent(&dir.join("."))?;
    }
    Ok(recovered)
}

/// Where a sealed file is written before it gets its name.
pub(super) fn beside(sealed: &Path) -> PathBuf {
    let mut name = OsString::from(sealed);
    name.push(".tmp");
    name.into()
}

/// The run whose file this is, by its name.
fn run_of(path: &Path) -> Option<RunId> {
    path.file_name()?.to_str()?.split_once('.')?.0.parse().ok()
}

fn is_left_over(path: &Path) -> bool {
    match path.extension().and_then(OsStr::to_str) {
        Some("tmp") => true,
        Some("key") => !path.with_extension("sealed").exists(),
        _ => false,
    }
}

fn overwrite(path: &Path) -> Result<(), Fault> {
    let nofollow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let mut file = match OpenOptions::new().write(true).custom_flags(nofollow).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened.map_err(|error| Fault::io("open", path, error))?,
    };
    let overwritten = file.write_all(&[0; ERASE_BYTES]).and_then(|()| file.sync_all());
    overwritten.map_err(|error| Fault::io("overwrite", path, error))
}

/// Whether there was something to unlink.
fn unlink(path: &Path) -> Result<bool, Fault> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Fault::io("remove", path, error)),
    }
}
