//! Guests over HTTP: a real server, real runners.

use serde_json::json;

use super::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_goes_from_a_task_over_its_proposal_to_a_run_over_http() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let vendor = json!({"kind": "custom", "plan": "cat a.txt; exit 2", "apply": "cat a.txt"});
    let shop = json!({"name": "Shop", "allow_promotion": true, "vendor": vendor});
    let stack = server.stack(shop, &[("a.txt", "one\n")]).await;
    let task = json!({"guest": "patcher", "args": ["append", "a.txt", "two"], "caps": {"workspace": "write", "memory": "32MiB"}});
    let run = server.post(&format!("stacks/{stack}/tasks"), task).await;
    let id = run["id"].as_str().unwrap();
    assert_eq!((&run["kind"], &run["guest"]), (&json!("on_demand"), &json!("patcher append a.txt two")));
    let run = server.until(id, "finished").await;
    assert_eq!(run["receipt"]["caps"]["memory_bytes"], 32 << 20);
    let receipt = server.get(&format!("runs/{id}/receipt")).await;
    assert_eq!((&receipt["phase"], &receipt["verdict"]), (&json!("performing"), &json!({"kind": "exited", "code": 0})));
    assert_eq!(server.get(&format!("runs/{id}/artifacts")).await, json!({"items": [], "next": null}));
    let proposed = server.post(&format!("runs/{id}/propose"), json!({"note": "please"})).await;
    assert_eq!((&proposed["kind"], &proposed["patched_by"]), (&json!("proposed"), &json!(id)));
    let proposed = server.until(proposed["id"].as_str().unwrap(), "finished").await;
    let proposed = proposed["id"].as_str().unwrap();
    assert!(server.log(proposed).await.contains("one\ntwo\n"));
    let tracked = server.post(&format!("runs/{proposed}/promote"), json!({})).await;
    let waits = server.until(tracked["id"].as_str().unwrap(), "unconfirmed").await;
    let tracked = waits["id"].as_str().unwrap();
    server.post(&format!("runs/{tracked}/confirm"), json!({"plan_digest": waits["plan_digest"]})).await;
    server.until(tracked, "finished").await;
    assert!(server.log(tracked).await.contains("one\ntwo\n"));

    let survey = server.post(&format!("stacks/{stack}/tasks"), json!({"guest": "surveyor"})).await;
    let id = survey["id"].as_str().unwrap();
    server.until(id, "finished").await;
    let artifacts = server.get(&format!("runs/{id}/artifacts")).await;
    assert_eq!(artifacts["items"][1]["path"], "report.json");
    assert_eq!(server.get(&format!("runs/{id}/artifacts/report.json")).await["files"], 1);
    let guests = server.get("guests").await;
    let names: Vec<_> = guests["items"].as_array().unwrap().iter().map(|guest| guest["name"].clone()).collect();
    assert_eq!(names, ["guard", "patcher", "surveyor"]);
}
