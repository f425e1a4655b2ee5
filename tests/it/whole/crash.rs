//! Killing a real server, with and without its runners.

use std::{
    fs,
    path::{Path, PathBuf},
};

use airlock::{app::App, auth::Who, domain::State};
use serde_json::json;
use tokio::net::TcpStream;

use super::{
    gate::Gate,
    rig::{PATIENCE, assert_nothing_held, config, files_with},
    server::{Server, kill_runners},
    terraform::needs_terraform,
};

fn custom(gate: &Gate) -> serde_json::Value {
    json!({
        "name": "Shop",
        "vendor": {
            "kind": "custom",
            "init": gate.command("init"),
            "plan": format!("{}; exit 2", gate.command("plan")),
            "apply": format!("echo before; {}; echo between; {}; echo after", gate.command("apply"), gate.command("late"))
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_goes_on_while_the_server_is_dead_and_is_done_once() {
    let dir = tempfile::tempdir().unwrap();
    let gate = Gate::new().await;
    let mut server = Server::start(dir.path()).await;
    let stack = server.stack(custom(&gate), &[]).await;
    let run = server.trigger(&stack, "tracked").await;
    for phase in ["init", "plan"] {
        let knock = gate.knock().await;
        assert_eq!(knock.name, phase);
        server = server.killed_and_restarted().await;
        knock.let_on().await;
    }
    server.until(&run, "unconfirmed").await;
    server = server.killed_and_restarted().await;
    server.post(&format!("runs/{run}/confirm"), json!({})).await;
    let knock = gate.knock().await;
    assert_eq!(knock.name, "apply");
    server.kill();
    knock.let_on().await;
    // The server is dead, and the apply goes on to its end.
    let late = gate.knock().await;
    assert_eq!(late.name, "late");
    late.let_on().await;

    let mut server = server.killed_and_restarted().await;
    let ended = server.until(&run, "finished").await;
    let phases: Vec<_> = ended["phases"].as_array().unwrap().iter().map(|phase| phase["name"].clone()).collect();
    assert_eq!(phases, ["preparing", "initializing", "planning", "preparing_apply", "applying"]);
    let log = server.log(&run).await;
    assert!(log.ends_with("before\nbetween\nafter\n"), "{log}");
    assert_eq!(server.terminate(), Some(0));
    assert_nothing_held(server.data(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn terraform_writes_its_state_while_the_server_is_dead() {
    needs_terraform();
    let dir = tempfile::tempdir().unwrap();
    let gate = Gate::new().await;
    let main = format!(
        r#"
resource "terraform_data" "first" {{
  input = "a-value-of-the-state"
}}
resource "terraform_data" "slow" {{
  depends_on = [terraform_data.first]
  provisioner "local-exec" {{
    command = "{}"
  }}
}}
resource "terraform_data" "last" {{
  depends_on = [terraform_data.slow]
}}
"#,
        gate.command("apply")
    );
    let mut server = Server::start(dir.path()).await;
    let settings = json!({"name": "Shop", "vendor": {"kind": "terraform"}, "autodeploy": true});
    let stack = server.stack(settings, &[("main.tf", &main)]).await;
    let run = server.trigger(&stack, "tracked").await;
    let knock = gate.knock().await;
    server.kill();
    knock.let_on().await;

    let mut server = server.killed_and_restarted().await;
    server.until(&run, "finished").await;
    let log = server.log(&run).await;
    assert_eq!(log.matches("3 added, 0 changed, 0 destroyed").count(), 1, "{log}");
    let versions = server.get(&format!("stacks/{stack}/state/versions")).await;
    assert_eq!(versions["items"][0]["resources"], 3, "{versions:#}");
    let again = server.trigger(&stack, "tracked").await;
    assert_eq!(server.until(&again, "finished").await["reason"], "nothing to change");
    assert_eq!(server.terminate(), Some(0));
    assert_nothing_held(server.data(), 0);
    assert_eq!(files_with(&server.data().join("states"), "a-value-of-the-state").len(), 0);
}

/// The workspaces that lie in clear below `runs/RUN/CHAIN`.
fn open_workspaces(data: &Path) -> Vec<PathBuf> {
    let within = |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    within(data.join("runs")).flat_map(within).map(|chain| chain.join("tree")).filter(|tree| tree.exists()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_server_and_runner_in_an_apply_asks_a_question_and_holds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let gate = Gate::new().await;
    let mut server = Server::start(dir.path()).await;
    let stack = server.stack(custom(&gate), &[]).await;
    let run = server.trigger(&stack, "tracked").await;
    for _ in ["init", "plan"] {
        gate.knock().await.let_on().await;
    }
    server.until(&run, "unconfirmed").await;
    server.post(&format!("runs/{run}/confirm"), json!({})).await;
    let knock = gate.knock().await;
    assert!(!open_workspaces(server.data()).is_empty(), "the control: an apply has its workspace");
    server.kill();
    kill_runners(server.data());
    // Whatever the apply had started is dead, too.
    knock.gone().await;

    let mut server = server.killed_and_restarted().await;
    let lost = server.until(&run, "failed").await;
    assert_eq!(open_workspaces(server.data()), Vec::<PathBuf>::new());
    assert_eq!(lost["reason"], "lost: what it changed is unknown");
    assert_eq!(server.get(&format!("stacks/{stack}")).await["group"], "needs_attention");
    server.post(&format!("runs/{run}/acknowledge"), json!({"note": "looked at it"})).await;
    let next = server.task(&stack, "echo works").await;
    server.until(&next, "finished").await;
    assert_eq!(server.terminate(), Some(0));
    assert_nothing_held(server.data(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_asked_to_end_leaves_its_runners_alone() {
    let dir = tempfile::tempdir().unwrap();
    let gate = Gate::new().await;
    let mut server = Server::start(dir.path()).await;
    let stack = server.stack(json!({"name": "Shop", "vendor": {"kind": "custom"}}), &[]).await;
    let run = server.task(&stack, &format!("{}; echo done", gate.command("task"))).await;
    let knock = gate.knock().await;
    assert_eq!(server.terminate(), Some(0));
    knock.let_on().await;
    let server = server.killed_and_restarted().await;
    server.until(&run, "finished").await;
    assert!(server.log(&run).await.ends_with("\ndone\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_asked_to_end_takes_over_what_ends_in_time_and_starts_nothing_new() {
    let dir = tempfile::tempdir().unwrap();
    let gate = Gate::new().await;
    let mut server = Server::start_with(dir.path(), &[("AIRLOCK_DRAIN_SECONDS", "60")]).await;
    let stack = server.stack(json!({"name": "Shop", "vendor": {"kind": "custom"}}), &[]).await;
    let first = server.task(&stack, &gate.command("first")).await;
    let next = server.task(&stack, &gate.command("next")).await;
    let knock = gate.knock().await;
    server.ask_to_end();
    let address = server.url().trim_start_matches("http://").to_owned();
    let deaf = async { while TcpStream::connect(&address).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, deaf).await.expect("it listens no more");
    knock.let_on().await;
    assert_eq!(server.ended(), Some(0));
    let state = |run: &str| {
        let app = App::open(config(dir.path(), |_| {})).unwrap();
        app.queries.run(&Who::system(), run.parse().unwrap()).unwrap().state
    };
    assert_eq!(state(&first), State::Finished);
    assert!(!state(&next).is_terminal() && !server.data().join("runs").join(&next).exists());
    let server = server.killed_and_restarted().await;
    gate.knock().await.let_on().await;
    server.until(&next, "finished").await;
}
