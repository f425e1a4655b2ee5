//! The API for clients of Upsun's tasks, as they use it: against a real server, by HTTP alone.

mod guest;

use airlock::domain::{Role, State};
use serde_json::{Value, json};

use crate::whole::{
    rig::{CONFIG, Rig},
    server::Server,
};

const TASKS: &str = r#"
tasks:
  greet:
    type: native
    run: {command: 'echo "hello $NAME $COLOR"; echo "second" >&2', timeout: 60}
    variables: {env: {NAME: nobody}}
  told:
    type: native
    run: {command: 'echo "KEY is $KEY"'}
  wait:
    type: native
    run: {command: 'echo up; sleep 60'}
  broken:
    type: native
    run: {command: 'exit 7'}
"#;

struct Compat {
    server: Server,
    _dir: tempfile::TempDir,
}

impl Compat {
    async fn with(tasks: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(dir.path()).await;
        server.stack(json!({"name": "Shop", "vendor": {"kind": "custom"}}), &[(CONFIG, tasks)]).await;
        Self { server, _dir: dir }
    }

    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let (status, text) = self.server.raw(None, method, path, body).await;
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    async fn get(&self, path: &str) -> Value {
        let (status, value) = self.ask("GET", path, None).await;
        assert_eq!(status, 200, "{path}: {value}");
        value
    }

    /// Triggers a task; gives the activity.
    async fn run(&self, task: &str, body: Value) -> Value {
        let path = format!("/projects/shop/environments/main/tasks/{task}/run");
        let (status, answer) = self.ask("POST", &path, Some(body)).await;
        assert_eq!((status, &answer["code"], &answer["status"]), (202, &json!(202), &json!("created")), "{answer}");
        answer["_embedded"]["activities"][0].clone()
    }

    /// The log until its seal, as documents.
    async fn log(&self, activity: &Value, query: &str) -> Vec<Value> {
        let path = activity["_links"]["log"]["href"].as_str().unwrap();
        let (status, text) = self.server.raw(None, "GET", &format!("{path}{query}"), None).await;
        assert_eq!(status, 200, "{text}");
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    async fn again(&self, activity: &Value) -> Value {
        self.get(activity["_links"]["self"]["href"].as_str().unwrap()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_finds_its_way_from_the_project_to_a_sealed_log() {
    let compat = Compat::with(TASKS).await;
    let project = compat.get("/projects/shop").await;
    assert_eq!(project["id"], "shop");
    let environments = compat.get(project["_links"]["environments"]["href"].as_str().unwrap()).await;
    let environment = &environments[0];
    assert_eq!((&environment["id"], &environment["status"]), (&json!("main"), &json!("active")));
    for link in ["self", "#edit", "#activities", "#variables", "#manage-variables"] {
        assert!(environment["_links"][link]["href"].is_string(), "{link}");
    }
    let tasks = compat.get("/projects/shop/environments/main/tasks").await;
    let names: Vec<&str> = tasks.as_array().unwrap().iter().map(|task| task["id"].as_str().unwrap()).collect();
    assert_eq!(names, ["broken", "greet", "told", "wait"]);
    let greet = compat.get("/projects/shop/environments/main/tasks/greet").await;
    assert_eq!((&greet["type"], &greet["run"]["timeout"]), (&json!("native"), &json!(60)));

    let activity = compat.run("greet", json!({"variables": {"NAME": "Ada", "env": {"COLOR": "red"}}})).await;
    assert_eq!(activity["type"], "environment.task");
    let log = compat.log(&activity, "").await;
    let messages: Vec<&str> = log.iter().filter_map(|item| item["data"]["message"].as_str()).collect();
    assert!(messages.contains(&"hello Ada red\n") && messages.contains(&"second\n"), "{messages:?}");
    assert_eq!(log.last().unwrap()["seal"], true);
    let ids: Vec<u64> = log.iter().map(|item| item["_id"].as_u64().unwrap()).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    let stamp = log[0]["data"]["timestamp"].as_str().unwrap();
    assert!(stamp.len() == 32 && stamp.ends_with("+00:00"), "{stamp}");

    // A packer would hold lines back.
    assert_eq!(compat.server.packing(activity["_links"]["log"]["href"].as_str().unwrap()).await, None);

    // Resumed in the middle, in pieces, it is the same.
    let mut pieces = Vec::new();
    let mut from = 0;
    loop {
        let part = compat.log(&activity, &format!("?start_at={from}&max_items=1&max_delay=0")).await;
        let last = part.last().unwrap().clone();
        pieces.extend(part);
        if last["seal"] == true {
            break;
        }
        from = last["_id"].as_u64().unwrap() + 1;
    }
    assert_eq!(pieces, log);

    let done = compat.again(&activity).await;
    assert_eq!((&done["state"], &done["result"]), (&json!("complete"), &json!("success")));
    assert_eq!((&done["completion_percent"], &done["commands"][0]["exit_code"]), (&json!(100), &json!(0)));
    assert!(done["_links"]["#cancel"].is_null() && done["completed_at"].is_string());
    let list = compat.get("/projects/shop/activities?type[]=environment.task&state=complete&count=5").await;
    assert_eq!(list.as_array().unwrap().len(), 1);
    let before = format!("?starts_at={}", done["created_at"].as_str().unwrap());
    assert_eq!(compat.get(&format!("/projects/shop/environments/main/activities{before}")).await, json!([]));
    assert_eq!(compat.get("/projects/shop/activities?type=environment.push").await, json!([]));
    let me = compat.get("/users/me").await;
    let access = compat.get(&format!("/users/{}/extended-access", me["id"].as_str().unwrap())).await;
    assert_eq!(access["items"][0]["resource_id"], "shop");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_variables_are_no_variables_however_a_client_writes_that() {
    let compat = Compat::with(TASKS).await;
    for body in [json!({}), json!({"variables": null}), json!({"variables": {}}), json!({"variables": []})] {
        let activity = compat.run("greet", body).await;
        let log = compat.log(&activity, "").await;
        assert!(log.iter().any(|item| item["data"]["message"] == "hello nobody \n"), "{log:?}");
    }
    let path = "/projects/shop/environments/main/tasks/greet/run";
    for body in [json!({"variables": ["A=1"]}), json!({"variables": "A=1"})] {
        let (status, answer) = compat.ask("POST", path, Some(body)).await;
        assert_eq!(status, 400, "{answer}");
        assert!(answer["detail"].as_str().unwrap().contains("`variables` is a map"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_time_is_up_is_nothing_but_its_seal() {
    let dir = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let rig = Rig::serving(dir, |config| config.log_retention_days = 0).await;
    let stack = rig.stack(json!({"name": "Shop", "vendor": {"kind": "custom"}}), &[(CONFIG, TASKS)]).await;
    let run = rig.declared(&stack, "greet", &[]).await;
    rig.until_state(&run, State::Finished).await;
    rig.until_tidy().await;
    let token = rig.key("reader", &stack, Role::Reader).await;
    let url = format!("{}/projects/shop/activities/{}/log", rig.app.actions.setup().public_url, run.id);
    let log = async || {
        let answer = reqwest::Client::new().get(&url).bearer_auth(token.expose()).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let text = answer.text().await.unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let before = log().await;
    assert!(before.len() > 2, "{before:?}");
    assert_eq!(rig.app.actions.sweep_logs().await.unwrap(), 1);
    assert_eq!(log().await, before[before.len() - 1..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_becomes_secret_as_it_is_and_is_never_less_than_was_asked_for() {
    let compat = Compat::with(TASKS).await;
    let project = "/projects/shop/variables";
    let environment = "/projects/shop/environments/main/variables";
    for (path, name) in [(project, "db:password"), (project, "env:KEY"), (environment, "env:KEY")] {
        let (status, answer) = compat.ask("POST", path, Some(json!({"name": name, "value": "stored-value"}))).await;
        assert_eq!(status, 201, "{answer}");
        let one = format!("{path}/{}", name.replace(':', "%3A"));
        let (status, answer) = compat.ask("PATCH", &one, Some(json!({"is_sensitive": true}))).await;
        assert_eq!(status, 200, "{name}: {answer}");
        let shown = compat.get(&one).await;
        assert_eq!((&shown["is_sensitive"], &shown["value"]), (&json!(true), &json!(null)), "{shown}");
        let (status, _) = compat.ask("PATCH", &one, Some(json!({"is_sensitive": false}))).await;
        assert_eq!(status, 422, "{name}");
    }
    let activity = compat.run("told", json!({})).await;
    let log = compat.log(&activity, "").await;
    assert!(log.iter().any(|item| item["data"]["message"] == "KEY is *****\n"), "{log:?}");

    // What is too short cannot become a secret, and what is no JSON cannot become JSON.
    let short = json!({"name": "short", "value": "abc"});
    assert_eq!(compat.ask("POST", project, Some(short)).await.0, 201);
    for change in [json!({"is_sensitive": true}), json!({"is_json": true})] {
        assert_eq!(compat.ask("PATCH", &format!("{project}/short"), Some(change.clone())).await.0, 422, "{change}");
    }

    for field in ["is_enabled", "visible_build", "visible_runtime"] {
        let new = json!({"name": "env:NARROW", "value": "stored-value", field: false});
        let (status, answer) = compat.ask("POST", environment, Some(new.clone())).await;
        assert_eq!(status, 422, "{field}: {answer}");
        let (status, _) = compat.ask("PATCH", &format!("{environment}/env%3AKEY"), Some(json!({field: false}))).await;
        assert_eq!(status, 422, "{field}");
        let (status, answer) = compat.ask("POST", project, Some(new)).await;
        assert_eq!((status, &answer["_embedded"]["entity"][field]), (201, &json!(false)), "{answer}");
        assert_eq!(compat.ask("DELETE", &format!("{project}/env%3ANARROW"), None).await.0, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_activity_is_canceled_once_and_a_failure_says_what_failed() {
    let compat = Compat::with(TASKS).await;
    let waits = compat.run("wait", json!({})).await;
    let cancel = waits["_links"]["#cancel"]["href"].as_str().unwrap().to_owned();
    let (status, answer) = compat.ask("POST", &cancel, None).await;
    assert_eq!((status, &answer["code"]), (202, &json!(202)), "{answer}");
    compat.log(&waits, "").await;
    let canceled = compat.again(&waits).await;
    assert_eq!((&canceled["state"], &canceled["result"]), (&json!("cancelled"), &json!("failure")));
    assert!(canceled["cancelled_at"].is_string());
    let (status, answer) = compat.ask("POST", &cancel, None).await;
    assert_eq!(status, 400);
    assert!(answer["detail"].as_str().unwrap().contains("cannot be cancelled in its current state"), "{answer}");

    let broken = compat.run("broken", json!({})).await;
    compat.log(&broken, "").await;
    let broken = compat.again(&broken).await;
    assert_eq!((&broken["result"], &broken["failure_reason"]), (&json!("failure"), &json!("shell")));
    assert_eq!(broken["commands"], json!([{"app": "broken", "type": "task", "exit_code": 7}]));
    for path in
        ["/projects/nothing", "/projects/shop/environments/dev/tasks", "/projects/shop/environments/main/tasks/no/run"]
    {
        let method = if path.ends_with("run") { "POST" } else { "GET" };
        assert_eq!(compat.ask(method, path, None).await.0, 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_are_kept_on_both_levels_and_sensitive_ones_never_come_back() {
    let compat = Compat::with(
        "tasks: {show: {type: native, run: {command: 'echo $A $B; echo $PLATFORM_VARIABLES | base64 -d'}}}",
    )
    .await;
    let (project, environment) = ("/projects/shop/variables", "/projects/shop/environments/main/variables");
    let new = json!({"name": "env:A", "value": "project", "is_json": false, "ignored": 1});
    let (status, made) = compat.ask("POST", project, Some(new)).await;
    assert_eq!((status, &made["_embedded"]["entity"]["value"]), (201, &json!("project")), "{made}");
    let secret = json!({"name": "env:B", "value": "hunter2hunter2", "is_sensitive": true});
    let (status, made) = compat.ask("POST", environment, Some(secret)).await;
    assert_eq!((status, &made["_embedded"]["entity"]["value"]), (201, &Value::Null));
    assert_eq!(
        compat.ask("POST", project, Some(json!({"name": "sizes", "value": "[1,2]", "is_json": true}))).await.0,
        201
    );
    assert_eq!(compat.ask("POST", project, Some(json!({"name": "env:A", "value": "x"}))).await.0, 409);
    let (status, changed) = compat.ask("PATCH", &format!("{project}/env%3AA"), Some(json!({"value": "changed"}))).await;
    assert_eq!((status, &changed["_embedded"]["entity"]["value"]), (200, &json!("changed")));
    let run = compat.run("show", json!({})).await;
    let log = compat.log(&run, "").await;
    let messages: String = log.iter().filter_map(|item| item["data"]["message"].as_str()).collect();
    assert!(messages.contains("changed *****\n") && messages.contains(r#"{"sizes":[1,2]}"#), "{messages}");
    let listed = compat.get(environment).await;
    assert_eq!((&listed[0]["name"], &listed[0]["is_sensitive"]), (&json!("env:B"), &json!(true)));
    assert!(!listed.to_string().contains("hunter2"));
    assert_eq!(compat.ask("DELETE", &format!("{environment}/env:B"), None).await.0, 200);
    assert_eq!(compat.ask("GET", &format!("{environment}/env:B"), None).await.0, 404);
}

/// What a task does with its token, in Python, which knows nothing of Airlock.
const PROGRAM: &str = r#"
import json, os, time, urllib.request, urllib.parse, urllib.error
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
api = os.environ["AIRLOCK_API_URL"]
cache = {}
def token():
    if cache.get("until", 0) < time.time():
        form = urllib.parse.urlencode({"grant_type": "client_credentials"}).encode()
        request = urllib.request.Request(api + "/oauth2/token", form, {"x-token-ttl": "5"})
        got = json.load(opener.open(request))
        assert got["token_type"] == "bearer" and got["expires_in"] == 60, got
        cache.update(token=got["access_token"], until=time.time() + got["expires_in"] - 30)
    return cache["token"]
def call(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": "Bearer " + token(), "Content-Type": "application/json"}
    try:
        answer = opener.open(urllib.request.Request(api + path, data, headers, method=method))
        return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, None
own = "/projects/%s/environments/%s" % (os.environ["PLATFORM_PROJECT"], os.environ["PLATFORM_BRANCH"])
status, answer = call("POST", own + "/tasks/greet/run", {"variables": {"env": {"NAME": "child"}}})
print("greet", status)
print("chief", call("POST", own + "/tasks/chief/run")[0])
print("own", call("GET", own)[0])
print("environments", call("GET", "/projects/%s/environments" % os.environ["PLATFORM_PROJECT"])[0])
print("other", call("GET", "/projects/other/environments/main/tasks")[0])
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_task_triggers_another_by_its_own_token_as_far_as_it_is_authorized() {
    let program = format!("python3 - <<'P'\n{PROGRAM}\nP");
    let task = |authorizations: Value| json!({"type": "native", "run": {"command": program}, "authorizations": authorizations});
    let tasks = json!({"tasks": {
        "greet": {"type": "native", "run": {"command": "echo hello $NAME"}},
        "chief": task(json!([{"type": "task", "resource": "greet", "action": "operate"}])),
        "viewer": task(json!([{"type": "env", "action": "view"}])),
        "nobody": task(json!([])),
    }});
    let compat = Compat::with(&tasks.to_string()).await;
    let said = async |name: &str| {
        let activity = compat.run(name, json!({})).await;
        let log = compat.log(&activity, "").await;
        let messages: String = log.iter().filter_map(|item| item["data"]["message"].as_str()).collect();
        assert_eq!(compat.again(&activity).await["result"], "success", "{messages}");
        messages[messages.find("greet").unwrap_or_default()..].to_owned()
    };
    assert_eq!(said("chief").await, "greet 202\nchief 403\nown 403\nenvironments 403\nother 403\n");
    let list = compat.get("/projects/shop/activities?count=2").await;
    let child = list.as_array().unwrap().iter().find(|one| one["parameters"]["task"] == "greet").unwrap().clone();
    let log = compat.log(&child, "").await;
    assert!(log.iter().any(|item| item["data"]["message"] == "hello child\n"), "{log:?}");
    assert!(child["text"].as_str().unwrap().starts_with("chief of shop (run #"), "{child}");
    assert_eq!(said("viewer").await, "greet 403\nchief 403\nown 200\nenvironments 403\nother 403\n");
    assert_eq!(said("nobody").await, "greet 403\nchief 403\nown 403\nenvironments 403\nother 403\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_exchanged_as_clients_do_it_and_the_workload_door_is_not_on_the_network() {
    let compat = Compat::with(TASKS).await;
    let key = compat.server.post("api-keys", json!({"name": "ci", "admin": true})).await;
    let form: &'static str =
        Box::leak(format!("grant_type=api_token&api_token={}", key["secret"].as_str().unwrap()).into_boxed_str());
    let (status, text) =
        compat.server.form("/oauth2/token", &[("authorization", "Basic cGxhdGZvcm0tYXBpLXVzZXI6")], form).await;
    assert_eq!(status, 200, "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&answer["expires_in"], &answer["token_type"]), (&json!(900), &json!("bearer")));
    let (status, _) = compat.server.raw(answer["access_token"].as_str(), "GET", "/projects/shop", None).await;
    assert_eq!(status, 200);
    assert_eq!(compat.server.form("/oauth2/token", &[], "grant_type=api_token&api_token=ak_wrong").await.0, 401);
    let header = [("x-airlock-workload", "guess")];
    let (status, _) = compat.server.form("/oauth2/token", &header, "grant_type=client_credentials").await;
    assert_eq!(status, 400, "without a client there is no token");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_sets_the_bounds_of_a_task_whatever_its_source_says() {
    let compat = Compat::with(
        "tasks: {greedy: {type: native, run: {command: 'ulimit -u; sleep 30', timeout: 3600}, airlock: {memory: 1GiB}}}",
    )
    .await;
    let path = "/api/v1/stacks/shop/declared-tasks/greedy/resources";
    assert_eq!(compat.ask("GET", path, None).await.0, 404);
    let (status, wrong) = compat.ask("PUT", path, Some(json!({"memory_bytes": 1, "speed": 9}))).await;
    assert!(status == 422 || status == 400, "{status}: {wrong}");
    assert!(wrong.to_string().contains("speed"), "{wrong}");
    let (status, wrong) = compat.ask("PUT", path, Some(json!({"memory_bytes": 1}))).await;
    assert!(status == 422 && wrong.to_string().contains("must be 16777216"), "{wrong}");
    let bounds = json!({"memory_bytes": 64 << 20, "timeout_seconds": 1, "processes": 77});
    let (status, set) = compat.ask("PUT", path, Some(bounds)).await;
    assert_eq!((status, &set["timeout_seconds"], &set["fuel"]), (200, &json!(1), &Value::Null), "{set}");
    let listed = compat.get("/api/v1/stacks/shop/declared-tasks").await;
    let task = &listed["items"][0];
    assert_eq!((&task["caps"]["memory_bytes"], &task["timeout_seconds"]), (&json!(64 << 20), &json!(1)));
    assert_eq!(task["resources"]["updated_by"]["name"], "admin");

    let activity = compat.run("greedy", json!({})).await;
    compat.log(&activity, "").await;
    let run = compat.get(&format!("/api/v1/runs/{}", activity["id"].as_str().unwrap())).await;
    assert_eq!(run["state"], "failed");
    assert!(run["verdict"].to_string().contains("timed_out"), "{}", run["verdict"]);
    assert_eq!(compat.ask("DELETE", path, None).await.0, 204);
    let listed = compat.get("/api/v1/stacks/shop/declared-tasks").await;
    assert_eq!(
        (&listed["items"][0]["timeout_seconds"], &listed["items"][0]["resources"]),
        (&json!(3600), &Value::Null)
    );
    let audit = compat.get("/api/v1/audit?verb=task.resources").await;
    assert_eq!(
        audit["items"].as_array().unwrap().iter().filter(|entry| entry["outcome"] == "done").count(),
        2,
        "{audit}"
    );
    assert!(audit.to_string().contains("greedy: memory_bytes = 67108864, processes = 77, timeout_seconds = 1"));
}
