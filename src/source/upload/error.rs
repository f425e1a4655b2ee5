//! Why an archive is refused.

use std::io;

use crate::{
    archive::ArchiveError,
    domain::{limits, verdict::bytes},
};

/// Why an archive is refused, with the name of the entry that is wrong.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    #[error("the upload is empty; send a tar.gz")]
    NothingSent,
    #[error("the upload is not gzip; send a tar.gz (`tar -czf source.tar.gz .`)")]
    NotGzip,
    #[error("the archive is cut off after `{after}`; send it again")]
    CutOff { after: String },
    #[error("the archive is damaged after `{after}`: {why}")]
    Damaged { after: String, why: String },
    #[error("the archive holds no files")]
    Empty,
    #[error("the archive goes on after its end")]
    TrailingData,
    #[error("the archive is larger than {}", bytes(limits::SOURCE_BYTES))]
    TooLarge,
    #[error("with `{entry}` the archive unpacks to more than {}", bytes(limits::SOURCE_UNPACKED_BYTES))]
    UnpacksTooLarge { entry: String },
    #[error("`{entry}` is one entry too many; at most {} are allowed", limits::SOURCE_ENTRIES)]
    TooMany { entry: String },
    #[error("at `{entry}` the names in the archive exceed {}", bytes(super::tree::NAMES_BYTES as u64))]
    NamesTooLarge { entry: String },
    #[error("the name of `{entry}` is too long")]
    NameTooLong { entry: String },
    #[error("`{entry}` is absolute; names must be relative")]
    Absolute { entry: String },
    #[error("`{entry}` holds `..`")]
    Upwards { entry: String },
    #[error("an entry has no name")]
    Nameless,
    #[error("`{entry}` links out of the archive, to `{target}`")]
    LinksOut { entry: String, target: String },
    #[error("`{entry}` is a hard link to `{target}`, which is no file before it in the archive")]
    LinksToNothing { entry: String, target: String },
    #[error("`{entry}` is a link without a target")]
    NoTarget { entry: String },
    #[error("the links of the archive lead through too many others (at `{entry}`)")]
    TangledLinks { entry: String },
    #[error("`{entry}` lies below `{above}`, which is not a directory")]
    BelowNoDirectory { entry: String, above: String },
    #[error("`{entry}` is in the archive twice, as different things")]
    Twice { entry: String },
    #[error("`{entry}` is a {what}; only files, directories and links are allowed")]
    Special { entry: String, what: &'static str },
    #[error("`{entry}` is stored as a sparse file; make the archive without --sparse")]
    Sparse { entry: String },
    #[error("the stored archive is not the one that was asked for ({found} instead of {expected})")]
    Other { expected: String, found: String },
    #[error("the archive cannot be read: {0}")]
    Read(#[source] io::Error),
    #[error("`{entry}` cannot be written ({call}): {error}")]
    Write { entry: String, call: &'static str, error: io::Error },
}

impl UploadError {
    /// Whether the archive is to blame, rather than the machine.
    pub const fn is_refusal(&self) -> bool {
        !matches!(self, Self::Read(_) | Self::Write { .. } | Self::Other { .. })
    }
}

impl From<ArchiveError> for UploadError {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::CutOff { after } => Self::CutOff { after },
            ArchiveError::Damaged { after, why } => Self::Damaged { after, why: why.to_owned() },
            ArchiveError::Read { after, error } if error.kind() == io::ErrorKind::UnexpectedEof => {
                Self::CutOff { after }
            }
            // What the layers below know better: see `stream`.
            ArchiveError::Read { after, error } => {
                error.downcast::<Self>().unwrap_or_else(|error| Self::Damaged { after, why: error.to_string() })
            }
        }
    }
}
