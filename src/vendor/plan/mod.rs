//! What a plan would change, read from what the vendor wrote.

use std::io::Read;

use crate::domain::{Changes, CommitSha, Delta, Digest, stack::Vendor};

/// A plan, redacted.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanRead {
    /// Whether there is anything to do.
    pub has_changes: bool,
    /// Sensitive values are replaced already.
    pub changes: Changes,
    /// Counted over all changes, those that were too many to keep included.
    pub delta: Delta,
    /// SHA-256 of the canonical changes before redaction; for the custom vendor, which has no plan
    /// file. Goes into [`plan_digest`].
    pub canonical: Option<[u8; 32]>,
    /// Things worth knowing that do not end the phase.
    pub warnings: Vec<String>,
}

/// Why a plan cannot be read. Planning fails with it.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("{0}")]
    Unreadable(String),
}

/// Reads what a successful plan command (exit code 0 or 2) would change.
///
/// `json` is the file [`crate::protocol::inside::PLAN_JSON`], if there is one. `redact` gives the text
/// that stands for a sensitive value: a short keyed hash of the canonical JSON that it is called with.
pub fn read_plan(
    vendor: &Vendor,
    code: i32,
    json: Option<&mut dyn Read>,
    redact: &dyn Fn(&[u8]) -> String,
) -> Result<PlanRead, PlanError> {
    let _ = (vendor, code, json.is_some(), redact(b""));
    unimplemented!()
}

/// What a confirmation is bound to: SHA-256 over the commit, the plan (SHA-256 of its file, or
/// [`PlanRead::canonical`]) and the redacted changes.
pub fn plan_digest(commit: Option<&CommitSha>, plan: &[u8; 32], changes: &Changes) -> Digest {
    let _ = (commit, plan, changes);
    unimplemented!()
}
