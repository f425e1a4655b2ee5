//! Mounts of declared tasks: what stays from run to run, and that nothing in it leads out.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use airlock::{
    auth::Permission,
    domain::{Phase, State, Verdict},
    queries::{Run, Stack},
};
use rustix::fs::{Mode, OFlags};
use serde_json::{Value, json};

use super::{
    gate::Gate,
    rig::{CONFIG, Rig},
};

async fn stack(rig: &Rig) -> Stack {
    rig.stack(settings(), &[]).await
}

fn settings() -> Value {
    json!({"name": "Shop", "vendor": {"kind": "custom", "plan": "exit 2"}})
}

/// Runs the task `work` of a source that declares it with these mounts.
async fn work(rig: &Rig, stack: &Stack, command: &str, mounts: &str) -> Run {
    declared(rig, stack, &json!({"type": "native", "run": {"command": command}}), mounts).await
}

async fn declared(rig: &Rig, stack: &Stack, task: &Value, mounts: &str) -> Run {
    let mut task = task.clone();
    task["mounts"] = serde_json::from_str(mounts).unwrap();
    let tasks = json!({"tasks": {"work": task}}).to_string();
    rig.upload(
        stack,
        &[
            (CONFIG, tasks.as_bytes()),
            ("names.wasm", &wat::parse_str(NAMES).unwrap()),
            ("fills.wasm", &wat::parse_str(FILLS).unwrap()),
        ],
    )
    .await;
    rig.declared(stack, "work", &[]).await
}

/// Writes 120 000 bytes into the first of its mounts, and then goes on without end.
const FILLS: &str = r#"(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 100) "file")
  (func (export "_start")
    ;; 3 is /workspace, 4 /tmp, 5 /output
    (if (call $open (i32.const 6) (i32.const 0) (i32.const 100) (i32.const 4) (i32.const 1)
      (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 0)) (then (unreachable)))
    (i32.store (i32.const 16) (i32.const 1000))
    (i32.store (i32.const 20) (i32.const 120000))
    (if (call $write (i32.load (i32.const 0)) (i32.const 16) (i32.const 1) (i32.const 24)) (then (unreachable)))
    (loop $again (br $again))))"#;

/// Prints the names of the directories that it is given.
const NAMES: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_dir_name" (func $name (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start") (local $fd i32) (local $len i32)
    (local.set $fd (i32.const 3))
    (loop $next
      (if (call $get (local.get $fd) (i32.const 0)) (then (return)))
      (local.set $len (i32.load (i32.const 4)))
      (drop (call $name (local.get $fd) (i32.const 100) (local.get $len)))
      (i32.store8 (i32.add (i32.const 100) (local.get $len)) (i32.const 10))
      (i32.store (i32.const 16) (i32.const 100))
      (i32.store (i32.const 20) (i32.add (local.get $len) (i32.const 1)))
      (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24)))
      (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
      (br $next))))"#;

fn storage(path: &str) -> String {
    json!({"keep": {"source": "storage", "source_path": path}}).to_string()
}

/// What a run was refused for.
async fn refused(rig: &Rig, run: &Run) -> String {
    let run = rig.until_state(run, State::Failed).await;
    let Some(Verdict::Refused { reason }) = run.verdict else { panic!("{run:#?}") };
    reason
}

/// A directory that is none of any run's business.
fn victim(at: &Path) {
    fs::create_dir(at).unwrap();
    fs::write(at.join("secret"), "untouched").unwrap();
    fs::set_permissions(at, fs::Permissions::from_mode(0o700)).unwrap();
}

fn assert_untouched(victim: &Path) {
    assert_eq!(fs::symlink_metadata(victim).unwrap().permissions().mode() & 0o7777, 0o700);
    let names: Vec<_> = fs::read_dir(victim).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["secret"]);
    assert_eq!(fs::read_to_string(victim.join("secret")).unwrap(), "untouched");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_a_run_left_in_a_mount_leads_no_later_run_out_of_it() {
    let rig = Rig::new().await;
    rig.service("files", "nfs", 2_049, "s3cret-s3cret").await;
    let stack = stack(&rig).await;
    let outside = rig.dir.path().join("victim");
    victim(&outside);
    // From the directory that is mounted: its owner's, the stack's, `mounts`, `data`.
    let relative = format!("{}victim", "../".repeat(5));
    for source in [r#""source": "storage""#, r#""source": "service", "service": "files""#] {
        let mount = |path: &str| format!(r#"{{"keep": {{{source}, "source_path": "{path}"}}}}"#);
        for target in [outside.to_str().unwrap(), &relative] {
            let command = format!("ln -sfn '{target}' keep/esc");
            let made = work(&rig, &stack, &command, &mount("x")).await;
            rig.until_state(&made, State::Finished).await;
            for path in ["x/esc", "x/esc/inner"] {
                let command = "cat keep/secret; echo x > keep/new";
                let reason = refused(&rig, &work(&rig, &stack, command, &mount(path)).await).await;
                assert!(reason.contains(&format!("show `{path}`")) && reason.contains("`esc`"), "{reason}");
                assert!(reason.contains("no link is followed where runs can write"), "{reason}");
                assert_untouched(&outside);
            }
        }
    }
    // The control: the link is there, and what is no link is shown and made.
    let control = work(&rig, &stack, "readlink keep/esc; pwd", &storage("x")).await;
    let control = rig.until_state(&control, State::Finished).await;
    assert_eq!(rig.log(&control, Phase::Performing), format!("{relative}\n/workspace\n"));
    let control = work(&rig, &stack, "echo x > keep/new", &storage("x/a/b")).await;
    rig.until_state(&control, State::Finished).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_tasks_stored_stays_as_long_as_their_stack() {
    let rig = Rig::new().await;
    let stack = stack(&rig).await;
    let outside = rig.dir.path().join("victim");
    victim(&outside);
    let command = format!("mkdir keep/deep; chmod 0 keep/deep; ln -s '{}' keep/out", outside.display());
    let run = work(&rig, &stack, &command, &storage("x")).await;
    rig.until_state(&run, State::Finished).await;
    rig.until_tidy().await;
    let kept = rig.data().join("mounts").join(stack.id.to_string());
    assert_eq!((rig.app.actions.sweep_stacks().unwrap(), kept.exists()), (0, true));
    let delete = rig.permit(Permission::DeleteStack, &stack);
    rig.app.actions.delete_stack(&delete, stack.id, "shop").await.unwrap();
    assert!(rig.app.actions.sweep_stacks().unwrap() > 0);
    assert!(!kept.exists());
    assert_untouched(&outside);
}

const THREE: &str = r#"{"keep": {"source": "storage"}, "scratch": {"source": "tmp"}, "own": {"source": "instance"}}"#;

fn guest(kind: &str, command: &str, workspace: &str) -> Value {
    json!({"type": kind, "run": {"command": command}, "airlock": {"workspace": workspace}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_writes_to_every_kind_of_mount_whatever_it_may_do_with_the_workspace() {
    let rig = Rig::new().await;
    let stack = stack(&rig).await;
    let kept = rig.data().join("mounts").join(stack.id.to_string()).join("task-work/keep/log");
    let mut expected = String::new();
    for workspace in ["none", "read", "write"] {
        let task = guest("wasi:patcher", "append keep/log x write scratch/a y write own/b/c z", workspace);
        let run = rig.until_state(&declared(&rig, &stack, &task, THREE).await, State::Finished).await;
        expected.push_str("x\n");
        assert_eq!(fs::read_to_string(&kept).unwrap(), expected, "{workspace}");
        let left = rig.app.queries.left(&run).unwrap();
        let receipt = left[0].receipt.as_ref().unwrap();
        for path in ["/workspace/keep", "/workspace/scratch", "/workspace/own"] {
            let fits = |input: &&airlock::domain::guest::Input| input.kind == "directory" && input.name == path;
            let inputs: Vec<_> = receipt.inputs.iter().filter(fits).map(|input| input.detail.as_str()).collect();
            assert_eq!(inputs, ["write"], "{workspace} {path}");
        }
        // What was written there is no change of the source.
        assert_eq!(rig.app.queries.patch(&run).unwrap().map(|(_, text)| text), None, "{workspace}");
        // Nothing stays of the others.
        for path in ["scratch/a y y", "own/b/c z z"] {
            let task = guest("wasi:patcher", &format!("replace {path}"), workspace);
            let run = rig.until_state(&declared(&rig, &stack, &task, THREE).await, State::Failed).await;
            assert_eq!(run.verdict, Some(Verdict::Exited { code: 1 }), "{workspace} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_finds_its_mounts_by_relative_paths_too() {
    let rig = Rig::new().await;
    let stack = stack(&rig).await;
    let run = declared(&rig, &stack, &guest("wasi:names.wasm", "x", "read"), THREE).await;
    let run = rig.until_state(&run, State::Finished).await;
    let names = "/workspace /tmp /output /workspace/keep /workspace/own /workspace/scratch keep own scratch . ";
    let log = rig.log(&run, Phase::Performing).replace('\n', " ");
    assert!(log.ends_with(names), "{log}");
}

/// Nothing tells whose a file is that came to a mount meanwhile.
fn all_written(files: &str) -> String {
    format!("what was written ({files} files at most, counting what runs beside it wrote to its mounts)")
}

fn file_limit(run: &Run) -> (u64, &str) {
    let Some(Verdict::FileLimit { limit_bytes, what }) = &run.verdict else { panic!("{run:#?}") };
    (*limit_bytes, what)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_guest_writes_to_mounts_counts_as_written() {
    let rig = Rig::new().await;
    let stack = stack(&rig).await;
    // Each time something new: what is there already was written by others.
    for (command, count, written, fits) in [
        ("write keep/1 a write keep/2 a", 2, 2, true),
        ("write keep/1 a write keep/3 a", 1, 1, true),
        ("write keep/4 a write keep/5 a write keep/d/6 a", 3, 4, false),
        ("write keep/7 a write scratch/8 a", 1, 2, false),
    ] {
        let mut task = guest("wasi:patcher", command, "none");
        task["airlock"]["files"] = json!({"count": count});
        let run = declared(&rig, &stack, &task, THREE).await;
        let run = rig.until_state(&run, if fits { State::Finished } else { State::Failed }).await;
        let left = rig.app.queries.left(&run).unwrap();
        let receipt = left[0].receipt.as_ref().unwrap();
        assert_eq!(receipt.files_written, written, "{command}");
        if !fits {
            assert_eq!(file_limit(&run).1, all_written(&count.to_string()), "{command}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_fills_a_mount_is_ended_while_it_runs() {
    let rig = Rig::new().await;
    let stack = stack(&rig).await;
    let mut task = guest("wasi:fills.wasm", "x", "read");
    task["airlock"]["files"] = json!({"bytes": "64KiB"});
    task["airlock"]["fuel"] = json!(900_000_000_000_u64);
    let run = rig.until_state(&declared(&rig, &stack, &task, &storage("x")).await, State::Failed).await;
    assert_eq!(file_limit(&run), (64 << 10, all_written("10000").as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn mounts_hold_no_more_than_a_workspace_and_can_be_tidied_up() {
    let rig = Rig::new().await;
    let limits = json!({"limits": {"workspace_bytes": 1 << 20}});
    let stack = rig.stack(json!({"executor": limits, "name": "Shop", "vendor": settings()["vendor"]}), &[]).await;
    let ends = async |command: &str, state: State| {
        rig.until_state(&work(&rig, &stack, command, &storage("x")).await, state).await
    };
    // Nothing but the limit ends it.
    let full = ends("head -c 2000000 /dev/zero > keep/f; sleep 600", State::Failed).await;
    assert_eq!(file_limit(&full), (1 << 20, "what is kept in mounts"));
    // It may be read, and does not get fuller.
    ends("test $(wc -c < keep/f) = 2000000", State::Finished).await;
    let fuller = ends("echo more > keep/g", State::Failed).await;
    assert_eq!(file_limit(&fuller), (1 << 20, "what is kept in mounts"));
    ends("rm keep/f", State::Finished).await;
    ends("echo more > keep/f", State::Finished).await;
}

/// Directories within each other, deeper than any path leads; as a run makes them.
fn nest(dir: &Path) {
    let name = "d".repeat(250);
    let mut at = rustix::fs::open(dir, OFlags::DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..100 {
        rustix::fs::mkdirat(&at, name.as_str(), Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, name.as_str(), OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_beyond_every_path_leave_a_mount_as_useful_as_it_was() {
    let rig = Rig::new().await;
    let limits = json!({"limits": {"workspace_bytes": 4 << 20}});
    let stack = rig.stack(json!({"executor": limits, "name": "Shop", "vendor": settings()["vendor"]}), &[]).await;
    let ends = async |command: &str, state: State| {
        rig.until_state(&work(&rig, &stack, command, &storage("x")).await, state).await
    };
    ends("mkdir keep/deep", State::Finished).await;
    nest(&rig.data().join("mounts").join(stack.id.to_string()).join("task-work/x/deep"));
    ends("echo x > keep/f; mkdir keep/closed; chmod 300 keep/closed; echo x > keep/closed/f", State::Finished).await;
    // What is closed counts, and what is deep keeps nothing from being counted.
    let command = "mkdir keep/other; chmod 300 keep/other; head -c 5000000 /dev/zero > keep/other/f; sleep 600";
    let full = ends(command, State::Failed).await;
    assert_eq!(file_limit(&full), (4 << 20, "what is kept in mounts"));
    ends("rm keep/other/f; echo x > keep/g", State::Finished).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_of_different_users_are_at_home_in_what_the_others_left() {
    let rig = Rig::new().await;
    let gate = Gate::new().await;
    rig.service("gate", "tcp", gate.port(), "s3cret-s3cret").await;
    let stack = stack(&rig).await;
    let work = async |command: &str| {
        let task = json!({"type": "native", "run": {"command": command}, "relationships": {"gate": "gate:main"}});
        declared(&rig, &stack, &task, &storage("x")).await
    };
    let ends = "echo two >> keep/f && echo x > keep/d/new && chmod 600 keep/f && stat -c %u keep/f keep/d; id -u";
    let ended = async |run: &Run| {
        let run = rig.until_state(run, State::Finished).await;
        rig.log(&run, Phase::Performing).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let made = "umask 077; id -u; echo one > keep/f; mkdir keep/d";
    let first = work(&format!("{made}; {}; cat keep/f keep/d/new; echo three >> keep/f", gate.command("first"))).await;
    let knock = gate.knock().await;
    // Beside it, as another user where the server is root.
    let second = ended(&work(ends).await).await;
    knock.let_on().await;
    let first = ended(&first).await;
    assert_eq!(first[1..], ["one", "two", "x"]);
    assert_eq!(second[0], second[2], "it sees itself as the owner of what the other made");
    assert_eq!(second[1], second[2]);
    if rustix::process::geteuid().is_root() {
        assert_ne!(first[0], second[2]);
    }
    // And afterwards.
    assert_eq!(ended(&work("cat keep/f; rm -r keep/d keep/f").await).await, ["one", "two", "three"]);
}
