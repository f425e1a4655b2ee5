//! Uploaded sources: tar.gz archives, walked on receipt, unpacked by the runner.
//!
//! One walk serves both, so that what was accepted is what is unpacked. It reads a stream once, keeps
//! nothing but the entries' names, and refuses an archive with the name of the entry that is wrong:
//! one that is absolute, has `..`, links out of the tree (symlinks are resolved through each other),
//! lies below a link, is a device, is one too many or too large.

mod error;
mod stream;
mod tree;
mod unpack;
mod walk;

#[cfg(test)]
mod tests;

use std::{io::Read, os::fd::BorrowedFd};

pub use error::UploadError;

use crate::domain::Digest;

/// What an archive holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadInfo {
    /// SHA-256 of the archive as it was sent.
    pub digest: Digest,
    /// Bytes as it was sent.
    pub size: u64,
    /// Files, directories and links, directories that are only implied included.
    pub entries: u64,
    /// Bytes of all files.
    pub unpacked: u64,
}

/// What an archive holds, and the beginnings of some of its files, by path.
pub type Inspected = (UploadInfo, Vec<(String, Vec<u8>)>);

/// Walks an archive to its end without writing anything.
pub fn inspect(archive: impl Read) -> Result<UploadInfo, UploadError> {
    Ok(inspect_and_read(archive, &[], 0)?.0)
}

/// As [`inspect`]. Of the files that are `wanted` it gives the
/// first `most` bytes; what is a link to elsewhere there is not followed.
pub fn inspect_and_read(archive: impl Read, wanted: &[&str], most: usize) -> Result<Inspected, UploadError> {
    let mut looking = walk::Looking::new(wanted, most);
    let info = walk::walk(archive, &mut looking)?;
    Ok((info, looking.found()))
}

/// Unpacks an archive into an empty directory, by the same rules as [`inspect`], and gives every
/// entry to `owner` (uid and gid). Modes keep their permission bits (the owner can always read and
/// write), never set-user-id and its like; a single directory at the top stays.
///
/// An archive that is not the one that `digest` names is an error after the fact: the caller throws
/// the directory away, as after any error.
pub fn unpack(
    archive: impl Read,
    into: BorrowedFd<'_>,
    owner: Option<u32>,
    digest: &Digest,
) -> Result<UploadInfo, UploadError> {
    let info = walk::walk(archive, &mut unpack::Writer::new(into, owner))?;
    if info.digest == *digest {
        Ok(info)
    } else {
        Err(UploadError::Other { expected: digest.short(), found: info.digest.short() })
    }
}
