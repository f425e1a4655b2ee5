//! Registered guests, what runs are pinned to, and what guests leave.

use serde::{Deserialize, Serialize};

use crate::domain::{
    Digest, GuestName, Phase, RunId, Timestamp,
    actor::ActorName,
    guest::{Artifact, GuestCall, GuestKind, PatchSummary, Receipt},
};

/// A guest that somebody imported. Its file is `guests/<digest>.wasm`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guest {
    pub name: GuestName,
    pub digest: Digest,
    pub kind: GuestKind,
    pub size: u64,
    /// It interprets scripts, which cost much more fuel.
    pub interpreter: bool,
    pub imported_at: Timestamp,
    pub imported_by: ActorName,
}

/// A guest on its way in: it becomes one when it was compiled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestDraft {
    pub guest: Guest,
    pub state: Draft,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Draft {
    Waiting,
    Compiled,
    Refused { reason: String },
}

/// The guests that a run uses, whatever is imported meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunGuests {
    pub pinned: Vec<PinnedGuest>,
    /// What a task performs.
    pub task: Option<GuestTask>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedGuest {
    pub name: GuestName,
    pub digest: Digest,
    /// It came with the binary.
    pub bundled: bool,
    pub interpreter: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestTask {
    pub call: GuestCall,
    /// Placed into the workspace; the guest's first argument.
    pub script: Option<String>,
}

/// What one phase left: its files are `artifacts/<run>/<NN>-<n>` and `artifacts/<run>/<NN>.patch`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Left {
    pub number: u32,
    pub phase: Phase,
    pub receipt: Option<Receipt>,
    /// The n-th, from 1, is the n-th file.
    pub artifacts: Vec<Artifact>,
    pub patch: Option<PatchSummary>,
    /// The files were removed because their time was up.
    #[serde(default)]
    pub expired: bool,
}

/// A run's source is another run's source with that run's changes in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patched {
    pub run: RunId,
    /// The number of that run on its stack.
    pub run_number: u64,
    /// The phase that left the patch.
    pub phase: u32,
    /// SHA-256 of the patch.
    pub digest: Digest,
}
