//! Guests, services and declared tasks as people meet them: imported, registered, run, looked at,
//! proposed.

use std::io::Write as _;

use super::rig::Window;

/// Prints what a terminal and a page would obey, leaves an artifact, and tries what it was not granted:
/// a path that leads out, a change below a grant to read.
const PROBE: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "probing \1b[31mred\1b[0m \1b[2J<script>alert(1)</script>\n")
  (data (i32.const 160) "../../etc/passwd")
  (data (i32.const 192) "greeting")
  (data (i32.const 208) "report.txt")
  (func $print (param $fd i32) (param $at i32) (param $len i32)
    (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $len))
    (drop (call $write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func $try (param $dir i32) (param $at i32) (param $len i32) (param $flags i32) (param $rights i64) (result i32)
    (call $open (local.get $dir) (i32.const 0) (local.get $at) (local.get $len) (local.get $flags)
      (local.get $rights) (i64.const 0) (i32.const 0) (i32.const 16)))
  (func (export "_start")
    (call $print (i32.const 1) (i32.const 64) (i32.const 51))
    (drop (call $try (i32.const 3) (i32.const 160) (i32.const 16) (i32.const 0) (i64.const 2)))
    (drop (call $try (i32.const 3) (i32.const 192) (i32.const 8) (i32.const 8) (i64.const 64)))
    (drop (call $try (i32.const 3) (i32.const 192) (i32.const 8) (i32.const 8) (i64.const 64)))
    (drop (call $try (i32.const 5) (i32.const 208) (i32.const 10) (i32.const 9) (i64.const 64)))
    (call $print (i32.load (i32.const 16)) (i32.const 64) (i32.const 7))))"#;

const CONFIG: &str = "
tasks:
  look:
    type: wasi:probe
    run: {command: 'around the house', timeout: 60}
    airlock: {fuel: 1000000000, memory: 32MiB, output: 1MiB, network: [api.example.org]}
  loop:
    type: wasi:patcher
    run: {command: append greeting more}
    airlock: {fuel: 1000, workspace: read}
  mend:
    type: wasi:patcher
    run: {command: append greeting 'and a line of the agent'}
    airlock: {workspace: write}
  survey:
    type: wasi:surveyor
    run: {command: --title Agents}
  judge:
    type: wasi:guard
    run: {command: --forbid delete}
    airlock: {stdin: {file: plan.json}}
  report:
    type: native
    run: {command: 'echo \"$GREETING for $DB_HOST\"', timeout: 600}
    relationships: {db: 'maindb:main'}
";

const PLAN: &str = r#"[{"address": "db.main", "type": "db", "action": "delete", "before": {}}]"#;

/// A stack with declared tasks, a guest of its own and a service.
async fn prepare(window: &Window) {
    window.new_stack("Agents", "exit 2", "true").await;
    upload(
        window,
        "agents",
        &[(".airlock/config.yaml", CONFIG), ("greeting", "hello from the source\n"), ("plan.json", PLAN)],
    )
    .await;

    window.go("/admin/guests").await;
    window.find_text("main", "None imported yet").await;
    let mut text = tempfile::Builder::new().suffix(".wasm").tempfile().unwrap();
    text.write_all(b"(module)").unwrap();
    window.fill("#name", "probe").await;
    window.find("#guest").await.send_keys(text.path().to_str().unwrap()).await.unwrap();
    window.click("button[value=import]").await;
    window.find_text("main", "WebAssembly text").await;
    let kept = window.find("#name").await.prop("value").await.unwrap();
    assert_eq!(kept.as_deref(), Some("probe"), "what was typed is still there");
    let mut code = tempfile::Builder::new().suffix(".wasm").tempfile().unwrap();
    code.write_all(&wat::parse_str(PROBE).unwrap()).unwrap();
    window.find("#guest").await.send_keys(code.path().to_str().unwrap()).await.unwrap();
    window.click("button[value=import]").await;
    window.find_text(".flash", "The guest probe is registered as").await;

    window.go("/admin/services").await;
    for (field, value) in [
        ("name", "maindb"),
        ("scheme", "postgresql"),
        ("host", "db.internal"),
        ("port", "5432"),
        ("username", "app"),
        ("password", "a long enough secret"),
    ] {
        window.fill(&format!("#{field}"), value).await;
    }
    window.click("button[value=put]").await;
    window.find_text(".flash", "maindb").await;
    window.find_text(".sheet", "db.internal:5432").await;
    assert!(!window.text("main").await.contains("a long enough secret"));
}

async fn upload(window: &Window, slug: &str, files: &[(&str, &str)]) {
    window.go(&format!("/stacks/{slug}/settings")).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().write_all(&crate::whole::rig::tar_gz(files)).unwrap();
    window.find("#source").await.send_keys(file.path().to_str().unwrap()).await.unwrap();
    window.click("button[value=upload]").await;
    window.find_text(".flash", "is what new runs of").await;
}

/// Runs a declared task through its form; the run's page.
async fn run(window: &Window, task: &str, variables: &str, state: &str) -> String {
    window.go("/stacks/agents/tasks").await;
    window.click(&format!("summary[aria-label='Run {task} of Agents']")).await;
    window.fill(&format!("#variables-agents-{task}"), variables).await;
    window.click("details[open] button[value=run]").await;
    window.find_text(".verdict", state).await;
    window.path().await
}

async fn tab(window: &Window, word: &str) {
    window.click(&format!("nav[aria-label='Parts of the run'] a[href*='tab={word}']")).await;
}

/// The pages of what is prepared here, with a run of each kind: for pictures.
pub async fn pages(window: &Window) -> Vec<(String, String)> {
    prepare(window).await;
    let look = run(window, "look", "", "Finished").await;
    let failed = run(window, "loop", "", "Failed").await;
    let mend = run(window, "mend", "", "Finished").await;
    let page = |name: &str, path: String| (name.to_owned(), path);
    vec![
        page("admin-guests", "/admin/guests".to_owned()),
        page("admin-services", "/admin/services".to_owned()),
        page("stack-tasks-declared", "/stacks/agents/tasks".to_owned()),
        page("tasks-declared", "/tasks".to_owned()),
        page("run-guest", format!("{look}?tab=guest")),
        page("run-guest-log", format!("{look}?tab=log")),
        page("run-guest-failed", failed),
        page("run-guest-patch", format!("{mend}?tab=guest")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_imported_run_and_looked_at_and_what_it_changed_is_proposed() {
    let server = super::rig::Server::start();
    let window = Window::open(&server).await;
    window.set_up(&server).await;
    prepare(&window).await;
    window.console().await; // The refused import was a 422, which browsers note.

    window.go("/stacks/agents/tasks").await;
    let declared = window.text("[aria-labelledby=declared-title]").await;
    for part in
        ["wasi:probe", "around the house", "at most 1m 00s", "32 MiB of memory", "api.example.org", "db → maindb"]
    {
        assert!(declared.contains(part), "{part}: {declared}");
    }
    window.click("summary[aria-label='Run look of Agents']").await;
    window.fill("#variables-agents-look", "COLOUR=blue\nnothing").await;
    window.click("details[open] button[value=run]").await;
    window.find_text("details[open] .error", "nothing is not NAME=value").await;
    let kept = window.find("#variables-agents-look").await.prop("value").await.unwrap();
    assert_eq!(kept.as_deref(), Some("COLOUR=blue\nnothing"));
    window.console().await; // That was a 422, too.
    run(&window, "look", "COLOUR=blue", "Finished").await;
    let log = window.find_text("[data-log] [data-lines]", "probing").await;
    assert!(log.contains("<script>alert(1)</script>") && !log.contains('\u{1b}'), "{log}");
    tab(&window, "guest").await;
    let seen = window.find_text(".guest", "What this run may do").await;
    for part in ["Fuel", "of 1 G", "Refused", "path_open ../../etc/passwd", "greeting", "2 times"] {
        assert!(plain(&seen).contains(&plain(part)), "{part}: {seen}");
    }
    assert!(window.text("[aria-labelledby=artifacts]").await.contains("report.txt"));

    run(&window, "loop", "", "Failed").await;
    window.find_text(".verdict", "fuel").await;

    run(&window, "judge", "", "Failed").await;
    window.find_text("[data-log] [data-lines]", "1 of 1 changes are not allowed").await;

    run(&window, "survey", "", "Finished").await;
    tab(&window, "guest").await;
    window.find_text("[aria-labelledby=artifacts]", "report.json").await;
    let got = window
        .run(
            "const get = new XMLHttpRequest();
             const links = [...document.querySelectorAll('[aria-labelledby=artifacts] a')];
             get.open('GET', links.find((link) => link.textContent === 'report.json').href, false);
             get.send();
             return [get.status, get.getResponseHeader('content-disposition'), get.responseText];",
        )
        .await;
    assert!(got[0] == 200 && got[1].as_str().unwrap().starts_with("attachment"), "{got}");
    assert!(got[2].as_str().unwrap().contains("greeting"), "{got}");
    window.console().await; // Browsers would rather be asked for it the other way.

    let mend = run(&window, "mend", "", "Finished").await;
    tab(&window, "guest").await;
    window.find_text(".patch", "+and a line of the agent").await;
    window.click("button[value=propose]").await;
    window.find_text(".flash", "Where they come from").await;
    assert_ne!(window.path().await, mend);
    window.find_text(".verdict", "Finished").await;
    assert_eq!(window.console().await, Vec::<String>::new());
    window.close().await;
}

/// Any kind of blank is a blank.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
