//! Reviews where no policy counts them.

use airlock::domain::State;
use reqwest::Method;
use serde_json::json;

use super::rig::{Api as _, Team};

#[tokio::test(flavor = "multi_thread")]
async fn reviews_are_kept_shown_and_decide_nothing_where_no_policy_asks_for_them() {
    let team = Team::new().await;
    let run = team.waiting(&team.bob).await;
    let path = format!("runs/{}/review", run.id);
    let yes = json!({"decision": "approve", "note": "looks <b>right</b>", "plan_digest": run.plan_digest});
    let answer = team.cleo.call(Method::POST, &path, yes).await.expect(200);
    assert_eq!(answer["reviews"][0]["actor"], json!({"kind": "user", "name": "cleo"}));
    assert_eq!(answer["reviews"][0]["note"], "looks <b>right</b>");
    assert_eq!(answer["reviews"][0]["state"], "unconfirmed");
    assert_eq!(answer["approval"], json!(null));
    let answer = team.cleo.review(run.id, "reject").await.expect(200);
    let current: Vec<_> = answer["reviews"].as_array().unwrap().iter().map(|one| one["current"].clone()).collect();
    assert_eq!(current, [false, true], "the newest of a person counts");
    assert_eq!(answer["state"], "unconfirmed");

    let page = team.dan.get(&format!("/runs/{}", run.id)).await;
    assert!(page.words(".reviews").contains("Rejected by personcleo") || page.words(".reviews").contains("cleo"));
    assert!(page.verbs().contains(&"confirm".to_owned()));
    let timeline = team.dan.get(&format!("/runs/{}?tab=timeline", run.id)).await;
    assert!(timeline.words(".timeline").contains("looks <b>right</b>"), "{}", timeline.words(".timeline"));
    assert!(team.audited("run.review").await.iter().all(|(outcome, _)| outcome == "done"));
    team.dan.confirm(run.id).await.expect(200);
    team.site.until(run.id, State::Finished).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_of_another_plan_or_in_another_state_is_refused() {
    let team = Team::new().await;
    let run = team.waiting(&team.bob).await;
    let path = format!("runs/{}/review", run.id);
    let stranger = format!("sha256:{}", "0".repeat(64));
    let stale = json!({"decision": "approve", "plan_digest": stranger});
    let refused = team.cleo.call(Method::POST, &path, stale).await;
    let present = run.plan_digest.as_ref().unwrap().to_string();
    assert!(refused.refused(409).contains(&present), "it says which plan is there");
    assert_eq!(team.cleo.call(Method::POST, &path, json!({"decision": "maybe"})).await.status, 422);
    assert_eq!(team.cleo.call(Method::POST, &path, json!({"decision": "approve", "by": "bob"})).await.status, 422);
    team.cleo.confirm(run.id).await.expect(200);
    team.site.until(run.id, State::Finished).await;
    let late = team.cleo.review(run.id, "reject").await;
    assert!(late.refused(409).contains("a run that is finished takes no reviews"));
    let refused = team.audited("run.review").await;
    assert!(refused.iter().filter(|(outcome, _)| outcome == "refused").count() >= 2, "{refused:?}");
}
