//! One installation is the run task of another.

use serde_json::{Value, json};

use super::calls::{KEY, TASKS};
use crate::whole::server::Server;

const PLAN: &str = r#"printf '[{"address":"db.main","type":"db","action":"ACTION","before":BEFORE,"after":AFTER}]' > "$AIRLOCK_PLAN_FILE"; exit 2"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_guard_of_another_installation_judges_a_plan() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let outward = [("AIRLOCK_OUTBOUND_ALLOW", "127.0.0.1")];
    let (asks, judges) =
        (Server::start_with(here.path(), &outward).await, Server::start_with(there.path(), &outward).await);
    judges.stack(json!({"name": "Checks", "vendor": {"kind": "custom"}}), &[(".airlock/config.yaml", TASKS)]).await;
    let key = json!({"value": KEY, "sensitive": true});
    let (status, text) = judges.raw(None, "PUT", "/api/v1/stacks/checks/environment/HMAC", Some(key)).await;
    assert!(status < 300, "{text}");

    // A wrong key is found out when it is saved.
    let url = format!("{}/run-tasks/checks/judge", judges.base());
    let wrong = json!({"name": "judge", "url": url, "hmac_key": "not the key"});
    let (status, text) = asks.raw(None, "POST", "/api/v1/run-tasks", Some(wrong)).await;
    assert!(status == 422 && text.contains("401"), "{status} {text}");
    asks.post("run-tasks", json!({"name": "judge", "url": url, "hmac_key": KEY})).await;

    for (action, state, status, message) in [
        ("create", "unconfirmed", "passed", "1 changes, none of them forbidden"),
        ("delete", "failed", "failed", "1 of 1 changes are not allowed"),
    ] {
        let (before, after) = if action == "create" { ("null", "{}") } else { ("{}", "null") };
        let plan = PLAN.replace("ACTION", action).replace("BEFORE", before).replace("AFTER", after);
        let stack = asks
            .stack(json!({"name": format!("To {action}"), "vendor": {"kind": "custom", "plan": plan}}), &[("a", "b")])
            .await;
        asks.post(&format!("stacks/{stack}/run-tasks"), json!({"run_task": "judge", "enforcement": "mandatory"})).await;
        let run = asks.trigger(&stack, "tracked").await;
        let run = asks.until(&run, state).await;
        let result = &run["run_tasks"][0]["results"][0];
        assert_eq!(result["status"], status, "{run:#}");
        assert!(result["message"].as_str().unwrap().starts_with(message), "{run:#}");
        assert!(result["url"].as_str().unwrap().starts_with(judges.base()), "{result:#}");
        let found = u64::from(action == "delete");
        assert_eq!(result["outcomes"], found, "{result:#}");
        if action == "delete" {
            assert!(run["reason"].as_str().unwrap().contains("judge"), "{run:#}");
        }
    }
    let runs: Value = judges.get("stacks/checks/runs?kind=on_demand").await;
    let kinds: Vec<&Value> = runs["items"].as_array().unwrap().iter().map(|run| &run["triggered_by"]["kind"]).collect();
    assert_eq!(kinds, [&json!("run"), &json!("run")]);
}
