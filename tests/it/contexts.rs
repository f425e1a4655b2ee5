//! Contexts and runtime configuration over the API.

use airlock::{domain::Role, queries::RoleOnStack};
use serde_json::json;

use super::server::Server;

#[tokio::test]
async fn a_context_is_made_changed_attached_and_deleted_and_its_secrets_never_come_back() {
    let server = Server::start().await;
    server.stack("shop").await;
    let body = json!({
        "name": "base", "description": "For all", "labels": ["autoattach:dev"],
        "hooks": {"before_init": ["echo hello"]},
        "variables": [{"name": "REGION", "value": "north"}, {"name": "TOKEN", "value": "hunter2hunter2", "sensitive": true}],
        "files": [{"path": "keys/id", "content": "s3cret-content", "sensitive": true}]
    });
    let made = server.admin.post("/contexts", body.clone()).await.expect(201);
    assert!(!made.text().contains("hunter2") && !made.text().contains("s3cret"), "{}", made.text());
    assert_eq!(made.json()["variables"][1]["value"], json!(null));
    assert_eq!(made.json()["hooks"], json!({"before_init": ["echo hello"]}));
    assert!(server.admin.post("/contexts", body).await.detail(409).contains("taken"));

    let set = json!({"value": "south", "description": "moved"});
    server.admin.put("/contexts/base/environment/REGION", set).await.expect(200);
    server.admin.put("/contexts/base/environment/NEW", json!({"value": "1"})).await.expect(201);
    server.admin.delete("/contexts/base/environment/NEW").await.expect(204);
    server.admin.delete("/contexts/base/environment/NEW").await.problem(404);
    server.admin.raw("PUT", "/contexts/base/files/ca.pem", "pem").await.expect(201);
    server.admin.delete("/contexts/base/files/ca.pem").await.expect(204);
    let patched = server.admin.patch("/contexts/base", json!({"description": null, "hooks": {"after_run": ["x"]}}));
    let patched = patched.await.expect(200).json();
    assert_eq!((&patched["description"], &patched["hooks"]["after_run"]), (&json!(""), &json!(["x"])));
    assert!(server.admin.patch("/contexts/base", json!({"variables": []})).await.detail(422).contains("variables"));

    let attached = server.admin.put("/stacks/shop/contexts/base", json!({"priority": 3})).await.expect(201).json();
    assert_eq!((&attached["priority"], &attached["automatic"]), (&json!(3), &json!(false)));
    server.admin.put("/stacks/shop/contexts/base", json!({})).await.expect(200);
    server.admin.put("/stacks/shop/environment/OWN", json!({"value": "mine"})).await.expect(201);
    server.admin.put("/stacks/shop/environment/REGION", json!({"value": "own"})).await.expect(201);
    let items = server.admin.all("/stacks/shop/environment", 200).await;
    let region = items.iter().find(|item| item["name"] == "REGION").unwrap();
    assert_eq!((&region["value"], &region["source"]), (&json!("own"), &json!({"kind": "stack"})));
    assert_eq!(region["overrides"], json!([{"kind": "context", "name": "base", "priority": 0}]));
    let token = items.iter().find(|item| item["name"] == "TOKEN").unwrap();
    assert_eq!(token["source"], json!({"kind": "context", "name": "base", "priority": 0}));
    assert_eq!((&token["value"], token["hash"].is_string()), (&json!(null), true));
    let files = server.admin.all("/stacks/shop/files", 200).await;
    assert_eq!((&files[0]["path"], &files[0]["source"]["name"]), (&json!("keys/id"), &json!("base")));

    assert!(server.admin.delete("/contexts/base").await.detail(409).contains("attached to shop"));
    server.admin.delete("/stacks/shop/contexts/base").await.expect(204);
    server.admin.delete("/stacks/shop/contexts/base").await.problem(404);
    server.admin.delete("/contexts/base").await.expect(204);
    server.admin.get("/contexts/base").await.problem(404);
    let audit = server.admin.get("/audit?format=jsonl").await.text();
    assert!(!audit.contains("hunter2") && !audit.contains("s3cret"), "{audit}");
    for verb in ["context.create", "context.set", "context.edit", "context.attach", "context.detach", "context.delete"]
    {
        assert!(audit.contains(verb), "{verb} is not in the audit log");
    }
}

#[tokio::test]
async fn a_label_attaches_a_context_and_taking_the_label_away_takes_it_away() {
    let server = Server::start().await;
    server.stack("shop").await;
    let label = |labels: &[&str]| json!({"labels": labels});
    for (name, labels) in [("zeta", ["autoattach:*"]), ("alpha", ["autoattach:prod"])] {
        let variables = json!([{"name": "WHO", "value": name}]);
        server
            .admin
            .post("/contexts", json!({"name": name, "labels": labels, "variables": variables}))
            .await
            .expect(201);
    }
    let who = async || server.admin.all("/stacks/shop/environment", 200).await[0].clone();
    assert_eq!(who().await["source"], json!({"kind": "automatic_context", "name": "zeta"}));
    server.admin.patch("/stacks/shop", label(&["prod"])).await.expect(200);
    assert_eq!((&who().await["value"], &who().await["overrides"][0]["name"]), (&json!("alpha"), &json!("zeta")));
    let names = |items: Vec<serde_json::Value>| {
        items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(server.admin.all("/stacks/shop/contexts", 200).await), ["alpha", "zeta"]);
    server.admin.put("/stacks/shop/contexts/zeta", json!({"priority": 9})).await.expect(201);
    assert_eq!(names(server.admin.all("/stacks/shop/contexts", 200).await), ["zeta", "alpha"]);
    server.admin.patch("/stacks/shop", label(&[])).await.expect(200);
    assert_eq!(names(server.admin.all("/stacks/shop/contexts", 200).await), ["zeta"]);
    let bare = json!({"name": "bare", "labels": ["autoattach:"]});
    assert!(server.admin.post("/contexts", bare).await.detail(422).contains("autoattach:"));
}

#[tokio::test]
async fn what_a_stack_gets_is_seen_by_its_readers_and_the_rest_of_a_context_by_nobody_but_admins() {
    let server = Server::start().await;
    server.stack("shop").await;
    let stack = server.app.queries.stack_id(&"shop".parse().unwrap()).unwrap().unwrap();
    server.admin.post("/contexts", json!({"name": "hidden"})).await.expect(201);
    server.admin.post("/contexts", json!({"name": "base", "labels": ["autoattach:*"]})).await.expect(201);
    let (_, reader) = server.key("reader", false, vec![RoleOnStack { stack, role: Role::Reader }]).await;
    let shown = reader.get("/stacks/shop/contexts").await.expect(200).text();
    assert!(shown.contains("base") && !shown.contains("hidden"), "{shown}");
    reader.get("/contexts/base").await.problem(403);
    reader.put("/stacks/shop/contexts/base", json!({})).await.problem(403);
    let (_, admin) = server.key("boss", false, vec![RoleOnStack { stack, role: Role::Admin }]).await;
    admin.put("/stacks/shop/contexts/hidden", json!({})).await.expect(201);
    admin.get("/contexts/hidden").await.problem(403);
}

#[tokio::test]
async fn a_runtime_configuration_is_text_or_keys_and_its_mistakes_make_no_run() {
    let server = Server::start().await;
    server.stack("shop").await;
    let trigger = |config: serde_json::Value| {
        let admin = server.admin.clone();
        async move { admin.post("/stacks/shop/runs", json!({"kind": "tracked", "runtime_config": config})).await }
    };
    let refused = trigger(json!("environment:\n  A: 1\nbefor_init: []\n")).await;
    let detail = refused.detail(422);
    assert!(detail.contains("line 3:1") && detail.contains("before_init"), "{detail}");
    let refused = trigger(json!({"environment": {"1A": "x"}})).await.detail(422);
    assert!(refused.contains("environment.1A"), "{refused}");
    assert!(server.admin.all("/stacks/shop/runs", 200).await.is_empty());
    let run = trigger(json!("environment: {A: x}\nbefore_plan: [echo hi]\n")).await.expect(201).json();
    let given = json!({"environment": {"A": "x"}, "before_plan": ["echo hi"]});
    assert_eq!((&run["runtime_config"]["given"], &run["runtime_config"]["used"]), (&given, &json!(null)));
    let run = trigger(given.clone()).await.expect(201).json();
    assert_eq!(run["runtime_config"]["given"], given);
    let plain = server.admin.post("/stacks/shop/runs", json!({"kind": "tracked"})).await.expect(201).json();
    assert_eq!(plain["runtime_config"], json!(null));
}
