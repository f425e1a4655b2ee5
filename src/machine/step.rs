//! The one function through which every state changes.

use std::borrow::Cow;

use crate::domain::{Kind, Phase, Stage, Stages, State};

use super::{Chain, ChainEnd, Effect, Event, StageEnd, Workspace};

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
    /// The stage whose run tasks are being called.
    pub checking: Option<Stage>,
    /// What it ends as once the hooks of its end have run.
    pub ends_as: Option<State>,
    /// Whether `after_run` hooks are due when it ends. Not a part of the run: looked up for each event.
    pub hooks: bool,
    /// The stages at which run tasks are attached at this moment. Not a part of the run: looked up for
    /// each event.
    pub attached: Stages,
}

impl Run {
    pub const fn new(kind: Kind) -> Self {
        Self {
            kind,
            state: State::Queued,
            chain: None,
            stopping: false,
            forced: false,
            sealed: false,
            checking: None,
            ends_as: None,
            hooks: false,
            attached: Stages::NONE,
        }
    }

    /// Whether it waits for anything with a sealed workspace that it will need.
    fn rests_on_seal(self) -> bool {
        let waits = matches!(
            self.state,
            State::Queued
                | State::Ready
                | State::Checking
                | State::Unconfirmed
                | State::Confirmed
                | State::ReplanRequested
        );
        self.sealed && self.chain.is_none() && waits && self.checking != Some(Stage::PostApply)
    }

    /// Whether run tasks are called at a stage of this run: those of runs that plan.
    const fn checks(self, stage: Stage) -> bool {
        self.kind.plans() && self.attached.has(stage)
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
    /// It ends without anybody having heard how.
    pub lost: Option<Lost>,
}

/// What is known of a run whose runner is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It had not begun to change anything.
    Unchanged,
    /// It was changing something.
    Unknown,
}

impl Lost {
    const fn reason(self) -> &'static str {
        match self {
            Self::Unchanged => LOST,
            Self::Unknown => LOST_UNKNOWN,
        }
    }
}

/// The run after `event`, and what must happen because of it.
pub fn step(run: Run, event: Event) -> Result<Stepped, NotNow> {
    let next = match event {
        Event::Eligible if run.state == State::Queued => to(run, State::Ready),
        Event::HeldBack if run.state == State::Ready => to(run, State::Queued),
        Event::UpstreamFailed if run.state == State::Queued => {
            because(destroy_seal(to(run, State::Skipped)), "an upstream stack failed or changed nothing")
        }
        Event::Claimed => return claimed(run),
        Event::PhaseStarted(phase) => return phase_started(run, phase),
        Event::ChainEnded(end) => return chain_ended(run, end),
        Event::ChainLost { last_phase } => return chain_lost(run, last_phase),
        Event::Cancel => return cancel(run),
        Event::Stop => return stop(run),
        Event::ForceStop => return force_stop(run),
        Event::StageEnded(end) => return stage_ended(run, end),
        Event::Confirm if run.state == State::Unconfirmed => accepted(run),
        Event::Discard if run.state == State::Unconfirmed => destroy_seal(to(run, State::Discarded)),
        Event::Replan if run.state == State::Unconfirmed => to(run, State::ReplanRequested),
        Event::Rejected if matches!(run.state, State::Queued | State::PendingReview | State::Unconfirmed) => {
            because(end(run, State::Failed, Workspace::Removed), "rejected")
        }
        Event::Approved if run.state == State::PendingReview => end(run, State::Finished, Workspace::Removed),
        Event::SealBroken if run.rests_on_seal() => seal_broken(run),
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
    let checking = run.checking.filter(|_| state == State::Checking);
    Stepped { run: Run { state, checking, ..run }, effects: Vec::new(), reason: None, lost: None }
}

/// Calls the run tasks of a stage. Nothing of the run is alive meanwhile, and nothing open.
fn check(run: Run, stage: Stage) -> Stepped {
    let rest = Run { chain: None, stopping: false, checking: Some(stage), ..run };
    let mut stepped = to(rest, State::Checking);
    stepped.effects.push(Effect::Check(stage));
    stepped
}

/// The plan is to be applied, by a person's word or by the stack's setting.
fn accepted(run: Run) -> Stepped {
    if run.checks(Stage::PreApply) { check(run, Stage::PreApply) } else { to(run, State::Confirmed) }
}

fn because(mut stepped: Stepped, reason: &'static str) -> Stepped {
    stepped.reason = Some(reason);
    stepped
}

/// Ends the run without hooks: nobody knows what they would find.
fn lose(run: Run, workspace: Workspace, lost: Lost) -> Stepped {
    let stepped = because(gone(run, State::Failed, workspace), lost.reason());
    Stepped { lost: Some(lost), ..stepped }
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

/// Nothing is left of the workspace for anybody.
fn seal_broken(run: Run) -> Stepped {
    let mut stepped = end(Run { sealed: false, ..run }, State::Failed, Workspace::Removed);
    stepped.effects.push(Effect::DestroySeal);
    because(stepped, "the sealed workspace cannot be opened")
}

fn no(run: Run, reason: impl Into<Cow<'static, str>>) -> Result<Stepped, NotNow> {
    Err(NotNow { state: run.state, reason: reason.into() })
}

fn refusal(event: Event, state: State) -> String {
    let verb = match event {
        Event::Eligible | Event::HeldBack | Event::Claimed => "be scheduled",
        Event::StageEnded(_) => "hear from run tasks",
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
        State::Ready if run.kind.plans() => {
            let chain = match (run.sealed, run.checks(Stage::PrePlan)) {
                (true, _) => Chain::PlanSealed,
                (false, true) => Chain::Initialize,
                (false, false) => Chain::Plan,
            };
            Ok(start(to(run, State::Preparing), chain))
        }
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
    let state = match phase {
        _ if run.chain == Some(Chain::End) => run.state,
        // What is opened is not applied yet.
        Phase::PreparingApply if run.chain == Some(Chain::PlanSealed) => State::Preparing,
        phase => shown_as(phase).unwrap_or(run.state),
    };
    Ok(to(run, state))
}

fn cancel(run: Run) -> Result<Stepped, NotNow> {
    match run.state {
        State::Queued | State::Ready | State::PendingReview => Ok(destroy_seal(to(run, State::Canceled))),
        State::Preparing | State::Performing if run.kind == Kind::OnDemand => Ok(ask_to_stop(run)),
        state if state.is_active() && run.kind != Kind::OnDemand => {
            no(run, format!("a run that is {state} cannot be canceled; stop it instead where that is possible"))
        }
        state => no(run, refusal(Event::Cancel, state)),
    }
}

fn stop(run: Run) -> Result<Stepped, NotNow> {
    if run.chain == Some(Chain::End) {
        return no(run, "the run has come to its end: only its after_run hooks still run");
    }
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
        State::Checking if run.checking.is_some_and(Stage::is_confirmed) => {
            no(run, "the run is accepted and cannot be stopped any more")
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
        let state = if run.kind == Kind::OnDemand { State::Canceled } else { State::Stopped };
        return end(run, state, Workspace::Kept);
    }
    let mut stepped = to(Run { stopping: true, ..run }, run.state);
    stepped.effects.push(Effect::StopChain);
    stepped
}

fn force_stop(run: Run) -> Result<Stepped, NotNow> {
    match run.state {
        state if run.chain == Some(Chain::End) => no(run, refusal(Event::ForceStop, state)),
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
    if let Some(state) = run.ends_as {
        return Ok(gone(run, state, Workspace::Kept));
    }
    let lost = match last_phase {
        Some(phase) if phase.changes_things() => Lost::Unknown,
        Some(_) | None => Lost::Unchanged,
    };
    // Whether it sealed anything before it went is not known: as if it had.
    Ok(lose(Run { sealed: true, ..run }, Workspace::Kept, lost))
}

/// The reason of a run whose plan a policy denied, where the policy gives none.
const DENIED: &str = "denied by a policy";
/// The reason of a run that cannot rest.
const UNSEALED: &str = "the workspace was not sealed";
/// The reason of a run whose runner is gone before anything was changed.
pub const LOST: &str = "lost";
/// The reason of a run whose runner is gone while something was being changed.
pub const LOST_UNKNOWN: &str = "lost: what it changed is unknown";

/// Ends the run, after the hooks that are due then.
fn end(run: Run, state: State, workspace: Workspace) -> Stepped {
    let due = run.hooks && run.ends_as.is_none();
    if !due || !matches!(state, State::Finished | State::Failed | State::Stopped) {
        return gone(run, state, workspace);
    }
    let sealed = run.sealed || workspace == Workspace::Sealed;
    let last = Run { chain: None, stopping: false, forced: false, sealed, ends_as: Some(state), ..run };
    start(to(last, went_before(run)), Chain::End)
}

/// What the hooks of its end show as: what the run did last.
const fn went_before(run: Run) -> State {
    match (run.state, run.checking) {
        (State::Checking, Some(Stage::PrePlan)) | (State::Queued | State::Ready, _) => State::Initializing,
        (State::Checking, Some(Stage::PostApply)) if matches!(run.kind, Kind::Destroy) => State::Destroying,
        (State::Checking, Some(Stage::PostApply)) => State::Applying,
        (
            State::Checking | State::Unconfirmed | State::PendingReview | State::Confirmed | State::ReplanRequested,
            _,
        ) => State::Planning,
        (state, _) => state,
    }
}

/// Ends the run, leaving nothing of it behind.
fn gone(run: Run, state: State, workspace: Workspace) -> Stepped {
    let sealed = run.sealed || workspace == Workspace::Sealed;
    let after = Run { chain: None, stopping: false, forced: false, sealed, ends_as: None, ..run };
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
    if let Some(state) = run.ends_as {
        return Ok(gone(run, state, ended.workspace));
    }
    if run.forced {
        return Ok(lose(run, ended.workspace, Lost::Unknown));
    }
    if run.stopping || ended.stopped {
        return Ok(end_stopped(run, ended));
    }
    if !ended.success {
        return Ok(end(run, State::Failed, ended.workspace));
    }
    if ended.denied && chain.plans() {
        return Ok(because(end(run, State::Failed, ended.workspace), DENIED));
    }
    Ok(match chain {
        Chain::Apply | Chain::GoOn => applied(run, ended),
        Chain::Perform => end(run, State::Finished, ended.workspace),
        Chain::Prepare => prepared(run, ended),
        Chain::Initialize => initialized(run, ended),
        Chain::Plan | Chain::PlanSealed | Chain::Replan | Chain::Seal => planned(run, ended),
        // It knows what it ends as, and was answered above.
        Chain::End => gone(run, State::Failed, ended.workspace),
    })
}

/// What follows an applied change is only recorded.
fn applied(run: Run, ended: ChainEnd) -> Stepped {
    if !run.checks(Stage::PostApply) {
        return end(run, State::Finished, ended.workspace);
    }
    let sealed = run.sealed || ended.workspace == Workspace::Sealed;
    let mut stepped = destroy_seal(check(Run { sealed, ..run }, Stage::PostApply));
    if ended.workspace == Workspace::Kept {
        stepped.effects.push(Effect::RemoveWorkspace);
    }
    stepped
}

/// The workspace is sealed and rests: for outside checks, or, if there are none any more, for a slot.
fn initialized(run: Run, ended: ChainEnd) -> Stepped {
    if ended.workspace != Workspace::Sealed {
        return because(end(run, State::Failed, ended.workspace), UNSEALED);
    }
    let rest = Run { chain: None, stopping: false, sealed: true, ..run };
    if rest.checks(Stage::PrePlan) { check(rest, Stage::PrePlan) } else { to(rest, State::Ready) }
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
    let to_apply = match run.kind {
        Kind::Tracked => ended.changes != Some(false),
        Kind::Destroy => true,
        Kind::Proposed | Kind::Drift | Kind::Task | Kind::OnDemand => false,
    };
    let may_go_on = ended.may_go_on && run.kind == Kind::Tracked;
    let checked = run.checks(Stage::PostPlan);
    if ended.workspace == Workspace::Kept && to_apply && may_go_on && !checked && !run.checks(Stage::PreApply) {
        return start(to(Run { chain: None, ..run }, run.state), Chain::GoOn);
    }
    let rest = Run { chain: None, stopping: false, ..run };
    // Hooks that see what others say about the plan find the workspace then.
    let waits = to_apply || (run.hooks && (checked || ended.needs_review));
    match ended.workspace {
        Workspace::Kept if waits => start(to(rest, run.state), Chain::Seal),
        Workspace::Removed if to_apply => because(end(run, State::Failed, Workspace::Removed), UNSEALED),
        left @ Workspace::Sealed => decide(Run { sealed: true, ..rest }, checked, ended.into(), left),
        left => {
            let mut stepped = decide(rest, checked, ended.into(), left);
            let taken = stepped.run.chain.is_some() || stepped.run.state.is_terminal();
            if left == Workspace::Kept && !taken {
                stepped.effects.push(Effect::RemoveWorkspace);
            }
            stepped
        }
    }
}

/// What follows a plan whose workspace, where it is still needed, is sealed.
fn decide(run: Run, check_first: bool, facts: StageEnd, left: Workspace) -> Stepped {
    if check_first {
        return check(run, Stage::PostPlan);
    }
    match run.kind {
        Kind::Proposed | Kind::Drift if facts.needs_review && run.hooks => to(run, State::PendingReview),
        Kind::Proposed | Kind::Drift if facts.needs_review => destroy_seal(to(run, State::PendingReview)),
        Kind::Proposed | Kind::Drift | Kind::Task | Kind::OnDemand => end(run, State::Finished, left),
        Kind::Tracked if facts.changes == Some(false) => because(end(run, State::Finished, left), "nothing to change"),
        Kind::Tracked | Kind::Destroy if !run.sealed => because(end(run, State::Failed, Workspace::Removed), UNSEALED),
        Kind::Tracked if facts.may_go_on => accepted(run),
        Kind::Tracked | Kind::Destroy => to(run, State::Unconfirmed),
    }
}

impl From<ChainEnd> for StageEnd {
    fn from(end: ChainEnd) -> Self {
        let ChainEnd { changes, may_go_on, needs_review, .. } = end;
        Self { passed: true, changes, may_go_on, needs_review }
    }
}

fn stage_ended(run: Run, ended: StageEnd) -> Result<Stepped, NotNow> {
    let (State::Checking, Some(stage)) = (run.state, run.checking) else {
        return no(run, refusal(Event::StageEnded(ended), run.state));
    };
    if !ended.passed && stage.can_stop() {
        return Ok(because(end(run, State::Failed, Workspace::Removed), "a mandatory run task did not pass"));
    }
    Ok(match stage {
        Stage::PrePlan => to(run, State::Ready),
        Stage::PostPlan => decide(run, false, ended, Workspace::Removed),
        Stage::PreApply => to(run, State::Confirmed),
        Stage::PostApply => end(run, State::Finished, Workspace::Removed),
    })
}
