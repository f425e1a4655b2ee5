//! A real server that is killed while others check.

use serde_json::json;

use super::service::{KEY, Service};
use crate::whole::{rig::assert_nothing_held, server::Server};

async fn gated(server: &Server, service: &Service) -> String {
    let vendor = json!({"kind": "custom", "plan": "exit 2", "apply": "echo applied"});
    let stack = server.stack(json!({"name": "Shop", "vendor": vendor}), &[]).await;
    let task = json!({"name": "check", "url": service.url, "hmac_key": KEY});
    server.post("run-tasks", task).await;
    let attach = json!({"run_task": "check", "stages": ["post_plan"], "enforcement": "mandatory"});
    server.post(&format!("stacks/{stack}/run-tasks"), attach).await;
    stack
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_not_accepted_comes_again_with_the_same_id_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::new().await;
    let mut server = Server::start(dir.path()).await;
    let stack = gated(&server, &service).await;
    service.holds(true);
    let run = server.trigger(&stack, "tracked").await;
    let first = service.called().await;
    // The request is in the service's hands, and the server dies before it has an answer.
    server.kill();
    service.holds(false);
    let server = server.killed_and_restarted().await;
    let again = service.called().await;
    assert_eq!(first.text("task_result_id"), again.text("task_result_id"));
    assert_eq!(first.token(), again.token());
    assert_eq!(again.says("passed", "").await, 200);
    server.until(&run, "unconfirmed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_counts_once_or_can_be_sent_again_however_the_server_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::new().await;
    let mut server = Server::start(dir.path()).await;
    let stack = gated(&server, &service).await;
    for _ in 0..3 {
        let run = server.trigger(&stack, "tracked").await;
        // A request whose answer a killed server did not write down comes once more.
        let call = loop {
            let call = service.called().await;
            if call.text("run_id").replace('-', "_") == run {
                break std::sync::Arc::new(call);
            }
        };
        server.until(&run, "checking").await;
        let calling = std::sync::Arc::clone(&call);
        let back = tokio::spawn(async move { calling.tries("passed").await });
        server = server.killed_and_restarted().await;
        let accepted = back.await.unwrap();
        let again = call.at(server.url()).says("passed", "").await;
        assert!(again == 422 || (again == 200 && accepted != Some(200)), "{accepted:?}, then {again}");
        server.until(&run, "unconfirmed").await;
        server.post(&format!("runs/{run}/discard"), json!({})).await;
    }
    assert_eq!(server.terminate(), Some(0));
    assert_nothing_held(server.data(), 0);
}
