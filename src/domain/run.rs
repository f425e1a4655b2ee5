//! Runs: kinds, states, looks, and what a run waits for.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    actor::ActorName,
    id::RunId,
    limits,
    name::{BranchName, CommitSha, Digest},
    time::Timestamp,
};

/// What sort of run it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A deployment.
    Tracked,
    /// A preview.
    Proposed,
    /// One command.
    Task,
    /// A declared task.
    OnDemand,
    Destroy,
    /// A proposed run that looks for drift.
    Drift,
}

impl Kind {
    pub const ALL: [Self; 6] = [Self::Tracked, Self::Proposed, Self::Task, Self::OnDemand, Self::Destroy, Self::Drift];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Tracked => "tracked",
            Self::Proposed => "proposed",
            Self::Task => "task",
            Self::OnDemand => "on_demand",
            Self::Destroy => "destroy",
            Self::Drift => "drift",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// Whether at most one of these is past `ready` on a stack at any time.
    pub const fn is_blocking(self) -> bool {
        matches!(self, Self::Tracked | Self::Task | Self::Destroy)
    }

    /// Whether nothing is ever applied.
    pub const fn is_speculative(self) -> bool {
        matches!(self, Self::Proposed | Self::Drift)
    }

    /// Whether the run takes one of the server's slots; the others have a pool of their own.
    pub const fn takes_slot(self) -> bool {
        !matches!(self, Self::OnDemand)
    }

    /// Order in the queue behind prioritized runs: blocking kinds, proposed, drift.
    pub const fn class(self) -> u8 {
        match self {
            Self::Tracked | Self::Task | Self::Destroy => 1,
            Self::OnDemand => 2,
            Self::Proposed => 3,
            Self::Drift => 4,
        }
    }

    /// Whether runs of this kind plan.
    pub const fn plans(self) -> bool {
        matches!(self, Self::Tracked | Self::Proposed | Self::Destroy | Self::Drift)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Where a run stands in its life cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Queued,
    Ready,
    Preparing,
    Initializing,
    Planning,
    Checking,
    Unconfirmed,
    PendingReview,
    ReplanRequested,
    Confirmed,
    PreparingApply,
    Applying,
    Performing,
    Destroying,
    Finished,
    Failed,
    Discarded,
    Canceled,
    Stopped,
    Skipped,
}

impl State {
    pub const ALL: [Self; 20] = [
        Self::Queued,
        Self::Ready,
        Self::Preparing,
        Self::Initializing,
        Self::Planning,
        Self::Checking,
        Self::Unconfirmed,
        Self::PendingReview,
        Self::ReplanRequested,
        Self::Confirmed,
        Self::PreparingApply,
        Self::Applying,
        Self::Performing,
        Self::Destroying,
        Self::Finished,
        Self::Failed,
        Self::Discarded,
        Self::Canceled,
        Self::Stopped,
        Self::Skipped,
    ];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Ready => "ready",
            Self::Preparing => "preparing",
            Self::Initializing => "initializing",
            Self::Planning => "planning",
            Self::Checking => "checking",
            Self::Unconfirmed => "unconfirmed",
            Self::PendingReview => "pending_review",
            Self::ReplanRequested => "replan_requested",
            Self::Confirmed => "confirmed",
            Self::PreparingApply => "preparing_apply",
            Self::Applying => "applying",
            Self::Performing => "performing",
            Self::Destroying => "destroying",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Discarded => "discarded",
            Self::Canceled => "canceled",
            Self::Stopped => "stopped",
            Self::Skipped => "skipped",
        }
    }

    /// The word with a capital and blanks, for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Queued => "Queued",
            Self::Ready => "Ready",
            Self::Preparing => "Preparing",
            Self::Initializing => "Initializing",
            Self::Planning => "Planning",
            Self::Checking => "Checking",
            Self::Unconfirmed => "Unconfirmed",
            Self::PendingReview => "Pending review",
            Self::ReplanRequested => "Replan requested",
            Self::Confirmed => "Confirmed",
            Self::PreparingApply => "Preparing apply",
            Self::Applying => "Applying",
            Self::Performing => "Performing",
            Self::Destroying => "Destroying",
            Self::Finished => "Finished",
            Self::Failed => "Failed",
            Self::Discarded => "Discarded",
            Self::Canceled => "Canceled",
            Self::Stopped => "Stopped",
            Self::Skipped => "Skipped",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }

    /// Nothing follows.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Discarded | Self::Canceled | Self::Stopped | Self::Skipped)
    }

    /// Something works on the run.
    pub const fn is_active(self) -> bool {
        matches!(
            self,
            Self::Preparing
                | Self::Initializing
                | Self::Planning
                | Self::Checking
                | Self::PreparingApply
                | Self::Applying
                | Self::Performing
                | Self::Destroying
        )
    }

    /// Whether a slot is held: in every active state but `checking`, which only waits for others.
    pub const fn holds_slot(self) -> bool {
        self.is_active() && !matches!(self, Self::Checking)
    }

    /// Whether a blocking run in this state keeps the other blocking runs of its stack waiting.
    pub const fn is_past_queue(self) -> bool {
        !self.is_terminal() && !matches!(self, Self::Queued | Self::Ready)
    }

    pub const fn look(self) -> Look {
        match self {
            Self::Queued | Self::Ready | Self::Confirmed | Self::ReplanRequested => Look::Waiting,
            Self::Unconfirmed | Self::PendingReview => Look::NeedsYou,
            Self::Preparing
            | Self::Initializing
            | Self::Planning
            | Self::Checking
            | Self::PreparingApply
            | Self::Applying
            | Self::Performing
            | Self::Destroying => Look::Working,
            Self::Finished => Look::Succeeded,
            Self::Failed => Look::Failed,
            Self::Discarded | Self::Canceled | Self::Stopped => Look::Dropped,
            Self::Skipped => Look::Skipped,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The seven looks that states have in the user interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Look {
    Waiting,
    NeedsYou,
    Working,
    Succeeded,
    Failed,
    Dropped,
    Skipped,
}

impl Look {
    pub const ALL: [Self; 7] =
        [Self::Waiting, Self::NeedsYou, Self::Working, Self::Succeeded, Self::Failed, Self::Dropped, Self::Skipped];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::NeedsYou => "needs_you",
            Self::Working => "working",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
            Self::Skipped => "skipped",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|look| look.word() == word)
    }
}

/// What keeps a run from going on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum BlockedBy {
    /// Another blocking run of the stack.
    Run {
        run: RunId,
        number: u64,
    },
    /// Somebody holds the stack's lock.
    Lock {
        by: ActorName,
    },
    Approval,
    /// All slots are taken.
    Slot,
    Upstream {
        run: RunId,
    },
    /// The disk is nearly full.
    Disk,
    /// Somebody holds the lock of the managed state.
    State {
        by: ActorName,
    },
    /// The stack was switched off.
    Disabled,
    /// As many declared tasks of the stack, and guests that judge its runs, run as may run at once.
    Pool {
        most: u32,
    },
}

impl fmt::Display for BlockedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run { number, .. } => write!(f, "behind run #{number}"),
            Self::Lock { by } => write!(f, "the stack is locked by {}", by.name),
            Self::Approval => f.write_str("waits for an approval"),
            Self::Slot => f.write_str("waits for a free slot"),
            Self::Upstream { .. } => f.write_str("waits for an upstream stack"),
            Self::Disk => f.write_str("the disk is nearly full"),
            Self::State { by } => write!(f, "the state is locked by {}", by.name),
            Self::Disabled => f.write_str("the stack is disabled"),
            Self::Pool { most } => write!(f, "behind other declared tasks and guests: {most} run at once"),
        }
    }
}

/// The version of the source that a run works on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SourceVersion {
    /// A commit of a branch. The commit is null until the preparing phase has resolved the branch,
    /// and stays the same from then on.
    Git {
        branch: BranchName,
        commit: Option<CommitSha>,
    },
    Upload {
        digest: Digest,
    },
}

impl SourceVersion {
    pub const fn commit(&self) -> Option<&CommitSha> {
        match self {
            Self::Git { commit, .. } => commit.as_ref(),
            Self::Upload { .. } => None,
        }
    }
}

/// What a version of a source says of itself. Nobody has checked it: the author of a commit is
/// whoever was written down as its author.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitFacts {
    pub author: Signature,
    /// Who put it where it is; often the same.
    pub committer: Signature,
    pub at: Timestamp,
    pub message: String,
}

/// Somebody, as a commit names them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    pub name: String,
    pub email: String,
}

impl Signature {
    /// Bounded, and without what could disturb a page or a terminal.
    pub fn new(name: &str, email: &str) -> Self {
        let clean = |text: &str| -> String {
            text.trim().chars().filter(|c| !c.is_control()).take(limits::SIGNATURE_CHARS).collect()
        };
        Self { name: clean(name), email: clean(email) }
    }

    /// The names that whoever this is may have here, the surest first.
    pub fn candidates(&self) -> impl Iterator<Item = &str> {
        let local = self.email.split_once('@').map(|(local, _)| local);
        [Some(self.email.as_str()), local, Some(self.name.as_str())].into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_a_word_that_reads_back_and_agrees_with_serde() {
        for state in State::ALL {
            assert_eq!(State::from_word(state.word()), Some(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.word());
            assert!(!(state.is_terminal() && state.is_active()));
        }
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.word());
        }
    }
}
