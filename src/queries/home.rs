//! What needs somebody, what works, what failed lately; the queue.

use std::collections::HashMap;

use crate::{
    auth::Who,
    domain::{Approval, BlockedBy, Look, Role, RunId, State, limits},
    store::{
        Fault, Find, Flow, Order, Rows, Snapshot,
        record::{Run, Standing},
        tables as t,
    },
};

use super::{
    Queries, Result,
    runs::standing_of,
    sees,
    stacks::{StackRow, lost_stacks, row, visible_stacks},
};

/// The first page.
#[derive(Clone, Debug)]
pub struct Home {
    /// What this person can do something about: unconfirmed, pending review, waiting for an approval in
    /// the queue, lost and not acknowledged; the oldest first.
    pub needs: Vec<Run>,
    /// Where those stand that wait for an approval.
    pub open: HashMap<RunId, Standing>,
    /// Active and waiting ones.
    pub working: Vec<Run>,
    pub slots_used: usize,
    pub failed: Vec<Run>,
    pub stacks: Vec<StackRow>,
}

/// The queue for slots.
#[derive(Clone, Debug)]
pub struct Queue {
    pub slots: usize,
    /// Runs that hold a slot.
    pub running: Vec<Run>,
    pub waiting: Vec<Waiting>,
}

/// A run that waits, and for what.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub run: Run,
    pub blocked_by: Option<BlockedBy>,
}

/// Runs that the list of failures on Home shows.
const FAILED_LATELY: usize = 5;

impl Queries {
    pub fn home(&self, who: &Who) -> Result<Home> {
        let view = self.view()?;
        let active = visible(who, view.all_active_runs()?);
        let mut open = HashMap::new();
        for run in active.iter().filter(|run| may_wait_for_approval(run)) {
            let standing = standing_of(&view, run)?.filter(|standing| standing.approval == Approval::Open);
            open.extend(standing.map(|standing| (run.id, standing)));
        }
        let (needs, working): (Vec<Run>, Vec<Run>) = active.into_iter().partition(|run| needs(who, run));
        let mut needs = needs;
        needs.extend(visible(who, unacknowledged(&view)?));
        needs.sort_by_key(|run| run.state_since);
        let lost = lost_stacks(&view)?;
        let stacks = visible_stacks(&view, who)?.into_iter().map(|stack| row(&view, stack, &lost));
        let mut stacks = stacks.collect::<std::result::Result<Vec<_>, _>>()?;
        stacks.sort_by_key(|row| std::cmp::Reverse(row.current().map(|run| run.updated_at)));
        Ok(Home {
            needs,
            open,
            working,
            slots_used: slots_used(&view)?,
            failed: self.failed_lately(who, &view)?,
            stacks,
        })
    }

    /// How many things need somebody: the number beside *Home*.
    pub fn needs(&self, who: &Who) -> Result<usize> {
        let view = self.view()?;
        let look = Look::NeedsYou as u8;
        let mut seqs = Vec::new();
        view.walk_index(t::LOOK_RUN, (look, 0)..=(look, u64::MAX), Order::Up, |(_, seq)| {
            seqs.push(seq);
            Ok(if seqs.len() < limits::LIST_MAX { Flow::Continue(()) } else { Flow::Break(()) })
        })?;
        // What waits in the queue for an approval has a standing, and few runs have one.
        view.walk(t::RUN_TO_STANDING, 0..=u64::MAX, Order::Up, |seq, _: Standing| {
            seqs.push(seq);
            Ok(if seqs.len() < 2 * limits::LIST_MAX { Flow::Continue(()) } else { Flow::Break(()) })
        })?;
        seqs.sort_unstable();
        seqs.dedup();
        let waiting = visible(who, view.runs_of(&seqs)?).iter().filter(|run| needs(who, run)).count();
        Ok(waiting + visible(who, unacknowledged(&view)?).len())
    }

    pub fn queue(&self, who: &Who) -> Result<Queue> {
        let view = self.view()?;
        let active = visible(who, view.all_active_runs()?);
        let (running, waiting): (Vec<Run>, Vec<Run>) = active.into_iter().partition(Run::holds_slot);
        let mut waiting: Vec<Waiting> = waiting
            .into_iter()
            .filter(|run| run.state.look() == Look::Waiting || run.waits_to_end)
            .map(|run| Waiting { blocked_by: blocked_by(&run), run })
            .collect();
        waiting.sort_by_key(|waiting| (waiting.run.state == State::Queued, waiting.run.place()));
        Ok(Queue { slots: self.slots, running, waiting })
    }

    /// How many slots are in use.
    pub fn slots_used(&self) -> Result<usize> {
        Ok(slots_used(&self.view()?)?)
    }

    fn failed_lately(&self, who: &Who, view: &Snapshot) -> std::result::Result<Vec<Run>, Fault> {
        let look = Look::Failed as u8;
        let mut found = Vec::new();
        let mut looked_at = 0;
        let mut seqs = Vec::new();
        view.walk_index(t::LOOK_RUN, (look, 0)..=(look, u64::MAX), Order::Down, |(_, seq)| {
            seqs.push(seq);
            looked_at += 1;
            Ok(if looked_at < limits::PAGE_ROWS { Flow::Continue(()) } else { Flow::Break(()) })
        })?;
        let week_ago = self.now().millis() - 7 * 86_400_000;
        for run in visible(who, view.runs_of(&seqs)?) {
            if found.len() < FAILED_LATELY && run.updated_at.millis() > week_ago && !run.unacknowledged {
                found.push(run);
            }
        }
        Ok(found)
    }
}

/// What keeps a run from going on, as people and the API see it.
pub fn blocked_by(run: &Run) -> Option<BlockedBy> {
    match run.state {
        _ if run.waits_to_end => Some(BlockedBy::Slot),
        State::Queued => run.blocked_by.clone(),
        State::Confirmed | State::ReplanRequested => Some(run.blocked_by.clone().unwrap_or(BlockedBy::Slot)),
        State::Ready => Some(BlockedBy::Slot),
        State::Preparing
        | State::Initializing
        | State::Planning
        | State::Checking
        | State::Unconfirmed
        | State::PendingReview
        | State::PreparingApply
        | State::Applying
        | State::Performing
        | State::Destroying
        | State::Finished
        | State::Failed
        | State::Discarded
        | State::Canceled
        | State::Stopped
        | State::Skipped => None,
    }
}

/// Whether a run waits for a person, and this one can do something about it.
fn needs(who: &Who, run: &Run) -> bool {
    let waits = run.state.look() == Look::NeedsYou
        || (run.state == State::Queued && run.blocked_by == Some(BlockedBy::Approval));
    waits && who.role_on(run.stack) >= Some(Role::Writer)
}

const fn may_wait_for_approval(run: &Run) -> bool {
    matches!(run.state, State::Queued | State::Unconfirmed | State::PendingReview)
}

fn visible(who: &Who, runs: Vec<Run>) -> Vec<Run> {
    runs.into_iter().filter(|run| sees(who, run.stack)).collect()
}

fn slots_used(view: &Snapshot) -> std::result::Result<usize, Fault> {
    Ok(usize::try_from(view.count(t::SLOT_RUN)?).unwrap_or(usize::MAX))
}

/// Runs that were lost while they changed something, and that nobody acknowledged.
pub(super) fn unacknowledged(view: &Snapshot) -> std::result::Result<Vec<Run>, Fault> {
    let mut seqs = Vec::new();
    view.walk_index(t::UNACKNOWLEDGED_RUN, 0..=u64::MAX, Order::Up, |seq| {
        seqs.push(seq);
        Ok(if seqs.len() < limits::LIST_MAX { Flow::Continue(()) } else { Flow::Break(()) })
    })?;
    view.runs_of(&seqs)
}
