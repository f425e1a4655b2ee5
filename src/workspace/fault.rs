//! What can go wrong with a workspace.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{Open, SealReport, Sealed, Workspace};
use crate::domain::limits;

/// Why a workspace could not be made, sealed, opened or removed.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("cannot {doing} {}: {source}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("no space left to {doing} {}; free some and try again", path.display())]
    Full { doing: &'static str, path: PathBuf },
    #[error("{} is there already", path.display())]
    Exists { path: PathBuf },

    #[error("the workspace holds {what}, which cannot be sealed: {}; remove it before the phase ends", path.display())]
    Special { what: &'static str, path: PathBuf },
    #[error("the workspace is nested deeper than {most} directories: {}…", path.display(), most = limits::WORKSPACE_DEPTH)]
    TooDeep { path: PathBuf },
    #[error("the workspace has more than {most} files, directories and links", most = limits::WORKSPACE_ENTRIES)]
    TooMany,
    #[error("{} changed while it was being sealed", path.display())]
    Changed { path: PathBuf },
    #[error("{} lies on another file system than the workspace", path.display())]
    OtherFileSystem { path: PathBuf },

    #[error("there is no sealed workspace at {}", path.display())]
    Missing { path: PathBuf },
    #[error("the erase key {} is gone: the workspace was discarded or restored from a backup, and can never be opened", path.display())]
    NoEraseKey { path: PathBuf },
    #[error("{} is not a sealed workspace", path.display())]
    NotSealed { path: PathBuf },
    #[error("{} was sealed by a newer version of Airlock (format {version})", path.display())]
    Newer { path: PathBuf, version: u16 },
    #[error("{} belongs to another {what}: {found} instead of {expected}", path.display())]
    Another { path: PathBuf, what: &'static str, found: String, expected: String },
    #[error("{} does not verify: its header is damaged, or it was sealed with another key", path.display())]
    WrongKey { path: PathBuf },
    #[error("{} is damaged at chunk {chunk}; nothing of it was used", path.display())]
    Damaged { path: PathBuf, chunk: u32 },
    #[error("{} is cut short after {chunks} whole chunks; nothing of it was used", path.display())]
    Truncated { path: PathBuf, chunks: u32 },
    #[error("the sealed archive breaks its own rules: {why}; nothing of it was used")]
    Malformed { why: &'static str },
}

/// Why sealing did not end with a sealed workspace alone.
#[derive(Debug, thiserror::Error)]
pub enum SealFailed {
    /// Nothing was sealed; the plain tree is as it was.
    #[error("the workspace was not sealed and is kept: {fault}")]
    Kept { workspace: Workspace<Open>, fault: Box<Fault> },
    /// The sealed file is complete, but something of the plain tree is still there.
    #[error("the workspace is sealed, but its plain files could not all be removed: {fault}")]
    Remains { workspace: Box<Workspace<Sealed>>, report: SealReport, fault: Box<Fault> },
}

impl Fault {
    /// An I/O error with what was being done to which path.
    pub(super) fn io(doing: &'static str, path: impl AsRef<Path>, source: impl Into<io::Error>) -> Self {
        let (path, source) = (path.as_ref().to_path_buf(), source.into());
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { doing, path },
            _ => Self::Io { doing, path, source },
        }
    }
}
