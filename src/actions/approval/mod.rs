//! Whether enough people said yes to a run: its approval policies, asked about its reviews.
//!
//! They are asked when a run comes to wait (queued, unconfirmed, pending review), at each review, and
//! when the policies themselves change. That they are due is a row in the transaction that makes it so;
//! they are evaluated outside of any transaction, on a snapshot; and what they said is written with what
//! it was said about, its [`Basis`]. A [`Standing`] whose basis is not the present one says nothing: a
//! confirmation that finds such a one is refused, and the policies are asked again.
//!
//! | file | what |
//! | --- | --- |
//! | `voices` | reviews as policies see them |
//! | `judge` | asking, trying out who is missing, writing down |
//!
//! What was said counts for one plan in its surroundings: a replan voids it, and so does a change of the
//! vendor's or the executor's settings. Variables, files and hooks void nothing: a run is applied with those
//! that it was planned with.
//!
//! A stack that deploys by itself waits for them, too: its run rests unconfirmed, and is confirmed by the
//! system with the approval, or once nobody is asked for one any more.
//!
//! Without approval policies nobody is asked, and nothing is written. A preview that a plan policy warned
//! about then takes the word of any one writer.

mod judge;
mod voices;

pub(super) use judge::{Judged, remember};

use crate::{
    domain::{Approval, PolicyKind, Refused, Slug, StackId, State},
    store::{
        Error, Fault, Find, Flow, Order, Rows, Tx, layers,
        record::{Basis, Review, Run, Standing},
        tables as t,
    },
};

use super::{
    Moment, gate,
    life::{self, Why},
};

/// Whether people may say something about a run in this state.
pub(crate) const fn takes_reviews(state: State) -> bool {
    matches!(state, State::Queued | State::Unconfirmed | State::PendingReview)
}

/// Whether an approval is what a run in this state may wait for. A ready one has it already.
const fn waits_for_it(state: State) -> bool {
    takes_reviews(state) || matches!(state, State::Ready)
}

/// A run has come into another state.
pub(crate) fn entered(tx: &Tx<'_>, before: State, run: &mut Run) -> Result<(), Fault> {
    match run.state {
        State::Unconfirmed | State::PendingReview => {
            run.round += 1;
            ask(tx, run)
        }
        // What was said in the queue holds for as long as the run is there.
        State::Queued | State::Ready => Ok(()),
        _ if waits_for_it(before) => forget(tx, run),
        _ => Ok(()),
    }
}

/// A run comes to wait with its plan: for a person, or for nothing but an approval.
pub(crate) fn awaited(tx: &Tx<'_>, run: &mut Run, why: Why) -> Result<Why, Fault> {
    run.deploys_when_approved = deploys_by_itself(tx, run)? && !attached(tx, run.stack)?.is_empty();
    let reason = run.deploys_when_approved.then(|| "is applied as soon as it is approved".to_owned());
    Ok(Why { reason: why.reason.or(reason), ..why })
}

/// Whether an approval is all that was missing: the stack would have deployed by itself when the run came
/// to wait, and would now.
fn goes_on(tx: &Tx<'_>, run: &Run) -> Result<bool, Fault> {
    Ok(run.state == State::Unconfirmed && run.deploys_when_approved && deploys_by_itself(tx, run)?)
}

fn deploys_by_itself(tx: &Tx<'_>, run: &Run) -> Result<bool, Fault> {
    Ok(tx.stack(run.stack)?.is_some_and(|stack| gate::deploys_by_itself(run, &stack)))
}

/// Has the policies asked, if there is anybody to ask.
pub(crate) fn ask(tx: &Tx<'_>, run: &Run) -> Result<(), Fault> {
    if run.state == State::PendingReview || !attached(tx, run.stack)?.is_empty() {
        tx.mark(t::APPROVAL_DUE, run.seq, true)?;
    }
    Ok(())
}

fn forget(tx: &Tx<'_>, run: &Run) -> Result<(), Fault> {
    if tx.get(t::RUN_TO_STANDING, run.seq)?.is_some() {
        tx.remove(t::RUN_TO_STANDING, run.seq)?;
    }
    tx.mark(t::APPROVAL_DUE, run.seq, false)
}

/// The approval policies of a stack, each with its version.
pub(crate) type Asked = Vec<(String, u64)>;

/// The approval policies that a stack has now.
pub(crate) fn attached(view: &impl Rows, stack: StackId) -> Result<Asked, Fault> {
    let Some(stack) = view.stack(stack)? else { return Ok(Vec::new()) };
    let policies = view.attached_policies(&stack, PolicyKind::Approval)?;
    Ok(policies.into_iter().map(|policy| (policy.name.to_string(), policy.version)).collect())
}

/// What a standing would have to be about now.
fn basis(run: &Run, policies: Asked) -> Basis {
    Basis { round: run.round, plan_digest: run.plan_digest.clone(), reviews: run.reviews, policies }
}

/// What the policies said about the run as it is now; none when they have to be asked (again).
pub(crate) fn standing(view: &impl Rows, run: &Run, policies: &Asked) -> Result<Option<Standing>, Fault> {
    let found: Option<Standing> = view.get(t::RUN_TO_STANDING, run.seq)?;
    Ok(found.filter(|standing| standing.basis == basis(run, policies.clone())))
}

/// Whether a run in the queue still needs somebody's approval. Asks when nobody was asked yet.
pub(crate) fn holds_back(tx: &Tx<'_>, run: &Run, policies: &Asked) -> Result<bool, Fault> {
    if policies.is_empty() {
        return Ok(false);
    }
    match standing(tx, run, policies)? {
        Some(standing) => Ok(standing.approval != Approval::Given),
        None => {
            tx.mark(t::APPROVAL_DUE, run.seq, true)?;
            Ok(true)
        }
    }
}

/// Refuses to go on with a plan that was not approved, and says what is missing.
pub(crate) fn require(tx: &Tx<'_>, run: &Run) -> Result<(), Error> {
    let policies = attached(tx, run.stack)?;
    if policies.is_empty() {
        return Ok(());
    }
    let why = match standing(tx, run, &policies)? {
        Some(standing) if standing.approval == Approval::Given => return Ok(()),
        Some(standing) => format!("the run is not approved: {}", standing.missing(None)),
        None => "the approval policies are being asked; try again in a moment".to_owned(),
    };
    Err(Refused::conflict(why).in_state(run.state.word()).into())
}

/// Every review of a run, in the order in which they were given.
pub(crate) fn reviews_of(view: &impl Rows, run: &Run) -> Result<Vec<Review>, Fault> {
    view.all(t::RUN_N_TO_REVIEW, (run.seq, 0)..=(run.seq, u32::MAX))
}

/// Policies of a kind are others now, or say something else: whoever waits for approval policies on the
/// stack (none: on any) has them asked again.
pub(crate) fn policies_changed(
    tx: &Tx<'_>,
    moment: &Moment,
    kind: PolicyKind,
    stack: Option<StackId>,
) -> Result<(), Error> {
    if kind != PolicyKind::Approval {
        return Ok(());
    }
    let runs = match stack {
        Some(stack) => tx.active_runs(stack)?,
        None => tx.all_active_runs()?,
    };
    let mut stacks: Vec<StackId> = Vec::new();
    for run in runs.iter().filter(|run| waits_for_it(run.state)) {
        let policies = attached(tx, run.stack)?;
        let known: Option<Standing> = tx.get(t::RUN_TO_STANDING, run.seq)?;
        let settled = match known {
            Some(known) => known.basis.policies == policies,
            // Nobody was to be asked; but a run that waits for nothing else goes on when nobody is.
            None => policies.is_empty() && !run.deploys_when_approved,
        };
        if settled {
            continue;
        }
        tx.mark(t::APPROVAL_DUE, run.seq, true)?;
        life::ring(tx, moment, run);
        stacks.push(run.stack);
    }
    stacks.sort_unstable();
    stacks.dedup();
    for stack in stacks {
        life::settle(tx, moment, stack)?;
    }
    Ok(())
}

/// Confirming would apply the plan in other surroundings than people looked at: with another program, another
/// network, other limits. Where approval policies count what people said, they have to say it again.
pub(crate) fn surroundings_changed(tx: &Tx<'_>, moment: &Moment, stack: StackId, what: &str) -> Result<(), Error> {
    for run in tx.active_runs(stack)? {
        if run.state != State::Unconfirmed || attached(tx, stack)?.is_empty() {
            continue;
        }
        if !reviews_of(tx, &run)?.iter().any(|review| review.is_current(&run)) {
            continue;
        }
        let mut after = Run { round: run.round + 1, updated_at: moment.now, ..run.clone() };
        let text = format!("{what}: what was said about this run is void");
        life::remark(tx, moment, &mut after, text, None)?;
        tx.put_run(Some(&run), &after)?;
        tx.mark(t::APPROVAL_DUE, run.seq, true)?;
        life::ring(tx, moment, &after);
    }
    Ok(())
}

/// Variables, files or hooks are others now. Runs that wait have theirs sealed with their workspace; whoever
/// decides about them hears that it makes no difference.
pub(crate) fn environment_changed(tx: &Tx<'_>, moment: &Moment, stack: StackId, what: &str) -> Result<(), Error> {
    for run in tx.active_runs(stack)? {
        if run.sealed.is_none() || run.chain.is_some() || run.state.is_terminal() {
            continue;
        }
        let text = format!("{what}: this run goes on with what it began with");
        let last = tx.get(t::RUN_N_TO_REMARK, (run.seq, run.remarks))?;
        if last.is_some_and(|last| last.text == text) {
            continue;
        }
        let mut after = Run { updated_at: moment.now, ..run.clone() };
        life::remark(tx, moment, &mut after, text, None)?;
        tx.put_run(Some(&run), &after)?;
        life::ring(tx, moment, &after);
    }
    Ok(())
}

/// As [`environment_changed`], for every stack that has a context now.
pub(crate) fn context_changed(tx: &Tx<'_>, moment: &Moment, context: &Slug) -> Result<(), Error> {
    let waiting = tx.all_active_runs()?.into_iter().filter(|run| run.sealed.is_some());
    let mut stacks: Vec<StackId> = waiting.map(|run| run.stack).collect();
    stacks.sort_unstable();
    stacks.dedup();
    for id in stacks {
        let Some(stack) = tx.stack(id)? else { continue };
        if layers::contexts_of(tx, &stack)?.iter().any(|attached| attached.context.name == *context) {
            environment_changed(tx, moment, id, &format!("the context {context} was changed"))?;
        }
    }
    Ok(())
}

/// Runs whose policies have to be asked, the oldest first.
fn due(view: &impl Rows, most: usize) -> Result<Vec<Run>, Fault> {
    let mut seqs = Vec::new();
    view.walk_index(t::APPROVAL_DUE, 0..=u64::MAX, Order::Up, |seq| {
        seqs.push(seq);
        Ok(if seqs.len() < most { Flow::Continue(()) } else { Flow::Break(()) })
    })?;
    view.runs_of(&seqs)
}
