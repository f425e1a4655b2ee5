//! Airlock as a run task of others: a caller that this test plays.

use airlock::crypt::{Secret, signature};
use serde_json::{Value, json};

use super::outside::Outside;
use crate::whole::server::Server;

pub const KEY: &str = "a key for run tasks";

pub const TASKS: &str = r#"
tasks:
  judge:
    type: wasi:guard
    run: {command: '--forbid delete', timeout: 60}
    airlock: {run_task: {hmac_secret: HMAC}}
  say:
    type: native
    run: {command: 'cat; echo; echo "one line"; echo "ünïcode is fine ✓"', timeout: 60}
    airlock: {run_task: {hmac_secret: HMAC}}
  bad:
    type: native
    run: {command: 'echo "not good"; echo "beside the point" >&2; exit 3', timeout: 60}
    airlock: {run_task: {hmac_secret: HMAC}}
  finds:
    type: native
    run: {command: 'cat > /output/outcomes.json < "found.json"; echo found; exit 1', timeout: 60}
    airlock: {run_task: {hmac_secret: HMAC}}
  muddles:
    type: native
    run: {command: 'echo "[nonsense" > /output/outcomes.json; echo fine', timeout: 60}
    airlock: {run_task: {hmac_secret: HMAC}}
  repeats:
    type: native
    run:
      timeout: 60
      command: |
        token=$(tr -d ' \n' | grep -o 'access_token":"[^"]*' | cut -d'"' -f3)
        sed "s/native/$token/" found.json > /output/outcomes.json
        test -n "$token" && echo repeated
    airlock: {run_task: {hmac_secret: HMAC}}
  closed:
    type: native
    run: {command: 'true'}
"#;

/// As services write it that do not read the protocol closely.
const FOUND: &str = r#"{"outcomes": [{"outcome_id": "N-1", "description": "native", "tags": {"Status": [{"label": "Bad", "level": "error"}]}}]}"#;

struct Rig {
    server: Server,
    outside: Outside,
    _dir: tempfile::TempDir,
}

impl Rig {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start_with(dir.path(), &[("AIRLOCK_OUTBOUND_ALLOW", "127.0.0.1")]).await;
        let files = [(".airlock/config.yaml", TASKS), ("found.json", FOUND)];
        server.stack(json!({"name": "Checks", "vendor": {"kind": "custom"}}), &files).await;
        let set = json!({"value": KEY, "sensitive": true});
        let (status, text) = server.raw(None, "PUT", "/api/v1/stacks/checks/environment/HMAC", Some(set)).await;
        assert!(status < 300, "{text}");
        Self { server, outside: Outside::open().await, _dir: dir }
    }

    fn payload(&self, result: &str) -> Value {
        json!({
            "payload_version": 1,
            "stage": "post_plan",
            "access_token": "the-callers-token",
            "capabilities": {"outcomes": true},
            "is_speculative": false,
            "organization_name": "others",
            "plan_json_api_url": format!("{}/plan", self.outside.url),
            "run_id": "run-abc",
            "run_message": "größer ✓",
            "task_result_callback_url": format!("{}/callback", self.outside.url),
            "task_result_enforcement_level": "mandatory",
            "task_result_id": result,
            "workspace_name": "shop",
        })
    }

    /// Calls a run task; the status and the answer.
    async fn call(&self, path: &str, payload: &Value, key: &str) -> (u16, String) {
        let body = payload.to_string();
        let signed = signature(&Secret::new(key.to_owned()), body.as_bytes());
        self.server.signed(path, &signed, body).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_hears_that_it_runs_and_how_it_ended() {
    let mut rig = Rig::new().await;
    let payload = rig.payload("taskrs-1");
    let (status, text) = rig.call("/run-tasks/checks/say", &payload, KEY).await;
    assert_eq!(status, 200, "{text}");

    let running = rig.outside.next().await;
    assert_eq!((running.method.as_str(), running.path.as_str()), ("PATCH", "callback"));
    assert_eq!(running.header("authorization"), "Bearer the-callers-token");
    assert_eq!(running.header("content-type"), "application/vnd.api+json");
    let mut said = running.json();
    assert_eq!(said["data"]["type"], "task-results");
    if said["data"]["attributes"]["status"] == "running" {
        said = rig.outside.next().await.json();
    }
    let attributes = &said["data"]["attributes"];
    assert_eq!((&attributes["status"], &attributes["message"]), (&json!("passed"), &json!("ünïcode is fine ✓")));

    // The run had the payload on its standard input, and its token is in no log.
    let run = attributes["url"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let log = rig.server.log(&run).await;
    assert!(log.contains("\"run_message\":\"größer ✓\""), "{log}");
    assert!(!log.contains("the-callers-token"), "{log}");
    let run = rig.server.run(&run).await;
    assert_eq!(run["triggered_by"], json!({"kind": "run", "name": "others/shop"}));

    // The same call once more starts nothing.
    let (status, _) = rig.call("/run-tasks/checks/say", &payload, KEY).await;
    assert_eq!(status, 200);
    let runs = rig.server.get("stacks/checks/runs?kind=on_demand").await;
    assert_eq!(runs["items"].as_array().unwrap().len(), 1);

    let (status, _) = rig.call("/run-tasks/checks/bad", &rig.payload("taskrs-2"), KEY).await;
    assert_eq!(status, 200);
    let mut said = rig.outside.next().await.json();
    if said["data"]["attributes"]["status"] == "running" {
        said = rig.outside.next().await.json();
    }
    let attributes = &said["data"]["attributes"];
    assert_eq!((&attributes["status"], &attributes["message"]), (&json!("failed"), &json!("not good")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_judges_the_callers_plan() {
    let mut rig = Rig::new().await;
    let change = |action: &str| json!({"address": "db.main", "change": {"actions": [action]}});
    for (action, status) in [("create", "passed"), ("delete", "failed")] {
        rig.outside.has_plan(&json!({"resource_changes": [change(action)]}));
        let (answered, text) =
            rig.call("/run-tasks/checks/judge", &rig.payload(&format!("taskrs-{action}")), KEY).await;
        assert_eq!(answered, 200, "{text}");
        let asked = rig.outside.next().await;
        assert_eq!((asked.path.as_str(), asked.header("authorization")), ("plan", "Bearer the-callers-token"));
        // The address behind the redirect needs no token, and gets none.
        let fetched = rig.outside.next().await;
        assert_eq!((fetched.path.as_str(), fetched.header("authorization")), ("plan-file", ""));
        let mut said = rig.outside.next().await.json();
        if said["data"]["attributes"]["status"] == "running" {
            said = rig.outside.next().await.json();
        }
        assert_eq!(said["data"]["attributes"]["status"], status, "{said:#}");
        let outcomes = &said["data"]["relationships"]["outcomes"]["data"];
        if action == "delete" {
            assert_eq!(outcomes[0]["attributes"]["outcome-id"], "GUARD-1", "{said:#}");
            assert_eq!(outcomes[0]["type"], "task-result-outcomes");
        } else {
            assert!(outcomes.is_null(), "{said:#}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_judges_the_same_plan_and_tells_nobody() {
    let mut rig = Rig::new().await;
    rig.outside.has_plan(&json!({"resource_changes": [{"address": "db.main", "change": {"actions": ["delete"]}}]}));
    let (status, text) = rig.call("/run-tasks/checks/judge", &rig.payload("taskrs-5"), KEY).await;
    assert_eq!(status, 200, "{text}");
    let run = loop {
        let came = rig.outside.next().await;
        if came.path == "callback" && came.json()["data"]["attributes"]["status"] == "failed" {
            break came.json()["data"]["attributes"]["url"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        }
    };
    let first = rig.server.log(&run).await;
    assert!(first.contains("1 of 1 changes are not allowed"), "{first}");
    rig.outside.has_plan(&json!({"resource_changes": []}));
    let again = rig.server.post(&format!("runs/{run}/retry"), json!({})).await["id"].as_str().unwrap().to_owned();
    rig.server.until(&again, "failed").await;
    let log = rig.server.log(&again).await;
    assert!(log.contains("1 of 1 changes are not allowed"), "{log}");
    assert!(!log.contains("the-callers-token"), "{log}");
    assert!(rig.outside.is_quiet(), "nobody waits for a retry");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_know_the_key_learns_nothing_and_starts_nothing() {
    let mut rig = Rig::new().await;
    let payload = rig.payload("taskrs-3");
    let mut answers = Vec::new();
    for (path, key) in [
        ("/run-tasks/checks/say", "another key"),
        ("/run-tasks/checks/say", ""),
        ("/run-tasks/checks/closed", KEY),
        ("/run-tasks/checks/nothing", KEY),
        ("/run-tasks/nowhere/say", KEY),
        ("/run-tasks/No%20Slug/say", KEY),
    ] {
        let (status, text) = rig.call(path, &payload, key).await;
        assert_eq!(status, 401, "{path}: {text}");
        let mut problem: Value = serde_json::from_str(&text).unwrap();
        problem["request_id"] = Value::Null;
        answers.push(problem);
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:#?}");
    assert!(rig.outside.is_quiet());
    assert_eq!(rig.server.get("stacks/checks/runs").await["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verification_request_is_answered_and_nothing_else_follows() {
    let mut rig = Rig::new().await;
    let mut payload = rig.payload("taskrs-xxxx");
    payload["stage"] = json!("test");
    payload["access_token"] = json!("test-token");
    let (status, text) = rig.call("/run-tasks/checks/say", &payload, KEY).await;
    assert_eq!(status, 200, "{text}");
    // What is signed and yet no call is refused by name.
    for (field, value) in [("payload_version", json!(2)), ("task_result_callback_url", json!("file:///etc/passwd"))] {
        let mut payload = rig.payload("taskrs-4");
        payload[field] = value;
        let (status, text) = rig.call("/run-tasks/checks/say", &payload, KEY).await;
        assert!(status == 422 && text.contains(field), "{status} {text}");
    }
    assert!(rig.outside.is_quiet());
    assert_eq!(rig.server.get("stacks/checks/runs").await["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_leads_nowhere_inside() {
    let mut rig = Rig::new().await;
    // A plan elsewhere than the one who is answered; 10.255.255.1 is on no list.
    let mut payload = rig.payload("taskrs-6");
    payload["plan_json_api_url"] = json!("http://10.255.255.1/plan");
    let (status, text) = rig.call("/run-tasks/checks/judge", &payload, KEY).await;
    assert!(status == 422 && text.contains("plan_json_api_url"), "{status} {text}");
    assert!(rig.outside.is_quiet());

    rig.outside.plan_is_at("http://10.255.255.1/plan");
    let (status, text) = rig.call("/run-tasks/checks/judge", &rig.payload("taskrs-7"), KEY).await;
    assert_eq!(status, 200, "{text}");
    assert_eq!(rig.outside.next().await.path, "plan");
    let said = rig.outside.next().await.json();
    assert_eq!(said["data"]["attributes"]["status"], "failed", "{said:#}");
    let message = said["data"]["attributes"]["message"].as_str().unwrap();
    assert!(message.contains("the operator can list it under outbound_allow"), "{message}");
    assert_eq!(rig.server.get("stacks/checks/runs").await["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_whose_outcomes_are_not_taken_is_given_without_them() {
    let mut rig = Rig::new().await;
    rig.outside.has_plan(&json!({"resource_changes": [{"address": "db.main", "change": {"actions": ["delete"]}}]}));
    rig.outside.answers(422);
    let (status, text) = rig.call("/run-tasks/checks/judge", &rig.payload("taskrs-8"), KEY).await;
    assert_eq!(status, 200, "{text}");
    let said = loop {
        let came = rig.outside.next().await;
        if came.path == "callback" && came.json()["data"]["attributes"]["status"] == "failed" {
            break came.json();
        }
    };
    assert!(said["data"]["relationships"]["outcomes"]["data"].is_array(), "{said:#}");
    let again = rig.outside.next().await.json();
    assert_eq!(again["data"]["attributes"], said["data"]["attributes"]);
    assert_eq!(again["data"].get("relationships"), None, "{again:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_a_native_tasks_outcomes_is_neither_kept_nor_sent() {
    let mut rig = Rig::new().await;
    let payload = rig.payload("taskrs-repeats");
    let (status, text) = rig.call("/run-tasks/checks/repeats", &payload, KEY).await;
    assert_eq!(status, 200, "{text}");
    let mut said = rig.outside.next().await.json();
    if said["data"]["attributes"]["status"] == "running" {
        said = rig.outside.next().await.json();
    }
    assert_eq!(said["data"]["attributes"]["message"], "repeated", "{said:#}");
    assert_eq!(said["data"]["relationships"]["outcomes"]["data"][0]["attributes"]["description"], "*****", "{said:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_native_task_leaves_outcomes_and_bad_ones_cost_nothing_but_themselves() {
    let mut rig = Rig::new().await;
    let mut answers = Vec::new();
    for task in ["finds", "muddles"] {
        let payload = rig.payload(&format!("taskrs-{task}"));
        let (status, text) = rig.call(&format!("/run-tasks/checks/{task}"), &payload, KEY).await;
        assert_eq!(status, 200, "{text}");
        let mut said = rig.outside.next().await.json();
        if said["data"]["attributes"]["status"] == "running" {
            said = rig.outside.next().await.json();
        }
        answers.push(said["data"].clone());
    }
    let (found, muddled) = (&answers[0], &answers[1]);
    assert_eq!((&found["attributes"]["status"], &found["attributes"]["message"]), (&json!("failed"), &json!("found")));
    let outcome = json!({"type": "task-result-outcomes", "attributes": {"outcome-id": "N-1", "description": "native",
        "tags": {"Status": [{"label": "Bad", "level": "error"}]}}});
    assert_eq!(found["relationships"]["outcomes"]["data"], json!([outcome]), "{found:#}");
    let said = (&muddled["attributes"]["status"], &muddled["attributes"]["message"]);
    assert_eq!(said, (&json!("passed"), &json!("fine")));
    assert_eq!(muddled.get("relationships"), None, "{muddled:#}");
    let run = muddled["attributes"]["url"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    // The run says so once its caller's answer to the answer was written down.
    let warned = async {
        while !rig.server.run(&run).await["warnings"].to_string().contains("its outcomes.json does not fit") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), warned).await.expect("a warning");
}
