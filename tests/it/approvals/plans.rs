//! Plan policies: what they deny, and what they warn about.

use airlock::domain::{PolicyKind, State};
use reqwest::Method;
use serde_json::json;

use super::rig::{Api as _, ONE_OTHER, Team, preview};
use crate::{
    pages::rig::custom,
    whole::{rig::tar_gz, terraform::needs_terraform},
};

const DENY: &str = r#"package spacelift
deny[sprintf("%s must not be created", [change.address])] {
    change := input.terraform.resource_changes[_]
    change.change.actions[_] == "create"
}"#;

const WARN: &str = r#"package spacelift
warn[sprintf("%s is new", [change.address])] {
    change := input.terraform.resource_changes[_]
    change.change.actions[_] == "create"
}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_a_policy_denies_fails_with_its_message_and_is_never_sealed() {
    let team = Team::new().await;
    team.policy("no-creation", PolicyKind::Plan, DENY).await;
    let run = team.bob.trigger("tracked").await;
    let ended = team.site.until(run, State::Failed).await;
    assert!(ended.reason.unwrap().contains("a.b must not be created"));
    assert!(ended.sealed.is_none());
    let shown = team.bob.run(run).await;
    assert_eq!(shown["policies"][0]["name"], "no-creation");
    assert_eq!(shown["policies"][0]["decision"], "deny");
    assert_eq!(shown["policies"][0]["messages"], json!(["a.b must not be created"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warning_stops_autodeploy_and_asks_a_person() {
    let mut settings = custom("Shop");
    settings["autodeploy"] = json!(true);
    let team = Team::with(settings).await;
    let run = team.bob.trigger("tracked").await;
    team.site.until(run, State::Finished).await;
    team.policy("new-things", PolicyKind::Plan, WARN).await;
    let run = team.bob.trigger("tracked").await;
    team.site.until(run, State::Unconfirmed).await;
    let shown = team.bob.run(run).await;
    assert_eq!(shown["policies"][0]["decision"], "warn");
    let page = team.bob.get(&format!("/runs/{run}")).await;
    assert!(page.words(".decide").contains("a.b is new"), "{}", page.words(".decide"));
    team.bob.confirm(run).await.expect(200);
    team.site.until(run, State::Finished).await;
}

/// States of a run's history, with who brought it there and why.
fn history(run: &serde_json::Value) -> Vec<(String, String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let entries = run["history"].as_array().unwrap().iter();
    entries.map(|one| (text(&one["state"]), text(&one["actor"]["name"]), text(&one["reason"]))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn autodeploy_waits_for_an_approval_and_goes_on_with_it() {
    let mut settings = custom("Shop");
    settings["autodeploy"] = json!(true);
    let team = Team::with(settings).await;
    team.policy("one-other", PolicyKind::Approval, ONE_OTHER).await;
    let run = team.waiting(&team.bob).await;
    team.until_open(run.id).await;
    assert!(team.bob.confirm(run.id).await.refused(409).contains("1 more approval is needed"));
    let page = team.cleo.get(&format!("/runs/{}", run.id)).await;
    assert!(
        page.words(".decide").contains("is applied to Shop as soon as it is approved"),
        "{}",
        page.words(".decide")
    );
    team.cleo.review(run.id, "approve").await.expect(200);
    team.site.until(run.id, State::Finished).await;
    let history = history(&team.bob.run(run.id).await);
    let entry = |state: &str| history.iter().find(|(of, ..)| of == state).cloned().unwrap();
    assert_eq!(entry("unconfirmed").2, "is applied as soon as it is approved");
    assert_eq!(entry("confirmed"), ("confirmed".to_owned(), "system".to_owned(), "approved by cleo".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn autodeploy_goes_on_when_nobody_is_asked_for_an_approval_any_more() {
    let mut settings = custom("Shop");
    settings["autodeploy"] = json!(true);
    let team = Team::with(settings).await;
    for rejected in [false, true] {
        team.policy("one-other", PolicyKind::Approval, &ONE_OTHER.replace("reject {", "other {")).await;
        let run = team.waiting(&team.bob).await;
        team.until_open(run.id).await;
        if rejected {
            team.cleo.review(run.id, "reject").await.expect(200);
        }
        team.forget_policy("one-other").await;
        if rejected {
            team.until(run.id, |run| run["approval"]["decision"] != "open").await;
            assert_eq!(team.bob.run(run.id).await["state"], "unconfirmed", "somebody said no");
            team.bob.confirm(run.id).await.expect(200);
        }
        team.site.until(run.id, State::Finished).await;
        if !rejected {
            let history = history(&team.bob.run(run.id).await);
            let confirmed = history.into_iter().find(|(state, ..)| state == "confirmed").unwrap();
            assert_eq!((confirmed.1.as_str(), confirmed.2.as_str()), ("system", "nobody has to approve it any more"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_does_not_deploy_what_waits_for_a_person_anyway() {
    let mut settings = custom("Shop");
    settings["autodeploy"] = json!(true);
    let team = Team::with(settings).await;
    team.policy("one-other", PolicyKind::Approval, ONE_OTHER).await;
    let locked = team.waiting(&team.bob).await;
    team.bob.call(Method::PUT, "stacks/shop/lock", json!({"note": "not now"})).await.expect(200);
    team.cleo.review(locked.id, "approve").await.expect(200);
    assert_eq!(team.bob.run(locked.id).await["state"], "unconfirmed", "a lock came in between");
    team.bob.call(Method::DELETE, "stacks/shop/lock", json!(null)).await.expect(204);
    team.bob.confirm(locked.id).await.expect(200);
    team.site.until(locked.id, State::Finished).await;

    team.policy("new-things", PolicyKind::Plan, WARN).await;
    let warned = team.waiting(&team.bob).await;
    team.cleo.review(warned.id, "approve").await.expect(200);
    assert_eq!(team.bob.run(warned.id).await["state"], "unconfirmed", "a policy warned");
    team.bob.confirm(warned.id).await.expect(200);
    team.site.until(warned.id, State::Finished).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_with_a_warning_waits_for_a_review_and_ends_by_it() {
    let team = Team::new().await;
    team.policy("new-things", PolicyKind::Plan, WARN).await;
    let run = preview(&team).await;
    team.site.until(run, State::PendingReview).await;
    team.until_open(run).await;
    team.bob.review(run, "approve").await.expect(200);
    let ended = team.site.until(run, State::Finished).await;
    assert_eq!(ended.reason.as_deref(), Some("approved by bob"));
    let run = preview(&team).await;
    team.site.until(run, State::PendingReview).await;
    team.bob.review(run, "reject").await.expect(200);
    team.site.until(run, State::Failed).await;
    team.policy("one-other", PolicyKind::Approval, ONE_OTHER).await;
    let run = team.bob.trigger("proposed").await;
    team.site.until(run, State::PendingReview).await;
    team.until_open(run).await;
    assert_eq!(team.bob.review(run, "approve").await.status, 403);
    team.cleo.review(run, "approve").await.expect(200);
    team.site.until(run, State::Finished).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_plan_policy_fails_the_run_with_its_error() {
    let team = Team::new().await;
    let body = "package spacelift\ndeny[\"never\"] { n := numbers.range(1, 5000)[_]; m := numbers.range(1, 5000)[_]; k := numbers.range(1, 5000)[_]; n * m * k == -1 }";
    team.policy("endless", PolicyKind::Plan, body).await;
    let run = team.bob.trigger("tracked").await;
    let ended = team.site.until(run, State::Failed).await;
    assert!(ended.reason.unwrap().contains("endless"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replan_voids_what_was_said_about_the_plan_before_it() {
    needs_terraform();
    let team = Team::with(json!({"name": "Shop", "vendor": {"kind": "terraform"}})).await;
    let source = tar_gz(&[("main.tf", "resource \"terraform_data\" \"a\" {}\nresource \"terraform_data\" \"b\" {}\n")]);
    let upload = team.ada.request(Method::PUT, "/api/v1/stacks/shop/source").body(source).send().await.unwrap();
    assert!(upload.status().is_success());
    team.policy("one-other", PolicyKind::Approval, ONE_OTHER).await;
    let run = team.waiting(&team.bob).await;
    let given = team.cleo.review(run.id, "approve").await.expect(200);
    assert_eq!(given["approval"]["decision"], "given");
    let targets = json!({"targets": ["terraform_data.a"]});
    team.bob.call(Method::POST, &format!("runs/{}/replan", run.id), targets).await.expect(200);
    let first = json!(run.plan_digest);
    let again = team
        .until(run.id, |now| {
            now["state"] == "unconfirmed" && now["plan_digest"] != first && now["approval"]["decision"] == "open"
        })
        .await;
    assert_eq!(again["reviews"][0]["current"], false);
    assert!(team.bob.confirm(run.id).await.refused(409).contains("1 more approval is needed, not by bob"));
    // What was looked at is not what is there.
    let stale = json!({"plan_digest": first});
    assert_eq!(team.cleo.call(Method::POST, &format!("runs/{}/confirm", run.id), stale).await.status, 409);
    let stale = json!({"decision": "approve", "plan_digest": first});
    let refused = team.cleo.call(Method::POST, &format!("runs/{}/review", run.id), stale).await.refused(409);
    assert!(refused.contains(again["plan_digest"].as_str().unwrap()), "{refused}");
    let fresh = json!({"decision": "approve", "plan_digest": again["plan_digest"]});
    team.cleo.call(Method::POST, &format!("runs/{}/review", run.id), fresh).await.expect(200);
    team.bob.confirm(run.id).await.expect(200);
    team.site.until(run.id, State::Finished).await;
}
