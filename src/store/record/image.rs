//! Imported images, and what runs are pinned to.

use serde::{Deserialize, Serialize};

use crate::domain::{Digest, ImageName, Timestamp, actor::ActorName};

/// A root that jails can have. It lies unpacked in `images/<digest>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    pub name: ImageName,
    /// Of the archive as it was sent.
    pub digest: Digest,
    pub layers: u32,
    pub entries: u64,
    /// Of all files of all layers.
    pub bytes: u64,
    pub imported_at: Timestamp,
    pub imported_by: ActorName,
}

/// The root that a run's jails have, whatever its name and the stack's settings say meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedImage {
    pub name: String,
    /// None: the host's own root.
    pub digest: Option<Digest>,
}
