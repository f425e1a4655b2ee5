use airlock::{
    actions::Decision,
    auth::Permission,
    domain::{Kind, Phase, State},
};
use serde_json::json;

use super::rig::Rig;

fn custom() -> serde_json::Value {
    json!({
        "name": "Shop",
        "vendor": {
            "kind": "custom",
            "init": "echo initializing in $PWD; cat greeting",
            "plan": r#"printf '[{"address":"a.b","type":"a","action":"create","before":null,"after":{"x":1}}]' > "$AIRLOCK_PLAN_FILE"; echo kept > made-by-plan; exit 2"#,
            "apply": "cat made-by-plan; echo applied",
            "destroy": "echo gone"
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tracked_run_is_planned_sealed_confirmed_and_applied() {
    let rig = Rig::new().await;
    let stack = rig.stack(custom(), &[("greeting", "hello from the source\n")]).await;
    let run = rig.trigger(&stack, Kind::Tracked).await;
    let run = rig.until_state(&run, State::Unconfirmed).await;
    assert!(rig.log(&run, Phase::Initializing).contains("hello from the source"));
    assert_eq!(run.delta.unwrap().resources.added, 1);
    assert!(run.sealed.is_some());
    let digest = run.plan_digest.clone();
    let confirm = Decision::Confirm { plan_digest: digest, note: None };
    rig.decide(&run, Permission::Confirm, confirm).await.unwrap();
    let run = rig.until_state(&run, State::Finished).await;
    assert!(rig.log(&run, Phase::Applying).contains("kept\napplied"), "{}", rig.all_logs(&run));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_performs_one_command_and_keeps_its_exit_code() {
    let rig = Rig::new().await;
    let stack = rig.stack(custom(), &[("greeting", "hi\n")]).await;
    let run = rig.task(&stack, "echo performed; exit 7").await;
    let run = rig.until_state(&run, State::Failed).await;
    assert_eq!(run.exit_code, Some(7));
    assert_eq!(rig.log(&run, Phase::Performing), "performed\n");
}

/// Plans for `a` and `b`, or for what it is told.
const PLANS_TARGETS: &str = r#"for one in ${AIRLOCK_TARGETS:-a b}; do
  list="$list,{\"address\":\"$one\",\"type\":\"x\",\"action\":\"update\",\"before\":1,\"after\":2}"
done
printf '[%s]' "${list#,}" > "$AIRLOCK_PLAN_FILE"
exit 2"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_stack_plans_again_for_what_was_chosen_whatever_the_run_ends_in() {
    let rig = Rig::new().await;
    let vendor = json!({"kind": "custom", "plan": PLANS_TARGETS, "apply": "echo applied $AIRLOCK_TARGETS", "destroy": "echo destroyed $AIRLOCK_TARGETS"});
    let stack = rig.stack(json!({"name": "Shop", "vendor": vendor}), &[("file", "text")]).await;
    for kind in [Kind::Tracked, Kind::Destroy] {
        let run = rig.trigger(&stack, kind).await;
        let run = rig.until_state(&run, State::Unconfirmed).await;
        assert_eq!(run.delta.unwrap().resources.changed, 2);
        let replan = |target: &str| Decision::Replan { targets: vec![target.to_owned()] };
        let refused = rig.decide(&run, Permission::Replan, replan("z")).await.unwrap_err();
        assert!(refused.contains("`z` is not one of the run's changes"), "{refused}");
        rig.decide(&run, Permission::Replan, replan("b")).await.unwrap();
        let run = rig.until(&run, |run| run.state == State::Unconfirmed && run.round == 2).await;
        assert_eq!(run.delta.unwrap().resources.changed, 1, "{kind:?}");
        rig.confirm(&run).await;
        let run = rig.until_state(&run, State::Finished).await;
        let (phase, said) = match kind {
            Kind::Destroy => (Phase::Destroying, "destroyed b\n"),
            _ => (Phase::Applying, "applied b\n"),
        };
        assert_eq!(rig.log(&run, phase), said, "what was confirmed was for b alone");
    }
}
