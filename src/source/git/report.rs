//! What the fetching script reported: a commit, or why there is none.

use super::Request;
use crate::domain::{
    CommitSha, Timestamp, limits,
    run::{CommitFacts, Signature},
};

/// Characters of git's own words that an error repeats.
const SAID_CHARS: usize = 300;

/// Why a source could not be fetched: a sentence, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    #[error("the source's credential cannot be used: {0}")]
    BadCredential(&'static str),
    #[error("there is no `git` where sources are fetched; install it on the host")]
    NoGit,
    #[error("there is no `ssh` where sources are fetched; install it on the host, or use an https address")]
    NoSsh,
    #[error("the host of {address} is not known; check the address and the host's name service")]
    UnknownHost { address: String },
    #[error("{address} cannot be reached: {said}")]
    Unreachable { address: String, said: String },
    #[error("{address} broke off or was too slow: {said}")]
    BrokenOff { address: String, said: String },
    #[error("the certificate of {address} is not trusted: {said}")]
    Certificate { address: String, said: String },
    #[error("{address} wants a credential; store one and name it in the stack's source")]
    CredentialWanted { address: String },
    #[error("{address} refused the stored credential; check that it is valid and may read the repository")]
    CredentialRefused { address: String },
    #[error("the stored ssh key for {address} cannot be read; it must be a private key without a passphrase")]
    BadKey { address: String },
    #[error(
        "the host key of {address} is not the known one; compare it, then put its line into the credential's known_hosts"
    )]
    HostKey { address: String },
    #[error("there is no repository at {address}, or it may not be seen (credential, permissions)")]
    NoRepository { address: String },
    #[error("{address} cannot be read by the run's user; check the directory's permissions")]
    NotReadable { address: String },
    #[error("{address} has no branch `{branch}`")]
    NoBranch { address: String, branch: String },
    #[error("{address} has no commit {commit} (any more); it was removed from branch `{branch}` or never pushed")]
    NoCommit { address: String, branch: String, commit: String },
    #[error("a submodule uses a kind of address that is not allowed; only https:// and ssh:// are: {said}")]
    SubmoduleAddress { said: String },
    #[error("a submodule cannot be fetched: {0}")]
    Submodule(Box<Self>),
    #[error("the source does not fit: no space, or larger than the workspace may be: {said}")]
    NoSpace { said: String },
    #[error("the workspace cannot be written: {said}")]
    Workspace { said: String },
    #[error("fetching {address} failed: {said}")]
    Other { address: String, said: String },
    #[error("fetching {address} ended without a result")]
    NothingReported { address: String },
}

/// What is checked out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    pub commit: CommitSha,
    /// None where git did not say.
    pub facts: Option<CommitFacts>,
}

/// What the script reported: the commit that is checked out, or why there is none.
pub fn fetched(request: &Request<'_>, reported: &[u8]) -> Result<Fetched, FetchError> {
    let reported = String::from_utf8_lossy(reported);
    let (first, said) = reported.split_once('\n').unwrap_or_default();
    let address = request.address.to_string();
    if let Some(commit) = first.strip_prefix("commit ") {
        let commit = CommitSha::new(commit).map_err(|_| FetchError::NothingReported { address })?;
        return Ok(Fetched { commit, facts: facts(said) });
    }
    Err(match first.strip_prefix("failed ").unwrap_or_default() {
        "git" => FetchError::NoGit,
        "ssh" => FetchError::NoSsh,
        "branch" => FetchError::NoBranch { address, branch: request.branch.to_string() },
        "commit" => FetchError::NoCommit {
            address,
            branch: request.branch.to_string(),
            commit: request.commit.map_or("", CommitSha::short).to_owned(),
        },
        "remote" => explain(request, said),
        "submodules" => submodule(request, said),
        "workspace" | "checkout" | "private" => local_failure(said),
        _ => FetchError::NothingReported { address },
    })
}

/// Author, committer, time and message, as the script has git print them.
fn facts(said: &str) -> Option<CommitFacts> {
    let mut fields = said.splitn(6, '\0');
    let mut signature = || Some(Signature::new(fields.next()?, fields.next()?));
    let (author, committer) = (signature()?, signature()?);
    let seconds: i64 = fields.next()?.parse().ok()?;
    let clean = |c: &char| !c.is_control() || *c == '\n';
    let message = fields.next()?.trim().chars().filter(clean).take(limits::NOTE_CHARS).collect();
    Some(CommitFacts { author, committer, at: Timestamp::from_millis(seconds.saturating_mul(1_000)), message })
}

/// Makes an error of the request, its address, and a line of what was said.
type Explain = fn(&Request<'_>, String, String) -> FetchError;

/// Git's and ssh's words, and what they mean. The first that matches counts.
const WORDS: &[(&[&str], Explain)] = &[
    (&["No space left", "File too large", "quota exceeded"], |_, _, said| FetchError::NoSpace { said }),
    (&["Could not resolve host"], |_, address, _| FetchError::UnknownHost { address }),
    (&["Host key verification failed", "host key is known"], |_, address, _| FetchError::HostKey { address }),
    (&["invalid format", "error in libcrypto", "incorrect passphrase"], |_, address, _| FetchError::BadKey { address }),
    (
        &[
            "Authentication failed",
            "could not read Username",
            "could not read Password",
            "Permission denied (",
            "returned error: 401",
            "returned error: 403",
        ],
        |request, address, _| match request.credential {
            Some(_) => FetchError::CredentialRefused { address },
            None => FetchError::CredentialWanted { address },
        },
    ),
    (&["SSL certificate", "certificate verif", "server certificate"], |_, address, said| FetchError::Certificate {
        address,
        said,
    }),
    (
        &[
            "Failed to connect",
            "Couldn't connect",
            "Could not connect",
            "Connection refused",
            "Connection timed out",
            "No route to host",
            "Network is unreachable",
        ],
        |_, address, said| FetchError::Unreachable { address, said },
    ),
    (&["too slow", "early EOF", "RPC failed", "hung up unexpectedly", "Connection reset"], |_, address, said| {
        FetchError::BrokenOff { address, said }
    }),
    (&["Permission denied", "unable to access"], |_, address, said| {
        if said.contains("not found") {
            FetchError::NoRepository { address }
        } else if said.contains("://") {
            FetchError::Other { address, said }
        } else {
            FetchError::NotReadable { address }
        }
    }),
    (
        &["not found", "does not exist", "does not appear to be a git repository", "No such file or directory"],
        |_, address, _| FetchError::NoRepository { address },
    ),
];

fn explain(request: &Request<'_>, said: &str) -> FetchError {
    let address = request.address.to_string();
    let line = one_line(said);
    match WORDS.iter().find(|(words, _)| words.iter().any(|word| said.contains(word))) {
        Some((_, error)) => error(request, address, line),
        None => FetchError::Other { address, said: line },
    }
}

fn submodule(request: &Request<'_>, said: &str) -> FetchError {
    if said.contains("not allowed") {
        return FetchError::SubmoduleAddress { said: one_line(said) };
    }
    FetchError::Submodule(Box::new(explain(request, said)))
}

fn local_failure(said: &str) -> FetchError {
    let line = one_line(said);
    if ["No space left", "File too large", "quota exceeded"].iter().any(|word| said.contains(word)) {
        FetchError::NoSpace { said: line }
    } else {
        FetchError::Workspace { said: line }
    }
}

/// The line that says most, without what could disturb a terminal.
fn one_line(said: &str) -> String {
    let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = ["fatal: ", "error: ", "ssh: "]
        .iter()
        .find_map(|prefix| lines().find_map(|line| line.strip_prefix(prefix)))
        .or_else(|| lines().next_back())
        .unwrap_or("git said nothing");
    line.chars().filter(|c| !c.is_control()).take(SAID_CHARS).collect()
}
