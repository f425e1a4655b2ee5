//! Run tasks by our own API and by HCP Terraform's: made, changed, attached, guarded from deletion.

use serde_json::{Value, json};

use super::outside::Outside;
use crate::whole::server::Server;

struct Rig {
    server: Server,
    outside: Outside,
    _dir: tempfile::TempDir,
}

impl Rig {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start_with(dir.path(), &[("AIRLOCK_OUTBOUND_ALLOW", "127.0.0.1")]).await;
        server.stack(json!({"name": "Shop", "vendor": {"kind": "custom"}}), &[("a", "b")]).await;
        Self { server, outside: Outside::open().await, _dir: dir }
    }

    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let (status, text) = self.server.raw(None, method, path, body).await;
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    fn url(&self) -> String {
        format!("{}/check", self.outside.url)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_certificate_authorities_calls_run_tasks_in_the_clear() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = dir.path().join("nowhere").to_str().unwrap().to_owned();
    let without = [("SSL_CERT_FILE", nowhere.as_str()), ("SSL_CERT_DIR", nowhere.as_str())];
    let server = Server::start_with(dir.path(), &without).await;
    let mut outside = Outside::open().await;
    let clear = json!({"name": "clear", "url": format!("{}/check", outside.url)});
    let (status, text) = server.raw(None, "POST", "/api/v1/run-tasks", Some(clear)).await;
    assert_eq!(status, 201, "{text}");
    assert_eq!(outside.next().await.json()["stage"], "test");
    let secure = json!({"name": "secure", "url": outside.url.replace("http://", "https://")});
    let (status, text) = server.raw(None, "POST", "/api/v1/run-tasks", Some(secure)).await;
    assert!(status == 422 && text.contains("no certificate authorities"), "{status} {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_task_is_kept_only_when_its_address_answers_the_verification() {
    let mut rig = Rig::new().await;
    let new =
        json!({"name": "cost-check", "url": rig.url(), "hmac_key": "signing-key", "description": "What it costs"});
    rig.outside.answers(401);
    let (status, refused) = rig.ask("POST", "/api/v1/run-tasks", Some(new.clone())).await;
    assert_eq!(status, 422, "{refused:#}");
    assert!(refused["detail"].as_str().unwrap().contains("401"), "{refused:#}");
    assert_eq!(refused["errors"][0]["field"], "url");
    rig.outside.next().await;

    rig.outside.answers(200);
    let (status, made) = rig.ask("POST", "/api/v1/run-tasks", Some(new)).await;
    assert_eq!(status, 201, "{made:#}");
    assert_eq!((&made["has_hmac_key"], &made["enabled"], &made["stacks"]), (&json!(true), &json!(true), &json!([])));
    assert!(made.get("hmac_key").is_none());
    let asked = rig.outside.next().await;
    let payload = asked.json();
    assert_eq!((&payload["stage"], &payload["access_token"]), (&json!("test"), &json!("test-token")));
    let key = airlock::crypt::Secret::new("signing-key".to_owned());
    assert!(airlock::crypt::is_signed(&key, &asked.body, asked.header("x-tfc-task-signature")));

    // Nothing is called for what stays as it is; a new key is tried before it is kept.
    let path = "/api/v1/run-tasks/cost-check";
    let (status, text) = rig.ask("PATCH", path, Some(json!({"description": null, "enabled": false}))).await;
    assert_eq!((status, &text["description"], &text["enabled"]), (200, &json!(""), &json!(false)), "{text:#}");
    assert!(rig.outside.is_quiet());
    rig.outside.answers(403);
    let (status, _) = rig.ask("PATCH", path, Some(json!({"hmac_key": "another"}))).await;
    assert_eq!(status, 422);
    rig.outside.next().await;
    rig.outside.answers(200);
    let (status, text) = rig.ask("PATCH", path, Some(json!({"hmac_key": null}))).await;
    assert_eq!((status, &text["has_hmac_key"]), (200, &json!(false)));
    assert_eq!(rig.outside.next().await.header("x-tfc-task-signature"), "");

    // What came back is kept where there is a run task, refusals included: 200, 403, 200.
    let asked: Vec<&Value> = text["verifications"].as_array().unwrap().iter().map(|asked| &asked["status"]).collect();
    assert_eq!(asked, [200, 403, 200], "{text:#}");
    assert!(text["verifications"][0]["duration_ms"].is_u64() && text["verifications"][0]["at"].is_string());
    let page = rig.server.page("/admin/run-tasks/cost-check").await;
    assert!(page.contains("Verifications") && page.contains("403"), "{page}");

    let audit = rig.server.get("audit?verb=run_task.create").await.to_string();
    assert!(audit.contains("\"refused\"") && audit.contains("\"done\"") && !audit.contains("/check"), "{audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_attached_cannot_be_deleted_and_says_where() {
    let rig = Rig::new().await;
    rig.server.post("run-tasks", json!({"name": "guard", "kind": "wasi", "guest": "guard"})).await;
    let attached = rig.server.post("stacks/shop/run-tasks", json!({"run_task": "guard"})).await;
    assert_eq!((&attached["stages"], &attached["enforcement"]), (&json!(["post_plan"]), &json!("advisory")));
    let (status, refused) = rig.ask("DELETE", "/api/v1/run-tasks/guard", None).await;
    assert_eq!(status, 409);
    assert!(refused["detail"].as_str().unwrap().contains("shop"), "{refused:#}");
    let (status, refused) = rig.ask("POST", "/api/v1/stacks/shop/run-tasks", Some(json!({"run_task": "guard"}))).await;
    assert_eq!(status, 409, "{refused:#}");
    let id = attached["id"].as_str().unwrap();
    let path = format!("/api/v1/stacks/shop/run-tasks/{id}");
    let change = json!({"stages": ["post_apply", "pre_plan", "pre_plan"], "enforcement": "mandatory"});
    let (status, changed) = rig.ask("PATCH", &path, Some(change)).await;
    assert_eq!((status, &changed["stages"]), (200, &json!(["pre_plan", "post_apply"])), "{changed:#}");
    assert_eq!(rig.ask("PATCH", &path, Some(json!({"stages": []}))).await.0, 422);
    assert_eq!(rig.ask("PATCH", &path, Some(json!({"stage": "x"}))).await.0, 422);
    assert_eq!(rig.ask("DELETE", &path, None).await.0, 204);
    assert_eq!(rig.ask("DELETE", "/api/v1/run-tasks/guard", None).await.0, 204);
    assert_eq!(rig.server.get("run-tasks").await["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn json_api_answers_in_its_own_shapes_and_pages() {
    let rig = Rig::new().await;
    for n in 0..25 {
        rig.server.post("run-tasks", json!({"name": format!("t{n:02}"), "kind": "wasi", "guest": "guard"})).await;
    }
    let path = "/api/v2/organizations/airlock/tasks?page%5Bsize%5D=10&page%5Bnumber%5D=3";
    let (status, page) = rig.ask("GET", path, None).await;
    assert_eq!(status, 200, "{page:#}");
    assert_eq!(page["data"].as_array().unwrap().len(), 5);
    assert_eq!(page["meta"]["pagination"]["total-count"], 25);
    let id = page["data"][0]["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("task-"), "{id}");
    // Both spellings of an id are one.
    let (status, one) = rig.ask("GET", &format!("/api/v2/tasks/{}", id.replace('-', "_")), None).await;
    assert_eq!((status, &one["data"]["id"]), (200, &json!(id)));
    let attach = json!({"data": {
        "type": "workspace-tasks",
        "attributes": {"enforcement-level": "mandatory", "stages": ["pre_apply"]},
        "relationships": {"task": {"data": {"type": "tasks", "id": id}}},
    }});
    let (status, attached) = rig.ask("POST", "/api/v2/workspaces/shop/tasks", Some(attach)).await;
    assert_eq!(status, 201, "{attached:#}");
    assert!(attached["data"]["relationships"]["workspace"]["data"]["id"].as_str().unwrap().starts_with("ws-"));
    for (path, wanted) in [
        ("/api/v2/organizations/others/tasks", 404),
        ("/api/v2/tasks/task-nothing", 404),
        ("/api/v2/workspaces/ws-nothing/tasks", 404),
    ] {
        let (status, errors) = rig.ask("GET", path, None).await;
        assert_eq!(status, wanted, "{path}");
        assert_eq!(errors["errors"][0]["status"], "404", "{errors:#}");
    }
    let (status, errors) = rig
        .ask(
            "POST",
            "/api/v2/organizations/airlock/tasks",
            Some(json!({"data": {"attributes": {"name": "a b", "url": "http://x"}}})),
        )
        .await;
    assert_eq!((status, &errors["errors"][0]["source"]["pointer"]), (422, &json!("/data/attributes/name")));
    let (status, _) = rig.server.raw(Some("ak_nonsense"), "GET", "/api/v2/organizations/airlock/tasks", None).await;
    assert_eq!(status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_about_a_preview_is_speculative_everywhere() {
    let mut rig = Rig::new().await;
    let vendor = json!({"kind": "custom", "plan": "exit 2"});
    let stack = rig.server.stack(json!({"name": "Planned", "vendor": vendor}), &[("a", "b")]).await;
    rig.server.post("run-tasks", json!({"name": "check", "url": rig.url()})).await;
    rig.outside.next().await;
    rig.server.post(&format!("stacks/{stack}/run-tasks"), json!({"run_task": "check"})).await;
    for (kind, speculative) in [("proposed", true), ("tracked", false)] {
        rig.server.trigger(&stack, kind).await;
        let asked = rig.outside.next().await.json();
        assert_eq!(asked["is_speculative"], speculative, "{asked:#}");
        let result = asked["task_result_id"].as_str().unwrap();
        let (status, shown) = rig.ask("GET", &format!("/api/v2/task-results/{result}"), None).await;
        assert_eq!((status, &shown["data"]["attributes"]["is-speculative"]), (200, &json!(speculative)), "{shown:#}");
    }
}
