//! Input: merge patches, fields that do not fit, names that are taken, parameters without a value.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::server::{Binary, Reply, Server, archive};

const POLICY: &str = "package p\n\ndeny[msg] {\n  input.request.command == \"rm\"\n  msg := \"no\"\n}\n";

/// A policy, a webhook, a user and a run task on a stack; answers with the address of the last.
async fn furnish(server: &Server) -> String {
    server.stack("shop").await;
    let policy = json!({"name": "p", "kind": "task", "body": POLICY, "labels": ["x"], "description": "words"});
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
        (attached.as_str(), "stages", json!(["post_plan"])),
        (attached.as_str(), "enforcement", json!("advisory")),
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
    let paths = [
        "/policies/p",
        "/webhooks/w",
        "/users/alice",
        "/run-tasks/g",
        "/stacks/shop",
        "/contexts/c",
        attached.as_str(),
    ];
    for path in paths {
        for value in [Value::Null, json!(1)] {
            let problem = server.admin.patch(path, json!({"bogus": value})).await.problem(422);
            assert_eq!(problem["errors"][0]["field"], "bogus", "{path}: {problem:#}");
        }
    }
}

#[tokio::test]
async fn a_key_makes_one_image_one_link_and_one_test_of_a_webhook() {
    let server = Server::start().await;
    furnish(&server).await;
    let import = |content: &'static [u8]| {
        let request = server.admin.request("POST", "/images?name=tiny").header("idempotency-key", "tiny");
        Reply::of(request.body(archive(&[("bin/sh", content)])))
    };
    let made = import(b"ours").await.expect(201).json();
    assert_eq!(import(b"ours").await.expect(201).json(), made);
    assert!(import(b"others").await.detail(409).contains("Idempotency-Key"));
    let replaced = server.admin.request("POST", "/images?name=tiny").body(archive(&[("bin/sh", b"others")]));
    Reply::of(replaced).await.expect(201);
    assert!(import(b"ours").await.detail(409).contains("imported `tiny`, which was replaced since"));
    server.admin.delete("/images/tiny").await.expect(204);
    assert!(import(b"ours").await.detail(409).contains("imported `tiny`, which was removed since"));
    let refused = server.admin.all("/audit?verb=image.import", 9).await;
    assert_eq!(refused.iter().filter(|entry| entry["outcome"] == "refused").count(), 3);

    server.admin.patch("/webhooks/w", json!({"enabled": true})).await.expect(200);
    let test = || server.admin.post_once("/webhooks/w/test", "test", json!({}));
    let delivery = test().await.expect(202).json();
    assert_eq!(test().await.expect(202).json(), delivery);
    assert_eq!(server.admin.all("/webhooks/w/deliveries", 9).await.len(), 1);

    let link = || server.admin.post_once("/users/alice/invite", "link", json!({}));
    link().await.expect(200);
    assert!(link().await.detail(409).contains("shown only once"));
}

#[tokio::test]
async fn a_key_imports_one_guest() {
    let binary = Binary::start().await;
    let import = |code: &'static str| {
        let request = binary.admin.request("POST", "/guests?name=tiny").header("idempotency-key", "tiny");
        Reply::of(request.body(wat::parse_str(code).unwrap()))
    };
    let code = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;
    let made = import(code).await.expect(201).json();
    assert_eq!(import(code).await.expect(201).json(), made);
    let other = r#"(module (memory (export "memory") 2) (func (export "_start")))"#;
    assert!(import(other).await.detail(409).contains("Idempotency-Key"));
    binary.admin.delete("/guests/tiny").await.expect(204);
    assert!(import(code).await.detail(409).contains("imported `tiny`, which was removed since"));
}

#[tokio::test]
async fn what_is_missing_unknown_or_wrong_is_named_by_its_whole_path() {
    let server = Server::start().await;
    let cases = [
        ("/stacks", json!({"name": "A"}), "vendor"),
        ("/stacks", json!({"name": "A", "vendor": {}}), "vendor.kind"),
        ("/stacks", json!({"name": "A", "vendor": {"kind": "custom", "bogus": 1}}), "vendor.bogus"),
        ("/stacks", json!({"name": "A", "vendor": {"kind": "custom"}, "bogus": 1}), "bogus"),
        (
            "/stacks",
            json!({"name": "A", "vendor": {"kind": "custom"}, "executor": {"limits": {"processes": "x"}}}),
            "executor.limits.processes",
        ),
        ("/stacks", json!({"slug": "A B", "name": "A", "vendor": {"kind": "custom"}}), "slug"),
        ("/users", json!({}), "name"),
        ("/users", json!({"name": "bob", "roles": [{"stack": "shop"}]}), "roles[0].role"),
        ("/policies", json!({"name": "p", "kind": "task"}), "body"),
    ];
    for (path, body, field) in cases {
        let problem = server.admin.post(path, body).await.problem(422);
        assert_eq!(problem["errors"][0]["field"], field, "{problem:#}");
    }
}

/// Sends text over a connection of its own and gives the head of the first answer.
async fn head_of(server: &Server, text: &str) -> String {
    let address = server.url.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap().to_ascii_lowercase()
}

#[tokio::test]
async fn a_connection_that_ends_because_a_body_was_not_read_is_announced() {
    let server = Server::start().await;
    let post = |length: usize, body: &str| {
        format!(
            "POST /api/v1/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        )
    };
    let refused = head_of(&server, &post(200_000, &" ".repeat(65_537))).await;
    assert!(refused.starts_with("http/1.1 413") && refused.contains("\r\nconnection: close\r\n"), "{refused}");
    let read = head_of(&server, &post(2, "{}")).await;
    assert!(read.starts_with("http/1.1 422") && !read.contains("\r\nconnection: close"), "{read}");
    let unknown = "PUT /api/v1/stacks/none/source HTTP/1.1\r\nhost: x\r\ncontent-length: 9000000\r\n\r\n";
    let refused = head_of(&server, unknown).await;
    assert!(refused.starts_with("http/1.1 401") && refused.contains("\r\nconnection: close\r\n"), "{refused}");
}

#[tokio::test]
async fn a_name_that_is_taken_is_a_conflict_at_its_field() {
    let server = Server::start().await;
    furnish(&server).await;
    server.admin.post("/contexts", json!({"name": "c"})).await.expect(201);
    let cases = [
        ("/stacks", json!({"name": "Shop", "slug": "shop", "vendor": {"kind": "custom"}}), "slug"),
        ("/users", json!({"name": "Alice"}), "name"),
        ("/contexts", json!({"name": "c"}), "name"),
        ("/run-tasks", json!({"name": "g", "kind": "wasi", "guest": "guard"}), "name"),
        ("/policies", json!({"name": "p", "kind": "task", "body": POLICY}), "name"),
        ("/webhooks", json!({"name": "W", "url": "https://example.com/"}), "id"),
    ];
    for (path, body, field) in cases {
        let problem = server.admin.post(path, body).await.problem(409);
        assert_eq!(problem["errors"][0]["field"], field, "{problem:#}");
    }
}

#[tokio::test]
async fn a_parameter_without_a_value_is_as_none() {
    let server = Server::start().await;
    server.stack("shop").await;
    server.run("shop").await;
    for path in [
        "/stacks?state=&label=&q=&limit=&cursor=",
        "/runs?kind=&state=",
        "/stacks/shop/runs?kind=&state=&limit=",
        "/audit?actor=&verb=&from=&to=&format=",
    ] {
        let shown = server.admin.get(path).await.expect(200).json();
        let (bare, _) = path.split_once('?').unwrap();
        assert_eq!(shown["items"][0], server.admin.get(bare).await.expect(200).json()["items"][0], "{path}");
    }
    assert!(server.admin.get("/stacks?stat=").await.detail(422).contains("stat"), "it must be a parameter still");
}

#[tokio::test]
async fn a_promotion_that_the_stack_does_not_allow_is_told_with_the_run_s_state() {
    let server = Server::start().await;
    server.stack("shop").await;
    let run = server.admin.post("/stacks/shop/runs", json!({"kind": "proposed"})).await.expect(201).json();
    server.runner(&run).plan_and_seal().await;
    let problem =
        server.admin.post(&format!("/runs/{}/promote", run["id"].as_str().unwrap()), json!({})).await.problem(409);
    assert!(problem["detail"].as_str().unwrap().contains("allow_promotion"), "{problem:#}");
    assert_eq!(problem["state"], "finished");
}

#[tokio::test]
async fn a_body_where_nothing_is_to_be_said_is_read_all_the_same() {
    let server = Server::start().await;
    furnish(&server).await;
    let cases = [
        ("PUT", "/stacks/shop/policies/p"),
        ("POST", "/users/alice/invite"),
        ("POST", "/webhooks/w/test"),
        ("POST", "/webhooks/w/deliveries/1/redeliver"),
        ("POST", "/master-key/rotate"),
    ];
    for (method, path) in cases {
        let problem = server.admin.send(method, path, json!({"bogus": 1})).await.problem(422);
        assert_eq!(problem["errors"][0]["field"], "bogus", "{path}: {problem:#}");
    }
    for nothing in ["", "{}", "null"] {
        server.admin.raw("PUT", "/stacks/shop/policies/p", nothing).await.expect(204);
    }
}

#[tokio::test]
async fn a_body_s_kind_is_read_whatever_its_case_and_its_size_by_the_bound_that_holds() {
    let server = Server::start().await;
    server.stack("shop").await;
    let request = server.admin.request("PUT", "/stacks/shop/lock").header("content-type", "Application/JSON");
    Reply::of(request.body("{}")).await.expect(200);
    let long = json!({"value": "x".repeat(900_000)});
    let detail = server.admin.put("/stacks/shop/environment/LONG", long.clone()).await.detail(413);
    assert!(detail.contains("802816 bytes"), "{detail}");
    assert!(server.admin.post("/stacks", long).await.detail(413).contains("65536 bytes"));
}

#[tokio::test]
async fn a_method_that_a_state_does_not_take_is_told_those_that_it_does() {
    let server = Server::start().await;
    server.stack_with("infra", json!({"vendor": {"kind": "terraform"}})).await;
    let refused = server.admin.raw("PATCH", "//state/infra", "").await.expect(405);
    assert_eq!(refused.header("allow"), "GET, POST, PUT, DELETE, LOCK, UNLOCK");
}

#[tokio::test]
async fn an_undeclared_task_is_told_in_one_sentence_what_is_declared() {
    let server = Server::start().await;
    server.stack("shop").await;
    let tasks = b"tasks:\n  report:\n    type: native\n    run: {command: date}\n";
    server.admin.upload("shop", archive(&[(".airlock/config.yaml", tasks)])).await.expect(200);
    let detail = server.admin.post("/stacks/shop/declared-tasks/nope/runs", json!({})).await.detail(404);
    assert_eq!(detail, "the source declares no task `nope`; it declares report");
}
