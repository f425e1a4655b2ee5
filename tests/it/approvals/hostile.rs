//! Races and stale words: nothing is applied that was not approved as it is.

use airlock::domain::{PolicyKind, State};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    policies::command,
    rig::{Api as _, ONE_OTHER, Team},
};
use crate::whole::{rig::tar_gz, terraform::needs_terraform};

#[tokio::test(flavor = "multi_thread")]
async fn reviews_that_race_a_replan_count_for_no_plan_but_the_one_that_was_seen() {
    needs_terraform();
    let team = Team::with(json!({"name": "Shop", "vendor": {"kind": "terraform"}})).await;
    let source = tar_gz(&[("main.tf", "resource \"terraform_data\" \"a\" {}\nresource \"terraform_data\" \"b\" {}\n")]);
    let upload = team.ada.request(Method::PUT, "/api/v1/stacks/shop/source").body(source).send().await.unwrap();
    assert!(upload.status().is_success());
    team.policy("one-other", PolicyKind::Approval, ONE_OTHER).await;
    let run = team.waiting(&team.bob).await;
    let first = run.plan_digest.as_ref().unwrap().to_string();
    let path = |verb: &str| format!("runs/{}/{verb}", run.id);
    let approve = json!({"decision": "approve", "plan_digest": first});
    let (replan, review) = (path("replan"), path("review"));
    let (replan, cleo, dan, again) = tokio::join!(
        team.bob.call(Method::POST, &replan, json!({"targets": ["terraform_data.a"]})),
        team.cleo.call(Method::POST, &review, approve.clone()),
        team.dan.review(run.id, "approve"),
        team.cleo.call(Method::POST, &review, approve.clone()),
    );
    replan.expect(200);
    for review in [&cleo, &dan, &again] {
        assert!([200, 409].contains(&review.status), "{review:?}");
    }
    let now = team
        .until(run.id, |now| {
            now["state"] == "unconfirmed" && now["plan_digest"] != json!(first) && now["approval"]["decision"] == "open"
        })
        .await;
    assert!(now["reviews"].as_array().unwrap().iter().all(|review| review["current"] == false), "{now:#}");

    // The plan of before is confirmed and approved through no door.
    let page = format!("/runs/{}", run.id);
    let stale = |verb| [("do", verb), ("plan_digest", first.as_str())];
    for verb in ["confirm", "approve"] {
        assert_eq!(team.cleo.post(&page, &stale(verb)).await.status, 409, "{verb}");
    }
    assert_eq!(team.cleo.call(Method::POST, &path("confirm"), json!({"plan_digest": first})).await.status, 409);
    assert_eq!(team.cleo.call(Method::POST, &path("review"), approve).await.status, 409);
    let id = run.id.to_string();
    let (code, said) = command(&team, &["run", "confirm", &id, "--plan-digest", &first], false).await;
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("the plan is not the one that was shown"), "{said}");
    let key = team.key("robot", &team.ada, false).await;
    assert_eq!(key.call(Method::POST, &path("confirm"), json!({"plan_digest": first})).await.status, 409);
    assert_eq!(team.bob.run(run.id).await["state"], "unconfirmed");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_confirm_at_the_same_moment_apply_it_once() {
    let team = Team::new().await;
    let run = team.waiting(&team.bob).await;
    let (bob, cleo, dan) = tokio::join!(team.bob.confirm(run.id), team.cleo.confirm(run.id), team.dan.confirm(run.id));
    let mut statuses = [bob.status, cleo.status, dan.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409, 409]);
    team.site.until(run.id, State::Finished).await;
    let shown = team.bob.run(run.id).await;
    let of = |state: &str| shown["history"].as_array().unwrap().iter().filter(|entry| entry["state"] == state).count();
    assert_eq!((of("confirmed"), of("applying")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_is_attached_or_taken_off_by_hand_counts_at_once() {
    let team = Team::new().await;
    let policy = json!({"name": "one-other", "kind": "approval", "body": ONE_OTHER});
    team.ada.call(Method::POST, "policies", policy).await.expect(201);
    let run = team.waiting(&team.bob).await;
    team.ada.call(Method::PUT, "stacks/shop/policies/one-other", Value::Null).await.expect(204);
    assert!(team.bob.confirm(run.id).await.refused(409).contains("1 more approval is needed, not by bob"));
    assert_eq!(team.bob.review(run.id, "approve").await.status, 403);
    // What is changed meanwhile is asked anew: now nobody can.
    let never = json!({"body": "package x\napprove { input.run.state == \"QUEUED\" }\n"});
    team.ada.call(Method::PATCH, "policies/one-other", never).await.expect(200);
    team.cleo.review(run.id, "approve").await.expect(200);
    assert!(team.bob.confirm(run.id).await.refused(409).contains("`one-other`"));
    team.ada.call(Method::DELETE, "stacks/shop/policies/one-other", Value::Null).await.expect(204);
    team.bob.confirm(run.id).await.expect(200);
    team.site.until(run.id, State::Finished).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_was_asked_about_holds_no_secret() {
    let plan = r#"printf '[{"address":"a.b","type":"a","action":"create","before":null,"after":{"in_clear":"%s","marked":"marked-secret","copied":"see marked-secret"},"sensitive":["/marked"]}]' "$TOKEN" > "$AIRLOCK_PLAN_FILE"; exit 2"#;
    let team = Team::with(json!({"name": "Shop", "vendor": {"kind": "custom", "plan": plan, "apply": "true"}})).await;
    let token = json!({"value": "hunter2-hunter2", "sensitive": true});
    team.ada.call(Method::PUT, "stacks/shop/environment/TOKEN", token).await.expect(201);
    let deny = "package x\nwarn[r.change.after.in_clear] { r := input.terraform.resource_changes[_] }\n";
    team.policy("curious", PolicyKind::Plan, deny).await;
    team.policy("one-other", PolicyKind::Approval, ONE_OTHER).await;
    let run = team.waiting(&team.bob).await;
    team.until_open(run.id).await;
    for policy in ["curious", "one-other"] {
        let samples = team.ada.call(Method::GET, &format!("policies/{policy}/samples"), Value::Null).await.expect(200);
        let text = samples.to_string();
        assert!(text.contains("a.b"), "it was asked about the plan: {text}");
        for secret in ["hunter2", "marked-secret"] {
            assert!(!text.contains(secret), "{policy} saw {secret}: {text}");
        }
    }
    assert!(!team.bob.run(run.id).await.to_string().contains("hunter2"), "what it said is masked, too");
}

/// Rego as Spacelift publishes it: what the run would change, by action and type.
const NO_NEW_A: &str = r#"package spacelift

added[address] {
    change := input.run.changes[_]
    change.phase == "plan"
    change.action == "added"
    change.entity.type == "a"
    address := change.entity.address
}

approve { count(added) == 0 }
approve { input.run.state == "QUEUED" }
approve { count(input.reviews.current.approvals) > 1 }
reject { input.reviews.current.rejections[_].session.login != "bot" }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_changes_is_seen_by_approval_policies_in_the_published_shape() {
    let team = Team::new().await;
    team.policy("no-new-a", PolicyKind::Approval, NO_NEW_A).await;
    let run = team.waiting(&team.bob).await;
    let open = team.until_open(run.id).await;
    assert_eq!(open["approval"]["missing"], "2 more approvals are needed");
    team.cleo.review(run.id, "approve").await.expect(200);
    team.dan.review(run.id, "approve").await.expect(200);
    team.bob.confirm(run.id).await.expect(200);
    team.site.until(run.id, State::Finished).await;
}
