//! What a plan would change, read from what the vendor wrote.
//!
//! A plan is read as a stream: of each change at most a bounded part is ever parsed, sensitive parts
//! are replaced before anything is kept, and what is kept is bounded by `limits::CHANGES` and
//! `limits::CHANGES_BYTES`. What is left out is still counted.

mod canonical;
mod collect;
mod custom;
mod redactor;
mod terraform;
mod value;

use std::io::{self, Read};

use aws_lc_rs::digest::{Context, SHA256};

use crate::domain::{Changes, CommitSha, Delta, Digest, stack::Vendor, verdict::bytes};

/// A plan, redacted.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanRead {
    /// Whether there is anything to do.
    pub has_changes: bool,
    /// Sensitive values are replaced already; the run's masks are still to be laid over it.
    pub changes: Changes,
    /// Counted over all changes, those that were too many to keep included.
    pub delta: Delta,
    /// SHA-256 of the canonical changes before redaction; for the custom vendor, which has no plan
    /// file. Goes into [`plan_digest`].
    pub canonical: Option<[u8; 32]>,
    /// The program's own version, where it says so.
    pub terraform_version: Option<String>,
    /// Things worth knowing that do not end the phase.
    pub warnings: Vec<String>,
}

/// Why a plan cannot be read. Planning fails with it.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("planning ended with {0}; only 0 and 2 make a plan")]
    Failed(i32),
    #[error("{0} wrote no plan as JSON")]
    Missing(&'static str),
    #[error("{what} is larger than {}", bytes(*limit))]
    TooLarge { what: &'static str, limit: u64 },
    #[error("{what} cannot be read")]
    Io {
        what: &'static str,
        #[source]
        error: io::Error,
    },
    #[error("{what} is not valid: {error}")]
    Malformed { what: &'static str, error: serde_json::Error },
    #[error("the plan as JSON has format version `{0}`; only 0 and 1 are known: this program is newer than Airlock")]
    Version(String),
    #[error("the plan as JSON has no format version: it is not a plan")]
    NotAPlan,
    #[error("{0} is empty: write a JSON array of changes, or no file at all")]
    Empty(&'static str),
}

/// Reads what a successful plan command (exit code 0 or 2) would change.
///
/// `json` is the file [`crate::protocol::inside::PLAN_JSON`], if there is one. `hash` is a short keyed
/// hash in text: a sensitive value becomes `(sensitive HASH)`, so that a reader sees whether it
/// changes and nothing else.
pub fn read_plan(
    vendor: &Vendor,
    code: i32,
    json: Option<&mut dyn Read>,
    hash: &dyn Fn(&[u8]) -> String,
) -> Result<PlanRead, PlanError> {
    if !matches!(code, 0 | 2) {
        return Err(PlanError::Failed(code));
    }
    match vendor {
        Vendor::Terraform { .. } | Vendor::OpenTofu { .. } => {
            terraform::read(code, json.ok_or(PlanError::Missing(vendor.word()))?, hash)
        }
        Vendor::Custom { .. } | Vendor::Wasi { .. } => custom::read(code, json, hash),
    }
}

/// What a confirmation is bound to: SHA-256 over the commit, the plan (SHA-256 of its file, or
/// [`PlanRead::canonical`]) and the redacted changes.
pub fn plan_digest(commit: Option<&CommitSha>, plan: &[u8; 32], changes: &Changes) -> Digest {
    let mut context = Context::new(&SHA256);
    let commit = commit.map_or("", CommitSha::as_str);
    let changes = canonical::of_changes(changes);
    for part in [b"airlock plan 1".as_slice(), commit.as_bytes(), plan, &changes] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    Digest::from_bytes(finish(context))
}

fn finish(context: Context) -> [u8; 32] {
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Reads at most `limit` bytes and remembers whether there was more.
struct Bounded<R> {
    inner: io::Take<R>,
}

impl<R: Read> Bounded<R> {
    fn new(inner: R, limit: u64) -> Self {
        Self { inner: inner.take(limit + 1) }
    }

    fn is_exceeded(&self) -> bool {
        self.inner.limit() == 0
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer)
    }
}

/// The error of a stream that was read as JSON.
fn failed(what: &'static str, limit: u64, exceeded: bool, error: serde_json::Error) -> PlanError {
    if exceeded {
        PlanError::TooLarge { what, limit }
    } else if error.is_io() {
        PlanError::Io { what, error: error.into() }
    } else {
        PlanError::Malformed { what, error }
    }
}

#[cfg(test)]
mod tests;
