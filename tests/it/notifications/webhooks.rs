//! Webhooks by themselves: made, tried, signed, tried again, switched off.

use serde_json::{Value, json};

use super::rig::{SECRET, is_signed, served, until, until_told, webhook};
use crate::{run_tasks::outside::Outside, whole::server::Server};

/// The newest delivery, once it is done.
async fn done(server: &Server, id: &str) -> Value {
    let path = format!("webhooks/{id}/deliveries");
    let settled = |now: &Value| now["items"].as_array().unwrap().iter().all(|one| one["status"] != "waiting");
    until(server, &path, settled).await["items"][0].clone()
}

async fn ask(server: &Server, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    let (status, text) = server.raw(None, method, &format!("/api/v1/{path}"), body).await;
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_made_tried_and_changed_and_what_is_secret_about_it_never_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let server = served(dir.path()).await;
    let mut outside = Outside::open().await;
    let made = json!({
        "name": "Change ledger", "url": format!("{}/ledger", outside.url), "secret": SECRET,
        "headers": {"Authorization": "Bearer hunter2-hunter2", "X-Team": "ops"}, "labels": ["ops"],
    });
    let (status, shown) = ask(&server, "POST", "webhooks", Some(made)).await;
    assert_eq!(status, 201, "{shown}");
    assert_eq!(
        (&shown["id"], &shown["form"], &shown["has_secret"]),
        (&json!("change-ledger"), &json!("json"), &json!(true))
    );
    assert_eq!(shown["header_names"], json!(["Authorization", "X-Team"]));
    server.raw(None, "POST", "/api/v1/webhooks/change-ledger/test", None).await;
    let came = outside.next().await;
    assert!(is_signed(&came, SECRET));
    assert_eq!((came.header("authorization"), came.header("x-team")), ("Bearer hunter2-hunter2", "ops"));
    assert_eq!((came.header("content-type"), came.header("x-airlock-delivery")), ("application/json", "1"));
    assert!(came.header("user-agent").starts_with("Airlock/"));
    assert_eq!(came.json()["title"], "Test");
    let delivery = done(&server, "change-ledger").await;
    assert_eq!((&delivery["status"], &delivery["attempts"][0]["status"]), (&json!("delivered"), &json!(200)));
    // A merge patch: what is named changes, null takes away.
    let patch = json!({"secret": null, "headers": {"x-team": "platform", "Authorization": null}, "form": "slack"});
    let (status, shown) = ask(&server, "PATCH", "webhooks/change-ledger", Some(patch)).await;
    assert_eq!((status, &shown["has_secret"], &shown["header_names"]), (200, &json!(false), &json!(["x-team"])));
    server.raw(None, "POST", "/api/v1/webhooks/change-ledger/test", None).await;
    let came = outside.next().await;
    assert_eq!((came.header("x-signature"), came.header("authorization"), came.header("x-team")), ("", "", "platform"));
    assert!(came.json()["text"].as_str().unwrap().contains("Change ledger"));
    // Nowhere does anything secret come back.
    for path in ["webhooks", "webhooks/change-ledger", "webhooks/change-ledger/deliveries", "audit?verb=webhook.create"]
    {
        let shown = server.get(path).await.to_string();
        assert!(!shown.contains("hunter2") && !shown.contains(SECRET), "{path}: {shown}");
    }
    let audited = server.get("audit?verb=webhook.create").await["items"][0]["detail"].clone();
    assert!(!audited.as_str().unwrap().contains("/ledger"), "the address may be a credential: {audited}");
    assert_eq!(ask(&server, "DELETE", "webhooks/change-ledger", None).await.0, 204);
    assert_eq!(ask(&server, "GET", "webhooks/change-ledger/deliveries", None).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_webhook_is_refused_by_field() {
    let dir = tempfile::tempdir().unwrap();
    let server = served(dir.path()).await;
    let good = json!({"name": "Hook", "url": "https://hooks.example/x"});
    for (field, value) in [
        ("url", json!("ftp://hooks.example")),
        ("name", json!("")),
        ("name", json!("é".repeat(121))),
        ("secret", json!("x".repeat(4_097))),
        ("headers", json!({"Host": "evil"})),
        ("headers", json!({"X-Signature-256": "sha256=00"})),
        ("headers", json!({"X-A": "a\r\nX-B: b"})),
        ("labels", json!(["a b"])),
        ("id", json!("No Slug")),
        ("form", json!("pigeon")),
        ("colour", json!("red")),
    ] {
        let mut wrong = good.clone();
        wrong[field] = value;
        let (status, said) = ask(&server, "POST", "webhooks", Some(wrong)).await;
        assert_eq!(status, 422, "{field}: {said}");
        assert!(said.to_string().contains(field), "{field}: {said}");
    }
    assert_eq!(ask(&server, "POST", "webhooks", Some(good.clone())).await.0, 201);
    assert_eq!(ask(&server, "POST", "webhooks", Some(good)).await.0, 409, "the id is taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_meets_trouble_is_tried_again_under_its_number_and_can_be_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let server = served(dir.path()).await;
    let mut outside = Outside::open().await;
    webhook(&server, "hook", &outside, json!({})).await;
    outside.answers(503);
    server.raw(None, "POST", "/api/v1/webhooks/hook/test", None).await;
    let first = outside.next().await;
    let second = outside.next().await;
    outside.answers(200);
    let third = outside.next().await;
    for again in [&second, &third] {
        assert_eq!(again.header("x-airlock-delivery"), first.header("x-airlock-delivery"));
        assert_eq!(again.body, first.body);
    }
    let delivery = done(&server, "hook").await;
    let tried: Vec<_> =
        delivery["attempts"].as_array().unwrap().iter().map(|one| (&one["reason"], &one["status"])).collect();
    let expected =
        [("first", 503), ("retry", 503), ("retry", 200)].map(|(reason, status)| (json!(reason), json!(status)));
    assert_eq!(tried, expected.iter().map(|(reason, status)| (reason, status)).collect::<Vec<_>>());
    assert_eq!(delivery["status"], "delivered");
    // A 4xx is an answer: nobody asks again, but a person.
    outside.answers(410);
    let path = format!("webhooks/hook/deliveries/{}/redeliver", delivery["id"]);
    assert_eq!(ask(&server, "POST", &path, None).await.0, 202);
    assert_eq!(outside.next().await.header("x-airlock-delivery"), first.header("x-airlock-delivery"));
    let delivery = done(&server, "hook").await;
    assert_eq!((&delivery["status"], &delivery["attempts"][3]["reason"]), (&json!("failed"), &json!("again")));
    assert_eq!(delivery["attempts"][3]["by"], "admin");
    assert!(outside.is_quiet());
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_failures_in_a_row_switch_it_off_and_tell_the_admins() {
    let dir = tempfile::tempdir().unwrap();
    let server = served(dir.path()).await;
    let mut outside = Outside::open().await;
    webhook(&server, "hook", &outside, json!({})).await;
    outside.answers(404);
    let try_it = async || ask(&server, "POST", "webhooks/hook/test", None).await.0;
    for _ in 0..9 {
        assert_eq!(try_it().await, 202);
    }
    until(&server, "webhooks/hook", |now| now["failures"] == 9).await;
    // One that arrives begins the count anew.
    outside.answers(200);
    try_it().await;
    until(&server, "webhooks/hook", |now| now["failures"] == 0).await;
    outside.answers(404);
    for _ in 0..10 {
        assert_eq!(try_it().await, 202);
    }
    let off = until(&server, "webhooks/hook", |now| now["enabled"] == false).await;
    assert_eq!(off["disabled_because"], "10 deliveries in a row failed; the last one: HTTP 404");
    let told = until_told(&server, "The webhook hook was switched off").await;
    assert!(told.contains("10 deliveries in a row failed"), "{told}");
    assert_eq!(try_it().await, 409);
    let audited = server.get("audit?verb=webhook.disable").await;
    assert_eq!(audited["items"][0]["actor"]["kind"], "system");
    let (status, on) = ask(&server, "PATCH", "webhooks/hook", Some(json!({"enabled": true}))).await;
    assert_eq!((status, &on["failures"], &on["disabled_because"]), (200, &json!(0), &json!(null)));
    while !outside.is_quiet() {}
    outside.answers(200);
    assert_eq!(try_it().await, 202);
    outside.next().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_called_that_the_operator_did_not_allow() {
    let dir = tempfile::tempdir().unwrap();
    let server = served(dir.path()).await;
    for url in ["http://127.0.0.2:9/x", "http://169.254.169.254/latest/meta-data", "http://[::1]:9/"] {
        let id = format!("hook-{}", url.len());
        server.post("webhooks", json!({"id": id, "name": "Hook", "url": url})).await;
        server.raw(None, "POST", &format!("/api/v1/webhooks/{id}/test"), None).await;
        let delivery = done(&server, &id).await;
        assert_eq!(
            (&delivery["status"], &delivery["attempts"][0]["status"]),
            (&json!("failed"), &json!(null)),
            "{url}"
        );
        assert_eq!(delivery["attempts"].as_array().unwrap().len(), 1, "it is not tried again: {delivery}");
        let said = delivery["attempts"][0]["answer"].as_str().unwrap();
        assert!(said.contains("outbound_allow"), "{url}: {said}");
        assert!(!said.contains("meta-data"), "an address may be a credential: {said}");
    }
}
