//! The chains of phases that runners carry out.

use serde::{Deserialize, Serialize};

use crate::{
    domain::{Kind, Phase},
    protocol::AtEnd,
};

/// Which part of a run a chain carries out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Chain {
    /// From nothing to a plan.
    Plan,
    /// From nothing to an initialized workspace, which is sealed while outside checks are called.
    Initialize,
    /// From the sealed, initialized workspace to a plan.
    PlanSealed,
    /// From the sealed workspace to a new plan with targets.
    Replan,
    /// From nothing to a performed command.
    Perform,
    /// From nothing to a source, whose declaration says what to do with it.
    Prepare,
    /// From the sealed workspace to applied changes.
    Apply,
    /// With the workspace that a chain left open: from a plan to applied changes, from a source to a
    /// performed command.
    GoOn,
    /// Seals the workspace that a plan left open.
    Seal,
    /// The hooks of a run whose end is decided, in what is left of its workspace.
    End,
}

/// The phases of a chain, and what becomes of its workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    pub phases: Vec<Phase>,
    pub at_end: AtEnd,
}

impl Chain {
    /// Whether it changes what the stack manages: nothing of the stack's source may run beside it.
    pub const fn deploys(self, kind: Kind) -> bool {
        matches!((self, kind), (Self::Apply | Self::GoOn, Kind::Tracked | Kind::Destroy))
    }

    /// Whether it begins with fetching the source.
    pub const fn fetches(self) -> bool {
        matches!(self, Self::Plan | Self::Initialize | Self::Perform | Self::Prepare)
    }

    /// Whether it opens what an earlier chain sealed.
    pub const fn opens(self) -> bool {
        matches!(self, Self::PlanSealed | Self::Replan | Self::Apply | Self::End)
    }

    /// Whether it plans, as far as it gets.
    pub const fn plans(self) -> bool {
        matches!(self, Self::Plan | Self::PlanSealed | Self::Replan)
    }

    /// What a chain of a run consists of.
    ///
    /// `keep` says whether the plan may be applied at once, as things are at the time of the claim: the
    /// stack deploys by itself and nothing is checked in between. It only chooses whether the workspace
    /// is sealed at once or kept for the moment of the decision.
    pub fn shape(self, kind: Kind, skip_initialization: bool, keep: bool) -> Shape {
        use Phase::{Applying, Destroying, Initializing, Performing, Planning, Preparing, PreparingApply, Sealing};
        let apply = if kind == Kind::Destroy { Destroying } else { Applying };
        let after_plan = match kind {
            Kind::Proposed | Kind::Drift | Kind::Task | Kind::OnDemand => AtEnd::Remove,
            Kind::Tracked if keep => AtEnd::Keep,
            Kind::Tracked | Kind::Destroy => AtEnd::Seal,
        };
        let (phases, at_end) = match self {
            Self::Plan => (vec![Preparing, Initializing, Planning], after_plan),
            Self::Initialize => (vec![Preparing, Initializing], AtEnd::Seal),
            Self::PlanSealed => (vec![PreparingApply, Planning], after_plan),
            Self::Replan => (vec![PreparingApply, Planning], AtEnd::Seal),
            Self::Perform if skip_initialization => (vec![Preparing, Performing], AtEnd::Remove),
            Self::Perform => (vec![Preparing, Initializing, Performing], AtEnd::Remove),
            Self::Prepare => (vec![Preparing], AtEnd::Keep),
            Self::Apply => (vec![PreparingApply, apply], AtEnd::Remove),
            Self::GoOn if kind == Kind::OnDemand => (vec![Performing], AtEnd::Remove),
            Self::GoOn => (vec![apply], AtEnd::Remove),
            Self::Seal => (vec![Sealing], AtEnd::Seal),
            Self::End => (vec![PreparingApply], AtEnd::Remove),
        };
        Shape { phases, at_end }
    }
}
