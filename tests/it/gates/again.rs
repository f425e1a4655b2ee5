//! *Send again*: the same request once more, which changes nothing of a result that is final.

use std::sync::Arc;

use serde_json::{Value, json};

use super::service::{Called, KEY, Service, body};
use crate::whole::server::Server;

struct Rig {
    server: Server,
    service: Service,
    other: Service,
    run: String,
    _dir: tempfile::TempDir,
}

/// A run that is checked by two services, of which the other one is silent.
async fn rig() -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let (service, other) = (Service::new().await, Service::new().await);
    let server = Server::start(dir.path()).await;
    let vendor = json!({"kind": "custom", "plan": "exit 2", "apply": "echo applied"});
    server.stack(json!({"name": "Größe 日本 🚪", "slug": "shop", "vendor": vendor}), &[]).await;
    for (name, service) in [("check", &service), ("other", &other)] {
        server.post("run-tasks", json!({"name": name, "url": service.url, "hmac_key": KEY})).await;
        server.post("stacks/shop/run-tasks", json!({"run_task": name, "enforcement": "mandatory"})).await;
    }
    let run = server.trigger("shop", "tracked").await;
    Rig { server, service, other, run, _dir: dir }
}

impl Rig {
    fn result(call: &Called) -> String {
        call.text("task_result_id").replace('-', "_")
    }

    async fn again(&self, result: &str) -> (u16, Value) {
        let path = format!("/api/v1/run-tasks/check/deliveries/{result}/redeliver");
        let (status, text) = self.server.raw(None, "POST", &path, Some(json!({}))).await;
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    async fn deliveries(&self) -> Vec<Value> {
        self.server.get("run-tasks/check/deliveries").await["items"].as_array().unwrap().clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_sent_again_as_it_was_and_the_log_says_who_wanted_that() {
    let rig = rig().await;
    let first = rig.service.called().await;
    let result = Rig::result(&first);
    let (status, _) = rig.again(&result).await;
    assert_eq!(status, 202);
    let second = rig.service.called().await;
    assert_eq!((&second.raw, &second.signature), (&first.raw, &first.signature), "the same request");
    assert_eq!(second.says("passed", "fine").await, 200);
    rig.server.post(&format!("runs/{}/stop", rig.run), json!({})).await;
    rig.server.until(&rig.run, "stopped").await;

    let log = rig.deliveries().await;
    let said: Vec<(&Value, &Value, &Value)> =
        log.iter().map(|row| (&row["attempt"], &row["reason"], &row["by"])).collect();
    assert_eq!(said, [(&json!(2), &json!("again"), &json!("admin")), (&json!(1), &json!("first"), &Value::Null)]);
    assert!(log.iter().all(|row| row["status"] == 200 && row["id"] == result.as_str()), "{log:#?}");
    let audit = rig.server.get("audit?verb=run_task.redeliver").await;
    assert_eq!(
        (&audit["items"][0]["outcome"], &audit["items"][0]["object"], &audit["items"][0]["detail"]),
        (&json!("done"), &json!(result), &json!("check")),
        "{audit:#}"
    );

    let (status, _) = rig.again("taskrs_01K00000000000000000000000").await;
    assert_eq!(status, 404);
    let other = Rig::result(&rig.other.called().await);
    assert_eq!(rig.again(&other).await.0, 404, "the delivery of another run task");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_again_while_the_first_is_under_way_is_sent() {
    let rig = rig().await;
    rig.other.called().await;
    // The first request was taken, and is not answered yet.
    let first = rig.service.called().await;
    let result = Rig::result(&first);
    rig.server.until(&rig.run, "checking").await;
    rig.service.holds(true);
    assert_eq!(rig.again(&result).await.0, 202);
    let held = rig.service.called().await;
    assert_eq!(rig.again(&result).await.0, 202);
    rig.service.holds(false);
    let third = rig.service.called().await;
    assert_eq!(third.raw, held.raw);
    assert_eq!(third.says("passed", "").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_final_answer_counts_once_also_before_the_end_of_its_stage() {
    let rig = rig().await;
    let (call, silent) = (rig.service.called().await, rig.other.called().await);
    assert_eq!(call.says("passed", "cheap enough").await, 200);
    for (status, message) in [("passed", "cheap enough"), ("failed", "too dear"), ("running", "once more")] {
        let again = call.sends(&body(status, message)).await;
        assert_eq!(again.status, 422);
        let why = again.json()["errors"][0]["detail"].as_str().unwrap().to_owned();
        assert!(why.contains("final already: passed"), "{why}");
    }
    let run = rig.server.run(&rig.run).await;
    let result = &run["run_tasks"][0]["results"][0];
    assert_eq!((&result["status"], &result["message"]), (&json!("passed"), &json!("cheap enough")), "{run:#}");
    assert_eq!(run["state"], "checking", "the other one is not done");
    assert_eq!(silent.says("passed", "").await, 200);
    rig.server.until(&rig.run, "unconfirmed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_final_answers_at_once_exactly_one_counts() {
    let rig = rig().await;
    let (call, silent) = (Arc::new(rig.service.called().await), rig.other.called().await);
    let racers = (0..16).map(|n| {
        let call = Arc::clone(&call);
        tokio::spawn(async move {
            let status = if n % 2 == 0 { "passed" } else { "failed" };
            (n, status, call.says(status, &format!("answer {n}")).await)
        })
    });
    let mut taken = Vec::new();
    for racer in racers.collect::<Vec<_>>() {
        match racer.await.unwrap() {
            (n, status, 200) => taken.push((n, status)),
            (_, _, other) => assert_eq!(other, 422),
        }
    }
    let [(n, status)] = taken[..] else { panic!("{taken:?}") };
    let result = rig.server.run(&rig.run).await["run_tasks"][0]["results"][0].clone();
    assert_eq!((&result["status"], &result["message"]), (&json!(status), &json!(format!("answer {n}"))), "{result:#}");
    assert_eq!(silent.says("passed", "").await, 200);
    rig.server.until(&rig.run, if status == "passed" { "unconfirmed" } else { "failed" }).await;
    let answers = rig.server.get("audit?verb=run_task.answer").await;
    assert_eq!(
        answers["items"].as_array().unwrap().iter().filter(|entry| entry["outcome"] == "done").count(),
        2,
        "{answers:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_final_is_sent_again_and_stays_as_it_is() {
    let rig = rig().await;
    let (call, silent) = (rig.service.called().await, rig.other.called().await);
    assert_eq!(call.says("passed", "cheap enough").await, 200);
    assert_eq!(silent.says("passed", "").await, 200);
    rig.server.until(&rig.run, "unconfirmed").await;
    let before = rig.server.run(&rig.run).await["run_tasks"][0]["results"][0].clone();
    let result = Rig::result(&call);
    for sent in 1..=2 {
        rig.service.answers_with(&[500]).await;
        let (status, refused) = rig.again(&result).await;
        assert_eq!(status, 202, "{refused:#}");
        let again = rig.service.called().await;
        assert_ne!(again.token(), call.token());
        let mut payload = again.payload.clone();
        payload["access_token"] = call.payload["access_token"].clone();
        assert_eq!(payload, call.payload);
        // What it would open is closed, and what it says comes too late.
        assert_eq!(again.gets(&again.text("plan_json_api_url")).await.status, 401);
        let late = again.sends(&body("failed", "too dear")).await;
        assert_eq!(late.status, 422);
        assert!(late.json()["errors"][0]["detail"].as_str().unwrap().contains("final already: passed"));
        let logged = async {
            while rig.deliveries().await.len() <= sent {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), logged).await.expect("the delivery is logged");
    }
    let log = rig.deliveries().await;
    assert_eq!((&log[0]["reason"], &log[0]["by"], &log[0]["status"]), (&json!("again"), &json!("admin"), &json!(500)));
    let run = rig.server.run(&rig.run).await;
    assert_eq!((&run["state"], &run["run_tasks"][0]["results"][0]), (&json!("unconfirmed"), &before));
    assert_eq!(rig.service.all_calls().await.len(), 0, "a wish is tried once");
}
