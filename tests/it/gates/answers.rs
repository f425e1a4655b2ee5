//! What a service may ask and say with the token of its call.

use airlock::{
    domain::{Enforcement, Kind, Stage, State},
    queries::Outcome,
};
use serde_json::json;

use super::{
    rig::{attached, custom, rig, run_task_trusted},
    service::{Service, body},
};
use crate::whole::terraform;

#[tokio::test(flavor = "multi_thread")]
async fn the_request_says_what_the_protocol_says_in_compact_unescaped_json() {
    let rig = rig().await;
    let stack = custom(&rig, "Größe 日本 🚪 \"quoted\"", json!({})).await;
    let service = attached(&rig, &stack, "check", &[Stage::PostPlan], Enforcement::Advisory).await;
    let run = rig.trigger(&stack, Kind::Tracked).await;
    let call = service.called().await;
    assert!(call.raw.starts_with(r#"{"payload_version":1,"stage":"post_plan","access_token":""#), "{}", call.raw);
    assert!(call.raw.contains("Größe 日本 🚪"), "{}", call.raw);
    let outward = run.id.to_string().replace('_', "-");
    for (field, value) in [
        ("run_id", json!(outward)),
        ("capabilities", json!({"outcomes": true})),
        ("task_result_enforcement_level", json!("advisory")),
        ("workspace_name", json!(stack.settings.name.as_str())),
        ("vcs_branch", json!(null)),
        ("run_created_by", json!("system")),
        ("workspace_working_directory", json!(null)),
    ] {
        assert_eq!(call.payload[field], value, "{field}");
    }
    assert!(call.text("task_result_id").starts_with("taskrs-"));
    assert!(call.text("workspace_id").starts_with("ws-"));
    let created = call.text("run_created_at");
    assert!(created.len() == 24 && created.ends_with('Z'), "{created}");
    assert_eq!(call.says("passed", "").await, 200);
    rig.until_state(&run, State::Unconfirmed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_replaces_outcomes_and_nothing_follows_the_final_result() {
    let rig = rig().await;
    let stack = custom(&rig, "Shop", json!({})).await;
    let service = attached(&rig, &stack, "check", &[Stage::PostPlan], Enforcement::Mandatory).await;
    let run = rig.trigger(&stack, Kind::Tracked).await;
    let call = service.called().await;
    let mut progress = body("running", "half of it");
    progress["data"]["relationships"] = json!({"outcomes": {"data": [
        {"type": "task-result-outcomes", "attributes": {"outcome-id": "A", "description": "first"}},
        {"type": "task-result-outcomes", "attributes": {"outcome_id": "B", "tags": {"Severity": [{"label": "High", "level": "error"}]}}}]}});
    for _ in 0..3 {
        assert_eq!(call.sends(&progress).await.status, 200);
    }
    let wrong = call.patches("art_nothing", progress.to_string()).await;
    assert_eq!((wrong.status, wrong.kind.as_str()), (401, "application/vnd.api+json"));
    assert_eq!(wrong.json()["errors"][0]["status"], "401");
    let malformed = call.sends(&body("excellent", "")).await;
    assert_eq!(malformed.status, 422);
    assert_eq!(malformed.json()["errors"][0]["source"]["pointer"], "/data/attributes/status");
    let bodies = |of: &str, n| {
        let outcomes = vec![json!({"body": of.repeat((1 << 20) / of.len())}); n];
        json!({"data": {"type": "task-results", "attributes": {"status": "running", "outcomes": outcomes}}}).to_string()
    };
    let escaped = bodies("ü", 1).replace('ü', "\\u00fc");
    for (fits, what) in [(bodies("x", 5), "plain"), (bodies("x\n", 3), "lines"), (escaped, "escaped")] {
        assert_eq!(call.patches(&call.token(), fits).await.status, 200, "{what}");
    }
    let more = bodies("x", 5).replacen("[{", "[{\"body\":\"one more\"},{", 1);
    let more = call.patches(&call.token(), more).await;
    assert_eq!(more.status, 422);
    assert_eq!(more.json()["errors"][0]["source"]["pointer"], "/data/attributes/outcomes");
    let endless = format!("{{\"data\": \"{}\"}}", "x".repeat(6 << 20));
    assert_eq!(call.patches(&call.token(), endless).await.status, 413);
    let url = call.text("task_result_callback_url").replace("taskrs-0", "taskrs-1");
    let unknown = call.asks(reqwest::Method::PATCH, &url, Some(&call.token()), Some("{}".into())).await;
    assert_eq!(unknown.status, 404);
    assert_eq!(rig.run(run.id).state, State::Checking, "none of this changed anything");

    assert_eq!(call.says("passed", "all of it").await, 200);
    rig.until_state(&run, State::Unconfirmed).await;
    let late = call.sends(&body("failed", "after all")).await;
    assert_eq!(late.status, 422);
    assert!(late.json()["errors"][0]["detail"].as_str().unwrap().contains("final already: passed"));
    rig.app.actions.write_strangers().await;
    let newest = rig.app.queries.audit_from(1, 1_000).unwrap().pop().unwrap();
    assert_eq!((newest.verb.as_str(), newest.outcome), ("run_task.answer", Outcome::Refused), "{newest:?}");
    assert!(newest.detail.unwrap().ends_with("unauthenticated attempts") && newest.address.is_some());
    assert_eq!(rig.run(run.id).state, State::Unconfirmed);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_opens_its_own_run_until_the_result_is_final() {
    let rig = rig().await;
    let stack = custom(&rig, "Shop", json!({})).await;
    let service = attached(&rig, &stack, "check", &[Stage::PostPlan], Enforcement::Advisory).await;
    let run = rig.trigger(&stack, Kind::Tracked).await;
    let call = service.called().await;

    let link = call.gets(&call.text("plan_json_api_url")).await;
    assert_eq!(link.status, 307);
    let link = link.location.unwrap();
    let plan = call.gets(&link).await;
    assert_eq!(plan.status, 200);
    assert_eq!(plan.json()["resource_changes"][0]["change"]["actions"], json!(["create"]));
    let source = call.gets(&call.text("configuration_version_download_url")).await;
    assert_eq!(source.status, 302);
    let source = call.gets(&source.location.unwrap()).await;
    assert_eq!((source.status, &source.body[..2]), (200, &[0x1f, 0x8b][..]), "a tar.gz");
    let base = &rig.app.actions.setup().public_url;
    let shown = call.gets(&format!("{base}/api/v2/runs/{}", call.text("run_id"))).await.json();
    assert_eq!(shown["data"]["attributes"]["status"], "post_plan_running");
    let shown = call.gets(&format!("{base}/api/v2/runs/{}/plan", call.text("run_id"))).await.json();
    assert_eq!(shown["data"]["attributes"]["resource-additions"], 1);
    let other = rig.trigger(&stack, Kind::Proposed).await;
    let other = other.id.to_string().replace('_', "-");
    assert_eq!(call.gets(&format!("{base}/api/v2/runs/{other}")).await.status, 404, "another run");
    assert_eq!(call.gets(&format!("{base}/api/v1/runs/{}", run.id)).await.status, 401, "another API");

    assert_eq!(call.says("passed", "").await, 200);
    assert_eq!(call.gets(&call.text("plan_json_api_url")).await.status, 401);
    assert_eq!(call.gets(&link).await.status, 404, "the short-lived address, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_plan_shows_sensitive_values_only_to_whom_an_admin_trusts() {
    let rig = rig().await;
    let main = r#"
variable "password" {
  sensitive = true
  default   = "correct-horse-battery"
}
resource "terraform_data" "a" {
  input = var.password
}
"#;
    let stack = terraform::stack(&rig, &[("main.tf", main)]).await;
    let stranger = attached(&rig, &stack, "stranger", &[Stage::PostPlan], Enforcement::Advisory).await;
    let friend = Service::new().await;
    let id = run_task_trusted(&rig, "friend", &friend, true).await;
    super::rig::attach(&rig, &stack, id, &[Stage::PostPlan], Enforcement::Advisory).await;
    rig.trigger(&stack, Kind::Tracked).await;
    for (service, trusted) in [(&stranger, false), (&friend, true)] {
        let call = service.called().await;
        let link = call.gets(&call.text("plan_json_api_url")).await.location.unwrap();
        let plan = call.gets(&link).await;
        let text = String::from_utf8(plan.body).unwrap();
        assert!(text.contains("\"resource_changes\"") && text.contains("terraform_data.a"), "{text}");
        assert_eq!(text.contains("correct-horse-battery"), trusted, "{text}");
        assert_eq!(call.says("passed", "").await, 200);
    }
}
