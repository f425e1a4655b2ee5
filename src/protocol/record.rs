//! What a chain tells of itself: records of its progress, and what its phases leave.

use serde::{Deserialize, Serialize};

use super::{Artifact, PatchSummary, Receipt, RuntimeFound, encoded};
use crate::{
    crypt::Secret,
    domain::{
        Changes, CommitSha, Delta, Digest, Kind, Phase, RelativePath, RunId, State, Timestamp, Verdict,
        network::{Denial as NetworkDenial, Reached},
        run::CommitFacts,
    },
};

/// One line of `records`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// Before the first command runs. From here on the chain may have changed something.
    Started {
        version: u32,
        at: Timestamp,
    },
    PhaseStarted {
        number: u32,
        phase: Phase,
        at: Timestamp,
    },
    PhaseEnded {
        number: u32,
        phase: Phase,
        at: Timestamp,
        verdict: Verdict,
        produced: Box<Produced>,
    },
    /// The last line. The workspace is in the state that it names.
    Ended {
        at: Timestamp,
        workspace: WorkspaceLeft,
        /// Whether somebody asked for the end.
        stopped: bool,
        /// Why the runner broke off outside of any phase.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fault: Option<String>,
    },
}

/// The records in `bytes`, and how many bytes they take. A torn last line is left for later, and so
/// is everything from a line on that is not a record.
pub fn read_records(bytes: &[u8]) -> (Vec<Record>, usize) {
    let mut records = Vec::new();
    let mut consumed = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let Some(whole) = line.strip_suffix(b"\n") else { break };
        let Ok(record) = serde_json::from_slice(whole) else { break };
        records.push(record);
        consumed += line.len();
    }
    (records, consumed)
}

/// Takes any bytes for a chain's records and checks what is promised of them: the entry for fuzzers.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    let (records, consumed) = read_records(bytes);
    let (whole, rest) = bytes.split_at(consumed);
    assert!(whole.is_empty() || whole.ends_with(b"\n"), "a torn line is not consumed");
    assert_eq!(read_records(whole), (records.clone(), consumed));
    assert!(read_records(rest).0.is_empty(), "what could be read was read");
    for record in &records {
        let line = serde_json::to_vec(record).expect("a record is JSON");
        assert!(!line.contains(&b'\n'), "a record is one line");
        let again: Record = serde_json::from_slice(&line).expect("what was written can be read");
        assert_eq!(again, *record);
    }
}

/// What a phase leaves, without secrets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Produced {
    /// The commit that a branch stood for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitSha>,
    /// What the commit says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit_facts: Option<Box<CommitFacts>>,
    /// What a plan would change, in numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Planned>,
    /// Whether `<NN>.result` was written.
    #[serde(default)]
    pub result: bool,
    /// Whether `<NN>.source` was written.
    #[serde(default)]
    pub source: bool,
    /// How many `<NN>-<n>.state` were written, counted from 1.
    #[serde(default)]
    pub states: u32,
    /// Bytes of masked text.
    #[serde(default)]
    pub log_bytes: u64,
    /// The most memory that the jail used at once, where it could be measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// What held the memory and process limits: `cgroup2`, `cgroup1`, `poll`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limited_by: Option<String>,
    /// A line of the log that says what went wrong, masked, for people in a hurry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_line: Option<String>,
    /// What a guest was given and used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Box<Receipt>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
    /// What a guest changed in its workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<PatchSummary>,
    /// The phase is recorded only: the environment says that nothing is applied.
    #[serde(default)]
    pub skipped: bool,
    /// Things worth knowing that did not end the phase.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The hosts that it reached through the runner's proxy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<Reached>,
    /// What it tried and was refused, where the runner could see it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denials: Vec<NetworkDenial>,
}

/// What came out of a planning phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// Whether there is anything to do. Not the same as an empty delta: a custom plan may say
    /// "changes" without listing them.
    pub changes: bool,
    pub delta: Delta,
    /// SHA-256 over commit, plan file (custom: its canonical changes) and the redacted canonical
    /// changes.
    pub digest: Digest,
    /// Of the program that planned, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terraform_version: Option<String>,
}

/// What became of the workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum WorkspaceLeft {
    Removed,
    Kept,
    /// Bytes before and after.
    Sealed {
        tree_bytes: u64,
        sealed_bytes: u64,
    },
}

/// What a phase leaves that is not for everybody's eyes; encrypted under the chain's key.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct PhaseResult {
    /// Redacted.
    pub changes: Option<Changes>,
    /// The vendor's own plan JSON, values in clear.
    pub plan_json: Option<Secret<String>>,
    /// Masks added by `::add-mask`.
    pub masks: Vec<Secret<String>>,
    /// What a guest changed in its workspace, as a unified diff.
    #[serde(default)]
    pub patch: Option<Secret<String>>,
    /// Of `preparing`: what the run is configured with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Box<RuntimeFound>>,
    /// What [`super::Prepare::shows`] asked for, as far as it is there; cut off after
    /// [`crate::domain::limits::MANIFEST_BYTES`] + 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<ShownFile>,
}

/// A file of the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownFile {
    pub path: RelativePath,
    #[serde(with = "encoded::plain")]
    pub content: Vec<u8>,
}

/// Associated data of `<NN>.result`.
pub fn result_label(run: RunId, number: u32) -> String {
    format!("airlock result 1 {run} {number}")
}

/// Associated data of `<NN>.source`.
pub fn source_label(run: RunId, number: u32) -> String {
    format!("airlock source 1 {run} {number}")
}

/// Associated data of `<NN>-<n>.state`. An empty state means that it was deleted.
pub fn state_label(run: RunId, number: u32, n: u32) -> String {
    format!("airlock state 1 {run} {number} {n}")
}

/// The state that an ended chain gives its run if nobody else decides; `after_run` hooks see it.
///
/// `planned` is what the planning phase produced; `last` how the last phase ended.
pub fn ends_as(
    kind: Kind,
    last_phase: Phase,
    last: &Verdict,
    planned: Option<&Planned>,
    stopped: bool,
) -> Option<State> {
    if stopped {
        return Some(if kind == Kind::OnDemand { State::Canceled } else { State::Stopped });
    }
    if !last.is_success() {
        return Some(State::Failed);
    }
    match last_phase {
        Phase::Applying | Phase::Performing | Phase::Destroying => Some(State::Finished),
        Phase::Planning => match kind {
            Kind::Proposed | Kind::Drift => Some(State::Finished),
            Kind::Tracked if planned.is_some_and(|plan| !plan.changes) => Some(State::Finished),
            Kind::Tracked | Kind::Destroy | Kind::Task | Kind::OnDemand => None,
        },
        Phase::Preparing | Phase::Initializing | Phase::PreparingApply | Phase::Sealing | Phase::Ending => None,
    }
}
