//! Nobody approves their own work: not as its author, not with a key of theirs.

use std::{fs, path::Path};

use airlock::domain::{PolicyKind, State};
use reqwest::Method;
use serde_json::{Value, json};

use super::rig::{Api as _, ONE_OTHER, TWO_OTHERS, Team};
use crate::{
    git::git_of,
    pages::rig::{Site, custom},
    whole::rig::tar_gz,
};

/// A stack whose source is a repository, with a commit by Cleo that Dan merged.
async fn with_repository(sources: &Path) -> (Team, String) {
    let repository = sources.join("shop");
    fs::create_dir(&repository).unwrap();
    let (cleo, dan) = ("Cleo Example <Cleo@example.org>", "dan <d@example.org>");
    let git = |arguments: &[&str]| git_of(&repository, cleo, dan, arguments);
    git(&["init", "--quiet", "--initial-branch=main"]);
    fs::write(repository.join("greeting"), "from git\n").unwrap();
    git(&["add", "."]);
    git(&["commit", "--quiet", "--message=Make the cache larger 🎉"]);
    let head = git(&["rev-parse", "HEAD"]);
    let allowed = sources.to_owned();
    let site = Site::with(|config| config.local_sources = vec![allowed]).await;
    let mut settings = custom("Shop");
    settings["source"] = json!({"kind": "git", "url": repository.to_str().unwrap(), "branch": "main"});
    let stack = site.bare_stack(settings).await;
    (Team::of(site, stack).await, head)
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_who_asked_nor_who_wrote_nor_who_made_the_commit_counts() {
    let sources = tempfile::tempdir().unwrap();
    let (team, head) = with_repository(sources.path()).await;
    team.library_policy("reviewed-by-others").await;
    let run = team.waiting(&team.bob).await;
    team.until_open(run.id).await;
    for own in [&team.bob, &team.cleo, &team.dan] {
        let refused = own.review(run.id, "approve").await.refused(403);
        assert!(refused.contains("`reviewed-by-others` does not count your approval"), "{refused}");
    }
    assert_eq!(team.bob.confirm(run.id).await.status, 409);
    team.ada.review(run.id, "approve").await.expect(200);
    team.bob.confirm(run.id).await.expect(200);
    team.site.until(run.id, State::Finished).await;
    // What policies see of it.
    let samples = team.ada.call(Method::GET, "policies/reviewed-by-others/samples", Value::Null).await.expect(200);
    let commit = &samples["items"][0]["input"]["run"]["commit"];
    let seen = json!({
        "hash": head, "branch": "main", "message": "Make the cache larger 🎉", "url": null,
        "author": "cleo", "author_name": "Cleo Example", "committer": "dan", "committer_name": "dan",
        "created_at": 1_700_000_060_000_000_000_i64,
    });
    assert_eq!(*commit, seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_uploaded_the_source_is_its_author_with_their_own_hands_or_a_key() {
    let team = Team::new().await;
    team.library_policy("reviewed-by-others").await;
    let robot = team.key("robot", &team.ada, false).await;
    let source = tar_gz(&[("greeting", "by a key\n")]);
    let sent = reqwest::Client::new().put(format!("{}/api/v1/stacks/shop/source", team.site.base));
    let sent = sent.bearer_auth(&robot.secret).body(source).send().await.unwrap();
    assert!(sent.status().is_success());
    let run = team.waiting(&team.bob).await;
    team.until_open(run.id).await;
    assert_eq!(team.ada.review(run.id, "approve").await.status, 403);
    assert_eq!(team.bob.review(run.id, "approve").await.status, 403);
    let given = team.cleo.review(run.id, "approve").await.expect(200);
    assert_eq!(given["approval"]["decision"], "given");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_speaks_for_the_person_who_made_it() {
    let team = Team::new().await;
    team.policy("one-other", PolicyKind::Approval, ONE_OTHER).await;
    let robot = team.key("robot", &team.ada, true).await;
    let second = team.key("second", &robot, false).await;
    // Ada's run, approved by a key of hers, or by a key that such a key made.
    let run = team.waiting(&team.ada).await;
    team.until_open(run.id).await;
    for own in [&robot, &second] {
        let refused = own.review(run.id, "approve").await.refused(403);
        assert!(refused.contains("ada triggered this run, and this is a key of theirs"), "{refused}");
        assert_eq!(own.confirm(run.id).await.status, 409);
    }
    team.ada.call(Method::POST, &format!("runs/{}/discard", run.id), json!({})).await.expect(200);
    // A run of her key, approved by her.
    let run = second.trigger("tracked").await;
    team.site.until(run, State::Unconfirmed).await;
    let open = team.until_open(run).await;
    assert_eq!(open["triggered_by"], json!({"kind": "api_key", "name": "second"}));
    assert_eq!(open["approval"]["missing"], "1 more approval is needed, not by ada");
    assert!(team.ada.review(run, "approve").await.refused(403).contains("you triggered this run"));
    team.cleo.review(run, "approve").await.expect(200);
    team.cleo.confirm(run).await.expect(200);
    team.site.until(run, State::Finished).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_person_with_two_keys_is_one_person() {
    let team = Team::new().await;
    team.policy("two-others", PolicyKind::Approval, TWO_OTHERS).await;
    let robot = team.key("robot", &team.ada, false).await;
    let run = team.waiting(&team.bob).await;
    team.until_open(run.id).await;
    team.ada.review(run.id, "approve").await.expect(200);
    let said = robot.review(run.id, "approve").await.expect(200);
    assert_eq!(said["approval"]["missing"], "1 more approval is needed, not by bob");
    let current: Vec<_> = said["reviews"].as_array().unwrap().iter().map(|one| one["current"].clone()).collect();
    assert_eq!(current, [false, true], "the newest of a person counts");
    // Their no with a key takes back their yes by hand.
    robot.review(run.id, "reject").await.expect(200);
    team.site.until(run.id, State::Failed).await;
}
