use std::collections::{HashMap, HashSet, VecDeque};

use super::*;
use crate::domain::{Kind, Phase, RunId, StackId, State};

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
    for last_phase in [None].into_iter().chain(Phase::ALL.map(Some)) {
        for success in flags {
            for stopped in flags {
                for changes in [None, Some(false), Some(true)] {
                    for workspace in [Workspace::Removed, Workspace::Kept, Workspace::Sealed] {
                        for may_go_on in flags {
                            for needs_review in flags {
                                let end = ChainEnd {
                                    last_phase,
                                    success,
                                    stopped,
                                    changes,
                                    workspace,
                                    may_go_on,
                                    needs_review,
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

#[test]
fn every_reachable_state_keeps_the_promises_of_the_life_cycle() {
    let events = all_events();
    for kind in Kind::ALL {
        let mut seen: HashSet<Run> = HashSet::from([Run::new(kind)]);
        let mut todo = VecDeque::from([Run::new(kind)]);
        let mut leads_to: HashMap<Run, Vec<Run>> = HashMap::new();
        while let Some(run) = todo.pop_front() {
            for event in &events {
                let Ok(stepped) = step(run, *event) else { continue };
                holds(run, *event, &stepped);
                leads_to.entry(run).or_default().push(stepped.run);
                if seen.insert(stepped.run) {
                    todo.push_back(stepped.run);
                }
            }
        }
        for run in &seen {
            assert!(ends(*run, &leads_to), "{run:?} can never end");
        }
    }
}

fn holds(before: Run, event: Event, stepped: &Stepped) {
    let (after, effects) = (stepped.run, &stepped.effects);
    let context = format!("{before:?} + {event:?} -> {stepped:?}");
    assert!(!before.state.is_terminal(), "left an end: {context}");
    let starts = effects.iter().filter(|effect| matches!(effect, Effect::Start(_))).count();
    assert!(starts <= 1, "two chains: {context}");
    if starts == 1 {
        assert!(
            before.chain.is_none() || matches!(event, Event::ChainEnded(_)),
            "started beside a living chain: {context}"
        );
        assert!(after.chain.is_some() && after.state.is_active(), "{context}");
    }
    if !after.state.is_active() {
        assert_eq!(after.chain, None, "a chain outlives its state: {context}");
        assert!(!after.stopping && !after.forced, "{context}");
    }
    if matches!(after.state, State::Unconfirmed | State::Confirmed | State::ReplanRequested) {
        assert!(after.sealed, "waits with an open workspace: {context}");
    }
    if after.state.is_terminal() {
        assert!(!after.sealed, "an end keeps a seal: {context}");
        if before.sealed {
            assert!(effects.contains(&Effect::DestroySeal), "a seal survives: {context}");
        }
    }
    if let Event::ChainEnded(end) = event
        && end.workspace == Workspace::Kept
    {
        assert!(effects.contains(&Effect::RemoveWorkspace) || starts == 1, "an open workspace is forgotten: {context}");
    }
}

fn ends(from: Run, leads_to: &HashMap<Run, Vec<Run>>) -> bool {
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
        let shape = chain.shape(run.kind, false, autodeploy);
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
        };
        run = step(run, Event::ChainEnded(end)).unwrap().run;
    }
    run
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
    let waits = carry_out(claimed(Kind::Tracked), false, true, false);
    let asked = step(waits, Event::Replan).unwrap().run;
    let again = step(asked, Event::Claimed).unwrap().run;
    assert_eq!(carry_out(again, true, true, false).state, State::Unconfirmed);
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
    };
    let ended = step(forced.run, Event::ChainEnded(end)).unwrap();
    assert_eq!((ended.run.state, ended.reason), (State::Failed, Some(LOST_UNKNOWN)));
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
