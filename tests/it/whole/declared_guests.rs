//! Declared tasks that are guests: what reaches them, and what they reach.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::mpsc,
};

use airlock::{
    actions::Decision,
    auth::Permission,
    domain::{Phase, State},
    queries::{Run, Stack},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    declared::PRINTS_ITS_VARIABLES,
    fetch::{DENIED, Scheme, fetch},
    rig::{CONFIG, Rig},
};

/// A stack whose source has a guest `variables` that prints what it gets.
async fn stack_with_printer(rig: &Rig, more: &str) -> Stack {
    let tasks = format!("tasks:\n  variables:\n    type: wasi:variables.wasm\n    run: {{command: ''}}\n{more}");
    let stack = rig.stack(json!({"name": "Shop", "vendor": {"kind": "custom", "plan": "exit 2"}}), &[]).await;
    let module = wat::parse_str(PRINTS_ITS_VARIABLES).unwrap();
    rig.upload(&stack, &[(CONFIG, tasks.as_bytes()), ("variables.wasm", &module[..])]).await;
    stack
}

/// What a run of that guest printed.
async fn printed(rig: &Rig, stack: &Stack, variables: &[(&str, &str)]) -> Vec<String> {
    let run = rig.declared(stack, "variables", variables).await;
    let run = rig.until_state(&run, State::Finished).await;
    rig.log(&run, Phase::Performing).split('\0').map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_not_handed_a_secret_because_its_name_sounds_like_the_platforms() {
    let rig = Rig::new().await;
    let bound = "    airlock:
      network: [api.example]
      headers: {api.example: {Authorization: {secret: PLATFORM_TOKEN}}}
";
    let stack = stack_with_printer(&rig, bound).await;
    rig.set(&stack, "PLATFORM_TOKEN", "platform-secret", true).await;
    let printed = printed(&rig, &stack, &[]).await;
    assert!(printed.iter().any(|one| one == "PLATFORM_PROJECT=shop"), "{printed:?}");
    assert!(!printed.iter().any(|one| one.starts_with("PLATFORM_TOKEN")), "{printed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_higher_wins_for_a_guest_as_for_any_task() {
    let rig = Rig::new().await;
    let declared = "    variables: {env: {A: config, B: config, C: config, D: config, E: config}}
    airlock: {env: [E]}
";
    let stack = stack_with_printer(&rig, declared).await;
    for name in ["env:B", "env:C", "env:D", "env:E"] {
        rig.project_setting(&stack, name, "project", |_| ()).await;
    }
    rig.set(&stack, "C", "environment", false).await;
    rig.set(&stack, "D", "environment", false).await;
    rig.set(&stack, "E", "environment-secret", true).await;
    rig.set(&stack, "UNASKED", "environment", false).await;
    let printed = printed(&rig, &stack, &[("env:D", "trigger")]).await;
    let mine: Vec<&str> = printed.iter().map(String::as_str).filter(|one| one.find('=') == Some(1)).collect();
    assert_eq!(mine, ["A=config", "B=project", "C=environment", "D=trigger", "E=*****"]);
    assert!(!printed.iter().any(|one| one.starts_with("UNASKED")), "{printed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tasks_variables_are_in_upper_case_wherever_they_come_from() {
    let rig = Rig::new().await;
    let more = "    airlock:
      env: [api_key, Region, token]
      network: [api.example]
      headers: {api.example: {Authorization: {secret: bearer}}}
  native: {type: native, run: {command: 'echo $API_KEY $REGION; env | grep -c for-[a]pplying || true'}}
  missing: {type: 'wasi:variables.wasm', run: {command: ''}, airlock: {env: [API_KEY, NOBODY]}}
";
    let stack = stack_with_printer(&rig, more).await;
    rig.set(&stack, "api_key", "lower-case-secret", true).await;
    rig.set(&stack, "region", "south", false).await;
    rig.set(&stack, "Region", "south", false).await;
    rig.set(&stack, "REGION", "north", false).await;
    rig.set(&stack, "bearer", "bearer-secret", true).await;
    rig.set(&stack, "wo_KEY", "for-applying-alone", true).await;
    rig.project_setting(&stack, "token", "inner-secret", |new| new.is_sensitive = true).await;
    let printed = printed(&rig, &stack, &[]).await;
    for there in ["API_KEY=*****", "REGION=north"] {
        assert!(printed.iter().any(|one| one == there), "{there}: {printed:?}");
    }
    assert!(!printed.iter().any(|one| one.to_ascii_uppercase().starts_with("BEARER")), "{printed:?}");
    let run = rig.declared(&stack, "native", &[]).await;
    let run = rig.until_state(&run, State::Finished).await;
    assert_eq!(rig.log(&run, Phase::Performing), "***** north\n0\n");
    let run = rig.declared(&stack, "missing", &[]).await;
    let run = rig.until_state(&run, State::Failed).await;
    let reason = run.reason.unwrap();
    assert!(reason.contains("the variable NOBODY, which `airlock.env` lists, does not exist"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_cannot_tell_a_guest_another_run_or_place() {
    let rig = Rig::new().await;
    let stack = stack_with_printer(&rig, "").await;
    let names = ["AIRLOCK_RUN_ID", "AIRLOCK_PHASE", "AIRLOCK_PROJECT_ROOT", "AIRLOCK_TASK", "PLATFORM_PROJECT"];
    let lies = names.map(|name| (format!("env:{name}"), "forged"));
    let lies: Vec<(&str, &str)> = lies.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let printed = printed(&rig, &stack, &lies).await;
    for name in names {
        let there: Vec<_> = printed.iter().filter(|one| one.split('=').next() == Some(name)).collect();
        assert!(there.len() == 1 && !there[0].ends_with("=forged"), "{name}: {there:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guests_project_root_is_the_tasks_own() {
    let rig = Rig::new().await;
    let settings = json!({"name": "Shop", "vendor": {"kind": "custom", "plan": "exit 2"}});
    let stack = rig.stack(settings, &[]).await;
    let tasks = "tasks: {variables: {type: 'wasi:variables.wasm', run: {command: ''}, source: {root: tools/inner}}}";
    let module = wat::parse_str(PRINTS_ITS_VARIABLES).unwrap();
    rig.upload(&stack, &[(CONFIG, tasks.as_bytes()), ("tools/inner/variables.wasm", &module[..])]).await;
    let printed = printed(&rig, &stack, &[]).await;
    for there in ["AIRLOCK_PROJECT_ROOT=tools/inner", "PLATFORM_APP_DIR=/workspace/tools/inner"] {
        assert!(printed.iter().any(|one| one == there), "{there}: {printed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_gets_the_share_of_the_processor_that_it_asks_for() {
    let rig = Rig::new().await;
    let stack = rig.stack(json!({"name": "Shop", "vendor": {"kind": "custom", "plan": "exit 2"}}), &[]).await;
    let tasks = "tasks: {spin: {type: 'wasi:spin.wasm', run: {command: ''}, airlock: {cpu: 0.5, fuel: 1000000000000}}}";
    let module = wat::parse_str(include_str!("../../../guests/hostile/spin.wat")).unwrap();
    rig.upload(&stack, &[(CONFIG, tasks.as_bytes()), ("spin.wasm", &module[..])]).await;
    let run = rig.declared(&stack, "spin", &[]).await;
    rig.until_state(&run, State::Performing).await;
    let started = rig.app.actions.to_start(run.id).unwrap().unwrap();
    assert_eq!(started.jail.limits.cpu_percent, Some(50));
    rig.decide(&run, Permission::Cancel, Decision::Cancel { note: None }).await.unwrap();
    rig.until_state(&run, State::Canceled).await;
}

/// A service of this machine that answers each request with `ok`; its port, and what it was sent.
fn service() -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (told, heard) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut head) = (stream.unwrap(), Vec::new());
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.extend(byte);
            }
            if told.send(String::from_utf8(head).unwrap()).is_err() {
                return;
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok").unwrap();
        }
    });
    (port, heard)
}

/// Runs the guest `fetch`, which sends one request, as it is declared; gives its run and its log.
async fn fetched(rig: &Rig, stack: &Stack, authority: &str, declared: Value, ends: State) -> (Run, String) {
    let mut task = json!({"type": "wasi:fetch.wasm", "run": {"command": ""}});
    task.as_object_mut().unwrap().extend(declared.as_object().unwrap().clone());
    let tasks = json!({"tasks": {"fetch": task}}).to_string();
    let module = wat::parse_str(fetch(Scheme::Http, authority, "/")).unwrap();
    rig.upload(stack, &[(CONFIG, tasks.as_bytes()), ("fetch.wasm", &module[..])]).await;
    let run = rig.declared(stack, "fetch", &[]).await;
    let run = rig.until_state(&run, ends).await;
    let log = rig.log(&run, Phase::Performing);
    (run, log)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guests_relationship_opens_its_services_host_and_port_and_no_other() {
    let rig = Rig::new().await;
    let stack = stack_with_printer(&rig, "    relationships: {shop: 'shopapi:http'}\n").await;
    let ((port, asked), (closed, never)) = (service(), service());
    rig.service_at(("shopapi", "http"), ("localhost", port), "").await;
    let printed = printed(&rig, &stack, &[]).await;
    let found = printed.iter().find_map(|one| one.strip_prefix("PLATFORM_RELATIONSHIPS=")).unwrap();
    let found: Value = serde_json::from_slice(&STANDARD.decode(found).unwrap()).unwrap();
    assert_eq!((&found["shop"][0]["host"], &found["shop"][0]["port"]), (&json!("localhost"), &json!(port)));

    let related = json!({"relationships": {"shop": "shopapi:http"}});
    let (_, log) = fetched(&rig, &stack, &format!("localhost:{port}"), related.clone(), State::Finished).await;
    assert!(log.ends_with("[200]\nok"), "{log}");
    asked.recv().unwrap();
    let (_, log) = fetched(&rig, &stack, &format!("localhost:{closed}"), related, State::Failed).await;
    assert!(log.contains(DENIED), "{log}");
    assert!(never.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_header_goes_over_http_only_where_the_operator_lists_the_host() {
    for (listed, ends) in [(true, State::Finished), (false, State::Failed)] {
        let (port, asked) = service();
        let host = format!("127.0.0.1:{port}");
        let allow = if listed { vec![host.clone()] } else { Vec::new() };
        let dir = std::sync::Arc::new(tempfile::tempdir().unwrap());
        let rig = Rig::on(dir, |config| config.outbound_allow = allow).await;
        let stack = rig.stack(json!({"name": "Shop", "vendor": {"kind": "custom", "plan": "exit 2"}}), &[]).await;
        rig.set(&stack, "TOKEN", "bearer-of-the-secret", true).await;
        let headers = json!({host.clone(): {"Authorization": {"secret": "TOKEN"}}});
        let declared = json!({"airlock": {"network": [host], "headers": headers}});
        let (_, log) = fetched(&rig, &stack, &host, declared, ends).await;
        match asked.try_recv() {
            Ok(head) => assert!(listed && head.contains("authorization: bearer-of-the-secret\r\n"), "{head}"),
            Err(_) => assert!(!listed && log.contains(DENIED), "{log}"),
        }
        rig.until_tidy().await;
    }
}
