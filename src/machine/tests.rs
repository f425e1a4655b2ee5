use std::collections::{HashMap, HashSet, VecDeque};

use super::*;
use crate::domain::{Kind, Phase, RunId, StackId, Stage, Stages, State};

/// Every event that a runner or a person could send, in all its variants.
fn all_events() -> Vec<Event> {
    let mut events = vec![
        Event::Eligible,
        Event::HeldBack,
        Event::Claimed,
        Event::UpstreamFailed,
        Event::Cancel,
        Event::Stop,
        Event::Confirm,
        Event::Discard,
        Event::Replan,
        Event::ForceStop,
        Event::Rejected,
        Event::Approved,
        Event::SealBroken,
        Event::ChainLost { last_phase: None },
    ];
    events.extend(Phase::ALL.map(|phase| Event::ChainLost { last_phase: Some(phase) }));
    events.extend(Phase::ALL.map(Event::PhaseStarted));
    let flags = [false, true];
    for passed in flags {
        for changes in [None, Some(false), Some(true)] {
            for may_go_on in flags {
                for needs_review in flags {
                    events.push(Event::StageEnded(StageEnd { passed, changes, may_go_on, needs_review }));
                }
            }
        }
    }
    for last_phase in [None].into_iter().chain(Phase::ALL.map(Some)) {
        for success in flags {
            for stopped in flags {
                for changes in [None, Some(false), Some(true)] {
                    for workspace in [Workspace::Removed, Workspace::Kept, Workspace::Sealed] {
                        for may_go_on in flags {
                            for (needs_review, denied) in [(false, false), (true, false), (false, true)] {
                                let end = ChainEnd {
                                    last_phase,
                                    success,
                                    stopped,
                                    changes,
                                    workspace,
                                    may_go_on,
                                    needs_review,
                                    denied,
                                };
                                events.push(Event::ChainEnded(end));
                            }
                        }
                    }
                }
            }
        }
    }
    events
}

/// What may be attached when an event comes; it changes from event to event.
fn attachments() -> [Stages; 6] {
    let [pre_plan, post_plan, pre_apply, post_apply] = Stage::ALL.map(|stage| Stages::of(&[stage]));
    [Stages::NONE, pre_plan, post_plan, pre_apply, post_apply, Stages::of(&Stage::ALL)]
}

#[test]
fn every_reachable_state_keeps_the_promises_of_the_life_cycle() {
    let events = all_events();
    for kind in Kind::ALL {
        let mut seen: HashSet<Run> = HashSet::from([Run::new(kind)]);
        let mut todo = VecDeque::from([Run::new(kind)]);
        let mut leads_to: HashMap<Run, HashSet<Run>> = HashMap::new();
        while let Some(run) = todo.pop_front() {
            for (attached, hooks) in attachments().into_iter().flat_map(|set| [(set, false), (set, true)]) {
                for event in &events {
                    let Ok(mut stepped) = step(Run { hooks, attached, ..run }, *event) else { continue };
                    assert_eq!((stepped.run.attached, stepped.run.hooks), (attached, hooks));
                    (stepped.run.attached, stepped.run.hooks) = (Stages::NONE, false);
                    holds(run, attached, *event, &stepped);
                    hooks_hold(run, hooks, *event, &stepped);
                    leads_to.entry(run).or_default().insert(stepped.run);
                    if seen.insert(stepped.run) {
                        todo.push_back(stepped.run);
                    }
                }
            }
        }
        for run in &seen {
            assert!(ends(*run, &leads_to), "{run:?} can never end");
        }
    }
}

fn holds(before: Run, attached: Stages, event: Event, stepped: &Stepped) {
    let (after, effects) = (stepped.run, &stepped.effects);
    let context = || format!("{before:?} with {attached:?} + {event:?} -> {stepped:?}");
    assert!(!before.state.is_terminal(), "left an end: {}", context());
    let starts = effects.iter().filter(|effect| matches!(effect, Effect::Start(_))).count();
    assert!(starts <= 1, "two chains: {}", context());
    if starts == 1 {
        assert!(
            before.chain.is_none() || matches!(event, Event::ChainEnded(_)),
            "started beside a living chain: {}",
            context()
        );
        assert!(after.chain.is_some() && after.state.is_active(), "{}", context());
    }
    if !after.state.is_active() || after.state == State::Checking {
        assert_eq!(after.chain, None, "a chain outlives its state: {}", context());
        assert!(!after.stopping && !after.forced, "{}", context());
    }
    if matches!(after.state, State::Unconfirmed | State::Confirmed | State::ReplanRequested) {
        assert!(after.sealed, "waits with an open workspace: {}", context());
    }
    if after.state.is_terminal() {
        assert!(!after.sealed, "an end keeps a seal: {}", context());
        if before.sealed {
            assert!(effects.contains(&Effect::DestroySeal), "a seal survives: {}", context());
        }
    }
    if let Event::ChainEnded(end) = event
        && end.workspace == Workspace::Kept
    {
        let forgotten = !effects.contains(&Effect::RemoveWorkspace) && starts == 0;
        assert!(!forgotten, "an open workspace is forgotten: {}", context());
    }
    checks_hold(before, attached, event, stepped, &context);
}

/// What outside checks must not change, and what they must.
fn checks_hold(before: Run, attached: Stages, event: Event, stepped: &Stepped, context: &dyn Fn() -> String) {
    let (after, effects) = (stepped.run, &stepped.effects);
    assert_eq!(after.state == State::Checking, after.checking.is_some(), "{}", context());
    let begun: Vec<Stage> = effects
        .iter()
        .filter_map(|effect| if let Effect::Check(stage) = effect { Some(*stage) } else { None })
        .collect();
    let entered = after.checking.filter(|_| before.checking != after.checking);
    assert_eq!(begun, entered.into_iter().collect::<Vec<_>>(), "a stage without calls: {}", context());
    assert!(begun.iter().all(|stage| attached.has(*stage)), "called without being attached: {}", context());
    match after.checking {
        Some(Stage::PrePlan | Stage::PreApply) => assert!(after.sealed, "checks an open workspace: {}", context()),
        Some(Stage::PostApply) => assert!(!after.sealed, "an applied plan keeps a seal: {}", context()),
        Some(Stage::PostPlan) | None => {}
    }
    let applies = effects.iter().any(|effect| matches!(effect, Effect::Start(Chain::Apply | Chain::GoOn)));
    let asks = attached.has(Stage::PreApply) && before.kind.plans();
    if asks && matches!(event, Event::ChainEnded(_) | Event::StageEnded(_)) && before.checking != Some(Stage::PreApply)
    {
        assert!(!applies && after.state != State::Confirmed, "applies past the checks: {}", context());
    }
    if let Event::ChainEnded(end) = event
        && end.denied
        && end.success
        && before.chain.is_some_and(Chain::plans)
    {
        let ends = after.state.is_terminal() || after.ends_as.is_some();
        assert!(ends, "a denied plan goes on: {}", context());
    }
}

/// Hooks that are due come before the end, once, and see it.
fn hooks_hold(before: Run, hooks: bool, event: Event, stepped: &Stepped) {
    let after = stepped.run;
    let context = || format!("{before:?} with hooks {hooks} + {event:?} -> {stepped:?}");
    assert_eq!(after.ends_as.is_some(), after.chain == Some(Chain::End), "{}", context());
    let lost = matches!(event, Event::ChainLost { .. }) || before.forced;
    if hooks && before.ends_as.is_none() && !lost {
        let sees = matches!(after.state, State::Finished | State::Failed | State::Stopped);
        assert!(!sees, "ends without its hooks: {}", context());
    }
    if let Some(told) = before.ends_as
        && after.state.is_terminal()
    {
        assert_eq!(after.state, told, "another end than the hooks were told: {}", context());
    }
    if after.ends_as.is_some() && before.ends_as.is_none() {
        assert!(!matches!(after.state, State::Checking), "{}", context());
        assert!(!before.sealed || after.sealed || event == Event::SealBroken, "a seal is forgotten: {}", context());
    }
}

fn ends(from: Run, leads_to: &HashMap<Run, HashSet<Run>>) -> bool {
    let mut seen = HashSet::from([from]);
    let mut todo = vec![from];
    while let Some(run) = todo.pop() {
        if run.state.is_terminal() {
            return true;
        }
        for next in leads_to.get(&run).into_iter().flatten() {
            if seen.insert(*next) {
                todo.push(*next);
            }
        }
    }
    false
}

/// A runner that does everything right, seen from the life cycle.
fn carry_out(mut run: Run, autodeploy: bool, changes: bool, may_go_on: bool) -> Run {
    while let Some(chain) = run.chain {
        let keep = autodeploy && !run.attached.has(Stage::PostPlan) && !run.attached.has(Stage::PreApply);
        let shape = chain.shape(run.kind, false, keep);
        let mut last = None;
        let mut planned = None;
        for phase in &shape.phases {
            run = step(run, Event::PhaseStarted(*phase)).unwrap().run;
            last = Some(*phase);
            if *phase == Phase::Planning {
                planned = Some(changes);
            }
        }
        let workspace = match (planned, shape.at_end) {
            (Some(false), _) if run.kind == Kind::Tracked => Workspace::Removed,
            (_, crate::protocol::AtEnd::Keep) => Workspace::Kept,
            (_, crate::protocol::AtEnd::Seal) => Workspace::Sealed,
            (_, crate::protocol::AtEnd::Remove) => Workspace::Removed,
        };
        let end = ChainEnd {
            last_phase: last,
            success: true,
            stopped: false,
            changes: planned,
            workspace,
            may_go_on,
            needs_review: false,
            denied: false,
        };
        run = step(run, Event::ChainEnded(end)).unwrap().run;
    }
    run
}

/// A run of a stack with run tasks at these stages.
fn checked(kind: Kind, stages: &[Stage]) -> Run {
    Run { attached: Stages::of(stages), ..Run::new(kind) }
}

fn claim(run: Run) -> Run {
    let run = if run.state == State::Queued { step(run, Event::Eligible).unwrap().run } else { run };
    step(run, Event::Claimed).unwrap().run
}

fn ended(passed: bool, may_go_on: bool) -> Event {
    Event::StageEnded(StageEnd { passed, changes: Some(true), may_go_on, needs_review: false })
}

#[test]
fn four_stages_stand_around_a_confirmed_run() {
    let run = carry_out(claim(checked(Kind::Tracked, &Stage::ALL)), false, true, false);
    assert_eq!((run.state, run.checking, run.sealed), (State::Checking, Some(Stage::PrePlan), true));
    let ready = step(run, ended(true, false)).unwrap().run;
    assert_eq!(ready.state, State::Ready);
    let opened = step(ready, Event::Claimed).unwrap();
    assert_eq!(opened.effects, [Effect::Start(Chain::PlanSealed)]);
    let opening = step(opened.run, Event::PhaseStarted(Phase::PreparingApply)).unwrap().run;
    assert_eq!(opening.state, State::Preparing, "nothing is applied yet");
    let run = carry_out(opened.run, false, true, false);
    assert_eq!((run.state, run.checking), (State::Checking, Some(Stage::PostPlan)));
    let waits = step(run, ended(true, false)).unwrap().run;
    assert_eq!(waits.state, State::Unconfirmed);
    let run = step(waits, Event::Confirm).unwrap().run;
    assert_eq!((run.state, run.checking), (State::Checking, Some(Stage::PreApply)));
    assert!(step(run, Event::Stop).unwrap_err().to_string().contains("accepted"));
    let confirmed = step(run, ended(true, false)).unwrap().run;
    assert_eq!(confirmed.state, State::Confirmed);
    let run = carry_out(claim(confirmed), false, true, false);
    assert_eq!((run.state, run.checking), (State::Checking, Some(Stage::PostApply)));
    assert_eq!(step(run, ended(false, false)).unwrap().run.state, State::Finished, "recorded only");
}

#[test]
fn a_mandatory_check_that_does_not_pass_ends_the_run_and_its_seal() {
    for stage in [Stage::PrePlan, Stage::PostPlan] {
        let run = carry_out(claim(checked(Kind::Tracked, &[stage])), true, true, true);
        assert_eq!(run.checking, Some(stage));
        let failed = step(run, ended(false, true)).unwrap();
        assert_eq!((failed.run.state, failed.effects), (State::Failed, vec![Effect::DestroySeal]));
        let stopped = step(run, Event::Stop).unwrap();
        assert_eq!(stopped.run.state, State::Stopped);
        assert!(stopped.effects.contains(&Effect::DestroySeal));
    }
}

/// The same run, with hooks that wait for its end.
fn hooked(run: Run) -> Run {
    Run { hooks: true, ..run }
}

/// The chain of hooks, from its start to its end.
fn after_hooks(stepped: Stepped) -> Run {
    assert_eq!(stepped.effects, [Effect::Start(Chain::End)]);
    let shown = stepped.run.state;
    let run = step(stepped.run, Event::PhaseStarted(Phase::PreparingApply)).unwrap().run;
    let run = step(run, Event::PhaseStarted(Phase::Ending)).unwrap().run;
    assert_eq!(run.state, shown, "hooks show as what went before them");
    assert!(step(run, Event::Stop).unwrap_err().to_string().contains("after_run hooks"));
    let end = ChainEnd {
        last_phase: Some(Phase::PreparingApply),
        success: false,
        stopped: false,
        changes: None,
        workspace: Workspace::Removed,
        may_go_on: false,
        needs_review: false,
        denied: false,
    };
    step(run, Event::ChainEnded(end)).unwrap().run
}

#[test]
fn whoever_ends_a_run_its_hooks_come_before_and_see_it() {
    for (stage, shown) in [(Stage::PrePlan, State::Initializing), (Stage::PostPlan, State::Planning)] {
        let run = hooked(carry_out(claim(checked(Kind::Tracked, &[stage])), true, true, true));
        let failing = step(run, ended(false, true)).unwrap();
        assert_eq!((failing.run.state, failing.run.ends_as), (shown, Some(State::Failed)));
        assert!(failing.run.sealed, "the hooks find their workspace in the seal");
        assert_eq!(after_hooks(failing).state, State::Failed);
        let stopping = step(run, Event::Stop).unwrap();
        assert_eq!(after_hooks(stopping).state, State::Stopped);
    }
    let waits = hooked(carry_out(claimed(Kind::Tracked), false, true, false));
    assert_eq!(after_hooks(step(waits, Event::Rejected).unwrap()).state, State::Failed);
    let gone = step(waits, Event::Discard).unwrap();
    assert_eq!(
        (gone.run.state, gone.effects),
        (State::Discarded, vec![Effect::DestroySeal]),
        "nothing after a discard"
    );
    let broken = step(waits, Event::SealBroken).unwrap();
    assert_eq!(broken.effects, [Effect::Start(Chain::End), Effect::DestroySeal]);
}

#[test]
fn the_hooks_of_a_preview_wait_for_what_others_say_about_it() {
    let planned = |needs_review, denied| ChainEnd {
        last_phase: Some(Phase::Planning),
        success: true,
        stopped: false,
        changes: Some(true),
        workspace: Workspace::Sealed,
        may_go_on: false,
        needs_review,
        denied,
    };
    let run = hooked(claim(checked(Kind::Proposed, &[Stage::PostPlan])));
    let run = step(run, Event::ChainEnded(planned(false, false))).unwrap().run;
    assert_eq!((run.state, run.sealed), (State::Checking, true));
    assert_eq!(after_hooks(step(run, ended(true, false)).unwrap()).state, State::Finished);

    let run = hooked(claimed(Kind::Proposed));
    assert_eq!(after_hooks(step(run, Event::ChainEnded(planned(false, true))).unwrap()).state, State::Failed);
    let waits = step(run, Event::ChainEnded(planned(true, false))).unwrap().run;
    assert_eq!((waits.state, waits.sealed), (State::PendingReview, true));
    assert_eq!(after_hooks(step(waits, Event::Approved).unwrap()).state, State::Finished);
    assert_eq!(after_hooks(step(waits, Event::Rejected).unwrap()).state, State::Failed);
    assert_eq!(step(waits, Event::Cancel).unwrap().run.state, State::Canceled);
}

#[test]
fn an_automatic_apply_waits_for_its_checks_without_a_person() {
    let run = carry_out(claim(checked(Kind::Tracked, &[Stage::PostPlan, Stage::PreApply])), false, true, true);
    let run = step(run, ended(true, true)).unwrap().run;
    assert_eq!(run.checking, Some(Stage::PreApply));
    let confirmed = step(run, ended(true, true)).unwrap().run;
    assert_eq!(confirmed.state, State::Confirmed);
    assert_eq!(carry_out(claim(confirmed), false, true, true).state, State::Finished);
    // A lock that somebody took meanwhile hands it to a person.
    let run = carry_out(claim(checked(Kind::Tracked, &[Stage::PostPlan])), false, true, true);
    assert_eq!(step(run, ended(true, false)).unwrap().run.state, State::Unconfirmed);
}

#[test]
fn a_workspace_that_was_kept_is_sealed_before_checks_that_were_attached_meanwhile() {
    let run = claim(checked(Kind::Tracked, &[]));
    let attached = Run { attached: Stages::of(&[Stage::PostPlan]), ..run };
    let end = ChainEnd {
        last_phase: Some(Phase::Planning),
        success: true,
        stopped: false,
        changes: Some(true),
        workspace: Workspace::Kept,
        may_go_on: true,
        needs_review: false,
        denied: false,
    };
    let sealing = step(attached, Event::ChainEnded(end)).unwrap();
    assert_eq!(sealing.effects, [Effect::Start(Chain::Seal)]);
    let run = carry_out(sealing.run, true, true, true);
    assert_eq!((run.state, run.checking), (State::Checking, Some(Stage::PostPlan)));
    let denied = step(attached, Event::ChainEnded(ChainEnd { denied: true, ..end })).unwrap();
    assert_eq!(denied.run.state, State::Failed);
    assert_eq!(denied.effects, [Effect::RemoveWorkspace]);
}

#[test]
fn previews_and_plans_without_changes_are_checked_too() {
    for kind in [Kind::Proposed, Kind::Drift, Kind::Tracked] {
        let run = carry_out(claim(checked(kind, &[Stage::PostPlan, Stage::PreApply])), false, false, false);
        assert_eq!(run.checking, Some(Stage::PostPlan));
        let nothing = StageEnd { passed: true, changes: Some(false), may_go_on: true, needs_review: false };
        assert_eq!(step(run, Event::StageEnded(nothing)).unwrap().run.state, State::Finished);
    }
    let task = carry_out(claim(checked(Kind::Task, &Stage::ALL)), false, false, false);
    assert_eq!(task.state, State::Finished);
}

fn claimed(kind: Kind) -> Run {
    let run = step(Run::new(kind), Event::Eligible).unwrap().run;
    step(run, Event::Claimed).unwrap().run
}

#[test]
fn a_tracked_run_waits_for_confirmation_and_is_applied_from_the_seal() {
    let waits = carry_out(claimed(Kind::Tracked), false, true, false);
    assert_eq!(waits.state, State::Unconfirmed);
    let confirmed = step(waits, Event::Confirm).unwrap().run;
    let stop = step(confirmed, Event::Stop).unwrap_err();
    assert_eq!(stop.to_string(), "a run that is confirmed cannot be stopped");
    let opened = step(confirmed, Event::Claimed).unwrap();
    assert_eq!(opened.effects, [Effect::Start(Chain::Apply)]);
    assert_eq!(carry_out(opened.run, false, true, false).state, State::Finished);
}

#[test]
fn a_plan_that_finds_nothing_asks_nobody() {
    assert_eq!(carry_out(claimed(Kind::Tracked), false, false, false).state, State::Finished);
    assert_eq!(carry_out(claimed(Kind::Destroy), false, false, false).state, State::Unconfirmed);
}

#[test]
fn autodeploy_applies_in_the_same_workspace_unless_somebody_locked_the_stack_meanwhile() {
    assert_eq!(carry_out(claimed(Kind::Tracked), true, true, true).state, State::Finished);
    assert_eq!(carry_out(claimed(Kind::Tracked), true, true, false).state, State::Unconfirmed);
}

#[test]
fn a_targeted_replan_comes_back_to_the_person() {
    for kind in [Kind::Tracked, Kind::Destroy] {
        let waits = carry_out(claimed(kind), false, true, false);
        let asked = step(waits, Event::Replan).unwrap().run;
        let again = step(asked, Event::Claimed).unwrap().run;
        assert_eq!(carry_out(again, true, true, false).state, State::Unconfirmed);
    }
}

#[test]
fn performing_and_applying_cannot_be_stopped_but_forced_by_an_admin() {
    let mut run = claimed(Kind::Task);
    run = step(run, Event::PhaseStarted(Phase::Performing)).unwrap().run;
    assert!(step(run, Event::Stop).unwrap_err().to_string().contains("cannot be stopped"));
    let forced = step(run, Event::ForceStop).unwrap();
    assert_eq!(forced.effects, [Effect::KillChain]);
    let end = ChainEnd {
        last_phase: Some(Phase::Performing),
        success: false,
        stopped: true,
        changes: None,
        workspace: Workspace::Removed,
        may_go_on: false,
        needs_review: false,
        denied: false,
    };
    let ended = step(forced.run, Event::ChainEnded(end)).unwrap();
    assert_eq!((ended.run.state, ended.reason), (State::Failed, Some(LOST_UNKNOWN)));
    assert_eq!(ended.lost, Some(Lost::Unknown));
}

#[test]
fn a_stop_while_planning_ends_stopped_even_if_the_plan_came_first() {
    let run = step(claimed(Kind::Tracked), Event::PhaseStarted(Phase::Planning)).unwrap().run;
    let stopping = step(run, Event::Stop).unwrap();
    assert_eq!(stopping.effects, [Effect::StopChain]);
    let end = ChainEnd {
        last_phase: Some(Phase::Planning),
        success: true,
        stopped: false,
        changes: Some(true),
        workspace: Workspace::Sealed,
        may_go_on: false,
        needs_review: false,
        denied: false,
    };
    let ended = step(stopping.run, Event::ChainEnded(end)).unwrap();
    assert_eq!(ended.run.state, State::Stopped);
    assert_eq!(ended.effects, [Effect::DestroySeal]);
}

#[test]
fn a_declared_task_is_fetched_and_then_performed_in_the_same_workspace() {
    let run = claimed(Kind::OnDemand);
    assert_eq!((run.state, run.chain), (State::Preparing, Some(Chain::Prepare)));
    assert_eq!(carry_out(run, false, false, false).state, State::Finished);
}

#[test]
fn a_declared_task_is_canceled_at_any_time_and_not_stopped_once_it_performs() {
    let waits = Run::new(Kind::OnDemand);
    assert_eq!(step(waits, Event::Cancel).unwrap().run.state, State::Canceled);
    let preparing = claimed(Kind::OnDemand);
    let performing = step(preparing, Event::PhaseStarted(Phase::Performing)).unwrap().run;
    assert!(step(performing, Event::Stop).unwrap_err().to_string().contains("is canceled, not stopped"));
    assert!(step(preparing, Event::Stop).unwrap().run.stopping);
    for run in [preparing, performing] {
        let asked = step(run, Event::Cancel).unwrap();
        assert_eq!(asked.effects, [Effect::StopChain]);
        let end = ChainEnd {
            last_phase: Some(Phase::Performing),
            success: false,
            stopped: true,
            changes: None,
            workspace: Workspace::Removed,
            may_go_on: false,
            needs_review: false,
            denied: false,
        };
        assert_eq!(step(asked.run, Event::ChainEnded(end)).unwrap().run.state, State::Canceled);
    }
}

#[test]
fn losing_the_runner_asks_a_question_only_where_something_may_have_changed() {
    let run = claimed(Kind::Tracked);
    let lost = step(run, Event::ChainLost { last_phase: Some(Phase::Planning) }).unwrap();
    assert_eq!((lost.run.state, lost.reason), (State::Failed, Some(LOST)));
    let lost = step(run, Event::ChainLost { last_phase: Some(Phase::Applying) }).unwrap();
    assert_eq!((lost.run.state, lost.reason), (State::Failed, Some(LOST_UNKNOWN)));
}

#[test]
fn slots_go_to_prioritized_runs_then_to_blocking_kinds_then_to_the_oldest() {
    let run = |seq: u64, kind, prioritized| Candidate {
        run: RunId::from_number(u128::from(seq)),
        stack: StackId::from_number(0),
        kind,
        prioritized,
        seq,
    };
    let waiting = vec![
        run(1, Kind::Drift, false),
        run(2, Kind::Proposed, false),
        run(3, Kind::Task, false),
        run(4, Kind::Tracked, false),
        run(5, Kind::Proposed, true),
        run(6, Kind::OnDemand, false),
    ];
    let picked = pick(waiting, 3);
    let numbers = |runs: &[RunId]| runs.iter().map(|run| run.number()).collect::<Vec<_>>();
    assert_eq!(numbers(&picked.go), [5, 3, 4, 6]);
    assert_eq!(numbers(&picked.wait), [2, 1]);
}

#[test]
fn a_chain_says_whether_it_fetches_the_source() {
    use Chain::{Apply, End, GoOn, Initialize, Perform, Plan, PlanSealed, Prepare, Replan, Seal};
    for chain in [Plan, Initialize, PlanSealed, Replan, Perform, Prepare, Apply, GoOn, Seal, End] {
        let first = chain.shape(Kind::Tracked, false, false).phases[0];
        assert_eq!(chain.fetches(), first == Phase::Preparing, "{chain:?}");
    }
}
