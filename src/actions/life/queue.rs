//! Who waits for what, who gets a place in the pool of declared tasks, who gets a slot.

use std::ops::ControlFlow;

use crate::{
    domain::{BlockedBy, StackId, State, run::Kind},
    machine::Event,
    store::{
        Error, Fault, Find, Order, Rows, Tx,
        record::{self, Run, Stack},
        tables as t,
    },
};

use super::{
    super::{Moment, approval, gate},
    Why, chain_of, ring, transition,
};

/// Looks at every waiting run of a stack, in the order of the queue: who may go on, who is held back, and
/// by what.
pub(crate) fn settle(tx: &Tx<'_>, moment: &Moment, stack: StackId) -> Result<(), Error> {
    let Some(stack) = tx.stack(stack)? else { return Ok(()) };
    let mut runs = tx.active_runs(stack.id)?;
    runs.sort_by_key(Run::place);
    let mut pool = Pool::of(tx, stack.id, &runs, moment.setup.declared_task_cap)?;
    let mut holder = runs.iter().find(|run| run.kind.is_blocking() && is_past_queue(run)).map(holder_of);
    let state_lock = tx.get(t::STACK_TO_STATE_LOCK, stack.id.number())?.filter(|lock| lock.run.is_none());
    let policies = approval::attached(tx, stack.id)?;
    let system = moment.of_system();
    for run in runs {
        if matches!(run.state, State::Confirmed | State::ReplanRequested) {
            let mut run = run;
            note_block(tx, &mut run, state_lock.as_ref().map(held_state))?;
            continue;
        }
        if !matches!(run.state, State::Queued | State::Ready) {
            continue;
        }
        let unapproved = !is_past_queue(&run) && approval::holds_back(tx, &run, &policies)?;
        let unapproved = unapproved.then_some(BlockedBy::Approval);
        let blocked = match held_by_person(&run, &stack).or(unapproved) {
            Some(blocked) => Some(blocked),
            None if run.kind == Kind::OnDemand => pool.admit(),
            None => held_back(&run, holder.as_ref(), state_lock.as_ref()),
        };
        if run.kind.is_blocking() && holder.is_none() && !waits_for_people(blocked.as_ref()) {
            holder = Some(holder_of(&run));
        }
        match (run.state, blocked) {
            (State::Queued, None) => {
                transition(tx, &system, run, Event::Eligible, Why::default())?;
            }
            (State::Ready, Some(blocked)) => {
                let reason = blocked.to_string();
                let mut run = transition(tx, &system, run, Event::HeldBack, Why::reason(reason))?;
                note_block(tx, &mut run, Some(blocked))?;
            }
            (_, blocked) => {
                let mut run = run;
                note_block(tx, &mut run, blocked)?;
            }
        }
    }
    Ok(())
}

/// How many places of a stack's pool are taken: by declared tasks, and by guests that judge its runs.
pub(crate) fn taken_of_pool(view: &impl Find, stack: StackId) -> Result<usize, Fault> {
    Ok(performing(&view.active_runs(stack)?) + gate::judging(view, stack)?)
}

fn performing(runs: &[Run]) -> usize {
    runs.iter().filter(|run| run.kind == Kind::OnDemand && run.state.is_active()).count()
}

/// How many declared tasks of a stack may still begin.
struct Pool {
    most: usize,
    taken: usize,
    /// What changes the stack at the moment.
    deploy: Option<BlockedBy>,
}

impl Pool {
    /// A guest that waits to judge has its place before any declared task that waits: a run waits for it.
    fn of(tx: &Tx<'_>, stack: StackId, runs: &[Run], most: usize) -> Result<Self, Fault> {
        let asked = runs.iter().any(|run| run.kind == Kind::OnDemand && !is_past_queue(run));
        let taken = if asked { performing(runs) + gate::to_be_judged(tx, stack)? } else { 0 };
        let deploys = |run: &&Run| {
            let chain = run.chain.as_deref().and_then(|chain| chain_of(chain).ok());
            chain.is_some_and(|chain| chain.deploys(run.kind))
        };
        Ok(Self { most, taken, deploy: runs.iter().find(deploys).map(holder_of) })
    }

    /// Gives the next one, in the order of the queue, its place; or says what it waits for.
    fn admit(&mut self) -> Option<BlockedBy> {
        if self.deploy.is_some() {
            return self.deploy.clone();
        }
        if self.taken >= self.most {
            return Some(BlockedBy::Pool { most: u32::try_from(self.most).unwrap_or(u32::MAX) });
        }
        self.taken += 1;
        None
    }
}

/// A run that was checked before it plans waits for its slot with what it has prepared.
fn is_past_queue(run: &Run) -> bool {
    run.state.is_past_queue() || (run.sealed.is_some() && !run.state.is_terminal())
}

fn holder_of(run: &Run) -> BlockedBy {
    BlockedBy::Run { run: run.id, number: run.number }
}

/// A run that waits for people lets pass whatever does not: the runs of who holds the lock, those that are
/// approved.
fn waits_for_people(blocked: Option<&BlockedBy>) -> bool {
    matches!(blocked, Some(BlockedBy::Lock { .. } | BlockedBy::Disabled | BlockedBy::Approval))
}

fn note_block(tx: &Tx<'_>, run: &mut Run, blocked: Option<BlockedBy>) -> Result<(), Fault> {
    if run.blocked_by == blocked {
        return Ok(());
    }
    let before = run.clone();
    run.blocked_by = blocked;
    tx.put_run(Some(&before), run)
}

/// What a person has switched off or taken for themselves. Locks do not concern declared tasks.
fn held_by_person(run: &Run, stack: &Stack) -> Option<BlockedBy> {
    if !stack.settings.enabled {
        return Some(BlockedBy::Disabled);
    }
    let lock = stack.lock.as_ref().filter(|lock| run.kind != Kind::OnDemand && !lock.is_held_by(run.trigger()))?;
    Some(BlockedBy::Lock { by: lock.by.clone() })
}

fn held_back(run: &Run, holder: Option<&BlockedBy>, state_lock: Option<&record::StateLock>) -> Option<BlockedBy> {
    if !run.kind.is_blocking() {
        return None;
    }
    if let Some(holder) = holder
        && !matches!(holder, BlockedBy::Run { run: id, .. } if *id == run.id)
    {
        return Some(holder.clone());
    }
    state_lock.map(held_state)
}

fn held_state(lock: &record::StateLock) -> BlockedBy {
    BlockedBy::State { by: lock.by.clone() }
}

/// Gives free slots to the runs that only lack one, in the order of the queue.
pub(crate) fn schedule(tx: &Tx<'_>, moment: &Moment) -> Result<(), Error> {
    let system = moment.of_system();
    loop {
        let user = free_user(tx, moment)?;
        let busy = usize::try_from(tx.count(t::SLOT_RUN)?).unwrap_or(usize::MAX);
        let free = busy < moment.setup.slots;
        let Some(run) = first_in_queue(tx, free, user)? else { return Ok(()) };
        claim(tx, &system, run, user)?;
    }
}

fn first_in_queue(tx: &Tx<'_>, free: bool, user: User) -> Result<Option<Run>, Fault> {
    let mut first = None;
    tx.walk_index(t::QUEUE_RUN, (0, 0, 0)..=(u8::MAX, u8::MAX, u64::MAX), Order::Up, |(_, class, seq)| {
        let slotless = class == Kind::OnDemand.class();
        if !(free || slotless) {
            return Ok(ControlFlow::Continue(()));
        }
        first = tx.get(t::SEQ_TO_RUN, seq)?.filter(|run: &Run| run.uid.is_some() || user != User::NoneFree);
        if let Some(run) = &first
            && waits_for_state(tx, run)?
        {
            first = None;
        }
        Ok(if first.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(first)
}

/// Whether a person holds the lock of the state that a run would change.
fn waits_for_state(tx: &Tx<'_>, run: &Run) -> Result<bool, Fault> {
    if !run.kind.is_blocking() || run.waits_to_end {
        return Ok(false);
    }
    Ok(tx.get(t::STACK_TO_STATE_LOCK, run.stack.number())?.is_some_and(|lock| lock.run.is_none()))
}

fn claim(tx: &Tx<'_>, moment: &Moment, mut run: Run, user: User) -> Result<(), Error> {
    if run.waits_to_end {
        let after = Run { waits_to_end: false, ..run.clone() };
        tx.put_run(Some(&run), &after)?;
        ring(tx, moment, &after);
        return Ok(());
    }
    take_state_lock(tx, moment, &run)?;
    if run.uid.is_none()
        && let User::Free(uid) = user
    {
        let before = run.clone();
        run.uid = Some(uid);
        tx.set_number(t::UID_TO_RUN, uid, run.seq)?;
        tx.put_run(Some(&before), &run)?;
    }
    transition(tx, moment, run, Event::Claimed, Why::default())?;
    Ok(())
}

/// A run that may change the managed state holds its lock from here to its verdict.
fn take_state_lock(tx: &Tx<'_>, moment: &Moment, run: &Run) -> Result<(), Fault> {
    let keeps_state = tx.stack(run.stack)?.is_some_and(|stack| stack.settings.vendor.has_state());
    if !keeps_state || !run.kind.is_blocking() {
        return Ok(());
    }
    let lock = record::StateLock {
        run: Some(run.id),
        by: run.triggered_by.clone(),
        by_id: run.triggered_by_id.clone(),
        since: moment.now,
        info: None,
    };
    tx.put(t::STACK_TO_STATE_LOCK, run.stack.number(), &lock)
}

/// Whom the next run's phases can run as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum User {
    /// The server's own user, mapped.
    Own,
    Free(u32),
    /// Every uid of the range is leased: runs that have none wait.
    NoneFree,
}

/// The lowest uid that no run has.
fn free_user(tx: &Tx<'_>, moment: &Moment) -> Result<User, Fault> {
    let Some((first, last)) = moment.setup.run_uids() else { return Ok(User::Own) };
    let mut next = first;
    tx.walk_numbers(t::UID_TO_RUN, first..=last, Order::Up, |uid, _| {
        if uid == next {
            next += 1;
            return Ok(ControlFlow::Continue(()));
        }
        Ok(ControlFlow::Break(()))
    })?;
    Ok(if next > last { User::NoneFree } else { User::Free(next) })
}
