//! The managed state, as Terraform on a laptop uses it and as admins mend it.

use airlock::{
    domain::{Phase, Role},
    queries::RoleOnStack,
};
use serde_json::{Value, json};

use super::server::{Client, Reply, Server, id_of};

const DOOR: &str = "//state/infra";

fn state(serial: u64) -> Value {
    json!({"version": 4, "serial": serial, "lineage": "l-1", "resources": [{"type": "box"}], "outputs": {}})
}

fn lock(id: &str) -> Value {
    json!({"ID": id, "Operation": "OperationTypeApply", "Info": "", "Who": "me@laptop", "Version": "1.9.0",
        "Created": "2026-01-01T00:00:00Z", "Path": ""})
}

async fn with_state() -> Server {
    let server = Server::start().await;
    server.stack_with("infra", json!({"vendor": {"kind": "terraform"}})).await;
    server
}

/// As Terraform asks: with the token as password.
async fn basic(server: &Server, method: &str, path: &str, body: String) -> Reply {
    let request = server.anonymous().request(method, path).basic_auth("anybody", Some(server.admin.token()));
    Reply::of(request.body(body)).await
}

async fn writer(server: &Server, name: &str) -> Client {
    let slug = "infra".parse().unwrap();
    let stack = server.app.queries.stack_id(&slug).unwrap().unwrap();
    server.key(name, false, vec![RoleOnStack { stack, role: Role::Writer }]).await.1
}

#[tokio::test]
async fn terraform_locks_reads_writes_and_unlocks() {
    let server = with_state().await;
    basic(&server, "GET", DOOR, String::new()).await.expect(204);
    basic(&server, "LOCK", DOOR, lock("a").to_string()).await.expect(200);
    let written = basic(&server, "POST", &format!("{DOOR}?ID=a"), state(1).to_string()).await;
    written.expect(200);
    assert_eq!(basic(&server, "GET", DOOR, String::new()).await.expect(200).json(), state(1));
    basic(&server, "UNLOCK", DOOR, lock("a").to_string()).await.expect(200);
    basic(&server, "UNLOCK", DOOR, lock("a").to_string()).await.problem(409);
    // A bearer does as well; the same once more changes nothing.
    server.admin.post(DOOR, state(2)).await.expect(200);
    server.admin.post(DOOR, state(2)).await.expect(200);
    let versions = server.admin.all("/stacks/infra/state/versions", 1).await;
    let shown: Vec<_> = versions.iter().map(|row| (row["version"].clone(), row["serial"].clone())).collect();
    assert_eq!(shown, [(json!(2), json!(2)), (json!(1), json!(1))]);
    assert_eq!(versions[0]["resources"], 1);
    assert_eq!(versions[0]["by"], json!({"kind": "api_key", "name": "root"}));
    assert_eq!(versions[0]["run"], json!(null));
    server.admin.delete(DOOR).await.expect(200);
    server.admin.get(DOOR).await.expect(204);
    assert_eq!(server.admin.all("/stacks/infra/state/versions", 200).await.len(), 3);
}

#[tokio::test]
async fn what_is_stale_or_foreign_or_no_state_is_refused() {
    let server = with_state().await;
    server.admin.post(DOOR, state(5)).await.expect(200);
    assert!(server.admin.post(DOOR, state(4)).await.detail(409).contains("stale"));
    let mut other = state(5);
    other["outputs"] = json!({"x": 1});
    assert!(server.admin.post(DOOR, other).await.detail(409).contains("stale"));
    let foreign = json!({"version": 4, "serial": 9, "lineage": "l-2"});
    assert!(server.admin.post(DOOR, foreign).await.detail(409).contains("lineage"));
    let detail = server.admin.raw("POST", DOOR, "my secret text").await.detail(422);
    assert!(!detail.contains("secret"), "{detail}");
    assert!(server.admin.get(&format!("{DOOR}?id=x")).await.detail(422).contains("id"));
    server.admin.send("PATCH", DOOR, json!({})).await.problem(405);
    server.admin.raw("LOCK", DOOR, "{}").await.problem(422);
    let files = std::fs::read_dir(server.data().join("states")).unwrap().flatten().next().unwrap();
    assert_eq!(std::fs::read_dir(files.path()).unwrap().count(), 1);
    server.stack("shop").await;
    assert!(server.admin.get("//state/shop").await.detail(409).contains("keeps no state"));
}

#[tokio::test]
async fn a_lock_keeps_everybody_else_out_and_is_shown_to_them() {
    let server = with_state().await;
    let other = writer(&server, "other").await;
    server.admin.send("LOCK", DOOR, lock("a")).await.expect(200);
    let refused = other.send("LOCK", DOOR, lock("b")).await.expect(423);
    assert_eq!(refused.json()["ID"], "a");
    assert_eq!(refused.json()["Who"], "me@laptop");
    assert_eq!(other.post(DOOR, state(1)).await.expect(423).json()["ID"], "a");
    assert_eq!(other.post(&format!("{DOOR}?ID=b"), state(1)).await.expect(423).json()["ID"], "a");
    other.send("UNLOCK", DOOR, lock("b")).await.expect(423);
    // Without an id it is force, which takes the holder or an admin.
    other.raw("UNLOCK", DOOR, "").await.problem(403);
    server.admin.raw("UNLOCK", DOOR, "").await.expect(200);
    other.send("LOCK", DOOR, lock("b")).await.expect(200);
    // The lock of the stack concerns its state, too.
    other.send("UNLOCK", DOOR, lock("b")).await.expect(200);
    server.admin.put("/stacks/infra/lock", json!({})).await.expect(200);
    assert!(other.send("LOCK", DOOR, lock("c")).await.expect(423).json()["Info"].as_str().unwrap().contains("root"));
}

#[tokio::test]
async fn runs_and_laptops_wait_for_each_other() {
    let server = with_state().await;
    server.admin.send("LOCK", DOOR, lock("a")).await.expect(200);
    let run = server.run("infra").await;
    assert_eq!(run["state"], "queued");
    assert_eq!(run["blocked_by"], json!({"kind": "lock", "by": {"kind": "api_key", "name": "root"}}));
    // Previews plan without locking.
    let preview = server.admin.post("/stacks/infra/runs", json!({"kind": "proposed"})).await.expect(201).json();
    assert_eq!(preview["state"], "preparing");
    server.admin.send("UNLOCK", DOOR, lock("a")).await.expect(200);
    let path = format!("/runs/{}", run["id"].as_str().unwrap());
    assert_eq!(server.admin.get(&path).await.json()["state"], "preparing");
    let held = server.admin.send("LOCK", DOOR, lock("b")).await.expect(423).json();
    assert_eq!(held["ID"], run["id"]);
    server.admin.post(DOOR, state(1)).await.expect(423);
    server.admin.raw("UNLOCK", DOOR, "").await.expect(423);
    // An unconfirmed run holds no lock; a confirmed one waits for it.
    server.runner(&run).plan_and_seal().await;
    server.admin.send("LOCK", DOOR, lock("b")).await.expect(200);
    let confirmed = server.admin.post(&format!("{path}/confirm"), json!({})).await.expect(200).json();
    assert_eq!(confirmed["state"], "confirmed");
    assert_eq!(confirmed["blocked_by"]["kind"], "lock");
    server.admin.send("UNLOCK", DOOR, lock("b")).await.expect(200);
    let run = server.admin.get(&path).await.json();
    assert_eq!(run["state"], "preparing_apply");
    server.admin.send("LOCK", DOOR, lock("b")).await.expect(423);
}

#[tokio::test]
async fn a_run_that_dies_says_that_it_held_the_lock() {
    let server = with_state().await;
    let run = server.run("infra").await;
    server.runner(&run).begin(Phase::Preparing).await;
    server.admin.send("LOCK", DOOR, lock("a")).await.expect(423);
    server.app.actions.chain_lost(id_of(&run), 1).await.unwrap();
    let run = server.admin.get(&format!("/runs/{}", run["id"].as_str().unwrap())).await.json();
    assert_eq!(run["reason"], "lost; the lock of the state was released");
    assert_eq!(run["history"].as_array().unwrap().last().unwrap()["reason"], run["reason"]);
    assert_eq!(run["warnings"], json!(["the lock of the state was released"]));
    server.admin.send("LOCK", DOOR, lock("a")).await.expect(200);
    // A preview holds none.
    let preview = server.admin.post("/stacks/infra/runs", json!({"kind": "proposed"})).await.expect(201).json();
    server.runner(&preview).begin(Phase::Preparing).await;
    server.app.actions.chain_lost(id_of(&preview), 1).await.unwrap();
    let preview = server.admin.get(&format!("/runs/{}", preview["id"].as_str().unwrap())).await.json();
    assert_eq!((&preview["reason"], &preview["warnings"]), (&json!("lost"), &json!([])));
}

#[tokio::test]
async fn an_admin_rolls_back_and_imports_while_the_stack_is_locked() {
    let server = with_state().await;
    for serial in 1..=3 {
        server.admin.post(DOOR, state(serial)).await.expect(200);
    }
    let back = json!({"version": 1});
    assert!(
        server.admin.post("/stacks/infra/state/rollback", back.clone()).await.detail(409).contains("lock the stack")
    );
    server.admin.put("/stacks/infra/lock", json!({"note": "mending"})).await.expect(200);
    let roll_back = || server.admin.post_once("/stacks/infra/state/rollback", "back", back.clone());
    let version = roll_back().await.expect(201).json();
    assert_eq!(roll_back().await.expect(201).json(), version, "twice under one key is once");
    assert_eq!((&version["version"], &version["serial"]), (&json!(4), &json!(4)));
    let mut expected = state(1);
    expected["serial"] = json!(4);
    assert_eq!(server.admin.get(DOOR).await.json(), expected);
    server.admin.post("/stacks/infra/state/rollback", json!({"version": 9})).await.problem(404);
    let foreign = json!({"version": 4, "serial": 1, "lineage": "from elsewhere"});
    server.admin.put("/stacks/infra/state", foreign.clone()).await.expect(201);
    assert_eq!(server.admin.get(DOOR).await.json(), foreign);
    let other = writer(&server, "other").await;
    other.put("/stacks/infra/state", foreign.clone()).await.problem(403);
    other.post("/stacks/infra/state/rollback", back).await.problem(403);
    assert_eq!(server.admin.all("/stacks/infra/state/versions", 2).await.len(), 5);
    let (_, second) = server.key("second", true, Vec::new()).await;
    assert!(second.put("/stacks/infra/state", foreign).await.detail(409).contains("locked by root"));
}

#[tokio::test]
async fn a_state_of_several_megabytes_goes_through_and_too_much_does_not() {
    let server = with_state().await;
    let mut large = state(1);
    large["padding"] = json!("x".repeat(5_000_000));
    server.admin.post(DOOR, large.clone()).await.expect(200);
    assert!(server.admin.get(DOOR).await.expect(200).json() == large);
    server.admin.raw("POST", DOOR, vec![b'x'; 100_000_001]).await.problem(413);
}

/// Terraform on somebody's machine, with the state here.
async fn terraform(server: &Server, dir: &std::path::Path, arguments: &[&str]) -> (bool, String) {
    let address = format!("{}/state/infra", server.url);
    let output = tokio::process::Command::new("terraform")
        .args(arguments)
        .current_dir(dir)
        .env("TF_HTTP_ADDRESS", &address)
        .env("TF_HTTP_LOCK_ADDRESS", &address)
        .env("TF_HTTP_UNLOCK_ADDRESS", &address)
        .env("TF_HTTP_USERNAME", "me")
        .env("TF_HTTP_PASSWORD", server.admin.token())
        .env("TF_IN_AUTOMATION", "1")
        .env("CHECKPOINT_DISABLE", "1")
        .stdin(std::process::Stdio::null())
        .output()
        .await
        .expect("this test needs `terraform` on the PATH");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[tokio::test]
async fn terraform_itself_keeps_its_state_here() {
    let server = with_state().await;
    let dir = tempfile::tempdir().unwrap();
    let program = r#"
        terraform { 
          backend "http" { 
            lock_method   = "LOCK"
            unlock_method = "UNLOCK"
          }
        }
        resource "terraform_data" "box" { input = "first" }
    "#;
    std::fs::write(dir.path().join("main.tf"), program).unwrap();
    let init = terraform(&server, dir.path(), &["init", "-no-color"]).await;
    assert!(init.0, "{}", init.1);
    let apply = ["apply", "-auto-approve", "-no-color", "-input=false"];
    let applied = terraform(&server, dir.path(), &apply).await;
    assert!(applied.0, "{}", applied.1);
    let versions = server.admin.all("/stacks/infra/state/versions", 50).await;
    assert_eq!(versions[0]["resources"], 1);
    let verbs: Vec<Value> = server.admin.all("/audit?object=stack:infra", 50).await;
    let of = |verb| verbs.iter().filter(|row| row["verb"] == verb && row["outcome"] == "done").count();
    assert!(of("state.lock") > 0 && of("state.lock") == of("state.unlock"));
    // A run that works keeps the laptop out, and Terraform says who it is.
    let run = server.run("infra").await;
    let refused = terraform(&server, dir.path(), &apply).await;
    assert!(!refused.0);
    assert!(refused.1.contains(run["id"].as_str().unwrap()), "{}", refused.1);
}
