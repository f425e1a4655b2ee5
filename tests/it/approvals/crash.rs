//! Killing a real server between a review, what the policies make of it, and the confirmation.

use std::path::Path;

use airlock::{
    actions::{NewPolicy, Saving},
    app::App,
    auth::{On, Permission, Permit},
    domain::PolicyKind,
};
use serde_json::{Value, json};

use crate::{
    pages::rig::custom,
    whole::{
        rig::config,
        server::{Server, until_runners_are_gone},
    },
};

/// Takes its time once somebody has approved.
const SLOW: &str = r#"package spacelift

approve { input.run.state == "QUEUED" }
approve { count(input.reviews.current.approvals) > 0; slow }
reject { count(input.reviews.current.rejections) > 0 }

slow { count([1 | a := numbers.range(1, 400)[_]; b := numbers.range(1, 400)[_]; a != b]) > 0 }
"#;

const SLOW_DENY: &str = r#"package spacelift

deny["nothing may change"] { count([1 | a := numbers.range(1, 400)[_]; b := numbers.range(1, 400)[_]; a != b]) > 0 }
"#;

/// Makes a policy that every stack has, before anything is served.
pub async fn policy(dir: &Path, kind: PolicyKind, body: &str) {
    let app = App::open(config(dir, |_| {})).unwrap();
    let actions = app.actions.clone().evaluated_by(env!("CARGO_BIN_EXE_airlock").into());
    let new = NewPolicy {
        name: "slow".parse().unwrap(),
        kind,
        body: body.to_owned(),
        labels: vec!["autoattach:*".parse().unwrap()],
        description: String::new(),
    };
    let permit = Permit::of_system(Permission::ManagePolicies, On::Installation);
    actions.save_policy(&permit, Saving::New, new, None).await.unwrap();
}

/// Somebody with a key who may write to the shop.
async fn writer(server: &Server, name: &str) -> String {
    let key = json!({"name": name, "roles": [{"stack": "shop", "role": "writer"}]});
    server.post("api-keys", key).await["secret"].as_str().unwrap().to_owned()
}

/// Looks at a run until it fits.
async fn until(server: &Server, run: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let looked = tokio::time::timeout(std::time::Duration::from_secs(90), async {
        loop {
            let now = server.run(run).await;
            if fits(&now) {
                return now;
            }
        }
    });
    looked.await.expect("the run comes to fit")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_survives_sigkill_before_it_was_counted_and_before_it_is_confirmed() {
    let dir = tempfile::tempdir().unwrap();
    policy(dir.path(), PolicyKind::Approval, SLOW).await;
    let mut server = Server::start(dir.path()).await;
    server.stack(custom("Shop"), &[]).await;
    let cleo = writer(&server, "cleo").await;
    let run = server.trigger("shop", "tracked").await;
    server.until(&run, "unconfirmed").await;
    until(&server, &run, |run| run["approval"]["decision"] == "open").await;
    let path = format!("/api/v1/runs/{run}/review");
    {
        let mut reviewing =
            std::pin::pin!(server.raw(Some(&cleo), "POST", &path, Some(json!({"decision": "approve"}))));
        let written = until(&server, &run, |run| run["reviews"].as_array().unwrap().len() == 1);
        tokio::select! {
            biased;
            run = written => assert_ne!(run["approval"]["decision"], "given", "it was counted too soon for this test"),
            answer = &mut reviewing => panic!("it was counted too soon for this test: {answer:?}"),
        }
    }
    server = server.killed_and_restarted().await;
    let counted = until(&server, &run, |run| run["approval"]["decision"] == "given").await;
    assert_eq!(counted["reviews"].as_array().unwrap().len(), 1);
    assert_eq!(counted["state"], "unconfirmed");
    server = server.killed_and_restarted().await;
    server.post(&format!("runs/{run}/confirm"), json!({"plan_digest": counted["plan_digest"]})).await;
    let ended = server.until(&run, "finished").await;
    let applied = ended["phases"].as_array().unwrap().iter().filter(|phase| phase["name"] == "applying").count();
    assert_eq!(applied, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_denied_although_the_server_dies_while_its_policies_are_asked() {
    let dir = tempfile::tempdir().unwrap();
    policy(dir.path(), PolicyKind::Plan, SLOW_DENY).await;
    let mut server = Server::start(dir.path()).await;
    server.stack(custom("Shop"), &[]).await;
    let run = server.trigger("shop", "tracked").await;
    until(&server, &run, |run| run["phases"].as_array().unwrap().iter().any(|phase| phase["name"] == "planning")).await;
    until_runners_are_gone(server.data()).await;
    server = server.killed_and_restarted().await;
    let ended = server.until(&run, "failed").await;
    assert_eq!(ended["reason"], "denied by policy: nothing may change (policy `slow`)");
    let entries = ended["history"].as_array().unwrap();
    assert_eq!(entries.iter().filter(|entry| entry["state"] == "failed").count(), 1);
    assert!(entries.iter().all(|entry| entry["state"] != "unconfirmed"));
}
