//! Task policies: nothing is created that one of them denies, whichever door it comes through.

use airlock::{domain::Role, queries::RoleOnStack};
use serde_json::{Value, json};

use crate::{
    pages::rig::{Site, custom},
    server::{Reply, Server},
    whole::server::Server as Process,
};

const NO_RM: &str = r#"package spacelift

deny[msg] {
  contains(input.request.command, "rm ")
  msg := sprintf("%s: nothing is removed here", [input.session.login])
}
"#;

async fn guarded(server: &Server, body: &str) {
    server.stack("shop").await;
    save(server, "no-rm", body).await.expect(201);
    server.admin.put("/stacks/shop/policies/no-rm", Value::Null).await.expect(204);
}

async fn save(server: &Server, name: &str, body: &str) -> Reply {
    server.admin.post("/policies", json!({"name": name, "kind": "task", "body": body})).await
}

async fn runs(server: &Server) -> usize {
    server.admin.get("/runs").await.expect(200).json()["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_denied_task_is_not_created_over_the_api_and_the_refusal_is_in_the_audit_log() {
    let server = Server::start().await;
    guarded(&server, NO_RM).await;
    let refused = server.admin.post("/stacks/shop/tasks", json!({"command": "rm -rf /"})).await.expect(403).json();
    assert_eq!(refused["type"], "forbidden");
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("root: nothing is removed here (policy `no-rm`)"), "{detail}");
    assert_eq!(runs(&server).await, 0);
    let audit = server.admin.get("/audit?verb=task.perform").await.expect(200).json();
    assert_eq!(audit["items"][0]["outcome"], "refused", "{audit}");
    assert!(audit["items"][0]["detail"].as_str().unwrap().contains("nothing is removed"), "{audit}");
}

#[tokio::test]
async fn an_allowed_task_says_which_policies_allowed_it() {
    let server = Server::start().await;
    guarded(&server, NO_RM).await;
    let run = server.admin.post("/stacks/shop/tasks", json!({"command": "ls"})).await.expect(201).json();
    assert_eq!(run["policies"], json!([{"name": "no-rm", "kind": "task", "decision": "allow", "messages": []}]));
    server.admin.delete("/stacks/shop/policies/no-rm").await.expect(204);
    let run = server.admin.post("/stacks/shop/tasks", json!({"command": "rm x"})).await.expect(201).json();
    assert_eq!(run["policies"], json!([]));
}

#[tokio::test]
async fn a_label_attaches_and_only_the_label_takes_off() {
    let server = Server::start().await;
    server.stack_with("shop", json!({"vendor": {"kind": "custom"}, "labels": ["prod"]})).await;
    server.stack("dns").await;
    let policy = json!({"name": "no-rm", "kind": "task", "body": NO_RM, "labels": ["autoattach:prod"]});
    let saved = server.admin.post("/policies", policy).await.expect(201).json();
    assert_eq!(saved["attached_by_label"], json!(["shop"]));
    let task = json!({"command": "rm x"});
    server.admin.post("/stacks/shop/tasks", task.clone()).await.expect(403);
    server.admin.post("/stacks/dns/tasks", task.clone()).await.expect(201);
    server.admin.delete("/stacks/shop/policies/no-rm").await.expect(409);
    server.admin.patch("/policies/no-rm", json!({"labels": ["autoattach:*"]})).await.expect(200);
    server.admin.post("/stacks/dns/tasks", task).await.expect(403);
}

#[tokio::test]
async fn a_broken_or_endless_policy_denies_within_its_bound_and_shows_why() {
    let server = Server::start().await;
    guarded(&server, "package x\nimport rego.v1\ndeny contains \"x\" if time.now_ns() == 0\n").await;
    let task = json!({"command": "ls"});
    let refused = server.admin.post("/stacks/shop/tasks", task.clone()).await.expect(403).json();
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("the policy `no-rm` cannot be evaluated: line 3"), "{detail}");
    assert!(detail.contains("policies have no clock"), "{detail}");
    let endless = "package x\nimport rego.v1\ndeny contains \"x\" if {\n  some a in numbers.range(1, 30000)\n  \
                   some b in numbers.range(1, 30000)\n  a + b == 0\n}\n";
    server.admin.patch("/policies/no-rm", json!({"body": endless})).await.expect(200);
    let began = std::time::Instant::now();
    let refused = server.admin.post("/stacks/shop/tasks", task).await.expect(403).json();
    assert!(refused["detail"].as_str().unwrap().contains("longer than 5 s"), "{refused}");
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_is_no_policy_is_not_saved_and_the_place_is_told() {
    let server = Server::start().await;
    let refused = save(&server, "broken", "package x\n\ndeny[msg] {\n  msg := \n}\n").await.expect(422).json();
    assert_eq!(refused["errors"][0]["field"], "body");
    assert!(refused["errors"][0]["error"].as_str().unwrap().starts_with("line "), "{refused}");
    let refused = save(&server, "idle", "package x\nallow { true }\n").await.expect(422).json();
    assert!(refused["detail"].as_str().unwrap().contains("needs one of the rules `deny`"), "{refused}");
    assert_eq!(server.admin.get("/policies").await.expect(200).json()["items"], json!([]));
}

#[tokio::test]
async fn what_was_asked_can_be_asked_again_of_an_edited_policy() {
    let server = Server::start().await;
    guarded(&server, NO_RM).await;
    server.admin.post("/stacks/shop/tasks", json!({"command": "rm x"})).await.expect(403);
    let samples = server.admin.get("/policies/no-rm/samples").await.expect(200).json();
    let sample = &samples["items"][0];
    assert_eq!((&sample["decision"], &sample["stack"]), (&json!("deny"), &json!("shop")));
    assert_eq!(sample["input"]["request"]["command"], "rm x");
    assert_eq!(sample["input"]["stack"]["id"], "shop");
    let body = NO_RM.replace("rm ", "rmdir ");
    let tried = json!({"input": sample["input"], "body": body});
    let said = server.admin.post("/policies/no-rm/evaluate", tried).await.expect(200).json();
    assert_eq!(said["decision"], "allow", "{said}");
    let said =
        server.admin.post("/policies/no-rm/evaluate", json!({"input": sample["input"]})).await.expect(200).json();
    assert_eq!(said["decision"], "deny");
    assert_eq!(said["origins"][0]["line"], 3, "{said}");
    let broken = json!({"input": {}, "body": "package x\ndeny["});
    let said = server.admin.post("/policies/no-rm/evaluate", broken).await.expect(200).json();
    assert_eq!(said["decision"], "error");
    assert!(said["error"]["line"].is_u64(), "{said}");
}

#[tokio::test]
async fn a_retry_asks_again() {
    let server = Server::start().await;
    server.stack("shop").await;
    let stack = server.app.queries.stack_id(&"shop".parse().unwrap()).unwrap().unwrap();
    let role = RoleOnStack { stack, role: Role::Writer };
    let (_, writer) = server.key("will", false, vec![role]).await;
    // While somebody else holds the lock it stays queued, and can be canceled.
    server.admin.put("/stacks/shop/lock", json!({})).await.expect(200);
    let run = writer.post("/stacks/shop/tasks", json!({"command": "rm x"})).await.expect(201).json();
    let path = format!("/runs/{}", run["id"].as_str().unwrap());
    writer.post(&format!("{path}/cancel"), json!({})).await.expect(200);
    save(&server, "no-rm", NO_RM).await.expect(201);
    server.admin.put("/stacks/shop/policies/no-rm", Value::Null).await.expect(204);
    let refused = writer.post(&format!("{path}/retry"), json!({})).await.expect(403).json();
    assert!(refused["detail"].as_str().unwrap().contains("will: nothing is removed"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_task_comes_back_in_its_form_with_what_was_typed() {
    let site = Site::new().await;
    site.stack(custom("Shop")).await;
    let admin = site.admin().await;
    let fields = [("do", "create"), ("name", "no-rm"), ("kind", "task"), ("labels", "autoattach:*"), ("body", NO_RM)];
    let saved = admin.post_and_follow("/admin/policies/new", &fields).await;
    assert!(saved.words(".flash").contains("no-rm is saved"), "{}", saved.words(".flash"));
    for path in ["/tasks", "/stacks/shop/tasks"] {
        let task = [("do", "perform"), ("stack", "shop"), ("command", "rm -rf x"), ("initialize", "on")];
        let page = admin.post(path, &task).await;
        assert_eq!(page.status, 403, "{path}");
        assert!(page.words(".problems").contains("nothing is removed here"), "{path}: {}", page.words(".problems"));
        assert!(page.text.contains("rm -rf x"), "{path} keeps the command");
    }
    assert!(admin.get("/tasks").await.words("main").contains("No tasks yet"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_task_is_refused_in_the_terminal_with_the_policys_words_and_is_on_record() {
    let dir = tempfile::tempdir().unwrap();
    let server = Process::start(dir.path()).await;
    server.stack(custom("Shop"), &[]).await;
    let policy = json!({"name": "no-rm", "kind": "task", "body": NO_RM, "labels": ["autoattach:*"]});
    server.post("policies", policy).await;
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_airlock"));
    command.args(["task", "perform", "shop", "--", "rm", "-rf", "x"]);
    let ran = command.env("AIRLOCK_URL", server.url()).env("AIRLOCK_TOKEN", server.token()).output().await.unwrap();
    let said = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(3), "{said}");
    assert!(said.contains("admin: nothing is removed here (policy `no-rm`)"), "{said}");
    assert_eq!(server.get("runs").await["items"], json!([]));
    let audit = server.get("audit?verb=task.perform").await;
    assert_eq!(audit["items"][0]["outcome"], "refused", "{audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_task_is_asked_about_too() {
    let dir = tempfile::tempdir().unwrap();
    let server = Process::start(dir.path()).await;
    let config = "tasks:\n  greet:\n    type: native\n    run: {command: 'echo hello'}\n";
    server.stack(json!({"name": "Shop", "vendor": {"kind": "custom"}}), &[(".airlock/config.yaml", config)]).await;
    let body = "package x\nimport rego.v1\ndeny contains \"not by hand\" if input.request.declared_task == \"greet\"\n";
    let policy = json!({"name": "greet", "kind": "task", "body": body, "labels": ["autoattach:*"]});
    server.post("policies", policy).await;
    let path = "/projects/shop/environments/main/tasks/greet/run";
    let (status, text) = server.raw(None, "POST", path, Some(json!({}))).await;
    assert_eq!(status, 403, "{text}");
    assert!(text.contains("not by hand"), "{text}");
    let path = "/api/v1/stacks/shop/declared-tasks/greet/runs";
    let (status, text) = server.raw(None, "POST", path, Some(json!({}))).await;
    assert_eq!(status, 403, "{text}");
}
