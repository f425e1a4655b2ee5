//! What can happen to a run.

use crate::domain::Phase;

/// What happened, or what somebody asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing keeps the run back any more.
    Eligible,
    /// Something keeps it back again, although it was ready.
    HeldBack,
    /// The scheduler gave it a slot.
    Claimed,
    /// An upstream stack failed or gave nothing new.
    UpstreamFailed,
    /// The runner began a phase.
    PhaseStarted(Phase),
    /// The runner is done and gone.
    ChainEnded(ChainEnd),
    /// The runner is gone and was not done.
    ChainLost {
        last_phase: Option<Phase>,
    },
    /// A person takes a waiting run back.
    Cancel,
    /// A person stops a working run.
    Stop,
    Confirm,
    Discard,
    /// Plan again, with targets.
    Replan,
    /// An admin kills what cannot be stopped.
    ForceStop,
    /// A policy or a review says no.
    Rejected,
    /// Enough people approved a proposed run.
    Approved,
    /// The run tasks of the present stage are done.
    StageEnded(StageEnd),
    /// The sealed workspace turned out to be unusable before a chain was started.
    SealBroken,
}

/// How a chain ended, as far as the life cycle cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainEnd {
    /// The last phase that was begun; none when not even the first one was.
    pub last_phase: Option<Phase>,
    /// Whether that phase succeeded.
    pub success: bool,
    /// Whether the chain ended because it was asked to.
    pub stopped: bool,
    /// Whether the plan, where the chain planned, found anything to do.
    pub changes: Option<bool>,
    pub workspace: Workspace,
    /// Whether the run may go on without a person: autodeploy is on, nobody else holds the lock, no
    /// policy warned or has to approve, and it is not the answer to a targeted replan.
    pub may_go_on: bool,
    /// Whether a proposed run still needs somebody's approval.
    pub needs_review: bool,
    /// Whether a policy says no to the plan.
    pub denied: bool,
}

/// How a stage of outside checks ended, and what else the life cycle needs to know then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageEnd {
    /// Whether the run goes on: everything mandatory passed, or an admin says so.
    pub passed: bool,
    /// Whether the plan found anything to do, where there is one.
    pub changes: Option<bool>,
    /// As in [`ChainEnd`], at this moment.
    pub may_go_on: bool,
    pub needs_review: bool,
}

/// What became of the workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workspace {
    Removed,
    Kept,
    Sealed,
}
