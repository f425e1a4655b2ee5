//! How each end of a call is seen: in the run's state and reason, on its page, in the audit log.

use serde_json::{Value, json};

use super::service::{KEY, Service};
use crate::whole::server::Server;

/// What a call comes to, and where that is read.
struct Shown {
    state: &'static str,
    /// The result's own status.
    status: &'static str,
    /// Of the run where it failed, else a warning.
    says: &'static str,
    /// On the run's page.
    page: &'static [&'static str],
}

/// A server with one run that is checked after planning.
struct Case {
    server: Server,
    service: Service,
    run: String,
    _dir: tempfile::TempDir,
}

impl Case {
    async fn new(enforcement: &str, statuses: &[u16], environment: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let service = Service::new().await;
        let server = Server::start_with(dir.path(), environment).await;
        let vendor = json!({"kind": "custom", "plan": "exit 2", "apply": "echo applied"});
        server.stack(json!({"name": "Größe 日本 🚪", "slug": "shop", "vendor": vendor}), &[]).await;
        server.post("run-tasks", json!({"name": "check", "url": service.url, "hmac_key": KEY})).await;
        server.post("stacks/shop/run-tasks", json!({"run_task": "check", "enforcement": enforcement})).await;
        service.answers_with(statuses).await;
        let run = server.trigger("shop", "tracked").await;
        Self { server, service, run, _dir: dir }
    }

    async fn is(&self, shown: &Shown) {
        let run = self.server.until(&self.run, shown.state).await;
        assert_eq!(run["run_tasks"][0]["results"][0]["status"], shown.status, "{run:#}");
        let said = if shown.state == "failed" { &run["reason"] } else { &run["warnings"][0] };
        if shown.status == "passed" {
            assert_eq!(run["warnings"], json!([]));
        } else {
            assert!(said.as_str().unwrap().contains(shown.says), "{run:#}");
        }
        let page = self.server.page(&format!("/runs/{}?tab=run_tasks", self.run)).await;
        let page = scraper::Html::parse_document(&page);
        let check = page.select(&scraper::Selector::parse(".check").unwrap()).next().expect("the check is shown");
        let text = check.text().collect::<Vec<_>>().join(" ");
        for part in shown.page {
            assert!(text.contains(part), "`{part}` is not in: {text}");
        }
        let audit: Value = self.server.get("audit?verb=run_task.answer").await;
        let detail = audit["items"][0]["detail"].as_str().unwrap();
        let expected = format!("check of {} (post_plan) {}", self.run, shown.status);
        assert!(detail.starts_with(&expected), "{detail}");
        assert_eq!(audit["items"].as_array().unwrap().len(), 1, "each end is there once: {audit:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_lets_the_run_go_on() {
    let case = Case::new("mandatory", &[], &[]).await;
    assert_eq!(case.service.called().await.says("passed", "günstig ✓").await, 200);
    let page = &["check", "Passed", "günstig ✓"];
    case.is(&Shown { state: "unconfirmed", status: "passed", says: "", page }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_ends_the_run_or_warns() {
    for (enforcement, state) in [("mandatory", "failed"), ("advisory", "unconfirmed")] {
        let case = Case::new(enforcement, &[], &[]).await;
        assert_eq!(case.service.called().await.says("failed", "zu teuer").await, 200);
        let page = &["check", "Failed", "zu teuer"];
        case.is(&Shown { state, status: "failed", says: "check failed after planning: zu teuer", page }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_accepts_is_unreachable() {
    for (enforcement, state) in [("mandatory", "failed"), ("advisory", "unconfirmed")] {
        let case = Case::new(enforcement, &[500, 500], &[("AIRLOCK_RUN_TASK_RETRIES", "1")]).await;
        let page = &["check", "Unreachable", "HTTP 500"];
        case.is(&Shown { state, status: "unreachable", says: "check is unreachable after planning", page }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stays_silent_errs() {
    for (enforcement, state) in [("mandatory", "failed"), ("advisory", "unconfirmed")] {
        let case = Case::new(enforcement, &[], &[("AIRLOCK_RUN_TASK_PROGRESS_SECONDS", "1")]).await;
        let page = &["check", "Errored", "nothing was heard of it"];
        case.is(&Shown { state, status: "errored", says: "check errored after planning: nothing was heard", page })
            .await;
    }
}
