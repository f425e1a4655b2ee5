//! Input: merge patches, fields that do not fit, names that are taken, parameters without a value.

use serde_json::{Value, json};

use super::server::Server;

/// A policy, a webhook, a user and a run task on a stack; answers with the address of the last.
async fn furnish(server: &Server) -> String {
    server.stack("shop").await;
    let policy = json!({"name": "p", "kind": "task", "body": "package p", "labels": ["x"], "description": "words"});
    server.admin.post("/policies", policy).await.expect(201);
    let webhook = json!({"name": "W", "url": "https://example.com/", "form": "slack", "labels": ["x"],
                         "headers": {"x-a": "1"}, "enabled": false});
    server.admin.post("/webhooks", webhook).await.expect(201);
    let user = json!({"name": "alice", "roles": [{"stack": "shop", "role": "reader"}]});
    server.admin.post("/users", user).await.expect(201);
    server.admin.post("/run-tasks", json!({"name": "g", "kind": "wasi", "guest": "guard"})).await.expect(201);
    let attached = json!({"run_task": "g", "stages": ["pre_plan"], "enforcement": "mandatory"});
    let attached = server.admin.post("/stacks/shop/run-tasks", attached).await.expect(201).json();
    format!("/stacks/shop/run-tasks/{}", attached["id"].as_str().unwrap())
}

#[tokio::test]
async fn null_in_a_patch_takes_a_member_back_to_what_it_is_unsaid() {
    let server = Server::start().await;
    let attached = furnish(&server).await;
    let cases = [
        ("/policies/p", "description", json!("")),
        ("/policies/p", "labels", json!([])),
        ("/webhooks/w", "labels", json!([])),
        ("/webhooks/w", "form", json!("json")),
        ("/webhooks/w", "enabled", json!(true)),
        ("/users/alice", "roles", json!([])),
        (&attached, "stages", json!(["post_plan"])),
        (&attached, "enforcement", json!("advisory")),
        ("/stacks/shop", "description", json!("")),
    ];
    for (path, member, unsaid) in cases {
        let after = server.admin.patch(path, json!({member: null})).await.expect(200).json();
        assert_eq!(after[member], unsaid, "{path} {member}");
    }
    let after = server.admin.patch("/webhooks/w", json!({"headers": null})).await.expect(200).json();
    assert_eq!(after["header_names"], json!([]));
    // What has nothing to be taken back to is asked for.
    for (path, member) in [("/policies/p", "body"), ("/webhooks/w", "url"), ("/stacks/shop", "vendor")] {
        let problem = server.admin.patch(path, json!({member: null})).await.problem(422);
        assert_eq!(problem["errors"][0]["field"], member, "{problem:#}");
    }
}

#[tokio::test]
async fn a_patch_of_what_is_not_there_is_refused_even_with_null() {
    let server = Server::start().await;
    let attached = furnish(&server).await;
    server.admin.post("/contexts", json!({"name": "c"})).await.expect(201);
    let paths = ["/policies/p", "/webhooks/w", "/users/alice", "/run-tasks/g", "/stacks/shop", "/contexts/c", &attached];
    for path in paths {
        for value in [Value::Null, json!(1)] {
            let problem = server.admin.patch(path, json!({"bogus": value})).await.problem(422);
            assert_eq!(problem["errors"][0]["field"], "bogus", "{path}: {problem:#}");
        }
    }
}
