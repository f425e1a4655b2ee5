//! Run tasks that are guests.

use std::time::Duration;

use airlock::{
    actions::{Decision, NewDemand, NewGuest, NewRunTask, NewRunTaskKind},
    app::App,
    auth::{On, Permission, Permit, Who},
    config::Config,
    domain::{BlockedBy, Enforcement, Kind, ResultStatus, RunId, RunTaskId, Stage, State},
};
use serde_json::json;

use super::rig::{attach, custom, rig, rig_with, until_checking};
use crate::whole::rig::{Rig, assert_nothing_held, config};

/// Sleeps for longer than anybody waits here.
const SLEEPS: &str = r#"(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (i32.store (i32.const 16) (i32.const 1))
    (i64.store (i32.const 24) (i64.const 280000000000))
    (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))))"#;

/// The bundled guest, as a run task.
async fn guard(rig: &Rig) -> RunTaskId {
    guest(rig, "guard").await
}

async fn guest(rig: &Rig, name: &str) -> RunTaskId {
    let new = NewRunTask {
        name: name.parse().unwrap(),
        description: String::new(),
        kind: NewRunTaskKind::Wasi { guest: name.parse().unwrap() },
        enabled: true,
        trusted: false,
    };
    let permit = Permit::of_system(Permission::ManageRunTasks, On::Installation);
    rig.app.actions.create_run_task(&permit, new, None).await.unwrap().id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_judges_the_plan_here_without_a_server_of_its_own() {
    let rig = rig().await;
    let plan = r#"printf '[{"address":"db.main","type":"db","action":"ACTION","before":{},"after":{}}]' > "$AIRLOCK_PLAN_FILE"; exit 2"#;
    let guard = guard(&rig).await;
    for (name, action) in [("Makes", "create"), ("Deletes", "delete")] {
        let vendor = json!({"kind": "custom", "plan": plan.replace("ACTION", action)});
        let stack = custom(&rig, name, json!({ "vendor": vendor })).await;
        attach(&rig, &stack, guard, &[Stage::PostPlan], Enforcement::Mandatory).await;
        let run = rig.trigger(&stack, Kind::Tracked).await;
        if action == "create" {
            let waits = rig.until_state(&run, State::Unconfirmed).await;
            rig.discard(&waits).await;
        } else {
            let failed = rig.until_state(&run, State::Failed).await;
            let reason = failed.reason.unwrap();
            assert!(reason.starts_with("mandatory run task guard failed after planning: 1 of 1 changes"), "{reason}");
        }
    }
    rig.until_tidy().await;
    let dir = rig.stop().await;
    assert_nothing_held(&dir.path().join("data"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_share_the_pool_of_their_stack_with_its_declared_tasks() {
    let with_pool = |most: usize| move |config: &mut Config| config.declared_task_cap = most;
    let rig = rig_with(with_pool(1)).await;
    let stack = custom(&rig, "Shop", json!({})).await;
    let tasks = "tasks: {wait: {type: native, run: {command: 'echo up; sleep 600'}}}";
    rig.upload(&stack, &[(".airlock/config.yaml", tasks)]).await;
    let other = custom(&rig, "Mall", json!({})).await;
    let guard = guard(&rig).await;
    for stack in [&stack, &other] {
        attach(&rig, stack, guard, &[Stage::PostPlan], Enforcement::Mandatory).await;
    }
    let busy = rig.declared(&stack, "wait", &[]).await;
    rig.until_state(&busy, State::Performing).await;
    let judged = rig.trigger(&stack, Kind::Tracked).await;
    until_checking(&rig, &judged, Stage::PostPlan).await;
    // Another stack has a pool of its own, and everybody has looked at this one by then.
    rig.unconfirmed(&other).await;
    assert_eq!(rig.app.actions.guests_to_judge(&[]).unwrap(), []);
    let stage = rig.app.queries.run_detail(&Who::system(), judged.id).unwrap().stages.remove(0);
    let result = stage.row.results[0];
    assert!(!rig.app.actions.guest_judges(result).await.unwrap(), "its place is taken");

    // With a place more it judges, and takes that from the declared tasks.
    let dir = rig.stop().await;
    let app = App::open(config(dir.path(), with_pool(2))).unwrap();
    assert!(app.actions.guest_judges(result).await.unwrap());
    let permit = Permit::of_system(Permission::RunDeclared, On::Stack(stack.id));
    let new = NewDemand { task: "wait".parse().unwrap(), variables: Vec::new(), stdin: None, call: None };
    let waits = app.actions.run_declared(&permit, stack.id, new, None).await.unwrap();
    assert_eq!(waits.blocked_by, Some(BlockedBy::Pool { most: 2 }));
    drop(app);
    let rig = Rig::on(dir, with_pool(2)).await;
    rig.until_state(&judged, State::Unconfirmed).await;
    rig.until_state(&waits, State::Performing).await;
    for run in [&busy, &waits] {
        rig.decide(run, Permission::Cancel, Decision::Cancel { note: None }).await.unwrap();
        rig.until_state(run, State::Canceled).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_waits_comes_before_declared_tasks_that_wait_and_nobody_gives_it_up_meanwhile() {
    let with_total =
        |total: Duration| move |config: &mut Config| (config.declared_task_cap, config.run_task_total) = (1, total);
    let rig = rig_with(with_total(Duration::from_millis(1))).await;
    let stack = custom(&rig, "Shop", json!({})).await;
    let tasks = "tasks: {wait: {type: native, run: {command: 'echo up; sleep 600'}}}";
    rig.upload(&stack, &[(".airlock/config.yaml", tasks)]).await;
    let guard = guard(&rig).await;
    attach(&rig, &stack, guard, &[Stage::PostPlan], Enforcement::Mandatory).await;
    let busy = rig.declared(&stack, "wait", &[]).await;
    rig.until_state(&busy, State::Performing).await;
    let next = rig.declared(&stack, "wait", &[]).await;
    let judged = rig.trigger(&stack, Kind::Tracked).await;
    until_checking(&rig, &judged, Stage::PostPlan).await;
    rig.app.actions.patrol_run_tasks().await.unwrap();
    assert_eq!(rig.run(judged.id).state, State::Checking, "its time begins with its place");

    let rig = Rig::on(rig.stop().await, with_total(Duration::from_secs(600))).await;
    rig.decide(&busy, Permission::Cancel, Decision::Cancel { note: None }).await.unwrap();
    rig.until_state(&judged, State::Unconfirmed).await;
    rig.until_state(&next, State::Performing).await;
    rig.decide(&next, Permission::Cancel, Decision::Cancel { note: None }).await.unwrap();
    rig.until_state(&next, State::Canceled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_whose_run_is_stopped_judges_no_longer() {
    let rig = rig().await;
    let stack = custom(&rig, "Shop", json!({})).await;
    let scratch = rig.data().join("uploads").join("incoming-sleeps");
    std::fs::write(&scratch, wat::parse_str(SLEEPS).unwrap()).unwrap();
    let new = NewGuest { name: "sleeps".parse().unwrap(), interpreter: false };
    let permit = Permit::of_system(Permission::ManageGuests, On::Installation);
    rig.app.actions.import_guest(&permit, new, scratch, None).await.unwrap();
    let sleeps = guest(&rig, "sleeps").await;
    attach(&rig, &stack, sleeps, &[Stage::PostPlan], Enforcement::Mandatory).await;
    let run = rig.trigger(&stack, Kind::Tracked).await;
    let result = || rig.app.queries.run_detail(&Who::system(), run.id).unwrap().stages.pop()?.results.pop();
    rig.until(&run, |_| result().is_some_and(|result| result.status == ResultStatus::Running)).await;
    let own = rig.data().join("runs").join(RunId::from_number(result().unwrap().id.number()).to_string());
    let turns_into = async |there: bool| {
        let turned = async {
            while own.join("1").join("control.sock").exists() != there {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(90), turned).await.expect("its runner comes and goes");
    };
    turns_into(true).await;
    rig.decide(&run, Permission::Stop, Decision::Stop { note: None }).await.unwrap();
    rig.until_state(&run, State::Stopped).await;
    assert_eq!(result().unwrap().status, ResultStatus::Canceled);
    turns_into(false).await;
}
