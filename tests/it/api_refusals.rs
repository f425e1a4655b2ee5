//! Every refused attempt is in the audit log, once, wherever it fails.

use airlock::queries::{AuditEntry, Outcome};
use serde_json::{Value, json};

use super::server::{Reply, Server};

impl Server {
    /// What was refused after so many entries.
    fn refused_after(&self, seq: u64) -> Vec<AuditEntry> {
        let later = self.app.queries.audit_from(seq + 1, 1_000).unwrap();
        later.into_iter().filter(|entry| entry.outcome == Outcome::Refused).collect()
    }

    fn newest_entry(&self) -> u64 {
        self.app.queries.audit_from(1, 10_000).unwrap().last().map_or(0, |entry| entry.seq)
    }
}

#[tokio::test]
async fn what_fails_before_anything_is_changed_is_on_record_too() {
    let server = Server::start().await;
    server.stack("shop").await;
    let run = server.run("shop").await["id"].as_str().unwrap().to_owned();
    let of_run = |verb: &str| format!("POST /runs/{run}/{verb}");
    let variable = json!({"value": "abc", "sensitive": true});
    let past = json!({"name": "old", "expires_at": "2020-01-01T00:00:00Z"});
    let gone = "session_01ARZ3NDEKTSV4RRFFQ69G5FAV";
    let stage = "ts_01ARZ3NDEKTSV4RRFFQ69G5FAV";
    let override_it = "POST //api/v2/task-stages/ts-01ARZ3NDEKTSV4RRFFQ69G5FAV/actions/override";
    let table = [
        (of_run("confirm"), json!({}), 409, "run.confirm", run.as_str()),
        (of_run("retry"), json!({}), 409, "run.retry", "stack:shop"),
        (of_run("promote"), json!({}), 409, "run.promote", "stack:shop"),
        ("POST /stacks/shop/runs".into(), json!({"kind": "task"}), 422, "run.trigger", "stack:shop"),
        ("POST /stacks/shop/tasks".into(), json!({"command": " "}), 422, "task.perform", "stack:shop"),
        ("PUT /stacks/shop/source".into(), json!("no archive"), 422, "source.upload", "stack:shop"),
        ("PUT /stacks/shop/environment/TOKEN".into(), variable, 422, "environment.set", "stack:shop"),
        ("POST /api-keys".into(), past, 422, "api_key.create", "api_key:old"),
        (format!("DELETE /sessions/{gone}"), Value::Null, 404, "session.revoke", gone),
        (override_it.into(), json!({}), 404, "run_task.override", stage),
    ];
    for (operation, body, status, verb, object) in table {
        let (method, path) = operation.split_once(' ').unwrap();
        let before = server.newest_entry();
        let answer = server.admin.send(method, path, body).await;
        assert_eq!(answer.status.as_u16(), status, "{operation}: {}", answer.text());
        let refused = server.refused_after(before);
        let told: Vec<_> = refused.iter().map(|entry| (entry.verb.as_str(), entry.object.as_str())).collect();
        assert_eq!(told, [(verb, object)], "{operation}");
        assert_eq!((refused[0].actor.name.as_str(), refused[0].address.as_deref()), ("root", Some("127.0.0.1")));
        assert!(refused[0].detail.is_some(), "{operation}");
    }
}

#[tokio::test]
async fn whoever_knocks_with_nothing_is_counted() {
    let server = Server::start().await;
    let before = server.newest_entry();
    let stranger = server.client("art_guessed");
    let of_run = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    for path in [
        format!("//api/v2/runs/run-{of_run}"),
        format!("//api/v2/runs/run-{of_run}/plan"),
        format!("//api/v2/plans/plan-{of_run}/json-output"),
        format!("//api/v2/configuration-versions/cv-{of_run}/download"),
        format!("//api/v2/configuration-versions/cv-{of_run}/archive"),
    ] {
        stranger.get(&path).await.expect(401);
    }
    stranger.get(&format!("//api/v2/downloads/taskrs-{of_run}/9999999999999/guessed")).await.expect(404);
    let answer = format!("//api/v2/task-results/taskrs-{of_run}/callback");
    stranger.send("PATCH", &answer, json!({})).await.expect(404);
    for path in ["//invitation?token=ai_guessed", "//setup?token=ai_guessed"] {
        server.anonymous().get(path).await.expect(404);
    }
    for path in ["//invitation", "//setup"] {
        let form = server.anonymous().request("POST", path).header("sec-fetch-site", "same-origin");
        let form = form.header("content-type", "application/x-www-form-urlencoded");
        Reply::of(form.body("token=ai_guessed&username=eve&password=x&repeat=x")).await.expect(404);
    }
    server.app.actions.write_strangers().await;
    let mut counted: Vec<_> = server
        .refused_after(before)
        .into_iter()
        .map(|entry| (entry.verb, entry.address.unwrap(), entry.detail.unwrap()))
        .collect();
    counted.sort();
    let line =
        |verb: &str, count| (verb.to_owned(), "127.0.0.1".to_owned(), format!("{count} unauthenticated attempts"));
    assert_eq!(counted, [line("run_task.answer", 1), line("run_task.open", 6), line("user.accept_invitation", 4)]);
}
