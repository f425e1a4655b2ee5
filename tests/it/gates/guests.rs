//! Run tasks that are guests.

use airlock::{
    actions::{NewRunTask, NewRunTaskKind},
    auth::{On, Permission, Permit},
    domain::{Enforcement, Kind, Stage, State},
};
use serde_json::json;

use super::rig::{attach, custom, rig};
use crate::whole::rig::assert_nothing_held;

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_judges_the_plan_here_without_a_server_of_its_own() {
    let rig = rig().await;
    let plan = r#"printf '[{"address":"db.main","type":"db","action":"ACTION","before":{},"after":{}}]' > "$AIRLOCK_PLAN_FILE"; exit 2"#;
    let new = NewRunTask {
        name: "guard".parse().unwrap(),
        description: String::new(),
        kind: NewRunTaskKind::Wasi { guest: "guard".parse().unwrap() },
        enabled: true,
        trusted: false,
    };
    let permit = Permit::of_system(Permission::ManageRunTasks, On::Installation);
    let guard = rig.app.actions.create_run_task(&permit, new, None).await.unwrap().id;
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
