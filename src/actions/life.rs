//! The one door through which a run changes state. Its part `queue` knows who waits for what, and who gets
//! a slot.

mod queue;

use std::sync::Arc;

pub(crate) use queue::{schedule, settle, taken_of_pool};

use crate::{
    crypt,
    domain::{Phase, Refused, Stages, State, run::Kind, runtime::HookPoint},
    machine::{self, Chain, Effect, Event, Lost},
    store::{
        Error, Fault, Find, Rows, Tx,
        record::{self, ChainAsk, Chore, EarlyEnd, EndingAs, HistoryEntry, Remark, Run},
        tables as t,
    },
};

use super::{Moment, approval, gate, image, notify, policy, vault};

/// What a run says that died while it held the lock of the state.
const LOCK_RELEASED: &str = "the lock of the state was released";

/// What belongs to a transition beside the event.
#[derive(Clone, Debug, Default)]
pub(crate) struct Why {
    pub note: Option<String>,
    /// Overrides the machine's own reason.
    pub reason: Option<String>,
}

impl Why {
    pub(crate) fn note(note: Option<String>) -> Self {
        Self { note, reason: None }
    }

    pub(crate) fn reason(reason: impl Into<String>) -> Self {
        Self { note: None, reason: Some(reason.into()) }
    }
}

/// What the machine calls a chain, as the record keeps it.
pub(crate) fn word(chain: Chain) -> String {
    match chain {
        Chain::Plan => "plan",
        Chain::Initialize => "initialize",
        Chain::PlanSealed => "plan_sealed",
        Chain::Replan => "replan",
        Chain::Perform => "perform",
        Chain::Prepare => "prepare",
        Chain::Apply => "apply",
        Chain::GoOn => "go_on",
        Chain::Seal => "seal",
        Chain::End => "end",
    }
    .to_owned()
}

pub(crate) fn chain_of(word: &str) -> Result<Chain, Fault> {
    let all = [
        Chain::Plan,
        Chain::Initialize,
        Chain::PlanSealed,
        Chain::Replan,
        Chain::Perform,
        Chain::Prepare,
        Chain::Apply,
        Chain::GoOn,
        Chain::Seal,
        Chain::End,
    ];
    all.into_iter()
        .find(|chain| self::word(*chain) == word)
        .ok_or_else(|| Fault::Record { table: "RUN_TO_CHAIN", why: format!("`{word}` is not a chain") })
}

/// What the machine sees of a run.
fn seen(view: &impl Rows, run: &Run) -> Result<machine::Run, Fault> {
    Ok(machine::Run {
        kind: run.kind,
        state: run.state,
        chain: run.chain.as_deref().map(chain_of).transpose()?,
        stopping: run.stopping,
        forced: run.forced,
        sealed: run.sealed.is_some(),
        checking: run.checking,
        ends_as: run.ending.as_ref().map(|ending| ending.state),
        hooks: hooks_are_due(view, run)?,
        attached: if run.kind.plans() { gate::attached(view, run.stack)? } else { Stages::NONE },
    })
}

/// Whether `after_run` hooks come before its end: it got as far as initializing, and they have not run.
fn hooks_are_due(view: &impl Rows, run: &Run) -> Result<bool, Fault> {
    let began = |phase: Phase| !matches!(phase, Phase::Preparing | Phase::PreparingApply | Phase::Sealing);
    let initialized = run.phases.iter().any(|row| began(row.phase));
    if !initialized || run.kind == Kind::OnDemand || run.phases.iter().any(|row| row.phase == Phase::Ending) {
        return Ok(false);
    }
    let used = view.get(t::RUN_TO_RUNTIME, run.seq)?.and_then(|row| row.used);
    Ok(used.is_some_and(|used| used.hooks.iter().any(|(point, _)| *point == HookPoint::AfterRun)))
}

/// Puts a run that was just made into its stack's queue.
pub(crate) fn enter(tx: &Tx<'_>, moment: &Moment, mut run: Run, why: Why) -> Result<Run, Error> {
    remember(tx, moment, &mut run, &why)?;
    tx.put_run(None, &run)?;
    approval::ask(tx, &run)?;
    ring(tx, moment, &run);
    settle(tx, moment, run.stack)?;
    schedule(tx, moment)?;
    tx.run(run.id)?.ok_or_else(|| super::missing("the run"))
}

/// Sends an event to a run, and does everything that follows from it.
pub(crate) fn advance(tx: &Tx<'_>, moment: &Moment, run: Run, event: Event, why: Why) -> Result<Run, Error> {
    let run = transition(tx, moment, run, event, why)?;
    settle(tx, moment, run.stack)?;
    schedule(tx, moment)?;
    tx.run(run.id)?.ok_or_else(|| super::missing("the run"))
}

/// The transition itself, without what it means for others.
pub(crate) fn transition(tx: &Tx<'_>, moment: &Moment, run: Run, event: Event, why: Why) -> Result<Run, Error> {
    let stepped = machine::step(seen(tx, &run)?, event)
        .map_err(|no| Refused::conflict(no.reason.into_owned()).in_state(no.state.word()))?;
    let before = run.clone();
    let mut run = run;
    if (stepped.run.stopping && !run.stopping) || (stepped.run.forced && !run.forced) {
        run.early_end = Some(early_end(moment, &why, stepped.run));
    }
    let why = Why { reason: why.reason.or_else(|| stepped.reason.map(str::to_owned)), ..why };
    let why = Why { reason: why.reason.or_else(|| not_applied(&run, stepped.run)), ..why };
    let why = if stepped.lost.is_some() { without_state_lock(tx, &mut run, why)? } else { why };
    let (moment, why) = by_request(&before, stepped.run, moment, why);
    let (moment, why) = match (run.ending.take(), stepped.run.ends_as) {
        (None, Some(state)) => {
            let reason = why.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
            let now = Why::reason(format!("after_run hooks, then it is {state}{reason}"));
            let actor = moment.actor.clone();
            run.reason.clone_from(&now.reason);
            run.ending = Some(EndingAs { state, actor, note: why.note, reason: why.reason });
            (moment, now)
        }
        (Some(ending), None) => {
            let EndingAs { actor, note, reason, .. } = ending;
            (moment.of(actor), Why { note, reason })
        }
        (ending, _) => {
            run.ending = ending;
            (moment, why)
        }
    };
    let moment = &moment;
    run.chain = stepped.run.chain.map(word);
    run.stopping = stepped.run.stopping;
    run.forced = stepped.run.forced;
    run.checking = stepped.run.checking;
    if !stepped.run.sealed {
        run.sealed = None;
    }
    if before.checking.is_some() && before.checking != stepped.run.checking {
        gate::leave(tx, moment, &before)?;
    }
    if matches!(stepped.run.state, State::Unconfirmed | State::Checking)
        || (stepped.run.state == State::Ready && stepped.run.sealed)
    {
        // A plan that has become stale meanwhile is refused by its serial.
        release_state_lock(tx, &run)?;
    }
    if stepped.run.state != run.state {
        run.state = stepped.run.state;
        run.blocked_by = None;
        let why = if run.state == State::Unconfirmed { approval::awaited(tx, &mut run, why)? } else { why };
        remember(tx, moment, &mut run, &why)?;
        approval::entered(tx, before.state, &mut run)?;
    }
    if before.chain.is_some() && run.chain.is_none() {
        tx.remove(t::RUN_TO_CHAIN, run.seq)?;
    }
    run.waits_to_end = before.waits_to_end && !run.state.is_terminal();
    if stepped.effects.contains(&Effect::Start(Chain::End)) && !before.holds_slot() {
        run.waits_to_end = true;
    }
    for effect in stepped.effects {
        carry_out(tx, moment, &mut run, effect)?;
    }
    if run.state.is_terminal() {
        run.unacknowledged = stepped.lost == Some(Lost::Unknown);
        run.lost_unchanged = stepped.lost == Some(Lost::Unchanged);
        leave(tx, &mut run, before.chain.is_some())?;
    }
    run.updated_at = moment.now;
    tx.put_run(Some(&before), &run)?;
    ring(tx, moment, &run);
    Ok(run)
}

/// Whoever asks a living chain to end is remembered until it has.
fn early_end(moment: &Moment, why: &Why, run: machine::Run) -> EarlyEnd {
    let verb = match (run.forced, run.kind) {
        (true, _) => "force-stopped",
        (false, Kind::OnDemand) => "canceled",
        (false, Kind::Tracked | Kind::Proposed | Kind::Task | Kind::Destroy | Kind::Drift) => "stopped",
    };
    let reason = why.reason.clone().unwrap_or_else(|| format!("{verb} by {}", moment.actor.name));
    EarlyEnd { actor: moment.actor.clone(), note: why.note.clone(), reason }
}

/// Who ends a run, and why: whoever asked for it, unless it came to an end of its own before.
fn by_request(before: &Run, after: machine::Run, moment: &Moment, why: Why) -> (Moment, Why) {
    let ends = after.state.is_terminal() || after.ends_as.is_some();
    let asked = before.stopping || before.forced;
    let Some(asked) = before.early_end.as_ref().filter(|_| asked && ends && before.ending.is_none()) else {
        return (moment.clone(), why);
    };
    let theirs = moment.of(asked.actor.clone());
    let note = asked.note.clone();
    match after.ends_as.unwrap_or(after.state) {
        State::Stopped | State::Canceled => (theirs, Why { note, reason: Some(asked.reason.clone()) }),
        _ if before.forced => (theirs, Why { note, reason: Some(also(why.reason, &asked.reason)) }),
        _ => {
            let reason = also(why.reason, &format!("{}, too late", asked.reason));
            (moment.clone(), Why { note, reason: Some(reason) })
        }
    }
}

/// A run that finished without having applied anything says so.
fn not_applied(run: &Run, after: machine::Run) -> Option<String> {
    let ends_well = after.ends_as.unwrap_or(after.state) == State::Finished;
    let skipped = run.phases.iter().find(|phase| ends_well && phase.skipped)?;
    Some(format!("{} was skipped: the environment says AIRLOCK_SKIP_APPLYING=true", skipped.phase))
}

fn also(reason: Option<String>, more: &str) -> String {
    reason.map_or_else(|| more.to_owned(), |reason| format!("{reason}; {more}"))
}

/// Writes the history entry of a state that was just entered.
fn remember(tx: &Tx<'_>, moment: &Moment, run: &mut Run, why: &Why) -> Result<(), Fault> {
    run.state_since = moment.now;
    run.reason.clone_from(&why.reason);
    let entry = HistoryEntry {
        state: run.state,
        at: moment.now,
        actor: moment.actor.clone(),
        note: why.note.clone(),
        reason: why.reason.clone(),
    };
    run.history += 1;
    tx.put(t::RUN_N_TO_HISTORY, (run.seq, run.history), &entry)?;
    notify::remember(tx, moment, run, why)
}

/// Adds something to the run's timeline that left it in its state.
pub(crate) fn remark(
    tx: &Tx<'_>,
    moment: &Moment,
    run: &mut Run,
    text: String,
    note: Option<String>,
) -> Result<(), Fault> {
    run.remarks += 1;
    let remark = Remark { at: moment.now, actor: moment.actor.clone(), text, note };
    tx.put(t::RUN_N_TO_REMARK, (run.seq, run.remarks), &remark)
}

/// Turns an effect into the row that makes it happen.
fn carry_out(tx: &Tx<'_>, moment: &Moment, run: &mut Run, effect: Effect) -> Result<(), Error> {
    match effect {
        Effect::Start(chain) => {
            image::pin(tx, run)?;
            start_chain(tx, moment, run, chain)?;
        }
        Effect::Check(stage) => gate::begin(tx, moment, run, stage)?,
        Effect::StopChain => ask(tx, run, ChainAsk::Stop)?,
        Effect::KillChain => ask(tx, run, ChainAsk::Kill)?,
        Effect::DestroySeal => chore(tx, run, |chore| chore.destroy_seal = true)?,
        Effect::RemoveWorkspace => chore(tx, run, |chore| chore.remove_workspace = true)?,
    }
    Ok(())
}

fn start_chain(tx: &Tx<'_>, moment: &Moment, run: &Run, kind: Chain) -> Result<(), Error> {
    if kind.deploys(run.kind) {
        preempt(tx, moment, run)?;
    }
    let before = tx.chain(run)?;
    let number = before.map_or_else(|| last_chain(run), |chain| chain.number) + 1;
    let keys = moment.keys.get();
    let (_, key) = keys.new_data_key(vault::chain_key(run.id, number).data());
    if kind == Chain::GoOn && run.kind == Kind::OnDemand {
        let mut secrets = tx.get(t::RUN_TO_SECRETS, run.seq)?.unwrap_or_default();
        let secret = crypt::random_token();
        secrets.workload = Some(vault::workload(run.id).seal(&keys, secret.expose().as_bytes()));
        tx.put(t::RUN_TO_SECRETS, run.seq, &secrets)?;
    }
    if kind.plans() || kind == Chain::Initialize {
        let mut secrets = tx.get(t::RUN_TO_SECRETS, run.seq)?.unwrap_or_default();
        let (_, fresh) = keys.new_data_key(vault::seal_key(run.id).data());
        let slot = if kind.opens() { &mut secrets.next_seal_key } else { &mut secrets.seal_key };
        *slot = Some(fresh);
        let redaction = vault::redaction_key(&keys, run.stack);
        secrets.redaction_key = Some(keys.wrap_key(vault::run_redaction(run.id).data(), &redaction));
        tx.put(t::RUN_TO_SECRETS, run.seq, &secrets)?;
    }
    let chain = record::Chain {
        run: run.id,
        kind: word(kind),
        number,
        first_phase: run.phases.last().map_or(0, |phase| phase.number) + 1,
        records: 0,
        key,
        ask: None,
        last_phase: None,
        last_verdict: None,
        changes: None,
    };
    Ok(tx.put(t::RUN_TO_CHAIN, run.seq, &chain)?)
}

/// Declared tasks of a stack make way for what changes it. Their callers try again.
fn preempt(tx: &Tx<'_>, moment: &Moment, deploy: &Run) -> Result<(), Error> {
    let reason = format!("a deployment began: run #{}", deploy.number);
    for run in tx.active_runs(deploy.stack)? {
        if run.kind == Kind::OnDemand && run.state.is_active() && !run.stopping {
            transition(tx, moment, run, Event::Cancel, Why::reason(reason.clone()))?;
        }
    }
    Ok(())
}

/// Whether a chain has to wait until declared tasks of its stack, which were asked to, have ended.
pub(crate) fn waits_for_tasks(view: &impl Find, run: &Run, chain: &record::Chain) -> Result<bool, Fault> {
    if !chain_of(&chain.kind)?.deploys(run.kind) {
        return Ok(false);
    }
    Ok(view.active_runs(run.stack)?.iter().any(|other| other.kind == Kind::OnDemand && other.state.is_active()))
}

fn last_chain(run: &Run) -> u32 {
    run.phases.iter().map(|phase| phase.chain).max().unwrap_or(0)
}

fn ask(tx: &Tx<'_>, run: &Run, what: ChainAsk) -> Result<(), Fault> {
    if let Some(mut chain) = tx.chain(run)? {
        chain.ask = chain.ask.max(Some(what));
        tx.put(t::RUN_TO_CHAIN, run.seq, &chain)?;
    }
    Ok(())
}

pub(crate) fn chore(tx: &Tx<'_>, run: &Run, set: impl FnOnce(&mut Chore)) -> Result<(), Fault> {
    let mut chore = tx.get(t::RUN_TO_CHORE, run.seq)?.unwrap_or_default();
    set(&mut chore);
    tx.put(t::RUN_TO_CHORE, run.seq, &chore)
}

/// Everything that a run gives back when it ends.
fn leave(tx: &Tx<'_>, run: &mut Run, had_chain: bool) -> Result<(), Fault> {
    tx.remove(t::RUN_TO_CHAIN, run.seq)?;
    tx.remove(t::RUN_TO_SECRETS, run.seq)?;
    if let Some(uid) = run.uid.take() {
        tx.remove_number(t::UID_TO_RUN, uid)?;
    }
    release_state_lock(tx, run)?;
    keep_version(tx, run)?;
    policy::follow::remember(tx, run)?;
    if had_chain || !run.phases.is_empty() {
        chore(tx, run, |chore| chore.file_away = true)?;
    }
    Ok(())
}

/// A stack knows what its resources were changed with last.
fn keep_version(tx: &Tx<'_>, run: &Run) -> Result<(), Fault> {
    let applies = |row: &record::PhaseRow| matches!(row.phase, Phase::Applying | Phase::Destroying) && !row.skipped;
    let applied = run.phases.iter().any(applies);
    let Some(mut stack) = tx.stack(run.stack)?.filter(|_| applied) else { return Ok(()) };
    if run.terraform_version.is_some() && stack.terraform_version != run.terraform_version {
        stack.terraform_version.clone_from(&run.terraform_version);
        tx.put(t::STACK_ID_TO_STACK, stack.id.number(), &stack)?;
    }
    Ok(())
}

/// Gives the lock of the state back; false when the run does not hold it.
fn release_state_lock(tx: &Tx<'_>, run: &Run) -> Result<bool, Fault> {
    let lock = tx.get(t::STACK_TO_STATE_LOCK, run.stack.number())?;
    let held = lock.is_some_and(|lock| lock.run == Some(run.id));
    if held {
        tx.remove(t::STACK_TO_STATE_LOCK, run.stack.number())?;
    }
    Ok(held)
}

/// A run that died could not say whether it was done with the state: whoever takes the lock next should know.
fn without_state_lock(tx: &Tx<'_>, run: &mut Run, why: Why) -> Result<Why, Fault> {
    if !release_state_lock(tx, run)? {
        return Ok(why);
    }
    gate::warn(run, LOCK_RELEASED.to_owned());
    Ok(Why { reason: Some(also(why.reason, LOCK_RELEASED)), ..why })
}

pub(crate) fn ring(tx: &Tx<'_>, moment: &Moment, run: &Run) {
    let live = Arc::clone(&moment.live);
    let id = run.id;
    tx.after_commit(move || {
        live.ring_run(id);
        live.ring_work();
    });
}
