//! Declared tasks, native ones, from a trigger to the end.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
};

use airlock::{
    actions::{Decision, NewDemand},
    auth::Permission,
    domain::{BlockedBy, Kind, Phase, State, Verdict, limits},
    queries::{Run, Stack},
};
use serde_json::json;

use super::{
    gate::Gate,
    rig::{CONFIG, Rig},
};

/// A stack whose source declares tasks.
async fn stack(rig: &Rig, tasks: &str) -> Stack {
    rig.stack(
        json!({"name": "Shop", "vendor": {"kind": "custom", "plan": "exit 2"}}),
        &[(CONFIG, tasks), ("data.txt", "42")],
    )
    .await
}

async fn cancel(rig: &Rig, run: &Run) -> Run {
    rig.decide(run, Permission::Cancel, Decision::Cancel { note: None }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_task_runs_on_its_source_with_the_variables_of_every_layer() {
    let rig = Rig::new().await;
    let tasks = r#"
tasks:
  report:
    type: native
    run: {command: 'cat data.txt; echo "$A|$B|$C|$SECRET|$PLATFORM_APPLICATION_NAME|$PLATFORM_PROJECT|$AIRLOCK_TASK"; echo $PLATFORM_VARIABLES | base64 -d'}
    variables:
      env: {a: file, B: file, C: file}
      shop: {size: 3}
"#;
    let stack = stack(&rig, tasks).await;
    rig.set(&stack, "B", "environment", false).await;
    rig.set(&stack, "C", "environment", false).await;
    rig.set(&stack, "SECRET", "hunter2-hunter2", true).await;
    let run = rig.declared(&stack, "report", &[("env:c", "trigger"), ("shop:color", "red")]).await;
    assert_eq!(run.kind, Kind::OnDemand);
    let run = rig.until_state(&run, State::Finished).await;
    let log = rig.log(&run, Phase::Performing);
    assert!(log.starts_with("42file|environment|trigger|*****|report|shop|report\n"), "{log}");
    assert!(log.contains(r#""shop:color":"red""#) && log.contains(r#""shop:size":3"#), "{log}");
    let states: Vec<State> = rig
        .app
        .queries
        .run_detail(&airlock::auth::Who::system(), run.id)
        .unwrap()
        .history
        .iter()
        .map(|entry| entry.state)
        .collect();
    assert_eq!(states, [State::Queued, State::Ready, State::Preparing, State::Performing, State::Finished]);
    let again = rig.declared(&stack, "report", &[]).await;
    rig.until_state(&again, State::Finished).await;
    rig.until_tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_within_the_platforms_variables_is_masked_however_it_is_printed() {
    let rig = Rig::new().await;
    let tasks = "tasks:
  tell:
    type: native
    run: {command: 'echo $PLATFORM_VARIABLES | base64 -d'}
    hooks: {build: 'echo $PLATFORM_VARIABLES | base64 -d; echo built > built'}
";
    let stack = stack(&rig, tasks).await;
    rig.project_setting(&stack, "db:password", "hunter2-hunter2", |new| new.is_sensitive = true).await;
    let json = r#"{"size": 3, "users": [{"key": "deep-secret"}]}"#;
    rig.project_setting(&stack, "db:users", json, |new| (new.is_sensitive, new.is_json) = (true, true)).await;
    rig.project_setting(&stack, "db:name", "orders", |_| ()).await;
    let run = rig.declared(&stack, "tell", &[]).await;
    let run = rig.until_state(&run, State::Finished).await;
    let shown = r#"{"db:name":"orders","db:password":"*****","db:users":{"size":3,"users":[{"key":"*****"}]}}"#;
    for phase in [Phase::Preparing, Phase::Performing] {
        let log = rig.log(&run, phase);
        assert!(log.contains(shown), "{phase}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_not_declared_or_not_right_is_refused_with_what_and_where() {
    let rig = Rig::new().await;
    let stack = stack(&rig, "tasks: {report: {type: native, run: {command: 'true'}}}").await;
    let permit = rig.permit(Permission::RunDeclared, &stack);
    let new = |task: &str| NewDemand { task: task.parse().unwrap(), variables: Vec::new(), stdin: None, call: None };
    let refused = rig.app.actions.run_declared(&permit, stack.id, new("reprot"), None).await.unwrap_err().to_string();
    assert!(refused.contains("no task `reprot`; it declares report"), "{refused}");
    rig.upload(&stack, &[(CONFIG, "tasks:\n  report: {type: native, run: {command: 'true', timeout: 90000}}\n")]).await;
    let refused = rig.app.actions.run_declared(&permit, stack.id, new("report"), None).await.unwrap_err().to_string();
    assert!(refused.contains(".airlock/config.yaml:2:"), "{refused}");
    let needs = "tasks: {report: {type: native, run: {command: 'true'}, relationships: {db: 'database:main'}}}";
    rig.upload(&stack, &[(CONFIG, needs)]).await;
    let run = rig.declared(&stack, "report", &[]).await;
    let run = rig.until_state(&run, State::Failed).await;
    assert!(run.reason.as_ref().unwrap().contains("the service `database` is unknown"), "{run:?}");
    rig.until_tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_run_at_once_the_fourth_waits_and_both_kinds_can_be_canceled() {
    let rig = Rig::new().await;
    let stack = stack(&rig, "tasks: {wait: {type: native, run: {command: 'echo up; sleep 60'}}}").await;
    let mut runs = Vec::new();
    for _ in 0..5 {
        runs.push(rig.declared(&stack, "wait", &[]).await);
    }
    for run in &runs[..3] {
        rig.until(run, |run| run.state == State::Performing).await;
    }
    for run in &runs[3..] {
        let waits = rig.run(run.id);
        assert_eq!((waits.state, waits.blocked_by), (State::Queued, Some(BlockedBy::Pool { most: 3 })));
    }
    assert_eq!(cancel(&rig, &runs[3]).await.state, State::Canceled);
    cancel(&rig, &runs[0]).await;
    let ended = rig.until(&runs[0], |run| run.state.is_terminal()).await;
    assert_eq!((ended.state, ended.reason.as_deref()), (State::Canceled, Some("canceled by system")));
    rig.until(&runs[4], |run| run.state == State::Performing).await;
    for run in [&runs[1], &runs[2], &runs[4]] {
        cancel(&rig, run).await;
        rig.until_state(run, State::Canceled).await;
    }
    rig.until_tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_ends_running_tasks_before_it_applies_and_lets_others_wait() {
    let rig = Rig::new().await;
    let gate = Gate::new().await;
    let settings =
        json!({"name": "Shop", "vendor": {"kind": "custom", "plan": "exit 2", "apply": gate.command("apply")}});
    let tasks =
        "tasks: {wait: {type: native, run: {command: 'trap \"echo saved; exit 0\" TERM; echo up; sleep 60 & wait'}}}";
    let stack = rig.stack(settings, &[(CONFIG, tasks)]).await;
    let tracked = rig.unconfirmed(&stack).await;
    let running = rig.declared(&stack, "wait", &[]).await;
    rig.until(&running, |run| rig.log(run, Phase::Performing).contains("up")).await;
    rig.confirm(&tracked).await;
    let knock = gate.knock().await;
    let ended = rig.run(running.id);
    assert!(ended.state.is_terminal(), "applying began beside a task that is {}", ended.state);
    assert_eq!(ended.state, State::Canceled);
    assert_eq!(ended.reason, Some(format!("a deployment began: run #{}", tracked.number)));
    assert!(rig.log(&ended, Phase::Performing).contains("saved"));
    let waits = rig.declared(&stack, "wait", &[]).await;
    assert_eq!(waits.state, State::Queued);
    assert_eq!(waits.blocked_by, Some(BlockedBy::Run { run: tracked.id, number: tracked.number }));
    knock.let_on().await;
    rig.until_state(&tracked, State::Finished).await;
    rig.until(&waits, |run| run.state == State::Performing).await;
    cancel(&rig, &waits).await;
    rig.until_state(&waits, State::Canceled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_time_is_up_is_asked_and_has_the_grace_to_save_itself() {
    let rig = Rig::new().await;
    let tasks = "tasks:
  polite: {type: native, run: {command: 'trap \"echo state saved; exit 0\" TERM; sleep 60 & wait', timeout: 1}}
";
    let stack = stack(&rig, tasks).await;
    let run = rig.declared(&stack, "polite", &[]).await;
    let run = rig.until_state(&run, State::Failed).await;
    assert_eq!(run.verdict, Some(Verdict::TimedOut { seconds: 1 }));
    assert!(rig.log(&run, Phase::Performing).contains("state saved"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_ignores_that_its_time_is_up_is_killed_after_the_grace() {
    let grace = std::time::Duration::from_secs(1);
    let rig = Rig::on(std::sync::Arc::new(tempfile::tempdir().unwrap()), |config| config.stop_grace = grace).await;
    let tasks = "tasks:
  deaf: {type: native, run: {command: 'trap \"\" TERM; echo up; while :; do sleep 60; done', timeout: 1}}
";
    let stack = stack(&rig, tasks).await;
    let run = rig.declared(&stack, "deaf", &[]).await;
    let run = rig.until_state(&run, State::Failed).await;
    assert_eq!(run.verdict, Some(Verdict::TimedOut { seconds: 1 }));
    let log = rig.log(&run, Phase::Performing);
    let (term, kill) = (log.find("SIGTERM now, SIGKILL in 1 s"), log.find(": SIGKILL\n"));
    assert!(term.is_some() && kill > term, "{log}");
    let phase = run.phases.last().unwrap();
    let took = phase.finished_at.unwrap() - phase.started_at;
    assert!(took >= grace * 2, "{took:?}: the time, and the grace");
    rig.until_tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relationship_leads_to_its_service_and_nowhere_else() {
    let rig = Rig::new().await;
    let database = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, closed) = (database.local_addr().unwrap().port(), other.local_addr().unwrap().port());
    rig.service("maindb", "postgresql", port, "s3cret-s3cret").await;
    std::thread::spawn(move || {
        let (mut stream, _) = database.accept().unwrap();
        let mut said = [0; 5];
        stream.read_exact(&mut said).unwrap();
        stream.write_all(&said).unwrap();
    });
    let talk = format!(
        "python3 - <<'P'
import os, socket, json, base64
rel = json.loads(base64.b64decode(os.environ['PLATFORM_RELATIONSHIPS']))['db'][0]
assert rel['password'] == os.environ['DB_PASSWORD'] and str(rel['port']) == os.environ['DB_PORT'], rel
s = socket.create_connection((os.environ['DB_HOST'], int(os.environ['DB_PORT'])))
s.sendall(b'hello'); print('echoed', s.recv(5).decode(), rel['username'], os.environ['DB_PASSWORD'])
try:
    socket.create_connection(('127.0.0.1', {closed}), 2); print('OPEN')
except OSError as e:
    print('closed')
P"
    );
    let tasks = serde_json::to_string(&json!({"tasks": {"ask": {
        "type": "native", "run": {"command": talk}, "relationships": {"db": "maindb:main"},
    }}}))
    .unwrap();
    let stack = stack(&rig, &tasks).await;
    let run = rig.declared(&stack, "ask", &[]).await;
    let run = rig.until_state(&run, State::Finished).await;
    assert_eq!(rig.log(&run, Phase::Performing), "echoed hello ada *****\nclosed\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn mounts_persist_where_they_say_so_and_everything_else_is_fresh() {
    let rig = Rig::new().await;
    let tasks = "tasks:
  count:
    type: native
    run: {command: 'echo x >> keep/n; echo x >> scratch/n; echo x >> n; wc -l < keep/n; wc -l < scratch/n; wc -l < n'}
    mounts: {keep: {source: storage, source_path: keep}, scratch: {source: tmp, source_path: scratch}}
";
    let stack = stack(&rig, tasks).await;
    for round in 1..=2 {
        let run = rig.declared(&stack, "count", &[]).await;
        let run = rig.until_state(&run, State::Finished).await;
        assert_eq!(rig.log(&run, Phase::Performing), format!("{round}\n1\n1\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_asks_for_the_same_again() {
    let rig = Rig::new().await;
    let stack = stack(&rig, "tasks: {say: {type: native, run: {command: 'echo $WORD; cat'}}}").await;
    let permit = rig.permit(Permission::RunDeclared, &stack);
    let variables = vec![("env:WORD".to_owned(), json!("hello"))];
    let new = NewDemand {
        task: "say".parse().unwrap(),
        variables,
        stdin: Some("a $HOME `x` \\ line".to_owned()),
        call: None,
    };
    let run = rig.app.actions.run_declared(&permit, stack.id, new, None).await.unwrap();
    rig.until_state(&run, State::Finished).await;
    let again = rig.app.actions.retry(&permit, run.id, None).await.unwrap();
    assert_eq!((again.kind, again.retry_of), (Kind::OnDemand, Some(run.id)));
    let again = rig.until_state(&again, State::Finished).await;
    assert_eq!(rig.log(&again, Phase::Performing), "hello\na $HOME `x` \\ line");
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_input_is_a_text_whatever_it_says_and_however_long_it_is() {
    let rig = Rig::new().await;
    let stack =
        stack(&rig, "tasks: {count: {type: native, run: {command: 'head -n 3; cat /dev/stdin | wc -c'}}}").await;
    let permit = rig.permit(Permission::RunDeclared, &stack);
    let begin = "AIRLOCK_END_OF_STANDARD_INPUT\n}\necho INJECTED\n";
    let stdin = format!("{begin}{}", "x".repeat(limits::STDIN_BYTES - begin.len()));
    let new = NewDemand { task: "count".parse().unwrap(), variables: Vec::new(), stdin: Some(stdin), call: None };
    let run = rig.app.actions.run_declared(&permit, stack.id, new, None).await.unwrap();
    let run = rig.until_state(&run, State::Finished).await;
    assert_eq!(rig.log(&run, Phase::Performing), format!("{begin}{}\n", limits::STDIN_BYTES));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_the_tasks_own_root_can_be_its_standard_input() {
    let rig = Rig::new().await;
    let tasks = "tasks:
  read: {type: native, run: {command: cat}, source: {root: inner}, airlock: {stdin: {file: in.txt}}}
  lost: {type: native, run: {command: cat}, airlock: {stdin: {file: in.txt}}}
";
    let settings = json!({"name": "Shop", "vendor": {"kind": "custom", "plan": "exit 2"}});
    let stack = rig.stack(settings, &[(CONFIG, tasks), ("inner/in.txt", "typed")]).await;
    let run = rig.declared(&stack, "read", &[]).await;
    let run = rig.until_state(&run, State::Finished).await;
    assert_eq!(rig.log(&run, Phase::Performing), "typed");
    let run = rig.declared(&stack, "lost", &[]).await;
    let run = rig.until_state(&run, State::Failed).await;
    assert!(run.reason.as_ref().unwrap().contains("no regular file `in.txt`"), "{run:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_build_hook_comes_first_and_its_failure_is_the_runs() {
    let rig = Rig::new().await;
    let tasks = "tasks:
  good: {type: native, run: {command: 'cat built'}, hooks: {build: 'echo built > built'}}
  bad: {type: native, run: {command: 'echo never'}, hooks: {build: 'echo oh no; exit 3'}}
";
    let stack = stack(&rig, tasks).await;
    let good = rig.declared(&stack, "good", &[]).await;
    let good = rig.until_state(&good, State::Finished).await;
    assert_eq!(rig.log(&good, Phase::Performing), "built\n");
    let bad = rig.declared(&stack, "bad", &[]).await;
    let bad = rig.until_state(&bad, State::Failed).await;
    assert!(bad.phases.iter().all(|phase| phase.phase == Phase::Preparing), "{bad:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_built_once_and_later_runs_begin_with_the_result() {
    let rig = Rig::new().await;
    let tasks = "tasks:
  app:
    type: native
    run: {command: 'cat stamp word; echo $WORD; cat data.txt'}
    hooks: {build: 'cat /proc/sys/kernel/random/uuid > stamp; echo \"<$WORD>\" > word; rm data.txt; echo 43 > data.txt'}
    variables: {env: {WORD: declared}}
  odd:
    type: native
    run: {command: 'cat stamp'}
    hooks: {build: 'cat /proc/sys/kernel/random/uuid > stamp; test -e allowed'}
";
    let stack = stack(&rig, tasks).await;
    let stamp = async |task: &str, variables: &[(&str, &str)]| {
        let run = rig.declared(&stack, task, variables).await;
        let run = rig.until_state(&run, State::Finished).await;
        let log = rig.log(&run, Phase::Performing);
        let (stamp, rest) = log.split_once('\n').unwrap();
        (stamp.to_owned(), rest.to_owned())
    };
    let first = stamp("app", &[("env:WORD", "triggered")]).await;
    // What a trigger brings is the run's alone: the build serves others, too.
    assert_eq!(first.1, "<declared>\ntriggered\n43\n");
    let again = stamp("app", &[]).await;
    assert_eq!(again, (first.0.clone(), "<declared>\ndeclared\n43\n".to_owned()));
    rig.until_tidy().await;

    // A result that somebody changed is not used, and is built anew.
    let kept = super::rig::files_below(&rig.data().join("cache").join("slugs"));
    let kept = kept.iter().find(|path| path.extension().is_some_and(|end| end == "sealed")).unwrap();
    let mut bytes = std::fs::read(kept).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(kept, bytes).unwrap();
    let anew = stamp("app", &[]).await;
    assert_ne!(anew.0, first.0);
    assert_eq!(stamp("app", &[]).await.0, anew.0);

    // A build that fails is its run's failure, and is tried again.
    let failed = rig.declared(&stack, "odd", &[]).await;
    rig.until_state(&failed, State::Failed).await;
    rig.upload(&stack, &[(CONFIG, tasks), ("data.txt", "42"), ("allowed", "")]).await;
    stamp("odd", &[]).await;
    // Another source is another build.
    assert_ne!(stamp("app", &[]).await.0, anew.0);
    rig.until_tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_task_does_not_want_kept_is_not_kept() {
    let rig = Rig::new().await;
    let tasks = "tasks:
  kept: {type: 'wasi:surveyor', run: {command: ''}}
  gone: {type: 'wasi:surveyor', run: {command: ''}, airlock: {artifacts: false}}
";
    let stack = stack(&rig, tasks).await;
    for (task, artifacts) in [("kept", 2), ("gone", 0)] {
        let run = rig.declared(&stack, task, &[]).await;
        let run = rig.until_state(&run, State::Finished).await;
        let left = rig.app.queries.left(&run).unwrap();
        assert_eq!(left[0].artifacts.len(), artifacts, "{task}");
        assert!(left[0].receipt.as_ref().unwrap().files_written >= 2, "{task}: it was written all the same");
    }
}

/// Prints every variable that a guest gets, each ended by NUL.
pub(super) const PRINTS_ITS_VARIABLES: &str = r#"(module
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (func (export "_start")
    (drop (call $sizes (i32.const 0) (i32.const 4)))
    (drop (call $get (i32.const 1000) (i32.const 10000)))
    (i32.store (i32.const 16) (i32.const 10000))
    (i32.store (i32.const 20) (i32.load (i32.const 4)))
    (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24)))))"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_guest_gets_what_it_asks_for_and_leaves_a_receipt() {
    let rig = Rig::new().await;
    let tasks = r"
tasks:
  survey:
    type: wasi:surveyor
    run: {command: '--title \'Two words\''}
    airlock: {fuel: 5000000000, memory: 64MiB}
  variables:
    type: wasi:tools/variables.wasm
    run: {command: one}
    variables: {env: {told: by-the-file}}
    airlock: {env: [WANTED]}
  nobody:
    type: wasi:nobody
    run: {command: x}
";
    let tasks = tasks.replace("\\'", "''");
    let module = wat::parse_str(PRINTS_ITS_VARIABLES).unwrap();
    let settings = json!({"name": "Shop", "vendor": {"kind": "custom", "plan": "exit 2"}});
    let stack = rig.stack(settings, &[]).await;
    rig.upload(&stack, &[(CONFIG, tasks.as_bytes()), ("tools/variables.wasm", &module[..])]).await;
    rig.set(&stack, "WANTED", "wanted-secret-1", true).await;
    rig.set(&stack, "UNWANTED", "unwanted-secret", true).await;
    rig.set(&stack, "PLAIN", "of-the-stack", false).await;

    let run = rig.declared(&stack, "survey", &[]).await;
    let run = rig.until_state(&run, State::Finished).await;
    let left = rig.app.queries.left(&run).unwrap();
    let receipt = left[0].receipt.as_ref().unwrap();
    assert_eq!((receipt.caps.fuel, receipt.caps.memory_bytes), (5_000_000_000, 64 << 20));
    assert!(receipt.fuel_used.unwrap() > 0);
    let paths: Vec<_> = left[0].artifacts.iter().map(|artifact| artifact.path.as_str()).collect();
    assert_eq!(paths, ["report.html", "report.json"]);

    let run = rig.declared(&stack, "variables", &[("env:asked", "by-the-trigger")]).await;
    let run = rig.until_state(&run, State::Finished).await;
    let log = rig.log(&run, Phase::Performing);
    for there in
        ["TOLD=by-the-file", "ASKED=by-the-trigger", "PLATFORM_PROJECT=shop", "AIRLOCK_RUN_ID=", "WANTED=*****"]
    {
        assert!(log.contains(there), "{there}: {log}");
    }
    assert!(!log.contains("PLAIN=") && !log.contains("UNWANTED") && !log.contains("HOME="), "{log}");

    let run = rig.declared(&stack, "nobody", &[]).await;
    let run = rig.until_state(&run, State::Failed).await;
    assert!(run.reason.as_ref().unwrap().contains("there is no guest `nobody`"), "{run:?}");
    rig.until_tidy().await;
}
