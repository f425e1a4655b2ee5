//! Programs that were written for Upsun and know nothing of Airlock: its JavaScript client against
//! the server, its Python library inside a task.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use airlock::domain::{Phase, State};
use serde_json::{Value, json};

use crate::{
    fetched,
    whole::{
        rig::{CONFIG, Rig},
        server::Server,
    },
};

/// Prints a JSON line for what it found: environments, activities, then the log as it comes.
const CLIENT: &str = r#"
const { default: Client } = require("platformsh-client");
const base = process.env.BASE;
const say = (value) => console.log(JSON.stringify(value));
(async () => {
  const client = new Client({ api_url: base, base_url: base, authentication_url: base, access_token: process.env.TOKEN });
  const environments = await client.getEnvironments("shop");
  say(environments.map((environment) => environment.id));
  const [activity] = await environments[0].getActivities();
  say([activity.id, activity.type]);
  const items = [];
  await activity.getLogs((more, refused) => {
    if (refused) throw new Error("refused: " + refused.status);
    items.push(...more);
  }).exec();
  say(items);
  const [again] = await environments[0].getActivities();
  say([again.state, again.result, again.isComplete()]);
})().catch((error) => { console.error(error); process.exit(1); });
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_javascript_client_lists_environments_and_activities_and_reads_a_log_to_its_seal() {
    let modules = fetched::npm("platformsh-client", "0.2.13");
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let tasks = "tasks: {greet: {type: native, run: {command: 'echo hello; echo again >&2'}}}";
    server.stack(json!({"name": "Shop", "vendor": {"kind": "custom"}}), &[(CONFIG, tasks)]).await;
    let key = server.post("api-keys", json!({"name": "client", "admin": true})).await;
    let (status, said) = server.raw(None, "POST", "/projects/shop/environments/main/tasks/greet/run", None).await;
    assert_eq!(status, 202, "{said}");
    let activity: Value = serde_json::from_str(&said).unwrap();
    let id = activity["_embedded"]["activities"][0]["id"].clone();

    // The client's own exchange of a key works in browsers only; this is what it would send.
    let exchange = json!({"grant_type": "api_token", "api_token": key["secret"]});
    let (status, said) = server.raw(Some("none"), "POST", "/oauth2/token", Some(exchange)).await;
    assert_eq!(status, 200, "{said}");
    let token = serde_json::from_str::<Value>(&said).unwrap()["access_token"].as_str().unwrap().to_owned();
    let base = server.url().to_owned();
    let ran = tokio::task::spawn_blocking(move || {
        let mut command = Command::new("node");
        command.arg("-e").arg(CLIENT).current_dir(modules).stdin(Stdio::null());
        command.env("BASE", base).env("TOKEN", token).output().expect("node is there")
    });
    let ran = tokio::time::timeout(Duration::from_secs(90), ran).await.expect("it ends").unwrap();
    // A program that fails prints its whole source.
    let complaint: String = String::from_utf8_lossy(&ran.stderr).chars().rev().take(2_000).collect();
    assert!(ran.status.success(), "{}", complaint.chars().rev().collect::<String>());
    let said: Vec<Value> =
        String::from_utf8(ran.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(said[0], json!(["main"]));
    assert_eq!(said[1], json!([id, "environment.task"]));
    let items = said[2].as_array().unwrap();
    let messages: Vec<&str> = items.iter().filter_map(|item| item["data"]["message"].as_str()).collect();
    assert!(messages.contains(&"hello\n") && messages.contains(&"again\n"), "{messages:?}");
    assert_eq!(items.last().unwrap()["seal"], true);
    assert_eq!(said[3], json!(["complete", "success", true]));
}

/// Reads its surroundings through Upsun's library.
const PROGRAM: &str = r#"
import json
from platformshconfig import Config
config = Config()
database = config.credentials("db")
print("in", config.is_valid_platform(), config.applicationName, config.branch)
print("relationship", database["scheme"], database["port"], database["username"], database["path"])
print("variables", json.dumps(config.variables(), sort_keys=True))
print("one", config.variable("shop:color"), config.variable("none", "default"))
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_python_library_decodes_relationships_and_variables_inside_a_task() {
    let library = fetched::pypi("platformshconfig", "2.4.0");
    let package = library.join("platformshconfig");
    let mut files =
        vec![(CONFIG.to_owned(), TASKS.as_bytes().to_vec()), ("program.py".to_owned(), PROGRAM.as_bytes().to_vec())];
    for entry in std::fs::read_dir(&package).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if std::path::Path::new(&name).extension().is_some_and(|extension| extension == "py") {
            files.push((format!("platformshconfig/{name}"), std::fs::read(entry.path()).unwrap()));
        }
    }
    let files: Vec<(&str, Vec<u8>)> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    let rig = Rig::new().await;
    rig.service("maindb", "postgresql", 5432, "s3cret-s3cret").await;
    let stack = rig.stack(json!({"name": "Shop", "vendor": {"kind": "custom"}}), &[]).await;
    rig.upload(&stack, &files).await;
    let run = rig.declared(&stack, "decode", &[("shop:size", "large")]).await;
    let run = rig.until_state(&run, State::Finished).await;
    let log = rig.log(&run, Phase::Performing);
    for line in [
        "in True decode main\n",
        "relationship postgresql 5432 ada main\n",
        "variables {\"shop:color\": \"red\", \"shop:size\": \"large\"}\n",
        "one red default\n",
    ] {
        assert!(log.contains(line), "{line}{log}");
    }
}

const TASKS: &str = "
tasks:
  decode:
    type: native
    run: {command: python3 program.py}
    relationships: {db: 'maindb:main'}
    variables: {shop: {color: red}}
";
