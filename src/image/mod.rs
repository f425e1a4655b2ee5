//! Images: archives of other systems' roots, unpacked once, shown to jails read-only.
//!
//! Understood are what `docker save` writes, OCI image layouts (as tar), and a plain tar of a root; each
//! of them, and each layer, plain, gzip or zstd. What an archive holds is a stranger's: it is bounded in
//! entries and bytes, its blobs are held against their digests, devices are refused, no set-user-id bit
//! survives, and the kernel itself resolves every path within the root ([`layer`]).
//!
//! Must not know: the store, who asked, what an image is for.

mod archive;
mod error;
mod layer;

#[cfg(test)]
mod tests;

use std::{fs::File, os::fd::BorrowedFd, path::Path};

pub use error::ImageError;

use crate::domain::limits;

/// Bytes of a layer's extended headers: some writers give every entry one.
const EXTENDED_BYTES: u64 = limits::IMAGE_ENTRIES * 4_096;

/// What was unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageInfo {
    pub layers: u32,
    /// Entries of all layers, those included that a later one took away.
    pub entries: u64,
    /// Bytes of all files of all layers.
    pub bytes: u64,
}

/// Unpacks the image of an archive into an empty directory. After an error the caller throws the
/// directory away. An archive that is compressed as a whole needs room in `scratch`.
pub fn unpack(archive: &File, scratch: &Path, into: BorrowedFd<'_>) -> Result<ImageInfo, ImageError> {
    let mut root = layer::Root::new(into);
    let mut layers = 0;
    archive::layers(archive, scratch, &mut |layer| {
        layers += 1;
        root.apply(layer)
    })?;
    root.check()?;
    Ok(ImageInfo { layers, entries: root.entries(), bytes: root.bytes() })
}
