//! The script that fetches a git source.

use std::collections::BTreeMap;

use crate::{
    domain::{BranchName, CommitSha},
    source::git::Address,
};

/// What is to be fetched.
#[derive(Debug)]
pub struct Request<'a> {
    pub address: &'a Address,
    /// Where the jail sees the repository of a local address.
    pub local: Option<&'a str>,
    pub branch: &'a BranchName,
    /// None: the branch's head.
    pub commit: Option<&'a CommitSha>,
    pub submodules: bool,
    pub credential: Option<Credential<'a>>,
    /// The empty directory that becomes the workspace, as the jail sees it.
    pub into: &'a str,
}

/// What the remote asks for.
#[derive(Clone, Copy)]
pub enum Credential<'a> {
    Https { user: &'a str, token: &'a str },
    Ssh { private_key: &'a str, known_hosts: &'a str },
}

impl std::fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Https { .. } => "Https(…)",
            Self::Ssh { .. } => "Ssh(…)",
        })
    }
}

/// One `sh` that fetches. Its report comes on descriptor 3; give it to [`fetched`].
///
/// `environment` may hold the credential: it is for the process alone, never for a log.
#[derive(Clone, PartialEq, Eq)]
pub struct FetchScript {
    pub text: String,
    pub arguments: Vec<String>,
    /// Added to a phase's base environment (PATH, HOME, TMPDIR, LANG).
    pub environment: BTreeMap<String, String>,
}

/// Why a source could not be fetched: a sentence, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    #[error("{0}")]
    Other(String),
}

pub fn script(request: &Request<'_>) -> FetchScript {
    let _ = request;
    unimplemented!()
}

/// What the script reported: the commit that is checked out, or why there is none.
pub fn fetched(request: &Request<'_>, reported: &[u8]) -> Result<CommitSha, FetchError> {
    let _ = (request, reported);
    unimplemented!()
}
