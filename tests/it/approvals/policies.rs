//! Approval policies, and those who try to get around them.

use airlock::domain::{PolicyKind, Role, State};
use reqwest::Method;
use serde_json::json;

use super::rig::{Api as _, ONE_OTHER, TWO_OTHERS, Team, preview};

#[tokio::test(flavor = "multi_thread")]
async fn approval_by_two_people_of_whom_one_is_the_requester_stays_undecided() {
    let team = Team::new().await;
    team.policy("two-others", PolicyKind::Approval, TWO_OTHERS).await;
    let run = team.waiting(&team.bob).await;
    let open = team.until_open(run.id).await;
    assert_eq!(open["approval"]["missing"], "2 more approvals are needed, not by bob");
    let answer = team.cleo.review(run.id, "approve").await.expect(200);
    assert_eq!(answer["approval"]["missing"], "1 more approval is needed, not by bob");
    let own = team.bob.review(run.id, "approve").await;
    assert!(own.refused(403).contains("`two-others` does not count your approval: you triggered this run"));
    let run_now = team.bob.run(run.id).await;
    assert_eq!((&run_now["state"], &run_now["approval"]["decision"]), (&json!("unconfirmed"), &json!("open")));
    let refused = team.bob.confirm(run.id).await.refused(409);
    assert!(refused.contains("1 more approval is needed, not by bob"), "{refused}");
    let given = team.dan.review(run.id, "approve").await.expect(200);
    assert_eq!(given["approval"]["decision"], "given");
    team.bob.confirm(run.id).await.expect(200);
    team.site.until(run.id, State::Finished).await;
    let reviews = team.audited("run.review").await;
    assert!(reviews.iter().any(|(outcome, detail)| outcome == "refused" && detail.contains("does not count")));
    assert!(team.audited("run.confirm").await.iter().any(|(outcome, _)| outcome == "refused"));
}

#[tokio::test(flavor = "multi_thread")]
async fn self_approval_is_refused_at_every_door() {
    let team = Team::new().await;
    team.policy("one-other", PolicyKind::Approval, ONE_OTHER).await;
    let run = team.waiting(&team.bob).await;
    team.until_open(run.id).await;
    let path = format!("/runs/{}", run.id);
    // The page offers no such button, and its form is refused.
    let page = team.bob.get(&path).await;
    assert!(!page.verbs().contains(&"approve".to_owned()) && !page.verbs().contains(&"confirm".to_owned()));
    assert!(page.words(".decide").contains("1 more approval is needed, not by you."), "{}", page.words(".decide"));
    assert_eq!(team.bob.post(&path, &[("do", "approve")]).await.status, 403);
    assert_eq!(team.bob.post(&path, &[("do", "confirm")]).await.status, 409);
    // The API, the terminal, and the bulk form of the list.
    for (verb, words) in [("review", "does not count your approval"), ("confirm", "1 more approval is needed")] {
        let ran = command(&team, &["run", verb, &run.id.to_string()], verb == "review").await;
        assert_eq!(ran.0, 3, "{}", ran.1);
        assert!(ran.1.contains(words), "{}", ran.1);
    }
    assert_eq!(team.bob.review(run.id, "approve").await.status, 403);
    assert_eq!(team.bob.confirm(run.id).await.status, 409);
    let bulk = team.bob.post("/stacks", &[("do", "confirm"), ("stack", "shop")]).await;
    assert!(bulk.status != 500);
    assert_eq!(team.bob.run(run.id).await["state"], "unconfirmed");
    // The other person is asked, on the page and in the inbox.
    let home = team.cleo.get("/").await;
    assert!(home.words("[aria-labelledby=needs-you]").contains("1 more approval is needed, not by bob"));
    let home = team.bob.get("/").await;
    assert!(home.words("[aria-labelledby=needs-you]").contains("1 more approval is needed, not by you"));
    let page = team.cleo.get(&path).await;
    assert!(page.verbs().contains(&"approve".to_owned()) && !page.verbs().contains(&"confirm".to_owned()));
    let page = team.cleo.post_and_follow(&path, &[("do", "approve"), ("note", "fine")]).await;
    assert_eq!(page.words(".flash"), "Run #1 has your approval.");
    assert!(page.verbs().contains(&"confirm".to_owned()), "{:?}", page.verbs());
    team.bob.confirm(run.id).await.expect(200);
    team.site.until(run.id, State::Finished).await;
}

/// A verb of the command line as bob: its exit code, and what it says to people.
pub async fn command(team: &Team, args: &[&str], approve: bool) -> (i32, String) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_airlock"));
    command.args(args).args(approve.then_some("--approve"));
    command.env("AIRLOCK_URL", &team.site.base).env("AIRLOCK_TOKEN", team.bob.cookie("airlock").unwrap());
    let ran = command.output().await.unwrap();
    (ran.status.code().unwrap(), String::from_utf8(ran.stderr).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_rejection_fails_the_run_and_destroys_what_was_sealed() {
    let team = Team::new().await;
    team.policy("one-other", PolicyKind::Approval, ONE_OTHER).await;
    let run = team.waiting(&team.bob).await;
    let no = json!({"decision": "reject", "note": "the database would be replaced"});
    team.cleo.call(Method::POST, &format!("runs/{}/review", run.id), no).await.expect(200);
    let ended = team.site.until(run.id, State::Failed).await;
    let reason = ended.reason.unwrap();
    assert!(reason.contains("rejected by cleo: the policy `one-other` rejects it"), "{reason}");
    assert!(ended.sealed.is_none());
    assert_eq!(team.bob.confirm(run.id).await.status, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_waits_in_the_queue_for_its_approval_and_others_wait_behind_it() {
    let team = Team::new().await;
    let policy = r#"package spacelift
approve { input.run.state != "QUEUED" }
approve { count(input.reviews.current.approvals) > 0 }
reject { count(input.reviews.current.rejections) > 0 }"#;
    team.policy("before", PolicyKind::Approval, policy).await;
    let run = team.bob.trigger("tracked").await;
    let open = team.until_open(run).await;
    assert_eq!((&open["state"], &open["blocked_by"]["kind"]), (&json!("queued"), &json!("approval")));
    let home = team.cleo.get("/").await;
    assert!(home.words("[aria-labelledby=needs-you]").contains("1 more approval is needed"));
    team.cleo.review(run, "approve").await.expect(200);
    team.site.until(run, State::Unconfirmed).await;
    let second = team.bob.trigger("tracked").await;
    team.until_open(second).await;
    team.cleo.review(second, "reject").await.expect(200);
    team.site.until(second, State::Failed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_policy_fails_the_run_and_shows_its_error() {
    let team = Team::new().await;
    team.policy("broken", PolicyKind::Approval, "package spacelift\napprove { input.run.state == \"QUEUED\" }\napprove { to_number(input.run.id) > 1 }\nreject = 5 { input.run.state == \"UNCONFIRMED\" }").await;
    let run = team.bob.trigger("tracked").await;
    let ended = team.site.until(run, State::Failed).await;
    assert!(ended.reason.unwrap().contains("broken"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_comes_later_holds_back_what_waits_already() {
    let team = Team::new().await;
    let run = team.waiting(&team.bob).await;
    team.policy("one-other", PolicyKind::Approval, ONE_OTHER).await;
    assert!(team.bob.confirm(run.id).await.refused(409).contains("1 more approval is needed, not by bob"));
    team.forget_policy("one-other").await;
    team.bob.confirm(run.id).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_cannot_review_and_a_stranger_does_not_learn_of_the_run() {
    let team = Team::new().await;
    let run = team.waiting(&team.bob).await;
    let reader = team.site.person("rita", false, &[(&team.stack, Role::Reader)]).await;
    let stranger = team.site.person("sam", false, &[]).await;
    assert_eq!(reader.review(run.id, "approve").await.status, 403);
    assert_eq!(stranger.review(run.id, "approve").await.status, 404);
    let home = reader.get("/").await;
    assert_eq!(home.words("h1"), "Nothing needs you");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_without_warnings_asks_nobody() {
    let team = Team::new().await;
    team.policy("one-other", PolicyKind::Approval, ONE_OTHER).await;
    let run = preview(&team).await;
    team.site.until(run, State::Finished).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_approved_is_void_once_it_would_be_applied_in_other_surroundings() {
    let team = Team::new().await;
    team.policy("one-other", PolicyKind::Approval, ONE_OTHER).await;
    let run = team.waiting(&team.bob).await;
    let given = team.cleo.review(run.id, "approve").await.expect(200);
    assert_eq!(given["approval"]["decision"], "given");
    let last = async || team.bob.run(run.id).await["remarks"].as_array().unwrap().last().unwrap()["text"].clone();
    // A run is applied with what it was planned with: this voids nothing, and is said.
    let other = json!({"value": "somewhere else", "sensitive": false});
    team.bob.call(Method::PUT, "stacks/shop/environment/TARGET", other.clone()).await.expect(201);
    team.bob.call(Method::PUT, "stacks/shop/environment/TARGET", other).await.expect(200);
    let shown = team.bob.run(run.id).await;
    assert_eq!((&shown["reviews"][0]["current"], &shown["approval"]["decision"]), (&json!(true), &json!("given")));
    let text = "the variable TARGET was changed: this run goes on with what it began with";
    assert_eq!(last().await, text);
    let said = shown["remarks"].as_array().unwrap().iter().filter(|remark| remark["text"] == text);
    assert_eq!(said.count(), 1, "once");
    let states: Vec<_> = shown["history"].as_array().unwrap().iter().map(|entry| entry["state"].clone()).collect();
    assert_eq!(states, ["queued", "ready", "preparing", "initializing", "planning", "unconfirmed"]);
    let timeline = team.bob.get(&format!("/runs/{}?tab=timeline", run.id)).await;
    let words = timeline.words(".timeline");
    assert!(words.contains("Remark") && words.contains(text), "{words}");
    team.ada.call(Method::PATCH, "stacks/shop", json!({"vendor": {"apply": "echo something else"}})).await.expect(200);
    let refused = team.bob.confirm(run.id).await.refused(409);
    assert!(refused.contains("1 more approval is needed, not by bob"), "{refused}");
    assert_eq!(team.bob.run(run.id).await["reviews"][0]["current"], false);
    assert_eq!(last().await, "the stack's settings were changed: what was said about this run is void");
    // What does not change anything about it voids nothing.
    team.cleo.review(run.id, "approve").await.expect(200);
    team.ada.call(Method::PATCH, "stacks/shop", json!({"description": "a shop"})).await.expect(200);
    team.bob.confirm(run.id).await.expect(200);
    team.site.until(run.id, State::Finished).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_for_an_approval_in_the_queue_lets_approved_ones_pass() {
    let team = Team::new().await;
    let body = "package spacelift\napprove { input.run.state != \"QUEUED\" }\napprove { count(input.reviews.current.approvals) > 0 }\n";
    team.policy("asked", PolicyKind::Approval, body).await;
    let (first, second) = (team.bob.trigger("tracked").await, team.bob.trigger("tracked").await);
    team.until_open(first).await;
    team.cleo.review(second, "approve").await.expect(200);
    team.site.until(second, State::Unconfirmed).await;
    let waits = team.bob.run(first).await;
    assert_eq!((&waits["state"], &waits["blocked_by"]), (&json!("queued"), &json!({"kind": "approval"})));
    // Approved, it waits behind the one that went before.
    team.cleo.review(first, "approve").await.expect(200);
    let waits = team.bob.run(first).await;
    assert_eq!((&waits["state"], &waits["blocked_by"]["run"]), (&json!("queued"), &json!(second.to_string())));
    team.until(second, |run| run["approval"]["decision"] == "given").await;
    team.bob.confirm(second).await.expect(200);
    team.site.until(first, State::Unconfirmed).await;
}
