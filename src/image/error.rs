//! Why an archive is no image.

use std::io;

use crate::{
    archive::ArchiveError,
    domain::{limits, verdict::bytes},
};

#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("the archive is neither a root as tar, nor what `docker save` writes, nor an OCI layout: {0}")]
    NotAnImage(String),
    #[error("the archive holds {0} images; save one alone")]
    Several(usize),
    #[error("the archive has no image for this machine (linux/{0})")]
    OtherMachine(&'static str),
    #[error("the archive lacks `{0}`, which it names")]
    Missing(String),
    #[error("`{what}` does not have the digest that it is named by: the archive is damaged")]
    Damaged { what: String },
    #[error("the archive is cut off or damaged after `{after}`: {why}")]
    Broken { after: String, why: String },
    #[error("`{entry}` is a {what}; images may hold files, directories and links")]
    Special { entry: String, what: &'static str },
    #[error("the name `{entry}` cannot be used: {why}")]
    Name { entry: String, why: &'static str },
    #[error("`{entry}` is a hard link to `{target}`, which is no file of the image")]
    LinksToNothing { entry: String, target: String },
    #[error("`{entry}` is one entry too many; at most {} are allowed", limits::IMAGE_ENTRIES)]
    TooMany { entry: String },
    #[error("the image has more than {} layers", limits::IMAGE_LAYERS)]
    TooManyLayers,
    #[error("with `{entry}` the image unpacks to more than {}", bytes(limits::IMAGE_UNPACKED_BYTES))]
    TooLarge { entry: String },
    #[error("the image has no /bin/sh, and everything that runs in it is run by that")]
    NoShell,
    #[error("the disk has no room for `{entry}`")]
    NoRoom { entry: String },
    #[error("`{entry}` cannot be unpacked ({call}): {error}")]
    Write { entry: String, call: &'static str, error: io::Error },
    #[error("the archive cannot be read: {0}")]
    Read(#[source] io::Error),
}

impl ImageError {
    /// Whether the archive is to blame, rather than the machine.
    pub const fn is_refusal(&self) -> bool {
        !matches!(self, Self::Read(_) | Self::Write { .. } | Self::NoRoom { .. })
    }
}

impl From<ArchiveError> for ImageError {
    fn from(error: ArchiveError) -> Self {
        let (after, why) = match error {
            ArchiveError::Read { after, error } => (after, error.to_string()),
            ArchiveError::CutOff { after } => (after, "it is cut off".to_owned()),
            ArchiveError::Damaged { after, why } => (after, why.to_owned()),
        };
        Self::Broken { after, why }
    }
}
