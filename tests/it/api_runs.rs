//! Runs over the API: asking, finding, deciding.

use airlock::{
    auth::Who,
    domain::{Phase, RunId, Verdict},
    protocol::{Produced, WorkspaceLeft},
};
use serde_json::{Value, json};

use super::server::{FakeRunner, Server, id_of};

fn at(run: &Value, rest: &str) -> String {
    format!("/runs/{}{rest}", run["id"].as_str().unwrap())
}

#[tokio::test]
async fn a_run_shows_every_documented_field() {
    let server = Server::start().await;
    server.stack("shop").await;
    let made = server.admin.post("/stacks/shop/runs", json!({"kind": "tracked", "message": "first"})).await.expect(201);
    let run = made.json();
    assert_eq!(made.header("location"), format!("/api/v1/runs/{}", run["id"].as_str().unwrap()));
    let fields = [
        "id",
        "number",
        "stack",
        "kind",
        "state",
        "reason",
        "triggered_by",
        "created_at",
        "updated_at",
        "commit",
        "command",
        "skip_initialization",
        "exit_code",
        "verdict",
        "delta",
        "plan_digest",
        "blocked_by",
        "declared_task",
        "runtime_config",
        "warnings",
        "policies",
        "reviews",
        "comments",
        "phases",
        "history",
        "remarks",
        "run_tasks",
        "links",
    ];
    for field in fields {
        assert!(run.as_object().unwrap().contains_key(field), "{field}");
    }
    assert!(run["id"].as_str().unwrap().starts_with("run_"));
    assert_eq!(run["number"], 1);
    assert_eq!(run["message"], "first");
    assert_eq!(run["triggered_by"], json!({"kind": "api_key", "name": "root"}));
    assert_eq!(run["state"], "preparing");
    let states: Vec<_> = run["history"].as_array().unwrap().iter().map(|entry| entry["state"].clone()).collect();
    assert_eq!(states, ["queued", "ready", "preparing"]);
    for field in ["exit_code", "verdict", "delta", "plan_digest", "commit", "blocked_by", "declared_task"] {
        assert_eq!(run[field], json!(null), "{field}");
    }
    for field in ["warnings", "policies", "reviews", "remarks", "comments", "phases", "run_tasks"] {
        assert_eq!(run[field], json!([]), "{field}");
    }
    assert_eq!(server.admin.get("/stacks/shop").await.json()["latest_run"], run["id"]);
    server.admin.get("/runs/run_01ARZ3NDEKTSV4RRFFQ69G5FAV").await.problem(404);
    server.admin.get("/runs/nonsense").await.problem(404);
}

#[tokio::test]
async fn an_unconfirmed_run_is_confirmed_as_it_was_shown() {
    let server = Server::start().await;
    server.stack("shop").await;
    let run = server.unconfirmed("shop").await;
    assert_eq!(run["state"], "unconfirmed");
    assert_eq!(run["delta"]["resources"], json!({"added": 1, "changed": 0, "deleted": 0, "replaced": 0}));
    assert_eq!(run["delta"]["outputs"], json!({"added": 1, "changed": 0, "deleted": 0}));
    assert_eq!(run["plan_digest"], FakeRunner::digest().to_string());
    let phases = run["phases"].as_array().unwrap();
    assert_eq!(phases[2]["name"], "planning");
    assert_eq!(phases[2]["state"], "finished");
    assert_eq!(phases[2]["verdict"], json!({"kind": "exited", "code": 2}));
    assert_eq!(phases[2]["log_bytes"], "box.a will be made\n".len());
    assert_eq!(server.admin.get("/stacks/shop").await.json()["state"], "unconfirmed");
    let changes = server.admin.get(&at(&run, "/changes")).await.expect(200).json();
    assert_eq!(changes["resources"][0]["address"], "box.a");
    assert_eq!(changes["outputs"][0]["name"], "url");

    let other = format!("sha256:{}", "cd".repeat(32));
    let detail = server.admin.post(&at(&run, "/confirm"), json!({"plan_digest": other})).await.problem(409);
    assert_eq!(detail["state"], "unconfirmed");
    server.admin.post(&at(&run, "/confirm"), json!({"plan_digest": "x"})).await.problem(422);
    server.admin.post(&at(&run, "/stop"), json!({})).await.problem(409);
    let body = json!({"plan_digest": run["plan_digest"], "note": "looks right"});
    let confirmed = server.admin.post(&at(&run, "/confirm"), body.clone()).await.expect(200).json();
    // A slot was free, so it went on at once.
    assert_eq!(confirmed["state"], "preparing_apply");
    let notes: Vec<_> = confirmed["history"].as_array().unwrap().iter().map(|entry| entry["note"].clone()).collect();
    assert!(notes.contains(&json!("looks right")));
    assert_eq!(server.admin.post(&at(&run, "/confirm"), body).await.problem(409)["state"], "preparing_apply");
}

#[tokio::test]
async fn what_waits_says_for_what() {
    let server = Server::start().await;
    server.stack("shop").await;
    let first = server.run("shop").await;
    let second = server.run("shop").await;
    assert_eq!(second["state"], "queued");
    assert_eq!(second["blocked_by"], json!({"kind": "run", "run": first["id"]}));
    let proposed = server.admin.post("/stacks/shop/runs", json!({"kind": "proposed"})).await.expect(201).json();
    assert_eq!(proposed["state"], "preparing");
    let third = server.admin.post("/stacks/shop/runs", json!({"kind": "proposed"})).await.expect(201).json();
    assert_eq!(third["state"], "ready");
    assert_eq!(third["blocked_by"], json!({"kind": "slot"}));
    let first_now = server.admin.post(&at(&third, "/prioritize"), json!({})).await.expect(200).json();
    assert_eq!(first_now["prioritized"], true);
    let canceled = server.admin.post(&at(&second, "/cancel"), json!({"note": "not now"})).await.expect(200).json();
    assert_eq!(canceled["state"], "canceled");
    assert_eq!(server.admin.post(&at(&second, "/cancel"), json!({})).await.problem(409)["state"], "canceled");
    let again = server.admin.post(&at(&second, "/retry"), json!({})).await.expect(201).json();
    assert_eq!(again["retry_of"], second["id"]);
    assert_eq!(server.admin.post(&at(&first, "/retry"), json!({})).await.problem(409)["state"], "preparing");
}

#[tokio::test]
async fn a_prioritized_run_goes_before_the_older_ones_of_its_stack() {
    let server = Server::start().await;
    for slug in ["shop", "mall", "yard"] {
        server.stack(slug).await;
    }
    let now = async |run: &Value| server.admin.get(&at(run, "")).await.json();
    let prioritize = async |run: &Value| server.admin.post(&at(run, "/prioritize"), json!({})).await.expect(200).json();
    let (first, second, third) = (server.run("shop").await, server.run("shop").await, server.run("shop").await);
    assert_eq!(prioritize(&third).await["state"], "queued");
    let queue = server.app.queries.queue(&Who::system()).unwrap();
    let waiting: Vec<RunId> = queue.waiting.iter().map(|waiting| waiting.run.id).collect();
    assert_eq!(waiting, [id_of(&third), id_of(&second)]);
    server.app.actions.chain_lost(id_of(&first), 1).await.unwrap();
    assert_eq!(now(&third).await["state"], "preparing");
    assert_eq!(now(&second).await["blocked_by"], json!({"kind": "run", "run": third["id"]}));

    // One that only lacks a slot keeps its place no more than others.
    server.run("mall").await;
    let (ready, behind) = (server.run("yard").await, server.run("yard").await);
    assert_eq!((&ready["state"], &behind["state"]), (&json!("ready"), &json!("queued")));
    assert_eq!(prioritize(&behind).await["state"], "ready");
    let ready = now(&ready).await;
    assert_eq!(ready["state"], "queued");
    assert_eq!(ready["blocked_by"], json!({"kind": "run", "run": behind["id"]}));
}

#[tokio::test]
async fn a_verb_that_the_state_does_not_allow_answers_with_the_state() {
    let server = Server::start().await;
    server.stack("shop").await;
    let run = server.run("shop").await;
    for (verb, body) in [
        ("confirm", json!({})),
        ("discard", json!({})),
        ("replan", json!({"targets": ["box.a"]})),
        ("cancel", json!({})),
        ("retry", json!({})),
        ("promote", json!({})),
        ("acknowledge", json!({})),
        ("force-stop", json!({"note": "it hangs"})),
    ] {
        let problem = server.admin.post(&at(&run, &format!("/{verb}")), body).await.problem(409);
        assert_eq!(problem["state"], "preparing", "{verb}");
        assert_eq!(problem["type"], "conflict", "{verb}");
    }
    server.admin.post(&at(&run, "/force-stop"), json!({"note": " "})).await.problem(422);
    server.admin.post(&at(&run, "/comment"), json!({"text": ""})).await.problem(422);
    server.admin.post(&at(&run, "/replan"), json!({})).await.problem(422);
    server.admin.post(&at(&run, "/stop"), json!({"why": "x"})).await.problem(422);
    // An empty body says nothing, which is allowed.
    server.admin.raw("POST", &at(&run, "/stop"), "").await.expect(200);
}

/// A task that performs.
async fn performing(server: &Server) -> (Value, FakeRunner) {
    let task = json!({"command": "make", "skip_initialization": true});
    let run = server.admin.post("/stacks/shop/tasks", task).await.expect(201).json();
    let mut runner = server.runner(&run);
    runner.phase(Phase::Preparing, "").await;
    runner.begin(Phase::Performing).await;
    (run, runner)
}

/// The last transition: state, who, with which words.
fn last_transition(run: &Value) -> [Value; 4] {
    let last = run["history"].as_array().unwrap().last().unwrap();
    [last["state"].clone(), last["actor"]["name"].clone(), last["note"].clone(), last["reason"].clone()]
}

#[tokio::test]
async fn whoever_stops_a_run_stands_in_its_timeline_with_their_note() {
    let server = Server::start().await;
    server.stack("shop").await;
    let run = server.run("shop").await;
    let mut runner = server.runner(&run);
    runner.begin(Phase::Preparing).await;
    let asked = server.admin.post(&at(&run, "/stop"), json!({"note": "wrong branch"})).await.expect(200).json();
    assert_eq!(asked["state"], "preparing", "the runner is asked");
    runner.give_way(Phase::Preparing).await;
    let run = server.admin.get(&at(&run, "")).await.json();
    assert_eq!(last_transition(&run), ["stopped", "root", "wrong branch", "stopped by root"].map(Value::from));
    assert_eq!(run["verdict"], json!({"kind": "stopped"}));
}

#[tokio::test]
async fn whoever_force_stops_a_run_stands_in_its_timeline_with_their_note() {
    let server = Server::start().await;
    server.stack("shop").await;
    let (run, mut runner) = performing(&server).await;
    server.admin.post(&at(&run, "/force-stop"), json!({"note": "it hangs"})).await.expect(200);
    runner.give_way(Phase::Performing).await;
    let run = server.admin.get(&at(&run, "")).await.json();
    let reason = "lost: what it changed is unknown; force-stopped by root";
    assert_eq!(last_transition(&run), ["failed", "root", "it hangs", reason].map(Value::from));
    assert_eq!(run["verdict"], json!({"kind": "lost"}));
    assert_eq!(
        (&run["phases"][1]["verdict"], &run["phases"][1]["state"]),
        (&json!({"kind": "lost"}), &json!("failed"))
    );
    assert_eq!(server.admin.get("/stacks/shop").await.json()["group"], "needs_attention");
}

#[tokio::test]
async fn a_stop_that_comes_too_late_is_said_and_is_nobodys_end() {
    let server = Server::start().await;
    server.stack("shop").await;
    let run = server.run("shop").await;
    let mut runner = server.runner(&run);
    runner.begin(Phase::Preparing).await;
    server.admin.post(&at(&run, "/stop"), json!({"note": "wrong branch"})).await.expect(200);
    server.app.actions.chain_lost(id_of(&run), 1).await.unwrap();
    let run = server.admin.get(&at(&run, "")).await.json();
    let reason = "lost; stopped by root, too late";
    assert_eq!(last_transition(&run), ["failed", "system", "wrong branch", reason].map(Value::from));
}

#[tokio::test]
async fn a_lost_run_asks_to_be_acknowledged() {
    let server = Server::start().await;
    server.stack("shop").await;
    let (run, _) = performing(&server).await;
    assert_eq!((&run["kind"], &run["command"]), (&json!("task"), &json!("make")));
    server.app.actions.chain_lost(id_of(&run), 1).await.unwrap();
    let run = server.admin.get(&at(&run, "")).await.json();
    assert_eq!(run["state"], "failed");
    assert_eq!(run["verdict"], json!({"kind": "lost"}));
    assert_eq!(run["phases"][1]["state"], "failed");
    assert_eq!(server.admin.get("/stacks?state=needs_attention").await.json()["items"].as_array().unwrap().len(), 1);
    let told = server.admin.post(&at(&run, "/acknowledge"), json!({"note": "nothing happened"})).await;
    let told = told.expect(200).json();
    assert_eq!(told["history"], run["history"], "its state is what it was");
    let remark = &told["remarks"][0];
    assert_eq!((&remark["text"], &remark["note"]), (&json!("acknowledged"), &json!("nothing happened")));
    assert_eq!(remark["actor"]["name"], "root");
    server.admin.post(&at(&run, "/acknowledge"), json!({})).await.problem(409);
}

#[tokio::test]
async fn a_run_that_was_lost_before_it_changed_anything_can_be_acknowledged_and_asks_nobody_to() {
    let server = Server::start().await;
    server.stack("shop").await;
    let run = server.run("shop").await;
    server.runner(&run).begin(Phase::Preparing).await;
    server.app.actions.chain_lost(id_of(&run), 1).await.unwrap();
    assert_eq!(server.admin.get(&at(&run, "")).await.json()["reason"], "lost");
    assert_eq!(server.admin.get("/stacks/shop").await.json()["group"], "failed");
    server.admin.post(&at(&run, "/acknowledge"), json!({"note": "the machine was moved"})).await.expect(200);
    server.admin.post(&at(&run, "/acknowledge"), json!({})).await.problem(409);
}

#[tokio::test]
async fn a_task_ends_with_its_exit_code() {
    let server = Server::start().await;
    server.stack("shop").await;
    assert!(server.admin.post("/stacks/shop/tasks", json!({"command": "  "})).await.detail(422).contains("command"));
    server.admin.post("/stacks/shop/tasks", json!({"command": "x", "guest": "y"})).await.problem(422);
    let run = server.admin.post("/stacks/shop/tasks", json!({"command": "false"})).await.expect(201).json();
    let mut runner = server.runner(&run);
    runner.phase(Phase::Preparing, "").await;
    runner.phase(Phase::Initializing, "").await;
    runner.begin(Phase::Performing).await;
    runner.end(Phase::Performing, Verdict::Exited { code: 3 }, Produced::default()).await;
    runner.finish(WorkspaceLeft::Removed).await;
    let run = server.admin.get(&at(&run, "")).await.json();
    assert_eq!((&run["state"], &run["exit_code"]), (&json!("failed"), &json!(3)));
    assert_eq!(run["verdict"], json!({"kind": "exited", "code": 3}));
}

#[tokio::test]
async fn the_same_request_under_one_key_makes_one_run() {
    let server = Server::start().await;
    server.stack("shop").await;
    let post = |key: &'static str, kind: &'static str| {
        let admin = server.admin.clone();
        async move { admin.post_once("/stacks/shop/runs", key, json!({"kind": kind})).await }
    };
    let first = post("k", "tracked").await.expect(201).json();
    assert_eq!(post("k", "tracked").await.expect(201).json()["id"], first["id"]);
    post("k", "proposed").await.problem(409);
    assert_ne!(post("k2", "tracked").await.expect(201).json()["id"], first["id"]);
    assert_eq!(server.admin.all("/runs", 200).await.len(), 2);
    for _ in 0..2 {
        server.admin.post_once(&at(&first, "/comment"), "c", json!({"text": "hm"})).await.expect(200);
    }
    assert_eq!(server.admin.get(&at(&first, "")).await.json()["comments"].as_array().unwrap().len(), 1);
    // Yesterday's keys are free again.
    server.clock.pass(std::time::Duration::from_hours(25));
    assert_ne!(post("k", "tracked").await.expect(201).json()["id"], first["id"]);
}

#[tokio::test]
async fn runs_are_found_by_kind_and_state_and_in_parts() {
    let server = Server::start().await;
    server.stack("shop").await;
    server.stack("other").await;
    for n in 0..9 {
        let kind = if n % 3 == 0 { "proposed" } else { "tracked" };
        server.admin.post("/stacks/shop/runs", json!({"kind": kind})).await.expect(201);
    }
    server.run("other").await;
    let numbers = |items: Vec<Value>| items.iter().map(|run| run["number"].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(numbers(server.admin.all("/stacks/shop/runs", 2).await), (1..=9).rev().collect::<Vec<_>>());
    assert_eq!(numbers(server.admin.all("/stacks/shop/runs?kind=proposed", 2).await), [7, 4, 1]);
    assert_eq!(server.admin.all("/runs", 4).await.len(), 10);
    assert_eq!(server.admin.all("/runs?kind=proposed,tracked", 3).await.len(), 10);
    let queued = server.admin.all("/runs?kind=tracked&state=queued,ready", 2).await;
    assert!(queued.len() > 3 && queued.iter().all(|run| ["queued", "ready"].contains(&run["state"].as_str().unwrap())));
    assert!(server.admin.get("/runs?kind=nice").await.detail(422).contains("`nice`"));
    let page = server.admin.get("/runs?limit=1").await.json();
    let cursor = page["next"].as_str().unwrap();
    assert!(server.admin.get(&format!("/runs?kind=task&cursor={cursor}")).await.detail(422).contains("cursor"));
    server.admin.get("/runs?cursor=x").await.problem(422);
}
