//! Which addresses a git source may have.

use std::path::{Path, PathBuf};

/// A checked address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Https(String),
    /// `ssh://user@host/path` or `user@host:path`.
    Ssh(String),
    /// Absolute. Still to be held against the operator's list: [`local_repository`].
    Local(PathBuf),
}

/// Why an address is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("{0}")]
    Refused(String),
}

impl Address {
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        Err(AddressError::Refused(text.to_owned()))
    }
}

/// The directory behind a local address, links resolved, if it lies below a listed directory.
pub fn local_repository(path: &Path, local_sources: &[PathBuf]) -> Result<PathBuf, AddressError> {
    let _ = (path, local_sources);
    unimplemented!()
}
