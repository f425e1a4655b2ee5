//! `after_run` hooks of runs that others have a say about: they come last, find the workspace, and see
//! what the run really ends as.

use airlock::{
    actions::{Decision, NewReview},
    auth::Permission,
    domain::{Enforcement, Kind, Phase, PolicyKind, ReviewDecision, Stage, State, Verdict},
    queries::{Run, Stack},
};
use serde_json::{Value, json};

use super::{
    rig::{attached, custom, rig, rig_with, until_checking},
    service::Service,
};
use crate::whole::{
    gate::Gate,
    rig::{Rig, assert_nothing_held},
};

const DENY: &str = r#"package spacelift
deny["nothing new on Fridays"] { input.terraform.resource_changes[_].change.actions[_] == "create" }"#;

const WARN: &str = r#"package spacelift
warn["something new"] { input.terraform.resource_changes[_].change.actions[_] == "create" }"#;

/// A stack whose hook says what the run ends as, and what lies in the workspace.
async fn hooked(rig: &Rig, name: &str, more: Value) -> Stack {
    let mut settings =
        json!({"hooks": {"after_run": ["echo \"over: $AIRLOCK_FINAL_RUN_STATE, $(cat main.txt made)\""]}});
    let plan = r#"echo planned > made; printf '[{"address":"a.b","type":"a","action":"create","before":null,"after":{}}]' > "$AIRLOCK_PLAN_FILE"; exit 2"#;
    settings["vendor"] = json!({"kind": "custom", "init": "echo initialized > made", "plan": plan});
    for (key, value) in more.as_object().unwrap() {
        settings[key] = value.clone();
    }
    custom(rig, name, settings).await
}

/// The hook's words; it ran once, and last.
fn said(rig: &Rig, run: &Run) -> String {
    let run = rig.run(run.id);
    let hooks = run.phases.iter().filter(|phase| phase.phase == Phase::Ending).count();
    assert_eq!(hooks, 1, "{}", rig.all_logs(&run));
    assert_eq!(run.phases.last().unwrap().phase, Phase::Ending);
    rig.log(&run, Phase::Ending)
}

async fn until_nothing_is_held(rig: Rig) {
    rig.until_tidy().await;
    let dir = rig.stop().await;
    assert_nothing_held(&dir.path().join("data"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_a_check_fails_ends_after_its_hooks_which_see_that() {
    let rig = rig().await;
    for (name, stage, made) in [
        ("One", Stage::PrePlan, "initialized"),
        ("Two", Stage::PostPlan, "planned"),
        ("Three", Stage::PreApply, "planned"),
    ] {
        let stack = hooked(&rig, name, json!({})).await;
        let check = format!("check-{}", stack.slug);
        let service = attached(&rig, &stack, &check, &[stage], Enforcement::Mandatory).await;
        let run = rig.trigger(&stack, Kind::Tracked).await;
        if stage == Stage::PreApply {
            let waits = rig.until_state(&run, State::Unconfirmed).await;
            rig.confirm(&waits).await;
        }
        assert_eq!(service.called().await.says("failed", "never").await, 200);
        let failed = rig.until_state(&run, State::Failed).await;
        assert_eq!(
            failed.reason.as_deref(),
            Some(&*format!("mandatory run task {check} failed {}: never", stage.title().to_lowercase()))
        );
        assert_eq!(said(&rig, &run), format!("over: failed, the source{made}\n"));
    }
    until_nothing_is_held(rig).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn previews_and_plans_without_changes_run_their_hooks_after_the_checks() {
    let rig = rig().await;
    let still = json!({"vendor": {"kind": "custom", "plan": "echo planned > made"}});
    for (name, kind, more) in [("New", Kind::Proposed, json!({})), ("Still", Kind::Tracked, still)] {
        let stack = hooked(&rig, name, more).await;
        let check = format!("check-{}", stack.slug);
        let service = attached(&rig, &stack, &check, &[Stage::PostPlan], Enforcement::Mandatory).await;
        for (answer, state) in [("passed", State::Finished), ("failed", State::Failed)] {
            let run = rig.trigger(&stack, kind).await;
            let call = service.called().await;
            let waits = until_checking(&rig, &run, Stage::PostPlan).await;
            assert!(waits.phases.iter().all(|phase| phase.phase != Phase::Ending), "the end is not known yet");
            assert_eq!(call.says(answer, "").await, 200);
            rig.until_state(&run, state).await;
            assert_eq!(said(&rig, &run), format!("over: {state}, the sourceplanned\n"));
        }
    }
    until_nothing_is_held(rig).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_a_policy_denies_ends_after_its_hooks() {
    let rig = rig().await;
    rig.policy("no-creation", PolicyKind::Plan, DENY).await;
    for (name, kind, autodeploy) in
        [("Asks", Kind::Tracked, false), ("Deploys", Kind::Tracked, true), ("Shows", Kind::Proposed, false)]
    {
        let stack = hooked(&rig, name, json!({"autodeploy": autodeploy})).await;
        let run = rig.trigger(&stack, kind).await;
        let failed = rig.until_state(&run, State::Failed).await;
        assert!(failed.reason.unwrap().contains("nothing new on Fridays"));
        assert_eq!(said(&rig, &run), "over: failed, the sourceplanned\n", "{name}");
    }
    until_nothing_is_held(rig).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_that_people_decide_about_runs_its_hooks_once_they_have() {
    let rig = rig().await;
    rig.policy("new-things", PolicyKind::Plan, WARN).await;
    let stack = hooked(&rig, "Shows", json!({})).await;
    for (decision, state) in [(ReviewDecision::Approve, State::Finished), (ReviewDecision::Reject, State::Failed)] {
        let run = rig.trigger(&stack, Kind::Proposed).await;
        let waits = rig.until_state(&run, State::PendingReview).await;
        assert!(waits.phases.iter().all(|phase| phase.phase != Phase::Ending));
        let review = NewReview { decision, note: None, plan_digest: None };
        rig.app.actions.review(&rig.permit(Permission::Review, &stack), run.id, review, None).await.unwrap();
        rig.until_state(&run, state).await;
        assert_eq!(said(&rig, &run), format!("over: {state}, the sourceplanned\n"));
    }
    let run = rig.trigger(&stack, Kind::Proposed).await;
    let waits = rig.until_state(&run, State::PendingReview).await;
    rig.decide(&waits, Permission::Cancel, Decision::Cancel { note: None }).await.unwrap();
    let canceled = rig.until_state(&run, State::Canceled).await;
    assert!(canceled.phases.iter().all(|phase| phase.phase != Phase::Ending), "nothing runs after a cancel");
    until_nothing_is_held(rig).await;
}

/// A run that is checked, with a hook that knocks at a gate.
async fn checked(rig: &Rig, gate: &Gate) -> (Stack, Service, Run) {
    let hooks = json!({"after_run": [gate.command("hook"), "echo \"over: $AIRLOCK_FINAL_RUN_STATE\""]});
    let more = json!({"hooks": hooks, "executor": {"network": "host"}});
    let stack = hooked(rig, "Shop", more).await;
    let service = attached(rig, &stack, "check", &[Stage::PostPlan], Enforcement::Mandatory).await;
    let run = rig.trigger(&stack, Kind::Tracked).await;
    (stack, service, run)
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_hold_the_stack_and_cannot_be_stopped() {
    let rig = rig().await;
    let gate = Gate::new().await;
    let (stack, service, run) = checked(&rig, &gate).await;
    service.called().await;
    until_checking(&rig, &run, Stage::PostPlan).await;
    rig.decide(&run, Permission::Stop, Decision::Stop { note: None }).await.unwrap();
    let knock = gate.knock().await;
    let now = rig.run(run.id);
    assert_eq!(now.state, State::Planning, "what went before shows");
    let next = rig.task(&stack, "true").await;
    assert_eq!(rig.run(next.id).state, State::Queued);
    let refused = rig.decide(&run, Permission::Stop, Decision::Stop { note: None }).await.unwrap_err();
    assert!(refused.contains("only its after_run hooks still run"), "{refused}");
    knock.let_on().await;
    rig.until_state(&run, State::Stopped).await;
    assert_eq!(said(&rig, &run), "over: stopped\n");
    let next = rig.until(&next, |run| run.state == State::Performing || run.phases.len() > 1).await;
    gate.knock().await.let_on().await;
    rig.until_state(&next, State::Finished).await;
    until_nothing_is_held(rig).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_waits_for_its_hooks_outlives_the_server() {
    let rig = rig().await;
    let gate = Gate::new().await;
    let (_, service, run) = checked(&rig, &gate).await;
    assert_eq!(service.called().await.says("failed", "never").await, 200);
    let knock = gate.knock().await;
    let rig = rig.served_again().await;
    knock.let_on().await;
    let failed = rig.until_state(&run, State::Failed).await;
    assert_eq!(failed.reason.as_deref(), Some("mandatory run task check failed after planning: never"));
    assert_eq!(said(&rig, &run), "over: failed\n");
    until_nothing_is_held(rig).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_that_fail_or_find_nothing_change_no_end() {
    let rig = rig_with(|_| {}).await;
    let hooks = json!({"after_run": ["echo \"over: $AIRLOCK_FINAL_RUN_STATE\"; exit 3"]});
    let stack = hooked(&rig, "Shop", json!({ "hooks": hooks })).await;
    let service = attached(&rig, &stack, "check", &[Stage::PostPlan], Enforcement::Mandatory).await;
    let run = rig.trigger(&stack, Kind::Proposed).await;
    let call = service.called().await;
    until_checking(&rig, &run, Stage::PostPlan).await;
    // What was sealed for them is gone.
    std::fs::remove_file(rig.data().join("sealed").join(format!("{}.key", run.id))).unwrap();
    assert_eq!(call.says("passed", "").await, 200);
    let ended = rig.until_state(&run, State::Finished).await;
    assert_eq!(ended.verdict, Some(Verdict::SUCCESS), "the plan's");
    assert!(said(&rig, &run).contains("over: finished\n"));
    until_nothing_is_held(rig).await;
}
