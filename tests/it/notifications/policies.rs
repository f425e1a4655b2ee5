//! Notification policies: asked about every change of state, and never in its way.

use serde_json::{Value, json};

use super::rig::{SECRET, history, home, is_signed, policy, served, until, until_told, webhook};
use crate::{
    run_tasks::outside::{Came, Outside},
    whole::server::Server,
};

/// Everything to one webhook, without a payload of its own.
pub const EVERYTHING: &str = r#"package spacelift
webhook[{"endpoint_id": endpoint.id}] { endpoint := input.webhook_endpoints[_]; endpoint.labels[_] == "all" }
"#;

/// Confirms a tracked run; gives it once it has ended.
async fn applied(server: &Server) -> Value {
    let run = server.trigger("shop", "tracked").await;
    server.until(&run, "unconfirmed").await;
    server.post(&format!("runs/{run}/confirm"), json!({"note": "go"})).await;
    server.until(&run, "finished").await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_state_is_told_once_in_its_order_in_the_published_shape() {
    let dir = tempfile::tempdir().unwrap();
    let server = served(dir.path()).await;
    let mut outside = Outside::open().await;
    webhook(&server, "ledger", &outside, json!({"labels": ["all"]})).await;
    policy(&server, "everything", EVERYTHING).await;
    let run = applied(&server).await;
    let expected = history(&run);
    let mut told = Vec::new();
    for _ in &expected {
        let came = outside.next().await;
        assert!(is_signed(&came, SECRET));
        told.push(came.json());
    }
    let states =
        told.iter().map(|event| (event["stateVersion"].as_u64().unwrap(), event["state"].as_str().unwrap().to_owned()));
    assert_eq!(states.collect::<Vec<_>>(), expected);
    let last = told.last().unwrap();
    assert_eq!(
        (&last["account"], &last["stack"]["id"], &last["stack"]["labels"]),
        (&json!("airlock"), &json!("shop"), &json!(["prod"]))
    );
    assert_eq!((&last["run"]["id"], &last["run"]["type"]), (&run["id"], &json!("TRACKED")));
    assert_eq!(
        (&last["run"]["triggeredBy"], &last["run"]["commit"]["authorLogin"]),
        (&json!("admin"), &json!("admin"))
    );
    assert_eq!(last["run"]["delta"], json!({"added": 1, "changed": 0, "deleted": 0, "resources": null}));
    assert!(last["timestamp"].as_i64().unwrap() >= last["run"]["createdAt"].as_i64().unwrap());
    let deliveries = server.get("webhooks/ledger/deliveries").await;
    assert_eq!((&deliveries["items"][0]["run"], &deliveries["items"][0]["policy"]), (&run["id"], &json!("everything")));
    assert!(outside.is_quiet());
}

const CHOOSY: &str = r#"package spacelift

event := input.run_updated

webhook[{"endpoint_id": "pager", "method": "PUT", "headers": {"X-Run": event.run.id}, "payload": payload}] {
  event.state == "FINISHED"
  payload := {"note": notes, "took": [phase.state | phase := event.timing[_]], "who": event.username, "receipts": event.run.policy_receipts}
}

notes := event.run.commit.author

slack[{"channel_id": "chat", "message": sprintf("<%s|%s> is %s", [event.urls.run, event.stack.name, event.state]), "mention_users": ["U12"], "mention_groups": ["S34"]}] {
  event.state == "UNCONFIRMED"
}

slack[{"endpoint_id": "chat"}] { event.state == "CONFIRMED"; event.note == "go" }

inbox[{"title": sprintf("%s is through", [event.stack.name]), "body": "All <b>done</b>", "severity": "WARNING"}] {
  event.state == "FINISHED"
}

pull_request[{"commit": event.run.commit.hash, "body": "done"}] { event.state == "FINISHED" }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_chooses_who_hears_what_and_how() {
    let dir = tempfile::tempdir().unwrap();
    let server = served(dir.path()).await;
    let (mut pager, mut chat) = (Outside::open().await, Outside::open().await);
    webhook(&server, "pager", &pager, json!({"headers": {"x-run": "the webhook's own"}})).await;
    webhook(&server, "chat", &chat, json!({"form": "slack"})).await;
    policy(&server, "choosy", CHOOSY).await;
    let run = applied(&server).await;
    let said = async |chat: &mut Outside| chat.next().await.json()["text"].as_str().unwrap().to_owned();
    let link = format!("{}/runs/{}", server.url(), run["id"].as_str().unwrap());
    assert_eq!(said(&mut chat).await, format!("<@U12> <!subteam^S34> <{link}|Shop> is UNCONFIRMED"));
    assert_eq!(said(&mut chat).await, format!("<{link}|tracked run #1 of Shop is confirmed>"));
    let came: Came = pager.next().await;
    assert_eq!((came.method.as_str(), came.header("x-run")), ("PUT", run["id"].as_str().unwrap()));
    let payload = came.json();
    assert_eq!((&payload["note"], &payload["who"]), (&json!("admin"), &json!("system")));
    let states: Vec<_> = history(&run).into_iter().map(|(_, state)| json!(state)).collect();
    assert_eq!(payload["took"].as_array().unwrap()[..], states[..states.len() - 1]);
    let message = until_told(&server, "Shop is through").await;
    assert!(message.contains("Warning") && message.contains("All <b>done</b>"), "{message}");
    let samples = server.get("policies/choosy/samples").await;
    let last = samples["items"].as_array().unwrap().iter().find(|one| one["decision"] == "trigger").unwrap();
    assert!(last["messages"].to_string().contains("would write into a pull request"), "{last}");
    assert!(pager.is_quiet() && chat.is_quiet());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_or_endless_policy_is_said_once_and_touches_no_run() {
    let dir = tempfile::tempdir().unwrap();
    let server = served(dir.path()).await;
    let mut outside = Outside::open().await;
    webhook(&server, "ledger", &outside, json!({"labels": ["all"]})).await;
    policy(&server, "everything", EVERYTHING).await;
    policy(&server, "broken", "package x\nimport rego.v1\ninbox contains {\"title\": \"x\"} if time.now_ns() > 0\n")
        .await;
    let run = applied(&server).await;
    for _ in history(&run) {
        outside.next().await;
    }
    let told = until_told(&server, "The policy broken cannot be evaluated").await;
    assert!(told.contains("line 3") && told.contains("policies have no clock"), "{told}");
    assert_eq!(home(&server, None, ".message").await.len(), 1, "once, not at each state");
    assert_eq!(server.get("policies/broken/samples").await["items"][0]["decision"], "error");
    assert_eq!((&run["policies"], &run["warnings"]), (&json!([]), &json!([])));
    // An endless one holds nothing up: the run is through before the first answer.
    let endless = "package x\nimport rego.v1\ninbox contains {\"title\": \"x\"} if {\n  some a in numbers.range(1, 30000)\n  some b in numbers.range(1, 30000)\n  a + b == 0\n}\n";
    let changed = json!({"body": endless});
    assert_eq!(server.raw(None, "PATCH", "/api/v1/policies/broken", Some(changed)).await.0, 200);
    applied(&server).await;
    let told = until_told(&server, "it takes longer than 10 s and was ended").await;
    assert!(told.contains("The policy broken cannot be evaluated"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_wants_and_cannot_have_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let server = served(dir.path()).await;
    let outside = Outside::open().await;
    webhook(&server, "json-one", &outside, json!({})).await;
    let body = "package spacelift\nwebhook[{\"endpoint_id\": \"gone\"}] { input.run_updated.state == \"QUEUED\" }\nslack[{\"channel_id\": \"json-one\"}] { input.run_updated.state == \"QUEUED\" }\n";
    policy(&server, "hopeful", body).await;
    server.trigger("shop", "proposed").await;
    let told = until_told(&server, "The policy hopeful tells nobody what it wants to").await;
    assert!(told.contains("there is no webhook gone") && told.contains("json-one is not of the form slack"), "{told}");
    // What nothing here carries out is no policy to begin with.
    let mail = json!({"name": "mail", "kind": "notification", "body": "package spacelift\nemail[{\"to\": \"ops\"}] { true }\n"});
    let (status, said) = server.raw(None, "POST", "/api/v1/policies", Some(mail)).await;
    assert_eq!(status, 422, "{said}");
    assert!(said.contains("no mail is sent") && said.contains("inbox"), "{said}");
    let evaluated = json!({"input": {}, "body": "package spacelift\nemail[{\"to\": \"ops\"}] { true }\n"});
    let said = server.post("policies/hopeful/evaluate", evaluated).await;
    assert_eq!(said["error"]["line"], 2, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_slow_or_down_holds_up_neither_runs_nor_others() {
    let dir = tempfile::tempdir().unwrap();
    let server = served(dir.path()).await;
    let (mut slow, mut good) = (Outside::open().await, Outside::open().await);
    slow.is_silent(true);
    webhook(&server, "slow", &slow, json!({"labels": ["all"]})).await;
    webhook(&server, "good", &good, json!({"labels": ["all"]})).await;
    policy(&server, "everything", EVERYTHING).await;
    let run = applied(&server).await;
    for _ in history(&run) {
        good.next().await;
    }
    slow.next().await;
    assert!(slow.is_quiet(), "one after the other");
    let waiting =
        until(&server, "webhooks/slow/deliveries", |now| now["items"].as_array().unwrap().len() == history(&run).len());
    assert!(waiting.await["items"].as_array().unwrap().iter().all(|one| one["status"] == "waiting"));
}
