//! Exit codes and results of client verbs.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
};

use serde_json::json;

use super::rig::{Desk, WAITS};

#[test]
fn a_run_that_is_waited_for_ends_the_verb_with_its_result() {
    let desk = Desk::new();
    let server = desk.signed_in();
    desk.stack("Shop", "echo planned; exit ${CODE:-2}", "echo applied");
    let waits = desk.run(&["run", "trigger", "shop", "--wait", "--message", "first"]).expect(2);
    let run = waits.out.split_whitespace().find(|word| word.starts_with("run_")).unwrap().to_owned();
    assert!(waits.out.contains(&format!("airlock run confirm {run} --wait")), "{}", waits.out);
    let finished = desk.run(&["run", "confirm", &run, "--follow", "--note", "go"]).expect(0);
    assert!(finished.out.contains("planned") && finished.out.ends_with("applied\n"), "{}", finished.out);
    assert!(finished.err.contains("run #1 of shop: finished"), "{}", finished.err);

    let again = desk.run(&["run", "confirm", &run]).expect(3);
    assert!(again.err.contains("its state is finished"), "{}", again.err);
    let missing = desk.run(&["run", "show", "run_01JZZZZZZZZZZZZZZZZZZZZZZZ"]).expect(4);
    assert!(missing.err.contains("run_01JZZZZZZZZZZZZZZZZZZZZZZZ"), "{}", missing.err);
    desk.run(&["stack", "show", "nowhere"]).expect(4);

    let second = desk.start(&["run", "trigger", "shop"]);
    assert_eq!(desk.run(&["run", "logs", "-f", &second, "--phase", "planning"]).code, 0);
    server.stop();
}

#[test]
fn a_task_s_result_and_its_words_arrive_as_they_are() {
    let desk = Desk::new();
    let server = desk.signed_in();
    desk.stack("Shop", "exit 0", "true");
    let perform = ["task", "perform", "shop", "--no-init"];
    let ran = desk.run(&[&perform[..], &["--follow", "--", "printf", "<%s>", "a  b", "$HOME", "it's"]].concat());
    assert!(ran.expect(0).out.ends_with("<a  b><$HOME><it's>"));
    let failed = desk.run(&[&perform[..], &["--wait", "--", "exit 3"]].concat()).expect(1);
    assert!(failed.out.contains("failed") && failed.out.contains("exit 3"), "{}", failed.out);
    let json = desk.run(&[&perform[..], &["--wait", "--json", "--", "exit 3"]].concat()).expect(1).json();
    assert_eq!((&json["exit_code"], &json["state"]), (&serde_json::json!(3), &serde_json::json!("failed")));
    let listed = desk.run(&["task", "list", "shop", "--json"]).expect(0).json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 3);
    assert_eq!(desk.run(&["task", "list", "--limit", "2", "--json"]).json()["items"].as_array().unwrap().len(), 2);
    server.stop();
}

#[test]
fn a_declared_task_runs_with_variables_and_its_result_is_the_verbs() {
    let desk = Desk::new();
    let server = desk.signed_in();
    desk.stack("Shop", "exit 0", "true");
    let source = desk.dir.path().join("declared");
    std::fs::create_dir_all(source.join(".airlock")).unwrap();
    let tasks = "tasks: {say: {type: native, run: {command: 'echo $WORD; exit $CODE'}}}";
    std::fs::write(source.join(".airlock/config.yaml"), tasks).unwrap();
    desk.run(&["stack", "upload", "shop", source.to_str().unwrap()]).expect(0);
    let run = ["task", "run", "shop", "say", "--variable", "WORD=hello"];
    let said = desk.run(&[&run[..], &["--variable", "CODE=0", "--follow"]].concat()).expect(0);
    assert!(said.out.ends_with("hello\n"), "{}", said.out);
    desk.run(&[&run[..], &["--variable", "CODE=3", "--wait"]].concat()).expect(1);
    desk.run(&["task", "run", "shop", "other"]).expect(4);
    let listed = desk.run(&["task", "list", "shop", "--json"]).expect(0).json();
    assert_eq!(listed["items"][0]["declared_task"], "say");
    server.stop();
}

#[test]
fn runs_are_discarded_canceled_stopped_and_retried() {
    let desk = Desk::new();
    let server = desk.signed_in();
    desk.stack("Shop", &format!("{WAITS}; exit 2"), "echo applied");
    let first = desk.start(&["run", "trigger", "shop"]);
    let second = desk.start(&["run", "trigger", "shop"]);
    let mut waiting = super::rig::Talking::spawn(desk.command(&["run", "logs", &first, "-f"]));
    waiting.until("waiting");
    let list = desk.run(&["run", "list", "shop"]).expect(0).out;
    assert!(list.contains("queued") && list.contains("planning"), "{list}");
    let behind = desk.run(&["run", "show", &second]).expect(0).out;
    assert!(behind.contains(&format!("behind {first}")), "{behind}");
    desk.run(&["run", "cancel", &second, "--note", "not now"]).expect(0);
    desk.run(&["run", "stop", &first, "--json"]).expect(0).json();
    assert_eq!(waiting.end().0, 0);
    assert_eq!(desk.run(&["run", "show", &first, "--json"]).json()["state"], "stopped");
    let retried = desk.start(&["run", "retry", &first]);
    let mut waiting = super::rig::Talking::spawn(desk.command(&["run", "logs", &retried, "-f"]));
    waiting.until("waiting");
    desk.let_go(&retried, 1);
    waiting.until("gone on");
    // A run that waits for somebody ends a wait, not the following of its log.
    let mut stays = super::rig::Talking::spawn(desk.command(&["run", "confirm", &first, "--wait"]));
    assert_eq!(stays.child.wait().unwrap().code(), Some(3));
    drop(waiting);
    server.stop();
}

#[test]
fn a_lock_holds_others_up_and_says_who_holds_it() {
    let desk = Desk::new();
    let server = desk.signed_in();
    desk.stack("Shop", "exit 2", "true");
    let key = desk.run(&["api-key", "create", "ci", "--role", "shop=writer"]).expect(0).out;
    let ci = [("AIRLOCK_URL", server.url.as_str()), ("AIRLOCK_TOKEN", key.trim())];
    desk.run(&["stack", "lock", "shop", "--note", "moving the database"]).expect(0);
    let locked = desk.run_with(&["stack", "lock", "shop"], "", &ci).expect(3);
    assert!(locked.err.contains("admin"), "{}", locked.err);
    let forbidden = desk.run_with(&["stack", "create", "Other", "--vendor", "custom"], "", &ci).expect(3);
    assert!(forbidden.err.contains("only admins may create stacks"), "{}", forbidden.err);
    let queued = desk.run_with(&["run", "trigger", "shop"], "", &ci).expect(0);
    assert!(queued.out.contains("locked by admin"), "{}", queued.out);
    desk.run(&["stack", "unlock", "shop"]).expect(0);
    let stack = desk.run(&["stack", "show", "shop", "--json"]).expect(0).json();
    assert!(stack["lock"].is_null());
    server.stop();
}

#[test]
fn nothing_that_a_run_prints_steers_the_terminal() {
    let desk = Desk::new();
    let server = desk.signed_in();
    desk.stack("Shop", "exit 0", "true");
    let attack = r"printf 'a\033[31mb\033[2J\033]0;title\007c\rd\n'";
    let run = desk.start(&["task", "perform", "shop", "--no-init", "--", attack]);
    let followed = desk.run(&["run", "logs", &run, "-f"]).expect(0).out;
    assert!(followed.ends_with("abc\nd\n"), "{followed:?}");
    assert_eq!(desk.run(&["run", "logs", &run]).expect(0).out, followed);
    let raw = desk.run(&["run", "logs", &run, "--raw"]).expect(0).out;
    assert!(raw.contains("\u{1b}]0;title\u{7}c\rd"), "{raw:?}");
    let lines = desk.run(&["run", "logs", &run, "--json"]).expect(0).out;
    let last: serde_json::Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!(last["phase"], "performing");
    server.stop();
}

#[test]
fn stacks_are_made_from_flags_and_from_files() {
    let desk = Desk::new();
    let server = desk.signed_in();
    let file = desk.write("stack.json", r#"{"name": "From a file", "vendor": {"kind": "custom", "aply": "x"}}"#);
    let wrong = desk.run(&["stack", "create", "--file", &file]).expect(3);
    assert!(wrong.err.contains("aply"), "{}", wrong.err);
    let good = r#"{"name": "From a file", "vendor": {"kind": "custom"}, "source": {"kind": "upload"}}"#;
    desk.run_with(&["stack", "create", "--file", "-"], good, &[]).expect(0);
    let flags = ["stack", "create", "Infra", "--vendor", "opentofu", "--git", "https://example.org/i.git"];
    let made = desk.run(&[&flags[..], &["--project-root", "shop", "--label", "prod", "--json"]].concat()).expect(0);
    let source = serde_json::json!({"kind": "git", "url": "https://example.org/i.git", "branch": "main",
        "project_root": "shop", "project_globs": [], "credential": null, "submodules": false});
    assert_eq!(made.json()["source"], source);
    let listed = desk.run(&["stack", "list", "--label", "prod", "--json"]).expect(0).json();
    assert_eq!(listed["items"][0]["slug"], "infra");
    desk.write("tree/main.tf", "# nothing\n");
    let uploaded = desk.run(&["stack", "upload", "from-a-file", &desk.at("tree"), "--json"]).expect(0).json();
    assert!(uploaded["digest"].as_str().unwrap().starts_with("sha256:"));
    let refused = desk.run(&["stack", "upload", "infra", &desk.at("tree")]).expect(3);
    assert!(refused.err.contains("git"), "{}", refused.err);
    desk.run(&["stack", "upload", "infra", &desk.at("not-there")]).expect(4);
    server.stop();
}

#[test]
fn a_configuration_is_checked_for_programs_too() {
    let desk = Desk::new();
    let text = "routes: {}\ntasks:\n  a:\n    type: native\n    run: {command: date}\n";
    let good = desk.run(&["task", "check", &desk.write("good.yaml", text), "--json"]).expect(0).json();
    assert_eq!((&good["valid"], &good["mistakes"]), (&json!(true), &json!([])));
    assert_eq!((&good["notes"][0]["path"], &good["notes"][0]["line"]), (&json!("routes"), &json!(1)));
    let file = desk.write("bad.yaml", &text.replace("{command: date}", "{command: date, timeout: 90000}"));
    let bad = desk.run(&["--json", "task", "check", &file]).expect(3).json();
    let mistake = &bad["mistakes"][0];
    assert_eq!((&bad["valid"], &mistake["file"], &mistake["line"]), (&json!(false), &json!(file), &json!(5)));
    assert!(mistake["column"].is_u64() && mistake["why"].is_string(), "{bad:#}");
}

/// What is said when the answer to the first try is lost, and the second one is refused because of it.
fn lost(args: &[&str], made: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let problem = json!({
        "type": "conflict", "title": "Not possible at the moment", "status": 409, "request_id": "req_1",
        "detail": format!("this Idempotency-Key made {made} before; what is secret about it is shown only once"),
    });
    let body = problem.to_string();
    let answer = format!(
        "HTTP/1.1 409 Conflict\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let server = std::thread::spawn(move || {
        // The first request is heard, and its answer never comes.
        for answer in ["", answer.as_str()] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"}") {
                let mut piece = [0; 4_096];
                let read = stream.read(&mut piece).unwrap();
                assert!(read > 0, "the request ends early");
                request.extend_from_slice(&piece[..read]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let desk = Desk::new();
    let ran = desk.run_with(args, "", &[("AIRLOCK_URL", &url), ("AIRLOCK_TOKEN", "x")]).expect(3);
    server.join().unwrap();
    ran.err
}

#[test]
fn what_was_lost_on_its_way_is_named_with_what_to_do_about_it() {
    let said = lost(&["api-key", "create", "ci"], "key_01K");
    assert!(said.contains("key_01K") && said.contains("airlock api-key revoke"), "{said}");
    let said = lost(&["user", "add", "ann"], "user:ann");
    assert!(said.contains("user:ann") && said.contains("airlock user passwd NAME"), "{said}");
}
