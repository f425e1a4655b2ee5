//! Who may do what: every operation of the API for every sort of actor.

use airlock::{
    auth::{On, Permission, Permit},
    domain::{Role, StackId},
    queries::RoleOnStack,
};
use serde_json::{Value, json};

use super::{
    api_document::operations,
    server::{Client, Reply, Server},
};

/// What an operation asks of its actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Nothing,
    SignedIn,
    /// A role on the stack, directly or through a run of it.
    Role(Role),
    Admin,
}

use Need::{Admin, Nothing, SignedIn};

const READER: Need = Need::Role(Role::Reader);
const WRITER: Need = Need::Role(Role::Writer);
const STACK_ADMIN: Need = Need::Role(Role::Admin);

/// Every operation, what it needs, and a body that says nothing wrong. What is already there makes most
/// of them fail for those who may (409, 422), so that nothing changes under the others.
fn table() -> Vec<(&'static str, Need, Value)> {
    let none = Value::Null;
    vec![
        ("GET /api/v1/openapi.json", Nothing, none.clone()),
        ("POST /api/v1/login", Nothing, json!({"username": "nobody", "password": "x"})),
        ("POST /oauth2/token", Nothing, none.clone()),
        ("GET /api/v1/sessions", SignedIn, none.clone()),
        ("DELETE /api/v1/sessions/{session}", SignedIn, none.clone()),
        ("GET /api/v1/stacks", SignedIn, none.clone()),
        ("GET /api/v1/runs", SignedIn, none.clone()),
        ("POST /api/v1/stacks", Admin, json!({"name": "shop", "vendor": {"kind": "custom"}})),
        ("GET /api/v1/stacks/{stack}", READER, none.clone()),
        ("PATCH /api/v1/stacks/{stack}", STACK_ADMIN, json!({"slug": "x"})),
        ("DELETE /api/v1/stacks/{stack}", STACK_ADMIN, none.clone()),
        ("PUT /api/v1/stacks/{stack}/source", WRITER, none.clone()),
        ("GET /api/v1/stacks/{stack}/environment", READER, none.clone()),
        ("PUT /api/v1/stacks/{stack}/environment/{name}", WRITER, json!({"value": "x"})),
        ("DELETE /api/v1/stacks/{stack}/environment/{name}", WRITER, none.clone()),
        ("GET /api/v1/stacks/{stack}/files", READER, none.clone()),
        ("PUT /api/v1/stacks/{stack}/files/{path}", WRITER, none.clone()),
        ("DELETE /api/v1/stacks/{stack}/files/{path}", WRITER, none.clone()),
        ("DELETE /api/v1/stacks/{stack}/lock", WRITER, none.clone()),
        ("POST /api/v1/stacks/{stack}/runs", WRITER, json!({"kind": "task"})),
        ("POST /api/v1/stacks/{stack}/tasks", WRITER, json!({"command": ""})),
        ("GET /api/v1/stacks/{stack}/runs", READER, none.clone()),
        ("GET /api/v1/stacks/{stack}/state/versions", WRITER, none.clone()),
        ("PUT /api/v1/stacks/{stack}/state", STACK_ADMIN, json!({"serial": 1})),
        ("POST /api/v1/stacks/{stack}/state/rollback", STACK_ADMIN, json!({"version": 1})),
        ("GET /api/v1/runs/{run}", READER, none.clone()),
        ("GET /api/v1/runs/{run}/changes", READER, none.clone()),
        ("GET /api/v1/runs/{run}/log", READER, none.clone()),
        ("GET /api/v1/runs/{run}/events", READER, none.clone()),
        ("POST /api/v1/runs/{run}/confirm", WRITER, json!({})),
        ("POST /api/v1/runs/{run}/discard", WRITER, json!({})),
        ("POST /api/v1/runs/{run}/replan", WRITER, json!({"targets": []})),
        ("POST /api/v1/runs/{run}/stop", WRITER, json!({})),
        ("POST /api/v1/runs/{run}/cancel", WRITER, json!({})),
        (
            "POST /api/v1/runs/{run}/review",
            WRITER,
            json!({"decision": "approve", "plan_digest": "sha256:0000000000000000000000000000000000000000000000000000000000000000"}),
        ),
        ("POST /api/v1/runs/{run}/prioritize", WRITER, json!({})),
        ("POST /api/v1/runs/{run}/comment", READER, json!({"text": "x"})),
        ("POST /api/v1/runs/{run}/acknowledge", WRITER, json!({})),
        ("POST /api/v1/runs/{run}/force-stop", STACK_ADMIN, json!({"note": "x"})),
        ("POST /api/v1/runs/{run}/retry", WRITER, json!({})),
        ("POST /api/v1/runs/{run}/promote", WRITER, json!({})),
        ("GET /api/v1/users", Admin, none.clone()),
        ("POST /api/v1/users", Admin, json!({"name": "bob"})),
        ("GET /api/v1/users/{user}", Admin, none.clone()),
        ("PATCH /api/v1/users/{user}", Admin, json!({})),
        ("POST /api/v1/users/{user}/invite", Admin, none.clone()),
        ("GET /api/v1/users/{user}/sessions", Admin, none.clone()),
        ("GET /api/v1/api-keys", Admin, none.clone()),
        ("POST /api/v1/api-keys", Admin, json!({"name": "spare", "expires_at": "2020-01-01T00:00:00Z"})),
        ("DELETE /api/v1/api-keys/{key}", Admin, none.clone()),
        ("GET /api/v1/guests", SignedIn, none.clone()),
        ("POST /api/v1/guests", Admin, none.clone()),
        ("DELETE /api/v1/guests/{name}", Admin, none.clone()),
        ("GET /api/v1/runs/{run}/artifacts", READER, none.clone()),
        ("GET /api/v1/runs/{run}/artifacts/{path}", READER, none.clone()),
        ("GET /api/v1/runs/{run}/receipt", READER, none.clone()),
        ("GET /api/v1/runs/{run}/patch", READER, none.clone()),
        ("POST /api/v1/runs/{run}/propose", WRITER, json!({})),
        ("GET /api/v1/images", SignedIn, none.clone()),
        ("POST /api/v1/images", Admin, none.clone()),
        ("DELETE /api/v1/images/{name}", Admin, none.clone()),
        ("GET /api/v1/credentials", Admin, none.clone()),
        ("PUT /api/v1/credentials/{name}", Admin, json!({"kind": "ssh"})),
        ("DELETE /api/v1/credentials/{name}", Admin, none.clone()),
        ("GET /api/v1/contexts", Admin, none.clone()),
        ("POST /api/v1/contexts", Admin, json!({"name": "A"})),
        ("GET /api/v1/contexts/{name}", Admin, none.clone()),
        ("PATCH /api/v1/contexts/{name}", Admin, json!({})),
        ("DELETE /api/v1/contexts/{name}", Admin, none.clone()),
        ("PUT /api/v1/contexts/{name}/environment/{variable}", Admin, json!({"value": "x"})),
        ("DELETE /api/v1/contexts/{name}/environment/{variable}", Admin, none.clone()),
        ("PUT /api/v1/contexts/{name}/files/{path}", Admin, none.clone()),
        ("DELETE /api/v1/contexts/{name}/files/{path}", Admin, none.clone()),
        ("GET /api/v1/stacks/{stack}/contexts", READER, none.clone()),
        ("PUT /api/v1/stacks/{stack}/contexts/{name}", STACK_ADMIN, json!({"priority": 1})),
        ("DELETE /api/v1/stacks/{stack}/contexts/{name}", STACK_ADMIN, none.clone()),
        ("GET /api/v1/services", Admin, none.clone()),
        ("GET /api/v1/services/{name}", Admin, none.clone()),
        ("PUT /api/v1/services/{name}", Admin, json!({"scheme": "https", "host": "a b", "port": 1})),
        ("DELETE /api/v1/services/{name}", Admin, none.clone()),
        ("GET /api/v1/run-tasks", Admin, none.clone()),
        ("POST /api/v1/run-tasks", Admin, json!({"name": "x", "url": "ftp://nothing"})),
        ("GET /api/v1/run-tasks/{name}", Admin, none.clone()),
        ("PATCH /api/v1/run-tasks/{name}", Admin, json!({})),
        ("DELETE /api/v1/run-tasks/{name}", Admin, none.clone()),
        ("GET /api/v1/run-tasks/{name}/deliveries", Admin, none.clone()),
        ("POST /api/v1/run-tasks/{name}/deliveries/{id}/redeliver", Admin, json!({})),
        ("GET /api/v1/stacks/{stack}/run-tasks", READER, none.clone()),
        ("POST /api/v1/stacks/{stack}/run-tasks", STACK_ADMIN, json!({"run_task": "nothing"})),
        ("GET /api/v1/stacks/{stack}/run-tasks/{attached}", READER, none.clone()),
        ("PATCH /api/v1/stacks/{stack}/run-tasks/{attached}", STACK_ADMIN, json!({})),
        ("DELETE /api/v1/stacks/{stack}/run-tasks/{attached}", STACK_ADMIN, none.clone()),
        ("GET /api/v1/webhooks", Admin, none.clone()),
        ("POST /api/v1/webhooks", Admin, json!({"name": "x", "url": "ftp://nothing"})),
        ("GET /api/v1/webhooks/{id}", Admin, none.clone()),
        ("PATCH /api/v1/webhooks/{id}", Admin, json!({})),
        ("DELETE /api/v1/webhooks/{id}", Admin, none.clone()),
        ("POST /api/v1/webhooks/{id}/test", Admin, none.clone()),
        ("GET /api/v1/webhooks/{id}/deliveries", Admin, none.clone()),
        ("POST /api/v1/webhooks/{id}/deliveries/{delivery}/redeliver", Admin, none.clone()),
        ("GET /api/v1/policies", Admin, none.clone()),
        ("POST /api/v1/policies", Admin, json!({"name": "A b", "kind": "task", "body": ""})),
        ("GET /api/v1/policies/{name}", Admin, none.clone()),
        ("PATCH /api/v1/policies/{name}", Admin, json!({})),
        ("DELETE /api/v1/policies/{name}", Admin, none.clone()),
        ("POST /api/v1/policies/{name}/evaluate", Admin, json!({"input": {}})),
        ("GET /api/v1/policies/{name}/samples", Admin, none.clone()),
        ("PUT /api/v1/stacks/{stack}/policies/{name}", STACK_ADMIN, none.clone()),
        ("DELETE /api/v1/stacks/{stack}/policies/{name}", STACK_ADMIN, none.clone()),
        ("GET /api/v1/stacks/{stack}/declared-tasks", READER, none.clone()),
        ("POST /api/v1/stacks/{stack}/declared-tasks/{name}/runs", WRITER, json!({"variables": {"1": "x"}})),
        ("GET /api/v1/stacks/{stack}/declared-tasks/{name}/resources", READER, none.clone()),
        ("PUT /api/v1/stacks/{stack}/declared-tasks/{name}/resources", STACK_ADMIN, json!({"processes": 1})),
        ("DELETE /api/v1/stacks/{stack}/declared-tasks/{name}/resources", STACK_ADMIN, none.clone()),
        ("POST /api/v1/master-key/rotate", Admin, none.clone()),
        ("GET /api/v1/audit", Admin, none.clone()),
        // Last, because it keeps the others out.
        ("PUT /api/v1/stacks/{stack}/lock", WRITER, json!({})),
    ]
}

/// An actor and the most that they have.
struct Actor {
    name: &'static str,
    client: Client,
    /// None: not let in at all.
    has: Option<Has>,
}

#[derive(Clone, Copy, Debug)]
enum Has {
    Everything,
    Role(Role),
    NoRole,
}

async fn actors(server: &Server, stack: StackId) -> Vec<Actor> {
    let role = |role| vec![RoleOnStack { stack, role }];
    let mut actors = vec![
        Actor { name: "admin", client: server.admin.clone(), has: Some(Has::Everything) },
        Actor { name: "anonymous", client: server.anonymous(), has: None },
        Actor { name: "nonsense", client: server.client("ak_nonsense"), has: None },
    ];
    for (name, least) in [("stack admin", Role::Admin), ("writer", Role::Writer), ("reader", Role::Reader)] {
        let client = server.key("somebody", false, role(least)).await.1;
        actors.push(Actor { name, client, has: Some(Has::Role(least)) });
    }
    let (_, client) = server.key("stranger", false, Vec::new()).await;
    actors.push(Actor { name: "stranger", client, has: Some(Has::NoRole) });
    let (id, client) = server.key("revoked", true, Vec::new()).await;
    let permit = Permit::of_system(Permission::ManageKeys, On::Installation);
    server.app.actions.revoke_key(&permit, id).await.unwrap();
    actors.push(Actor { name: "revoked", client, has: None });
    let soon = json!({"name": "expired", "admin": true, "expires_at": "2026-01-01T01:00:00Z"});
    let made = server.admin.post("/api-keys", soon).await.expect(201).json();
    let client = server.client(made["secret"].as_str().unwrap());
    server.clock.pass(std::time::Duration::from_hours(1));
    actors.push(Actor { name: "expired", client, has: None });
    actors
}

/// What an actor must get: 401, 403, 404, or none of these.
const fn expected(need: Need, has: Option<Has>) -> Option<u16> {
    match (need, has) {
        (Nothing, _) => None,
        (_, None) => Some(401),
        (SignedIn, Some(_)) | (_, Some(Has::Everything)) => None,
        (Need::Role(need), Some(Has::Role(has))) if has as u8 >= need as u8 => None,
        (Need::Role(_) | Admin, Some(Has::Role(_))) | (Admin, Some(Has::NoRole)) => Some(403),
        (Need::Role(_), Some(Has::NoRole)) => Some(404),
    }
}

/// The status; a stream is not read.
async fn ask(client: &Client, method: &str, path: &str, body: &Value) -> (u16, String) {
    let mut request = client.request(method, path);
    if !body.is_null() {
        request = request.json(body);
    }
    if path.ends_with("/events") {
        return (request.send().await.unwrap().status().as_u16(), String::new());
    }
    let reply = Reply::of(request).await;
    (reply.status.as_u16(), reply.text())
}

#[tokio::test]
async fn everybody_gets_exactly_what_is_theirs() {
    let server = Server::start().await;
    server.stack("shop").await;
    let stack = server.app.queries.stack_id(&"shop".parse().unwrap()).unwrap().unwrap();
    let run = server.run("shop").await;
    server.admin.post("/users", json!({"name": "bob"})).await.expect(201);
    let table = table();
    let document = server.anonymous().get("/openapi.json").await.json();
    let covered = table.iter().map(|(operation, ..)| (*operation).to_owned()).collect();
    assert_eq!(operations(&document), covered, "the table and the API differ");

    let actors = actors(&server, stack).await;
    for (operation, need, body) in &table {
        let (method, path) = operation.split_once(' ').unwrap();
        let path = path
            .replace("{stack}", "shop")
            .replace("{run}", run["id"].as_str().unwrap())
            .replace("{user}", "bob")
            .replace("{name}", "nothing")
            .replace("{variable}", "NOTHING")
            .replace("{path}", "nothing")
            .replace("{session}", "session_01ARZ3NDEKTSV4RRFFQ69G5FAV")
            .replace("webhooks/{id}", "webhooks/nothing")
            .replace("{delivery}", "1")
            .replace("{id}", "taskrs_01ARZ3NDEKTSV4RRFFQ69G5FAV")
            .replace("{attached}", "wstask_01ARZ3NDEKTSV4RRFFQ69G5FAV")
            .replace("{key}", "key_01ARZ3NDEKTSV4RRFFQ69G5FAV");
        for actor in &actors {
            let (status, text) = ask(&actor.client, method, &format!("/{path}"), body).await;
            let at = format!("{operation} by {}: {status} {text}", actor.name);
            match expected(*need, actor.has) {
                Some(expected) => assert_eq!(status, expected, "{at}"),
                None if *need == Nothing => assert_ne!(status, 403, "{at}"),
                None => {
                    assert!(![401, 403, 405, 500].contains(&status), "{at}");
                    assert!(status != 404 || !text.contains("stack `shop`") && !text.contains("the run run_"), "{at}");
                }
            }
        }
    }
    every_refusal_is_on_record(&server).await;
}

#[tokio::test]
async fn the_compatible_api_gives_everybody_what_is_theirs_too() {
    let server = Server::start().await;
    server.stack("shop").await;
    let stack = server.app.queries.stack_id(&"shop".parse().unwrap()).unwrap().unwrap();
    let table: Vec<(&str, Need, Value)> = vec![
        ("GET /users/me", SignedIn, Value::Null),
        ("GET /users/me/extended-access", SignedIn, Value::Null),
        ("GET /projects/shop", READER, Value::Null),
        ("GET /projects/shop/settings", READER, Value::Null),
        ("GET /projects/shop/environments", READER, Value::Null),
        ("GET /projects/shop/environments/main", READER, Value::Null),
        ("GET /projects/shop/environments/main/tasks", READER, Value::Null),
        ("POST /projects/shop/environments/main/tasks/x/run", WRITER, json!({"variables": {"1": "x"}})),
        ("GET /projects/shop/activities", READER, Value::Null),
        ("GET /projects/shop/environments/main/activities", READER, Value::Null),
        ("GET /projects/shop/variables", READER, Value::Null),
        ("POST /projects/shop/variables", WRITER, json!({"name": "env:1", "value": "x"})),
        ("GET /projects/shop/environments/main/variables", READER, Value::Null),
        ("POST /projects/shop/environments/main/variables", WRITER, json!({"name": "env:1", "value": "x"})),
    ];
    for actor in actors(&server, stack).await {
        for (operation, need, body) in &table {
            let (method, path) = operation.split_once(' ').unwrap();
            let (status, text) = ask(&actor.client, method, &format!("/{path}"), body).await;
            let at = format!("{operation} by {}: {status} {text}", actor.name);
            match expected(*need, actor.has) {
                Some(expected) => assert_eq!(status, expected, "{at}"),
                None => assert!(![401, 403, 404, 405, 500].contains(&status), "{at}"),
            }
        }
    }
}

async fn every_refusal_is_on_record(server: &Server) {
    let refused = server.admin.all("/audit?actor=stranger", 200).await;
    let verbs: std::collections::BTreeSet<&str> = refused.iter().map(|row| row["verb"].as_str().unwrap()).collect();
    for verb in
        ["run.confirm", "run.force_stop", "stack.edit", "stack.create", "user.manage", "state.use", "stack.lock"]
    {
        assert!(verbs.contains(verb), "{verb} is not among {verbs:?}");
    }
    assert!(refused.iter().all(|row| row["outcome"] == "refused"));
}

#[tokio::test]
async fn terraforms_door_is_for_writers() {
    let server = Server::start().await;
    server.stack_with("infra", json!({"vendor": {"kind": "terraform"}})).await;
    let stack = server.app.queries.stack_id(&"infra".parse().unwrap()).unwrap().unwrap();
    for actor in actors(&server, stack).await {
        for method in ["GET", "POST", "DELETE", "LOCK", "UNLOCK"] {
            let status = actor.client.raw(method, "//state/infra", "").await.status.as_u16();
            match expected(WRITER, actor.has) {
                Some(expected) => assert_eq!(status, expected, "{method} by {}", actor.name),
                None => assert!(![401, 403, 404, 500].contains(&status), "{method} by {}: {status}", actor.name),
            }
        }
    }
}
