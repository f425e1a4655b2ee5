//! The one function through which every state changes.

use std::borrow::Cow;

use crate::domain::{Kind, Phase, State};

use super::{Chain, ChainEnd, Effect, Event, Workspace};

/// What the life cycle knows of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    pub kind: Kind,
    pub state: State,
    /// A chain is alive, or about to be started.
    pub chain: Option<Chain>,
    /// Somebody asked the living chain to stop.
    pub stopping: bool,
    /// An admin had the living chain killed.
    pub forced: bool,
    /// A sealed workspace exists.
    pub sealed: bool,
}

impl Run {
    pub const fn new(kind: Kind) -> Self {
        Self { kind, state: State::Queued, chain: None, stopping: false, forced: false, sealed: false }
    }
}

/// The present state does not allow it, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct NotNow {
    pub state: State,
    pub reason: Cow<'static, str>,
}

/// What a transition leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stepped {
    pub run: Run,
    pub effects: Vec<Effect>,
    /// Why, where the state alone does not say it.
    pub reason: Option<&'static str>,
}

/// The run after `event`, and what must happen because of it.
pub fn step(run: Run, event: Event) -> Result<Stepped, NotNow> {
    let next = match event {
        Event::Eligible if run.state == State::Queued => to(run, State::Ready),
        Event::HeldBack if run.state == State::Ready => to(run, State::Queued),
        Event::UpstreamFailed if run.state == State::Queued => {
            because(to(run, State::Skipped), "an upstream stack failed or changed nothing")
        }
        Event::Claimed => return claimed(run),
        Event::PhaseStarted(phase) => return phase_started(run, phase),
        Event::ChainEnded(end) => return chain_ended(run, end),
        Event::ChainLost { last_phase } => return chain_lost(run, last_phase),
        Event::Cancel => return cancel(run),
        Event::Stop => return stop(run),
        Event::ForceStop => return force_stop(run),
        Event::Confirm if run.state == State::Unconfirmed => to(run, State::Confirmed),
        Event::Discard if run.state == State::Unconfirmed => destroy_seal(to(run, State::Discarded)),
        Event::Replan if run.state == State::Unconfirmed && run.kind == Kind::Tracked => {
            to(run, State::ReplanRequested)
        }
        Event::Replan if run.state == State::Unconfirmed => {
            return no(run, "only a tracked run can be replanned with targets");
        }
        Event::Rejected if matches!(run.state, State::Queued | State::PendingReview) => {
            because(to(run, State::Failed), "rejected")
        }
        Event::Rejected if run.state == State::Unconfirmed => because(destroy_seal(to(run, State::Failed)), "rejected"),
        Event::Approved if run.state == State::PendingReview => to(run, State::Finished),
        Event::SealBroken if matches!(run.state, State::Unconfirmed | State::Confirmed | State::ReplanRequested) => {
            because(destroy_seal(to(run, State::Failed)), "the sealed workspace cannot be opened")
        }
        Event::Eligible
        | Event::HeldBack
        | Event::UpstreamFailed
        | Event::Confirm
        | Event::Discard
        | Event::Replan
        | Event::Rejected
        | Event::Approved
        | Event::SealBroken => return no(run, refusal(event, run.state)),
    };
    Ok(next)
}

fn to(run: Run, state: State) -> Stepped {
    Stepped { run: Run { state, ..run }, effects: Vec::new(), reason: None }
}

fn because(mut stepped: Stepped, reason: &'static str) -> Stepped {
    stepped.reason = Some(reason);
    stepped
}

fn destroy_seal(mut stepped: Stepped) -> Stepped {
    if stepped.run.sealed {
        stepped.run.sealed = false;
        stepped.effects.push(Effect::DestroySeal);
    }
    stepped
}

fn start(mut stepped: Stepped, chain: Chain) -> Stepped {
    stepped.run.chain = Some(chain);
    stepped.effects.push(Effect::Start(chain));
    stepped
}

fn no(run: Run, reason: impl Into<Cow<'static, str>>) -> Result<Stepped, NotNow> {
    Err(NotNow { state: run.state, reason: reason.into() })
}

fn refusal(event: Event, state: State) -> String {
    let verb = match event {
        Event::Eligible | Event::HeldBack | Event::Claimed => "be scheduled",
        Event::UpstreamFailed => "be skipped",
        Event::PhaseStarted(_) | Event::ChainEnded(_) | Event::ChainLost { .. } => "hear from a runner",
        Event::Cancel => "be canceled",
        Event::Stop => "be stopped",
        Event::Confirm => "be confirmed",
        Event::Discard => "be discarded",
        Event::Replan => "be replanned",
        Event::ForceStop => "be force-stopped",
        Event::Rejected => "be rejected",
        Event::Approved => "be approved",
        Event::SealBroken => "lose its sealed workspace",
    };
    format!("a run that is {state} cannot {verb}")
}

fn claimed(run: Run) -> Result<Stepped, NotNow> {
    match run.state {
        State::Ready if run.kind.plans() => Ok(start(to(run, State::Preparing), Chain::Plan)),
        State::Ready if run.kind == Kind::OnDemand => Ok(start(to(run, State::Preparing), Chain::Prepare)),
        State::Ready => Ok(start(to(run, State::Preparing), Chain::Perform)),
        State::Confirmed => Ok(start(to(run, State::PreparingApply), Chain::Apply)),
        State::ReplanRequested => Ok(start(to(run, State::PreparingApply), Chain::Replan)),
        state => no(run, refusal(Event::Claimed, state)),
    }
}

/// The state that a phase shows as. Sealing and ending show as what went before them.
const fn shown_as(phase: Phase) -> Option<State> {
    match phase {
        Phase::Preparing => Some(State::Preparing),
        Phase::Initializing => Some(State::Initializing),
        Phase::Planning => Some(State::Planning),
        Phase::PreparingApply => Some(State::PreparingApply),
        Phase::Applying => Some(State::Applying),
        Phase::Performing => Some(State::Performing),
        Phase::Destroying => Some(State::Destroying),
        Phase::Sealing | Phase::Ending => None,
    }
}

fn phase_started(run: Run, phase: Phase) -> Result<Stepped, NotNow> {
    if run.chain.is_none() || !run.state.is_active() {
        return no(run, refusal(Event::PhaseStarted(phase), run.state));
    }
    Ok(to(run, shown_as(phase).unwrap_or(run.state)))
}

fn cancel(run: Run) -> Result<Stepped, NotNow> {
    match run.state {
        State::Queued | State::Ready | State::PendingReview => Ok(to(run, State::Canceled)),
        State::Preparing | State::Performing if run.kind == Kind::OnDemand => Ok(ask_to_stop(run)),
        state if state.is_active() && run.kind != Kind::OnDemand => {
            no(run, format!("a run that is {state} cannot be canceled; stop it instead where that is possible"))
        }
        state => no(run, refusal(Event::Cancel, state)),
    }
}

fn stop(run: Run) -> Result<Stepped, NotNow> {
    match run.state {
        State::Preparing if run.kind == Kind::OnDemand => Ok(ask_to_stop(run)),
        State::Performing if run.kind == Kind::OnDemand => {
            no(run, "a declared task that is performing is canceled, not stopped")
        }
        State::Preparing | State::Initializing | State::Planning | State::Checking
            if matches!(run.chain, Some(Chain::GoOn)) =>
        {
            no(run, "the run is about to apply and cannot be stopped any more")
        }
        State::Preparing | State::Initializing | State::Planning | State::Checking => Ok(ask_to_stop(run)),
        State::Performing | State::Applying | State::Destroying => no(
            run,
            format!(
                "a run that is {} cannot be stopped; an admin can force it, at the price of not knowing what it changed",
                run.state
            ),
        ),
        state => no(run, refusal(Event::Stop, state)),
    }
}

/// Without a living chain (checking waits on others) the end is at once.
fn ask_to_stop(run: Run) -> Stepped {
    if run.chain.is_none() {
        let end = if run.kind == Kind::OnDemand { State::Canceled } else { State::Stopped };
        let mut stepped = destroy_seal(to(run, end));
        stepped.effects.push(Effect::RemoveWorkspace);
        return stepped;
    }
    let mut stepped = to(Run { stopping: true, ..run }, run.state);
    stepped.effects.push(Effect::StopChain);
    stepped
}

fn force_stop(run: Run) -> Result<Stepped, NotNow> {
    match run.state {
        State::Applying | State::Destroying | State::Performing if run.kind != Kind::OnDemand => {
            let mut stepped = to(Run { forced: true, ..run }, run.state);
            stepped.effects.push(Effect::KillChain);
            Ok(stepped)
        }
        state => no(run, refusal(Event::ForceStop, state)),
    }
}

fn chain_lost(run: Run, last_phase: Option<Phase>) -> Result<Stepped, NotNow> {
    if run.chain.is_none() {
        return no(run, refusal(Event::ChainLost { last_phase }, run.state));
    }
    let reason = match last_phase {
        Some(phase) if phase.changes_things() => LOST_UNKNOWN,
        Some(_) | None => LOST,
    };
    // Whether it sealed anything before it went is not known: as if it had.
    Ok(because(end(Run { sealed: true, ..run }, State::Failed, Workspace::Kept), reason))
}

/// The reason of a run whose runner is gone before anything was changed.
pub const LOST: &str = "lost";
/// The reason of a run whose runner is gone while something was being changed.
pub const LOST_UNKNOWN: &str = "lost: what it changed is unknown";

/// Ends the run, leaving nothing of it behind.
fn end(run: Run, state: State, workspace: Workspace) -> Stepped {
    let sealed = run.sealed || workspace == Workspace::Sealed;
    let after = Run { chain: None, stopping: false, forced: false, sealed, ..run };
    let mut stepped = destroy_seal(to(after, state));
    if workspace == Workspace::Kept {
        stepped.effects.push(Effect::RemoveWorkspace);
    }
    stepped
}

fn chain_ended(run: Run, ended: ChainEnd) -> Result<Stepped, NotNow> {
    let Some(chain) = run.chain else {
        return no(run, refusal(Event::ChainEnded(ended), run.state));
    };
    if run.forced {
        return Ok(because(end(run, State::Failed, ended.workspace), LOST_UNKNOWN));
    }
    if run.stopping || ended.stopped {
        return Ok(end_stopped(run, ended));
    }
    if !ended.success {
        return Ok(end(run, State::Failed, ended.workspace));
    }
    Ok(match chain {
        Chain::Perform | Chain::Apply | Chain::GoOn => end(run, State::Finished, ended.workspace),
        Chain::Prepare => prepared(run, ended),
        Chain::Plan | Chain::Replan => planned(run, ended),
        Chain::Seal => wait_for_a_person(run, ended),
    })
}

/// What was fetched says what is to be performed, in the same workspace.
fn prepared(run: Run, ended: ChainEnd) -> Stepped {
    match ended.workspace {
        Workspace::Kept => start(to(Run { chain: None, ..run }, run.state), Chain::GoOn),
        left @ (Workspace::Removed | Workspace::Sealed) => {
            because(end(run, State::Failed, left), "the workspace was not kept")
        }
    }
}

/// A stop that came too late for a phase that changes things leaves what that phase came to.
fn end_stopped(run: Run, ended: ChainEnd) -> Stepped {
    let state = match ended.last_phase {
        Some(phase) if phase.changes_things() && ended.success => State::Finished,
        _ if run.kind == Kind::OnDemand => State::Canceled,
        Some(phase) if phase.changes_things() => State::Failed,
        _ => State::Stopped,
    };
    end(run, state, ended.workspace)
}

fn planned(run: Run, ended: ChainEnd) -> Stepped {
    match run.kind {
        Kind::Proposed | Kind::Drift if ended.needs_review => end(run, State::PendingReview, ended.workspace),
        Kind::Proposed | Kind::Drift | Kind::Task | Kind::OnDemand => end(run, State::Finished, ended.workspace),
        Kind::Tracked if ended.changes == Some(false) => {
            because(end(run, State::Finished, ended.workspace), "nothing to change")
        }
        Kind::Tracked if ended.workspace == Workspace::Kept && ended.may_go_on => {
            start(to(Run { chain: None, ..run }, run.state), Chain::GoOn)
        }
        Kind::Tracked | Kind::Destroy => wait_for_a_person(run, ended),
    }
}

/// Nobody decides on an open workspace: an open one is sealed first, a missing one is a failure.
fn wait_for_a_person(run: Run, ended: ChainEnd) -> Stepped {
    let rest = Run { chain: None, stopping: false, ..run };
    match ended.workspace {
        Workspace::Sealed => to(Run { sealed: true, ..rest }, State::Unconfirmed),
        Workspace::Kept => start(to(rest, run.state), Chain::Seal),
        Workspace::Removed => because(end(run, State::Failed, Workspace::Removed), "the workspace was not sealed"),
    }
}
