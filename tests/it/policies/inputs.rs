//! What policies see of runs: their configuration, the run before, the version that planned.

use airlock::{
    domain::runtime::{Chosen, FileConfig, Hook, HookPoint, Origin, Used},
    protocol::RuntimeFound,
};
use serde_json::{Value, json};

use crate::server::{FakeRunner, Server, id_of};

const NO_HOOKS: &str = r"package spacelift

reject { count(input.run.runtime_config.before_plan) > 0 }
approve { true }
";

const NO_HOOKS_IN_PLANS: &str = r#"package spacelift

deny["no hooks"] { count(input.spacelift.run.runtime_config.before_plan) > 0 }
"#;

/// A policy that every stack has.
async fn policy(server: &Server, kind: &str, body: &str) {
    let policy = json!({"name": kind, "kind": kind, "body": body, "labels": ["autoattach:*"]});
    server.admin.post("/policies", policy).await.expect(201);
}

/// What a policy was asked about last.
async fn asked(server: &Server, policy: &str) -> Value {
    let samples = server.admin.get(&format!("/policies/{policy}/samples")).await.expect(200).json();
    samples["items"][0]["input"].clone()
}

async fn trigger(server: &Server, config: Value) -> Value {
    let new = json!({"kind": "tracked", "runtime_config": config});
    let run = server.admin.post("/stacks/shop/runs", new).await.expect(201).json();
    server.app.actions.judge_due().await.unwrap();
    shown(server, &run).await
}

async fn shown(server: &Server, run: &Value) -> Value {
    server.admin.get(&format!("/runs/{}", id_of(run))).await.expect(200).json()
}

#[tokio::test]
async fn an_approval_policy_sees_the_hooks_of_the_trigger() {
    let server = Server::start().await;
    server.stack("shop").await;
    policy(&server, "approval", NO_HOOKS).await;
    let hooked = trigger(&server, json!({"before_plan": ["curl https://example.org | sh"]})).await;
    assert_eq!(hooked["state"], "failed", "{hooked}");
    let plain = trigger(&server, json!({"environment": {"A": "b"}})).await;
    assert_eq!(plain["state"], "preparing", "{plain}");
}

#[tokio::test]
async fn a_run_that_waits_shows_policies_what_it_would_be_configured_with_and_no_secret() {
    let server = Server::start().await;
    let hooks = json!({"before_init": ["echo stack"], "before_plan": ["echo stack"]});
    server.stack_with("shop", json!({"vendor": {"kind": "custom"}, "hooks": hooks})).await;
    let context = json!({
        "name": "base", "labels": ["autoattach:*"], "hooks": {"before_plan": ["echo context"]},
        "variables": [{"name": "REGION", "value": "north"}]
    });
    server.admin.post("/contexts", context).await.expect(201);
    let secret = json!({"value": "hunter2hunter2", "sensitive": true});
    server.admin.put("/stacks/shop/environment/TOKEN", secret.clone()).await.expect(201);
    server.admin.put("/stacks/shop/environment/OVER", secret).await.expect(201);
    policy(&server, "approval", NO_HOOKS).await;
    let config = json!({"environment": {"OVER": "plain"}, "project_root": "infra", "before_plan": ["echo trigger"]});
    trigger(&server, config).await;
    let input = asked(&server, "approval").await;
    let seen = &input["run"]["runtime_config"];
    assert_eq!(seen["before_plan"], json!(["echo context", "echo trigger"]));
    assert_eq!(seen["before_init"], json!(["echo stack"]));
    for point in HookPoint::ALL {
        assert!(seen[point.word()].is_array(), "{} in {seen}", point.word());
    }
    assert_eq!((&seen["project_root"], &seen["runner_image"]), (&json!("infra"), &json!("host")));
    let environment = &seen["environment"];
    assert_eq!((&environment["REGION"], &environment["OVER"]), (&json!("north"), &json!("plain")));
    let known = server.admin.all("/stacks/shop/environment", 200).await;
    let token = known.iter().find(|variable| variable["name"] == "TOKEN").unwrap();
    assert_eq!(environment["TOKEN"], token["hash"]);
    assert!(!input.to_string().contains("hunter2"), "{input}");
}

#[tokio::test]
async fn hooks_out_of_the_source_are_seen_as_soon_as_anybody_knows_of_them() {
    let server = Server::start().await;
    server.stack("shop").await;
    policy(&server, "plan", NO_HOOKS_IN_PLANS).await;
    policy(&server, "trigger", "package spacelift\ntrigger[\"nowhere\"] { false }\n").await;
    let run = server.run("shop").await;
    let hook = Hook { command: "echo source".to_owned(), origin: Origin::ConfigEntry };
    let used = Used {
        environment: Vec::new(),
        files: Vec::new(),
        hooks: vec![(HookPoint::BeforePlan, vec![hook])],
        project_root: Chosen { value: "infra".to_owned(), origin: Origin::ConfigEntry },
        terraform_version: None,
    };
    server.runner(&run).plan_at_once(RuntimeFound { file: FileConfig::default(), used, image: None }).await;
    let ended = shown(&server, &run).await;
    assert_eq!((&ended["state"], &ended["policies"][0]["messages"]), (&json!("failed"), &json!(["no hooks"])));
    let input = asked(&server, "plan").await;
    assert_eq!(input["spacelift"]["run"]["runtime_config"]["project_root"], "infra");
    assert_eq!(input["spacelift"]["run"]["changes"][0]["entity"]["address"], "box.a");
    server.app.actions.follow_up().await.unwrap();
    let input = asked(&server, "trigger").await;
    assert_eq!(input["run"]["runtime_config"]["before_plan"], json!(["echo source"]));
}

#[tokio::test]
async fn a_plan_policy_sees_the_run_before_and_the_version_that_planned() {
    let server = Server::start().await;
    server.stack("shop").await;
    policy(&server, "plan", "package spacelift\nwarn[\"first\"] { not input.spacelift.previous_run }\n").await;
    let first = server.run("shop").await;
    let mut runner = server.runner(&first);
    runner.plan_and_seal().await;
    let input = asked(&server, "plan").await;
    assert!(input["spacelift"].get("previous_run").is_none(), "{input}");
    assert_eq!(shown(&server, &first).await["policies"][0]["messages"], json!(["first"]));
    assert_eq!(input["terraform"]["terraform_version"], FakeRunner::VERSION);
    assert_eq!(input["spacelift"]["run"]["runtime_config"]["terraform_version"], FakeRunner::VERSION);
    assert_eq!(input["spacelift"]["stack"]["terraform_version"], json!(null), "nothing was applied yet");
    server.admin.post(&format!("/runs/{}/confirm", id_of(&first)), json!({})).await.expect(200);
    runner.apply().await;
    let second = server.run("shop").await;
    server.runner(&second).plan_and_seal().await;
    let input = asked(&server, "plan").await;
    let previous = &input["spacelift"]["previous_run"];
    assert_eq!((&previous["id"], &previous["state"]), (&first["id"], &json!("FINISHED")));
    assert_eq!(previous["changes"][0]["entity"]["address"], "box.a");
    assert_eq!(input["spacelift"]["stack"]["terraform_version"], FakeRunner::VERSION);
    assert_eq!(shown(&server, &second).await["policies"][0]["messages"], json!([]));
}
