//! The server or the runner goes at each transition: nothing is stuck, nothing is held, nothing is
//! applied twice.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use airlock::{
    actions::Decision,
    auth::Permission,
    domain::{Kind, State},
    queries::{Run, Stack},
};
use serde_json::json;

use super::{
    gate::Gate,
    rig::{Rig, assert_nothing_held},
    server::kill_runners,
};

/// A gate that lets everybody on at once and counts them by name.
#[derive(Clone, Default)]
struct Counted(Arc<Mutex<BTreeMap<String, u32>>>);

impl Counted {
    fn watch(gate: Gate) -> Self {
        let counted = Self::default();
        let seen = counted.clone();
        tokio::spawn(async move {
            loop {
                let knock = gate.knock().await;
                *seen.0.lock().unwrap().entry(knock.name.clone()).or_default() += 1;
                knock.let_on().await;
            }
        });
        counted
    }

    fn of(&self, name: &str) -> u32 {
        self.0.lock().unwrap().get(name).copied().unwrap_or(0)
    }
}

fn settings(gate: &Gate, autodeploy: bool) -> serde_json::Value {
    json!({
        "name": "Shop",
        "vendor": {
            "kind": "custom",
            "init": "echo init",
            "plan": "echo plan; exit 2",
            "apply": gate.command("apply"),
            "destroy": gate.command("destroy")
        },
        "autodeploy": autodeploy,
        "hooks": {"after_run": ["echo over"]}
    })
}

/// Lets a run go on until it changed so many times or rests, then ends the server as it is.
async fn cut_after(rig: Rig, run: &Run, changes: u32) -> Rig {
    until_changed(&rig, run, changes).await;
    rig.restart().await
}

/// Drives a run to its end, confirming it where it waits; the server ends after each `every` changes,
/// first after `first`.
async fn drive(mut rig: Rig, run: &Run, first: u32, every: u32) -> (Rig, Run) {
    let mut changes = first;
    loop {
        rig = cut_after(rig, run, changes).await;
        changes = every;
        let now = rig.run(run.id);
        if now.state.is_terminal() {
            return (rig, now);
        }
        if now.state == State::Unconfirmed {
            rig.confirm(&now).await;
        }
    }
}

async fn ends_well(kind: Kind, autodeploy: bool, first: u32, every: u32) {
    let rig = Rig::new().await;
    let gate = Gate::new().await;
    let stack = rig.stack(settings(&gate, autodeploy), &[("file", "text")]).await;
    let counted = Counted::watch(gate);
    let run = rig.trigger(&stack, kind).await;
    let (rig, run) = drive(rig, &run, first, every).await;
    assert_eq!(run.state, State::Finished, "cut after {first}: {run:#?}\n{}", rig.all_logs(&run));
    let changed = if kind == Kind::Destroy { "destroy" } else { "apply" };
    let expected = u32::from(kind != Kind::Proposed);
    assert_eq!(counted.of(changed), expected, "cut after {first}");
    let phases: Vec<u32> = run.phases.iter().map(|phase| phase.number).collect();
    assert_eq!(phases, (1..=phases.len() as u32).collect::<Vec<_>>(), "each phase once");
    assert!(rig.all_logs(&run).ends_with("== ending\nover\n"), "{}", rig.all_logs(&run));
    rig.until_tidy().await;
    assert!(rig.all_logs(&run).ends_with("== ending\nover\n"), "{}", rig.all_logs(&run));
    let data = rig.data();
    let _dir = rig.stop().await;
    assert_nothing_held(&data, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tracked_run_survives_a_server_that_ends_after_any_transition() {
    for first in 0..12 {
        ends_well(Kind::Tracked, false, first, 1_000).await;
    }
    // And one that ends after every single one.
    ends_well(Kind::Tracked, false, 1, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_autodeployed_run_survives_a_server_that_ends_after_any_transition() {
    for first in 0..10 {
        ends_well(Kind::Tracked, true, first, 1_000).await;
    }
    ends_well(Kind::Tracked, true, 1, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn destroy_and_proposed_runs_survive_a_server_that_ends_after_every_transition() {
    for kind in [Kind::Destroy, Kind::Proposed] {
        ends_well(kind, false, 1, 1).await;
        ends_well(kind, false, 3, 2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_survives_a_server_that_ends_before_it_was_passed_on() {
    for cut in 0..3 {
        let rig = Rig::new().await;
        let gate = Gate::new().await;
        let plan = json!({"kind": "custom", "plan": format!("{}; exit 2", gate.command("plan"))});
        let stack = rig.stack(json!({"name": "Shop", "vendor": plan}), &[]).await;
        let run = rig.trigger(&stack, Kind::Tracked).await;
        let knock = gate.knock().await;
        rig.decide(&run, Permission::Stop, Decision::Stop { note: None }).await.unwrap();
        let rig = cut_after(rig, &run, cut).await;
        knock.gone().await;
        rig.until_state(&run, State::Stopped).await;
        rig.until_tidy().await;
        let data = rig.data();
        let _dir = rig.stop().await;
        assert_nothing_held(&data, 0);
    }
}

/// Kills the runner while its phase stands at the gate; with `dead_server`, the server is away when it
/// happens. Gives the run as it ended.
async fn runner_killed_in(phase: &str, dead_server: bool) -> Run {
    let rig = Rig::new().await;
    let gate = Gate::new().await;
    let at = |name: &str| if name == phase { gate.command(name) } else { "true".to_owned() };
    let vendor = json!({
        "kind": "custom",
        "init": at("init"), "plan": format!("{}; exit 2", at("plan")), "apply": at("apply"), "destroy": at("destroy")
    });
    let stack = rig.stack(json!({"name": "Shop", "vendor": vendor}), &[]).await;
    let run = start(&rig, &stack, phase, &gate.command("perform")).await;
    let knock = gate.knock().await;
    assert_eq!(knock.name, phase);
    let data = rig.data();
    let rig = if dead_server {
        let dir = rig.stop().await;
        kill_runners(&data);
        knock.gone().await;
        Rig::on(dir, |_| {}).await
    } else {
        kill_runners(&data);
        knock.gone().await;
        rig
    };
    let ended = rig.until(&run, |run| run.state.is_terminal()).await;
    // The stack is free again, and so is everything else.
    let next = rig.task(&stack, "true").await;
    rig.until_state(&next, State::Finished).await;
    rig.until_tidy().await;
    let _dir = rig.stop().await;
    assert_nothing_held(&data, 0);
    ended
}

/// Lets a run go on until it changed so many times or rests.
async fn until_changed(rig: &Rig, run: &Run, changes: u32) {
    let mut bell = rig.app.actions.bells().hear_run(run.id);
    for _ in 0..changes {
        let now = rig.run(run.id).state;
        if now.is_terminal() || now == State::Unconfirmed {
            break;
        }
        bell.changed().await.unwrap();
    }
}

/// Kills the runner after so many changes of the first or of the second chain; with `dead_server`, the
/// server goes at the same time.
async fn runner_killed_after(changes: u32, confirmed: bool, dead_server: bool) {
    let rig = Rig::new().await;
    let gate = Gate::new().await;
    let stack = rig.stack(settings(&gate, false), &[("file", "text")]).await;
    let counted = Counted::watch(gate);
    let run = rig.trigger(&stack, Kind::Tracked).await;
    if confirmed {
        let run = rig.until_state(&run, State::Unconfirmed).await;
        rig.confirm(&run).await;
    }
    until_changed(&rig, &run, changes).await;
    let data = rig.data();
    let rig = if dead_server {
        let dir = rig.stop().await;
        kill_runners(&data);
        Rig::on(dir, |_| {}).await
    } else {
        kill_runners(&data);
        rig
    };
    let mut now = rig.until(&run, |run| run.state.is_terminal() || run.state == State::Unconfirmed).await;
    if now.state == State::Unconfirmed {
        rig.confirm(&now).await;
        now = rig.until(&now, |run| run.state.is_terminal()).await;
    }
    let context = format!("{changes} {confirmed} {dead_server}: {now:#?}");
    match now.state {
        State::Finished => assert_eq!(counted.of("apply"), 1, "{context}"),
        State::Failed => {
            assert!(now.reason.as_deref().is_some_and(|reason| reason.starts_with("lost")), "{context}");
            assert!(counted.of("apply") <= 1, "{context}");
            assert!(counted.of("apply") == 0 || now.unacknowledged, "{context}");
        }
        _ => panic!("{context}"),
    }
    let next = rig.task(&stack, "true").await;
    rig.until_state(&next, State::Finished).await;
    rig.until_tidy().await;
    let _dir = rig.stop().await;
    assert_nothing_held(&data, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_killed_after_any_transition_leaves_nothing_behind() {
    for confirmed in [false, true] {
        for dead_server in [false, true] {
            for changes in 0..9 {
                Box::pin(runner_killed_after(changes, confirmed, dead_server)).await;
            }
        }
    }
}

/// A run that comes to the phase.
async fn start(rig: &Rig, stack: &Stack, phase: &str, perform: &str) -> Run {
    match phase {
        "init" | "plan" => rig.trigger(stack, Kind::Tracked).await,
        "perform" => rig.task(stack, perform).await,
        _ => {
            let kind = if phase == "destroy" { Kind::Destroy } else { Kind::Tracked };
            let run = rig.trigger(stack, kind).await;
            let run = rig.until_state(&run, State::Unconfirmed).await;
            rig.confirm(&run).await;
            run
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_runner_is_killed_fails_as_lost_in_every_phase() {
    for dead_server in [false, true] {
        for phase in ["init", "plan"] {
            let run = runner_killed_in(phase, dead_server).await;
            assert_eq!((run.state, run.reason.as_deref()), (State::Failed, Some("lost")), "{phase} {dead_server}");
            assert!(!run.unacknowledged);
        }
        for phase in ["apply", "destroy", "perform"] {
            let run = runner_killed_in(phase, dead_server).await;
            let reason = Some("lost: what it changed is unknown");
            assert_eq!((run.state, run.reason.as_deref()), (State::Failed, reason), "{phase} {dead_server}");
            assert!(run.unacknowledged);
        }
    }
}
