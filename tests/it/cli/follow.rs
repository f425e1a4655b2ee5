//! Logs that grow, over lost connections.

use super::rig::{Desk, Talking};

#[test]
fn a_growing_log_is_followed_to_its_last_byte() {
    let desk = Desk::new();
    let server = desk.signed_in();
    desk.stack("Shop", "exit 0", "true");
    let command = "echo begins; while [ ! -e go ]; do sleep 0.05; done; seq 1 20000; printf 'no line end'";
    let run = desk.start(&["task", "perform", "shop", "--no-init", "--", command]);
    let mut follower = Talking::spawn(desk.command(&["run", "logs", "-f", "--phase", "performing", &run]));
    follower.until("begins");
    desk.let_go(&run, 1);
    let (code, text) = follower.end();
    assert_eq!(code, 0);
    let expected: String = (1..=20_000).map(|n| format!("{n}\n")).collect();
    assert!(text == format!("begins\n{expected}no line end"), "{} bytes came", text.len());
    let whole = desk.run(&["run", "logs", &run, "--phase", "performing", "--raw"]).expect(0).out;
    assert!(whole == text);
    server.stop();
}

#[test]
fn a_server_that_restarts_meanwhile_loses_nothing_and_repeats_nothing() {
    let desk = Desk::new();
    let server = desk.signed_in();
    let address = server.address().to_owned();
    desk.stack("Shop", "exit 0", "true");
    let command = "seq 1 500; echo paused; while [ ! -e go ]; do sleep 0.05; done; seq 501 1000; exit 4";
    let run = desk.start(&["task", "perform", "shop", "--no-init", "--", command]);
    let mut follower = Talking::spawn(desk.command(&["run", "logs", "-f", "--phase", "performing", &run]));
    follower.until("paused");
    let waiter = {
        let mut command = desk.command(&["run", "show", &run]);
        command.stdout(std::process::Stdio::null());
        command.status().unwrap()
    };
    assert!(waiter.success());
    server.stop();
    desk.let_go(&run, 1);
    let server = desk.serve(&["--listen", &address]);
    let (code, text) = follower.end();
    let lines = |from: u32, to: u32| (from..=to).map(|n| format!("{n}\n")).collect::<String>();
    assert_eq!(code, 0);
    assert!(text == format!("{}paused\n{}", lines(1, 500), lines(501, 1_000)), "{text}");
    assert_eq!(desk.run(&["run", "show", &run, "--json"]).json()["exit_code"], 4);
    server.stop();
}

#[test]
fn a_wait_outlives_a_restart_of_the_server() {
    let desk = Desk::new();
    let server = desk.signed_in();
    let address = server.address().to_owned();
    desk.stack("Shop", "exit 0", "true");
    let command = "echo waiting; while [ ! -e go ]; do sleep 0.05; done; exit 4";
    let mut waiter =
        Talking::spawn(desk.command(&["task", "perform", "shop", "--no-init", "--follow", "--json", "--", command]));
    let line = waiter.until("waiting");
    assert!(line.contains("performing"), "{line}");
    let runs = desk.run(&["task", "list", "--json"]).expect(0).json();
    let run = runs["items"][0]["id"].as_str().unwrap().to_owned();
    server.stop();
    let server = desk.serve(&["--listen", &address]);
    desk.let_go(&run, 1);
    let (code, text) = waiter.end();
    assert_eq!(code, 1, "{text}");
    let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(last["run"]["exit_code"], 4);
    server.stop();
}
