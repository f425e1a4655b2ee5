//! Reviews as approval policies see them, and those that are only tried out.

use crate::{
    domain::{ActorKind, ReviewDecision, Timestamp, actor::ActorName},
    store::record::{Review, Run, current_reviews},
};

use super::super::policy::{ReviewFacts, Reviews};

/// Everything that was said about a run: what counts now, and what does not any more.
pub(super) fn of(reviews: &[Review], run: &Run) -> Reviews {
    let older = reviews.iter().filter(|review| !review.is_current(run));
    Reviews {
        current: current_reviews(reviews, run).into_iter().map(facts).collect(),
        older: older.map(facts).collect(),
    }
}

fn facts(review: &Review) -> ReviewFacts {
    ReviewFacts {
        author: review.person(),
        given_by: review.by.public(),
        address: review.address.clone(),
        at: review.at,
        approve: review.decision == ReviewDecision::Approve,
        note: review.note.as_ref().map(ToString::to_string),
        state: review.state,
    }
}

/// As if these had been given, too.
pub(super) fn and(reviews: &Reviews, more: impl IntoIterator<Item = ReviewFacts>) -> Reviews {
    let mut with = reviews.clone();
    with.current.extend(more);
    with
}

/// An approval by somebody in particular, had they given it now.
pub(super) fn yes_by(author: ActorName, run: &Run, at: Timestamp) -> ReviewFacts {
    ReviewFacts { given_by: author.clone(), author, address: None, at, approve: true, note: None, state: run.state }
}

/// An approval by a writer of whom nothing else is known. No user can have such a name.
pub(super) fn yes_by_anybody(n: u32, run: &Run, at: Timestamp) -> ReviewFacts {
    yes_by(ActorName { kind: ActorKind::User, name: format!("somebody else ({n})") }, run, at)
}

/// `alice, bob`: who said it.
pub(super) fn names(reviews: &Reviews, approve: bool) -> String {
    let names = reviews.current.iter().filter(|review| review.approve == approve);
    names.map(|review| review.author.name.as_str()).collect::<Vec<_>>().join(", ")
}
