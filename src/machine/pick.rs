//! Which waiting runs get the free slots, as a pure choice.

use crate::domain::{Kind, RunId, StackId};

/// A run that only lacks a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub run: RunId,
    pub stack: StackId,
    pub kind: Kind,
    pub prioritized: bool,
    /// Order of creation.
    pub seq: u64,
}

/// What was chosen, in the order of the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pick {
    pub go: Vec<RunId>,
    pub wait: Vec<RunId>,
}

/// Prioritized first, then blocking kinds, proposed, drift; the oldest first within each. Kinds that
/// take no slot always go.
pub fn pick(mut waiting: Vec<Candidate>, free_slots: usize) -> Pick {
    waiting.sort_by_key(|run| (!run.prioritized, run.kind.class(), run.seq));
    let mut free = free_slots;
    let mut picked = Pick::default();
    for run in waiting {
        if !run.kind.takes_slot() {
            picked.go.push(run.run);
        } else if free > 0 {
            free -= 1;
            picked.go.push(run.run);
        } else {
            picked.wait.push(run.run);
        }
    }
    picked
}
