//! What stages do to runs.

use airlock::domain::{Enforcement, Kind, Stage, State};
use serde_json::json;

use super::rig::{attached, custom, rig, until_checking};
use crate::whole::{rig::assert_nothing_held, terraform};

#[tokio::test(flavor = "multi_thread")]
async fn four_stages_stand_around_a_confirmed_run_in_their_order() {
    let rig = rig().await;
    let stack = custom(&rig, "Gate – Größe 日本 🚪", json!({})).await;
    let service = attached(&rig, &stack, "check", &Stage::ALL, Enforcement::Mandatory).await;
    let run = rig.trigger(&stack, Kind::Tracked).await;
    let mut tokens = Vec::new();
    for stage in Stage::ALL {
        if stage == Stage::PreApply {
            let waits = rig.until_state(&run, State::Unconfirmed).await;
            rig.confirm(&waits).await;
        }
        let call = service.called().await;
        assert_eq!(call.payload["stage"], stage.word());
        assert_eq!(call.payload.get("plan_json_api_url").is_some(), stage != Stage::PrePlan);
        let now = until_checking(&rig, &run, stage).await;
        assert_eq!(now.state, State::Checking);
        assert_eq!(rig.app.queries.slots_used().unwrap(), 0, "checking holds no slot");
        tokens.push(call.token());
        assert_eq!(call.says("passed", "fine").await, 200);
    }
    let ended = rig.until_state(&run, State::Finished).await;
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), 4, "each call has a token of its own");
    assert_eq!(ended.warnings, [] as [&str; 0]);
    rig.until_tidy().await;
    let dir = rig.stop().await;
    assert_nothing_held(&dir.path().join("data"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn stages_stand_around_real_terraform_and_what_is_said_after_applying_stops_nothing() {
    let rig = rig().await;
    let stack = terraform::stack(&rig, &[("main.tf", "resource \"terraform_data\" \"a\" { input = 1 }\n")]).await;
    let service = attached(&rig, &stack, "check", &Stage::ALL, Enforcement::Mandatory).await;
    let run = rig.trigger(&stack, Kind::Tracked).await;
    for stage in Stage::ALL {
        if stage == Stage::PreApply {
            let waits = rig.until_state(&run, State::Unconfirmed).await;
            assert_eq!(waits.delta.unwrap().resources.added, 1);
            rig.confirm(&waits).await;
        }
        let call = service.called().await;
        assert_eq!(call.payload["stage"], stage.word());
        let said = if stage == Stage::PostApply { "failed" } else { "passed" };
        assert_eq!(call.says(said, "seen").await, 200);
    }
    let ended = rig.until_state(&run, State::Finished).await;
    assert!(ended.warnings.iter().any(|warning| warning.contains("failed after applying")), "{:?}", ended.warnings);
    rig.until_tidy().await;
    let dir = rig.stop().await;
    assert_nothing_held(&dir.path().join("data"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mandatory_failure_ends_the_run_with_its_reason_and_an_advisory_one_is_a_warning() {
    let rig = rig().await;
    let stack = custom(&rig, "Shop", json!({})).await;
    let strict = attached(&rig, &stack, "strict", &[Stage::PostPlan], Enforcement::Mandatory).await;
    let mild = attached(&rig, &stack, "mild", &[Stage::PostPlan], Enforcement::Advisory).await;

    let run = rig.trigger(&stack, Kind::Tracked).await;
    let (one, other) = (strict.called().await, mild.called().await);
    assert_eq!(one.payload["task_result_enforcement_level"], "mandatory");
    assert_eq!(one.says("passed", "").await, 200);
    assert_eq!(rig.run(run.id).state, State::Checking, "the stage ends with its last result");
    assert_eq!(other.says("failed", "costs too much").await, 200);
    let waits = rig.until_state(&run, State::Unconfirmed).await;
    assert_eq!(waits.warnings, ["advisory run task mild failed after planning: costs too much"]);
    rig.confirm(&waits).await;
    let ended = rig.until_state(&run, State::Finished).await;
    assert_eq!(ended.warnings.len(), 1, "applying does not forget it");

    let run = rig.trigger(&stack, Kind::Tracked).await;
    assert_eq!(mild.called().await.says("passed", "").await, 200);
    assert_eq!(strict.called().await.says("failed", "not on a Friday").await, 200);
    let failed = rig.until_state(&run, State::Failed).await;
    assert_eq!(failed.reason.unwrap(), "mandatory run task strict failed after planning: not on a Friday");
    rig.until_tidy().await;
    let dir = rig.stop().await;
    assert_nothing_held(&dir.path().join("data"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn previews_and_plans_without_changes_are_checked_and_automatic_applies_wait() {
    let rig = rig().await;
    let stack = custom(&rig, "Shop", json!({"autodeploy": true})).await;
    let service = attached(&rig, &stack, "check", &[Stage::PostPlan, Stage::PreApply], Enforcement::Mandatory).await;
    let preview = rig.trigger(&stack, Kind::Proposed).await;
    let call = service.called().await;
    assert_eq!(call.payload["is_speculative"], true);
    assert_eq!(call.says("passed", "").await, 200);
    rig.until_state(&preview, State::Finished).await;

    let run = rig.trigger(&stack, Kind::Tracked).await;
    for stage in [Stage::PostPlan, Stage::PreApply] {
        let call = service.called().await;
        assert_eq!((&call.payload["stage"], &call.payload["is_speculative"]), (&stage.word().into(), &false.into()));
        assert_eq!(call.says("passed", "").await, 200);
    }
    rig.until_state(&run, State::Finished).await;

    let settings = json!({"vendor": {"kind": "custom", "plan": "exit 0"}});
    let still = custom(&rig, "Still", settings).await;
    let service = attached(&rig, &still, "still", &[Stage::PostPlan], Enforcement::Mandatory).await;
    let run = rig.trigger(&still, Kind::Tracked).await;
    assert_eq!(service.called().await.says("failed", "never").await, 200);
    rig.until_state(&run, State::Failed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_stopped_while_it_is_checked_cancels_its_results() {
    let rig = rig().await;
    let stack = custom(&rig, "Shop", json!({})).await;
    let service = attached(&rig, &stack, "check", &[Stage::PostPlan], Enforcement::Mandatory).await;
    let run = rig.trigger(&stack, Kind::Tracked).await;
    let call = service.called().await;
    until_checking(&rig, &run, Stage::PostPlan).await;
    let stop = airlock::actions::Decision::Stop { note: None };
    rig.decide(&run, airlock::auth::Permission::Stop, stop).await.unwrap();
    assert_eq!(rig.run(run.id).state, State::Stopped);
    let late = call.sends(&super::service::body("passed", "")).await;
    assert_eq!(late.status, 422, "it comes too late");
    assert!(late.json()["errors"][0]["detail"].as_str().unwrap().contains("canceled"));
    rig.until_tidy().await;
    let dir = rig.stop().await;
    assert_nothing_held(&dir.path().join("data"), 0);
}
