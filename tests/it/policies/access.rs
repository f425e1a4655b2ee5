//! Access policies: what they leave of a role, at every door.

use airlock::{domain::Role, queries::RoleOnStack};
use serde_json::json;

use crate::server::{Client, Server};

const BODY: &str = r#"package spacelift

read { input.session.login != "nobody" }
write { input.session.login == "alice" }
deny { input.session.login == "mallory" }
"#;

async fn with_role(server: &Server, name: &str, role: Role) -> Client {
    let stack = server.app.queries.stack_id(&"shop".parse().unwrap()).unwrap().unwrap();
    server.key(name, false, vec![RoleOnStack { stack, role }]).await.1
}

#[tokio::test]
async fn a_policy_takes_away_and_never_gives() {
    let server = Server::start().await;
    server.stack("shop").await;
    let [alice, bob, mallory, nobody] = ["alice", "bob", "mallory", "nobody"];
    let alice = with_role(&server, alice, Role::Writer).await;
    let bob = with_role(&server, bob, Role::Writer).await;
    let mallory = with_role(&server, mallory, Role::Admin).await;
    let nobody = with_role(&server, nobody, Role::Reader).await;
    let policy = json!({"name": "who", "kind": "access", "body": BODY, "labels": ["autoattach:*"]});
    server.admin.post("/policies", policy).await.expect(201);
    let run = json!({"kind": "proposed"});
    alice.post("/stacks/shop/runs", run.clone()).await.expect(201);
    alice.patch("/stacks/shop", json!({"autodeploy": true})).await.expect(403);
    bob.get("/stacks/shop").await.expect(200);
    bob.post("/stacks/shop/runs", run.clone()).await.expect(403);
    mallory.get("/stacks/shop").await.expect(404);
    mallory.delete("/stacks/shop?confirm=shop").await.expect(404);
    assert_eq!(mallory.get("/runs").await.expect(200).json()["items"], json!([]));
    nobody.get("/stacks/shop").await.expect(404);
    // Nobody shuts the admins out.
    server.admin.get("/stacks/shop").await.expect(200);
    // A policy that cannot be evaluated leaves nothing.
    let broken = "package x\nimport rego.v1\nread if time.now_ns() > 0\n";
    server.admin.patch("/policies/who", json!({"body": broken})).await.expect(200);
    alice.get("/stacks/shop").await.expect(404);
    server.admin.delete("/policies/who").await.expect(204);
    mallory.get("/stacks/shop").await.expect(200);
    alice.post("/stacks/shop/runs", run).await.expect(201);
}

#[tokio::test]
async fn a_policy_that_only_denies_leaves_everybody_else_their_role() {
    let server = Server::start().await;
    server.stack("shop").await;
    let alice = with_role(&server, "alice", Role::Writer).await;
    let mallory = with_role(&server, "mallory", Role::Writer).await;
    let body = "package spacelift\ndeny { input.session.login == \"mallory\" }\n";
    let policy = json!({"name": "who", "kind": "access", "body": body, "labels": ["autoattach:*"]});
    server.admin.post("/policies", policy).await.expect(201);
    alice.post("/stacks/shop/runs", json!({"kind": "proposed"})).await.expect(201);
    mallory.get("/stacks/shop").await.expect(404);
    let body = "package spacelift\ndeny_write { input.session.login == \"alice\" }\n";
    server.admin.patch("/policies/who", json!({"body": body})).await.expect(200);
    alice.get("/stacks/shop").await.expect(200);
    alice.post("/stacks/shop/runs", json!({"kind": "proposed"})).await.expect(403);
    mallory.get("/stacks/shop").await.expect(200);
    // What grants something grants nothing else.
    let body = "package spacelift\nread { input.session.login == \"alice\" }\n";
    server.admin.patch("/policies/who", json!({"body": body})).await.expect(200);
    alice.get("/stacks/shop").await.expect(200);
    mallory.get("/stacks/shop").await.expect(404);
}

#[tokio::test]
async fn an_answer_is_believed_only_while_the_stack_is_as_it_was() {
    let server = Server::start().await;
    server.stack("shop").await;
    let alice = with_role(&server, "alice", Role::Writer).await;
    let body = r#"package spacelift

read { true }
write { not frozen; is_null(input.stack.locked_by); input.stack.state != "UNCONFIRMED" }
frozen { input.stack.labels[_] == "frozen" }
"#;
    let policy = json!({"name": "calm", "kind": "access", "body": body, "labels": ["autoattach:*"]});
    server.admin.post("/policies", policy).await.expect(201);
    let writes = async || alice.put("/stacks/shop/environment/A", json!({"value": "1"})).await.status.as_u16();
    assert_eq!(writes().await, 201);
    server.admin.patch("/stacks/shop", json!({"labels": ["frozen"]})).await.expect(200);
    assert_eq!(writes().await, 403);
    server.admin.patch("/stacks/shop", json!({"labels": []})).await.expect(200);
    assert_eq!(writes().await, 200);
    server.admin.put("/stacks/shop/lock", json!({})).await.expect(200);
    assert_eq!(writes().await, 403);
    server.admin.delete("/stacks/shop/lock").await;
    assert_eq!(writes().await, 200);
    server.unconfirmed("shop").await;
    assert_eq!(writes().await, 403);
}
