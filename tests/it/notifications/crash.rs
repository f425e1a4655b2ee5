//! Killing a real server between a change of state and the word about it.

use std::collections::BTreeMap;

use serde_json::json;

use super::rig::{history, policy, served, webhook};
use crate::{run_tasks::outside::Outside, whole::server::Server};

/// Takes its time for each state.
const SLOW: &str = r#"package spacelift
webhook[{"endpoint_id": "ledger"}] { slow }
slow { count([1 | a := numbers.range(1, 400)[_]; b := numbers.range(1, 400)[_]; a != b]) > 0 }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_told_although_the_server_dies_before_the_policy_was_asked() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = served(dir.path()).await;
    let mut outside = Outside::open().await;
    webhook(&server, "ledger", &outside, json!({})).await;
    policy(&server, "slow", SLOW).await;
    let run = server.trigger("shop", "tracked").await;
    server.until(&run, "unconfirmed").await;
    let told =
        async |server: &Server| server.get("webhooks/ledger/deliveries").await["items"].as_array().unwrap().len();
    let before = told(&server).await;
    server = server.killed_and_restarted().await;
    let expected = history(&server.run(&run).await);
    assert!(before < expected.len(), "it was told too soon for this test");
    // One that was on its way may come again, under the number that it had.
    let mut heard: BTreeMap<(u64, String), String> = BTreeMap::new();
    while heard.len() < expected.len() {
        let came = outside.next().await;
        let event = came.json();
        let key = (event["stateVersion"].as_u64().unwrap(), event["state"].as_str().unwrap().to_owned());
        let number = came.header("x-airlock-delivery").to_owned();
        assert_eq!(*heard.entry(key).or_insert_with(|| number.clone()), number);
    }
    assert_eq!(heard.into_keys().collect::<Vec<_>>(), expected);
    assert_eq!(told(&server).await, expected.len(), "each change is told once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_whose_answer_was_lost_comes_again_under_its_number() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = served(dir.path()).await;
    let mut outside = Outside::open().await;
    webhook(&server, "ledger", &outside, json!({})).await;
    outside.is_silent(true);
    server.raw(None, "POST", "/api/v1/webhooks/ledger/test", None).await;
    let first = outside.next().await;
    outside.is_silent(false);
    server = server.killed_and_restarted().await;
    let again = outside.next().await;
    assert_eq!(again.header("x-airlock-delivery"), first.header("x-airlock-delivery"));
    assert_eq!((&again.body, again.header("x-signature-256")), (&first.body, first.header("x-signature-256")));
    drop(server);
}
