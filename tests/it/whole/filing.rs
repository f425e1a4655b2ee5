//! What becomes of a run's directory once the run has ended.

use serde_json::json;
use tokio::{io::AsyncReadExt as _, net::UnixStream};

use super::{gate::Gate, server::Server};

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_filed_away_when_its_runner_is_gone_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let said = dir.path().join("said");
    let gate = Gate::new().await;
    let mut server = Server::start_saying(dir.path(), &said).await;
    let settings = json!({"name": "Shop", "vendor": {"kind": "custom", "plan": gate.command("plan")}});
    let stack = server.stack(settings, &[]).await;
    let run = server.trigger(&stack, "proposed").await;
    let knock = gate.knock().await;
    // A runner whose listeners stay lives on for a while after its last record.
    let chain = server.data().join("runs").join(&run).join("1");
    let mut listener = UnixStream::connect(chain.join("control.sock")).await.unwrap();
    knock.let_on().await;
    server.until(&run, "finished").await;
    // Chores are asked for again and again meanwhile.
    for _ in 0..3 {
        let task = server.task(&stack, "true").await;
        server.until(&task, "finished").await;
    }
    let mut bells = Vec::new();
    tokio::time::timeout(std::time::Duration::from_secs(30), listener.read_to_end(&mut bells)).await.unwrap().unwrap();
    assert!(!bells.is_empty());
    let task = server.task(&stack, "true").await;
    server.until(&task, "finished").await;
    assert!(server.log(&run).await.contains("unpacked"), "the log can be read wherever it is");
    assert_eq!(server.terminate(), Some(0));
    let said = std::fs::read_to_string(said).unwrap();
    assert!(!said.contains("cannot go on") && !said.contains("cannot file"), "{said}");
}
