//! What people said about runs, and where runs stand with those who must approve them.

use serde::{Deserialize, Serialize};

use super::Run;
use crate::domain::{
    Actor, ActorKind, Approval, Digest, Note, PolicyOutcome, PolicyReceipt, ReviewDecision, Role, State, Timestamp,
    actor::ActorName,
};

/// What one person said, once. The newest of a person counts; the others stay on record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Review {
    pub at: Timestamp,
    /// By id, so that nobody counts twice under another name.
    pub by: Actor,
    /// The person who made the key that it was given with: it is that person's.
    #[serde(default)]
    pub key_of: Option<ActorName>,
    /// What they were on the stack then.
    pub role: Role,
    pub address: Option<String>,
    pub decision: ReviewDecision,
    pub note: Option<Note>,
    /// The state that the run was in.
    pub state: State,
    /// Which of the run's waits it was about, as [`Run::round`].
    pub round: u32,
    /// The plan that was looked at.
    pub plan_digest: Option<Digest>,
}

impl Review {
    /// Whether it is about what the run waits with now: after a replan, and after the state for which
    /// it was given, it is history.
    pub fn is_current(&self, run: &Run) -> bool {
        self.round == run.round && self.plan_digest == run.plan_digest
    }

    /// Whose word it is.
    pub fn person(&self) -> ActorName {
        self.key_of.clone().unwrap_or_else(|| self.by.public())
    }

    /// Whether it is the word of the same one, be it given with a key. Names of users are theirs alone;
    /// those of keys are not.
    fn is_by_whom(&self, other: &Self) -> bool {
        self.by.is(&other.by) || (self.person().kind == ActorKind::User && self.person() == other.person())
    }
}

/// The newest review of each person out of those that count for what the run waits with now, in the
/// order in which they were given.
pub fn current_reviews<'r>(reviews: &'r [Review], run: &Run) -> Vec<&'r Review> {
    let current: Vec<&Review> = reviews.iter().filter(|review| review.is_current(run)).collect();
    let newest = |n: usize, review: &Review| !current[n + 1..].iter().any(|later| later.is_by_whom(review));
    current.iter().enumerate().filter(|(n, review)| newest(*n, review)).map(|(_, review)| *review).collect()
}

/// What the approval policies of a stack said about a run, and what they said it about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    pub basis: Basis,
    pub approval: Approval,
    pub at: Timestamp,
    /// What each of them said, by its name.
    pub said: Vec<PolicyReceipt>,
    /// Who would have to say more; none once nothing is open.
    pub lacks: Option<Lacks>,
}

/// What a [`Standing`] is about. When anything of it is another, it says nothing any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basis {
    pub round: u32,
    pub plan_digest: Option<Digest>,
    /// How many reviews there were.
    pub reviews: u32,
    /// The policies by name, each with its version.
    pub policies: Vec<(String, u64)>,
}

/// What an open approval lacks, as far as trying it out can tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lacks {
    /// So many approvals by others would do; none: no number of just anybody would.
    pub more: Option<u32>,
    /// Somebody whose approval would bring it no nearer: who triggered the run.
    pub not_by: Option<ActorName>,
}

impl Standing {
    /// Whether it was said about the run as it is now. Whether by the policies as they are now, the next
    /// transaction tells.
    pub fn is_about(&self, run: &Run) -> bool {
        let Basis { round, plan_digest, reviews, policies: _ } = &self.basis;
        *round == run.round && *plan_digest == run.plan_digest && *reviews == run.reviews
    }

    /// What an approval that is not given lacks, as a reader understands it: `1 more approval is needed,
    /// not by you`.
    pub fn missing(&self, reader: Option<&ActorName>) -> String {
        let Some(Lacks { more: Some(more), not_by }) = &self.lacks else {
            return format!("an approval that satisfies {} is needed", self.open());
        };
        let count = if *more == 1 { "1 more approval is".to_owned() } else { format!("{more} more approvals are") };
        match not_by {
            Some(who) if Some(who) == reader => format!("{count} needed, not by you"),
            Some(who) => format!("{count} needed, not by {}", who.name),
            None => format!("{count} needed"),
        }
    }

    /// Whether an approval by this reader is known to bring the run no nearer.
    pub fn leaves_out(&self, reader: &ActorName) -> bool {
        self.lacks.as_ref().is_some_and(|lacks| lacks.not_by.as_ref() == Some(reader))
    }

    /// The policies that have not approved.
    pub fn open(&self) -> String {
        let open = self.said.iter().filter(|said| said.decision != PolicyOutcome::Approve);
        let names: Vec<String> = open.map(|said| format!("the policy `{}`", said.name)).collect();
        names.join(" and ")
    }
}
