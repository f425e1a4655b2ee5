//! The binary as it is shipped, through its API and nothing else.

use serde_json::json;

use super::{
    api_events::{Events, events_of},
    server::{Binary, archive},
};

/// A stack that counts what it did in the file that its source brings.
async fn counting(server: &Binary) {
    let vendor = json!({"kind": "custom", "plan": "echo planning $NAME; exit 2", "apply": "cat data; echo applied"});
    let body = json!({"name": "shop", "vendor": vendor, "source": {"kind": "upload"}});
    server.admin.post("/stacks", body).await.expect(201);
    server.admin.upload("shop", archive(&[("data", b"from the source\n")])).await.expect(200);
    let variable = json!({"value": "hunter2hunter2", "sensitive": true});
    server.admin.put("/stacks/shop/environment/NAME", variable).await.expect(201);
}

#[tokio::test]
async fn a_run_goes_from_trigger_to_done_and_everything_is_told() {
    let server = Binary::start().await;
    counting(&server).await;
    let run = server.admin.post("/stacks/shop/runs", json!({"kind": "tracked"})).await.expect(201).json();
    let path = format!("/runs/{}", run["id"].as_str().unwrap());
    let mut events = Events::open(&server.admin, &events_of(&run), None).await;
    let mut told = String::new();
    let shown = loop {
        let event = events.next().await.expect("the stream ended");
        match event.name.as_str() {
            "log" => told.push_str(event.data["text"].as_str().unwrap()),
            "state" if event.data["state"] == "unconfirmed" => break event.data,
            "state" => assert_ne!(event.data["state"], "failed", "{}", event.data),
            _ => panic!("{event:?}"),
        }
    };
    let confirm = json!({"plan_digest": shown["plan_digest"], "note": "go"});
    server.admin.post(&format!("{path}/confirm"), confirm).await.expect(200);
    let done = loop {
        let event = events.next().await.expect("the stream ended");
        match event.name.as_str() {
            "log" => told.push_str(event.data["text"].as_str().unwrap()),
            "done" => break event.data,
            _ => {}
        }
    };
    assert_eq!(done, json!({"state": "finished"}));
    let log = server.admin.get(&format!("{path}/log")).await.expect(200).text();
    assert_eq!(told, log);
    assert!(log.contains("planning *****") && log.contains("from the source\napplied\n"), "{log}");
    let run = server.admin.get(&path).await.expect(200).json();
    assert_eq!(run["history"].as_array().unwrap().last().unwrap()["state"], "finished");
    let bytes: u64 = run["phases"].as_array().unwrap().iter().map(|phase| phase["log_bytes"].as_u64().unwrap()).sum();
    assert_eq!(bytes, log.len() as u64);
}

#[tokio::test]
async fn what_waits_and_who_is_signed_in_survive_a_killed_server() {
    let mut server = Binary::start().await;
    counting(&server).await;
    let run = server.admin.post("/stacks/shop/runs", json!({"kind": "tracked"})).await.expect(201).json();
    let path = format!("/runs/{}", run["id"].as_str().unwrap());
    let mut events = Events::open(&server.admin, &events_of(&run), None).await;
    while events.named("state").await.data["state"] != "unconfirmed" {}
    server.restart(rustix::process::Signal::KILL).await;
    let waiting = server.admin.get(&path).await.expect(200).json();
    assert_eq!(waiting["state"], "unconfirmed");
    server.admin.post(&format!("{path}/confirm"), json!({"plan_digest": waiting["plan_digest"]})).await.expect(200);
    let mut events = Events::open(&server.admin, &events_of(&run), None).await;
    assert_eq!(events.named("done").await.data["state"], "finished");
    server.restart(rustix::process::Signal::TERM).await;
    assert_eq!(server.admin.get(&path).await.expect(200).json()["state"], "finished");
}
