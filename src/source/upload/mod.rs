//! Uploaded sources: tar.gz archives, walked on receipt, unpacked by the runner.

use std::{io::Read, os::fd::BorrowedFd};

use crate::domain::Digest;

/// What an archive holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadInfo {
    /// SHA-256 of the archive as it was sent.
    pub digest: Digest,
    /// Bytes as it was sent.
    pub size: u64,
    pub entries: u64,
    /// Bytes of all files.
    pub unpacked: u64,
}

/// Why an archive is refused.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    #[error("{0}")]
    Refused(String),
}

/// Walks an archive to its end without writing anything.
pub fn inspect(archive: impl Read) -> Result<UploadInfo, UploadError> {
    let _ = archive;
    unimplemented!()
}

/// Unpacks an archive into an empty directory, by the same rules as [`inspect`], and gives every
/// entry to `owner` (uid and gid). An archive that is not the one that `digest` names is an error
/// after the fact: the caller throws the directory away.
pub fn unpack(
    archive: impl Read,
    into: BorrowedFd<'_>,
    owner: Option<u32>,
    digest: &Digest,
) -> Result<UploadInfo, UploadError> {
    let _ = (archive, into, owner, digest);
    unimplemented!()
}
