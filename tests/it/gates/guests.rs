//! Run tasks that are guests.

use airlock::{
    actions::{Decision, NewDemand, NewRunTask, NewRunTaskKind},
    app::App,
    auth::{On, Permission, Permit, Who},
    config::Config,
    domain::{BlockedBy, Enforcement, Kind, RunTaskId, Stage, State},
};
use serde_json::json;

use super::rig::{attach, custom, rig, rig_with, until_checking};
use crate::whole::rig::{Rig, assert_nothing_held, config};

/// The bundled guest, as a run task.
async fn guard(rig: &Rig) -> RunTaskId {
    let new = NewRunTask {
        name: "guard".parse().unwrap(),
        description: String::new(),
        kind: NewRunTaskKind::Wasi { guest: "guard".parse().unwrap() },
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
