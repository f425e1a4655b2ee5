//! HashiCorp's own Python client against `/api/v2`.

use std::{path::PathBuf, process::Command};

use serde_json::json;

use super::outside::Outside;
use crate::whole::server::Server;

/// The interpreter of an environment that holds the client; made once, below the target directory.
fn python() -> PathBuf {
    let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("pytfe");
    let python = home.join("bin/python");
    let works = |python: &PathBuf| {
        Command::new(python).args(["-c", "import pytfe"]).output().is_ok_and(|done| done.status.success())
    };
    if works(&python) {
        return python;
    }
    let run = |command: &mut Command| {
        let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; install python3 with venv"));
        assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    };
    run(Command::new("python3").args(["-m", "venv"]).arg(&home));
    run(Command::new(home.join("bin/pip")).args(["install", "--quiet", "pytfe==1.5.0"]));
    assert!(works(&python), "the client is installed and cannot be imported");
    python
}

/// A plan that changes something.
const PLAN: &str = r#"printf '[{"address":"a.b","type":"a","action":"create","before":null,"after":{}}]' > "$AIRLOCK_PLAN_FILE"; exit 2"#;

const SCRIPT: &str = r#"
import json, sys
from pytfe import TFEClient, TFEConfig
from pytfe.errors import NotFound, TFEError
from pytfe.models import RunTask, RunTaskCreateOptions, RunTaskUpdateOptions, RunTaskRequest
from pytfe.models import TaskStageIncludeOpt, TaskStageReadOptions
from pytfe.models import WorkspaceRunTaskCreateOptions, WorkspaceRunTaskUpdateOptions

address, token, url, workspace, run = sys.argv[1:6]
client = TFEClient(TFEConfig(address=address, token=token, max_retries=0, http2=False))

task = client.run_tasks.create("airlock", RunTaskCreateOptions(
    name="cost-check", url=url, category="task", hmac_key="signing-key", description="größer ✓"))
assert task.id.startswith("task-") and task.name == "cost-check" and task.enabled, task
assert task.hmac_key is None and task.description == "größer ✓", task
assert [t.id for t in client.run_tasks.list("airlock")] == [task.id]
assert client.run_tasks.read(task.id).url == url
updated = client.run_tasks.update(task.id, RunTaskUpdateOptions(name="cost_check-2", hmac_key="another", enabled=False))
assert updated.name == "cost_check-2" and updated.enabled is False, updated
client.run_tasks.update(task.id, RunTaskUpdateOptions(enabled=True))

attached = client.workspace_run_tasks.create(workspace, WorkspaceRunTaskCreateOptions(
    enforcement_level="mandatory", run_task=RunTask.model_construct(id=task.id), stages=["post_plan"]))
assert attached.enforcement_level == "mandatory" and attached.stages == ["post_plan"], attached
assert attached.run_task.id == task.id
changed = client.workspace_run_tasks.update(workspace, attached.id, WorkspaceRunTaskUpdateOptions(
    enforcement_level="advisory", stages=["pre_plan", "post_plan"]))
assert [s.value for s in changed.stages] == ["pre_plan", "post_plan"], changed
assert [a.id for a in client.workspace_run_tasks.list(workspace)] == [attached.id]
assert client.workspace_run_tasks.read(workspace, attached.id).id == attached.id
try:
    client.run_tasks.delete(task.id)
    raise SystemExit("an attached run task was deleted")
except TFEError as error:
    assert "shop" in str(error), error
client.workspace_run_tasks.delete(workspace, attached.id)
client.run_tasks.delete(task.id)
try:
    client.run_tasks.read(task.id)
    raise SystemExit("a deleted run task is still there")
except NotFound:
    pass
for payload in json.load(sys.stdin):
    request = RunTaskRequest.model_validate(payload)
assert request.stage == "post_plan" and request.organization_name == "airlock", request

[stage] = client.task_stages.list(run)
assert stage.stage == "post_plan" and stage.status == "passed" and stage.status_timestamps.passed_at, stage
stage = client.task_stages.read(stage.id, TaskStageReadOptions(include=list(TaskStageIncludeOpt)))
assert stage.run.id == run and stage.run.status == "planned" and not stage.actions.is_overridable, stage
[result] = stage.task_results
assert result.status == "passed" and result.message == "größer ✓", result
result = client.task_results.read(result.id)
assert result.id == request.task_result_id and result.task_name == "probe", result
assert result.task_stage.id == stage.id and result.workspace_task_enforcement_level == "mandatory", result
print("done")
"#;

#[tokio::test(flavor = "multi_thread")]
async fn hashicorps_client_makes_attaches_and_removes_a_run_task() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &[("AIRLOCK_OUTBOUND_ALLOW", "127.0.0.1")]).await;
    server.stack(json!({"name": "Shop", "vendor": {"kind": "custom", "plan": PLAN}}), &[("a", "b")]).await;
    let mut outside = Outside::open().await;
    let probe = json!({"name": "probe", "url": format!("{}/probe", outside.url)});
    server.post("run-tasks", probe).await;
    let verification = outside.next().await.json();
    let attach = json!({"run_task": "probe", "enforcement": "mandatory"});
    let attached = server.post("stacks/shop/run-tasks", attach).await["id"].as_str().unwrap().to_owned();
    let run = server.trigger("shop", "tracked").await;
    let call = outside.next().await.json();
    let passed = json!({"data": {"type": "task-results", "attributes": {"status": "passed", "message": "größer ✓"}}});
    let (callback, token) = (call["task_result_callback_url"].as_str().unwrap(), call["access_token"].as_str());
    assert_eq!(server.raw(token, "PATCH", callback, Some(passed)).await.0, 200);
    server.until(&run, "unconfirmed").await;
    server.raw(None, "DELETE", &format!("/api/v1/stacks/shop/run-tasks/{attached}"), None).await;
    let (status, text) = server.raw(None, "DELETE", "/api/v1/run-tasks/probe", None).await;
    assert_eq!(status, 204, "{text}");

    let script = dir.path().join("client.py");
    std::fs::write(&script, SCRIPT).unwrap();
    let (url, base, token) = (format!("{}/check", outside.url), server.base().to_owned(), server.token().to_owned());
    let done = tokio::task::spawn_blocking(move || {
        use std::io::Write as _;
        let mut child = Command::new(python())
            .arg(script)
            .args([&base, &token, &url, "shop", &run.replace('_', "-")])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(json!([verification, call]).to_string().as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    });
    let done = done.await.unwrap();
    let (said, wrong) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && said.trim() == "done", "{said}\n{wrong}");
}
