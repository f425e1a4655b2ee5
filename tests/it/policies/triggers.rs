//! Trigger policies: what follows a run, once, even after a crash, and never for ever.

use std::time::Duration;

use airlock::{
    actions::{NewPolicy, Saving},
    auth::{On, Permission, Who},
    domain::{ActorKind, Kind, PolicyKind, State},
    queries::{Run, RunFilter, Stack},
    scheduler,
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::whole::rig::Rig;

/// Longer than anything here takes: a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// Triggers the other of two stacks, whatever ended.
const PING_PONG: &str = r#"package spacelift

trigger[stack.id] {
  stack := input.stacks[_]
  stack.id != input.stack.id
  input.run.state == "FINISHED"
}
"#;

async fn stack(rig: &Rig, name: &str) -> Stack {
    rig.stack(json!({"name": name, "vendor": {"kind": "custom", "plan": "true"}}), &[("x", "x")]).await
}

async fn policy(rig: &Rig, body: &str) {
    let permit =
        airlock::auth::permit(&Who::system(), Permission::ManagePolicies, On::Installation, rig.app.actions.now());
    let new = NewPolicy {
        name: "both".parse().unwrap(),
        kind: PolicyKind::Trigger,
        body: body.to_owned(),
        labels: vec!["autoattach:*".parse().unwrap()],
        description: String::new(),
    };
    rig.app.actions.save_policy(&permit.unwrap(), Saving::New, new, None).await.unwrap();
}

fn runs(rig: &Rig) -> Vec<Run> {
    rig.app.queries.runs(&Who::system(), &RunFilter::default(), None, 100).unwrap().items
}

/// Waits until the runs are as they should be.
async fn until(rig: &Rig, fits: impl Fn(&[Run]) -> bool) -> Vec<Run> {
    let mut bell = rig.app.actions.bells().hear();
    let waited = tokio::time::timeout(PATIENCE, async {
        loop {
            bell.mark_unchanged();
            let now = runs(rig);
            if fits(&now) {
                return now;
            }
            bell.changed().await.unwrap();
        }
    });
    match waited.await {
        Ok(runs) => runs,
        Err(_) => panic!("still {:#?}", runs(rig)),
    }
}

fn told(run: &Run, words: &str) -> bool {
    run.policies.iter().flat_map(|one| &one.messages).any(|message| message.contains(words))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stacks_that_trigger_each_other_come_to_an_end() {
    let rig = Rig::new().await;
    let ping = stack(&rig, "Ping").await;
    stack(&rig, "Pong").await;
    policy(&rig, PING_PONG).await;
    let stop = CancellationToken::new();
    let following = tokio::spawn(scheduler::run(rig.app.actions.clone(), stop.clone()));
    rig.trigger(&ping, Kind::Tracked).await;
    let all = until(&rig, |runs| runs.iter().any(|run| told(run, "8 runs in a row"))).await;
    assert_eq!(all.len(), 9, "{all:#?}");
    assert!(all.iter().all(|run| run.state == State::Finished));
    let by_policy = all.iter().filter(|run| run.triggered_by.kind == ActorKind::Policy);
    assert!(by_policy.clone().all(|run| run.triggered_by.name == "both"));
    assert_eq!(by_policy.count(), 8);
    stop.cancel();
    following.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_before_a_policy_was_asked_asks_it_after_its_start() {
    let rig = Rig::new().await;
    let ping = stack(&rig, "Ping").await;
    let body = "package spacelift\ntrigger[\"pong\"] { true }\ntrigger[\"gone\"] { true }\n";
    policy(&rig, body).await;
    let pong = rig
        .stack(json!({"name": "Pong", "vendor": {"kind": "custom", "plan": "true"}, "enabled": true}), &[("x", "x")])
        .await;
    // Nobody follows runs up here: it is as if the server had ended at once.
    let run = rig.trigger(&ping, Kind::Tracked).await;
    rig.until_state(&run, State::Finished).await;
    let rig = rig.restart().await;
    rig.app.actions.follow_up().await.unwrap();
    let run = rig.run(run.id);
    assert!(told(&run, "triggers pong") && told(&run, "gone was not triggered: there is no stack `gone`"), "{run:#?}");
    let of_pong = |runs: &[Run]| runs.iter().filter(|run| run.stack == pong.id).count();
    assert_eq!(of_pong(&runs(&rig)), 1);
    // What was done is not done again.
    rig.app.actions.follow_up().await.unwrap();
    assert_eq!(of_pong(&until(&rig, |runs| runs.iter().all(|run| run.state == State::Finished)).await), 1);
}
