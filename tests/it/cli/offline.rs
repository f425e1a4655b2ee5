//! Verbs on a data directory, with and without a server on it.

use super::rig::{Desk, Talking, WAITS};

#[test]
fn people_and_keys_are_looked_after_without_a_server() {
    let desk = Desk::new();
    let data = desk.at("data");
    let missing = desk.run(&["user", "list", "--data", &data]).expect(4);
    assert!(missing.err.contains("airlock serve") && !desk.path("data").exists(), "{}", missing.err);
    desk.signed_in().stop();

    let link = desk.run(&["user", "add", "mia", "--data", &data]).expect(0).out;
    assert!(link.contains("/invitation?token=ai_"), "{link}");
    desk.run(&["user", "add", "mia", "--data", &data]).expect(3);
    let last = desk.run(&["user", "disable", "admin", "--data", &data]).expect(3);
    assert!(last.err.contains("last admin"), "{}", last.err);
    let weak = desk.run_with(&["user", "passwd", "mia", "--data", &data], "short\n", &[]).expect(3);
    assert!(weak.err.contains("at least 12"), "{}", weak.err);
    desk.run_with(&["user", "passwd", "mia", "--data", &data], "nine purple lamps\n", &[]).expect(0);
    desk.run_with(&["user", "passwd", "eve", "--data", &data], "nine purple lamps\n", &[]).expect(4);
    let minted = desk.run(&["api-key", "create", "ci", "--data", &data, "--json"]).expect(0).json();
    let id = minted["id"].as_str().unwrap();
    desk.run(&["api-key", "revoke", id, "--data", &data]).expect(0);
    desk.run(&["api-key", "revoke", id, "--data", &data]).expect(3);
    let keys = desk.run(&["api-key", "list", "--data", &data, "--json"]).expect(0).json();
    assert_eq!((&keys["items"][0]["name"], &keys["items"][0]["revoked"]), (&"ci".into(), &true.into()));

    let server = desk.serve(&[]);
    desk.run_with(&["login", &server.url, "--user", "mia"], "nine purple lamps\n", &[]).expect(0);
    desk.sign_in(&server);
    let shape =
        |list: serde_json::Value| -> Vec<String> { list["items"][0].as_object().unwrap().keys().cloned().collect() };
    let users = shape(desk.run(&["user", "list", "--json"]).expect(0).json());
    let theirs = shape(desk.run(&["api-key", "list", "--json"]).expect(0).json());
    server.stop();
    assert_eq!(users, shape(desk.run(&["user", "list", "--json", "--data", &data]).expect(0).json()));
    assert_eq!(theirs, shape(desk.run(&["api-key", "list", "--json", "--data", &data]).expect(0).json()));
}

#[test]
fn a_data_directory_that_a_server_holds_is_left_alone() {
    let desk = Desk::new();
    let server = desk.signed_in();
    let data = desk.at("data");
    for verb in [&["user", "list"][..], &["api-key", "list"], &["audit", "verify"]] {
        let held = desk.run(&[verb, &["--data", &data]].concat()).expect(3);
        assert!(held.err.contains("the server holds the store"), "{}", held.err);
        assert!(held.err.contains("airlock login URL"), "{}", held.err);
        desk.run(verb).expect(0);
    }
    let link = desk.run(&["user", "passwd", "admin"]).expect(0).out;
    assert!(link.starts_with(&format!("{}/invitation?token=", server.url)), "{link}");
    let run = ["run", "stop", "run_01JZZZZZZZZZZZZZZZZZZZZZZZ", "--offline", "--data", &data];
    assert!(desk.run(&run).expect(3).err.contains("it can stop the run"));
    server.stop();
    assert!(desk.run(&run).expect(4).err.contains("no runner"));
}

#[test]
fn a_runner_is_stopped_without_its_server() {
    let desk = Desk::new();
    let server = desk.signed_in();
    desk.stack("Shop", &format!("{WAITS}; exit 2"), "true");
    let run = desk.start(&["run", "trigger", "shop"]);
    let mut follower = Talking::spawn(desk.command(&["run", "logs", "-f", &run]));
    follower.until("waiting");
    server.stop();
    drop(follower);
    let stop = ["run", "stop", &run, "--offline", "--data", &desk.at("data")];
    desk.run(&stop).expect(0);
    desk.run(&stop).expect(4);
    let server = desk.serve(&[]);
    desk.sign_in(&server);
    desk.run(&["run", "logs", "-f", &run]).expect(0);
    assert_eq!(desk.run(&["run", "show", &run, "--json"]).json()["state"], "stopped");
    server.stop();
}

#[test]
fn the_audit_log_is_verified_live_and_as_an_export() {
    let desk = Desk::new();
    let server = desk.signed_in();
    desk.run(&["user", "add", "mia"]).expect(0);
    let whole = desk.run(&["audit", "verify"]).expect(0).out;
    assert!(whole.contains("is whole"), "{whole}");
    desk.run(&["audit", "export", "--output", &desk.at("online.jsonl")]).expect(0);
    desk.run(&["audit", "export", "--output", &desk.at("online.jsonl")]).expect(1);
    server.stop();
    let data = desk.at("data");
    let offline = desk.run(&["audit", "export", "--data", &data]).expect(0).out;
    let online = std::fs::read_to_string(desk.path("online.jsonl")).unwrap();
    let values = |text: &str| -> Vec<serde_json::Value> {
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    assert_eq!(values(&offline)[..values(&online).len()], values(&online));
    desk.run(&["audit", "verify", &desk.at("online.jsonl")]).expect(0);
    desk.run_with(&["audit", "verify", "-"], &offline, &[]).expect(0);
    let forged = desk.write("forged.jsonl", &online.replace("user:mia", "user:eve"));
    let broken = desk.run(&["audit", "verify", &forged]).expect(1);
    assert!(broken.err.contains("is broken at entry"), "{}", broken.err);
    let json = desk.run(&["audit", "verify", &forged, "--json"]).expect(1).json();
    assert_eq!(json["whole"], false);
    desk.run(&["audit", "verify", &desk.at("not-there")]).expect(4);
}

#[test]
fn the_master_key_is_changed_with_and_without_a_server() {
    let desk = Desk::new();
    let server = desk.signed_in();
    desk.stack("Shop", "exit 2", "true");
    let key = || std::fs::read_to_string(desk.path("data/master.key")).unwrap();
    let first = key();
    let through = desk.run(&["master-key", "rotate", "--json"]).expect(0).json();
    let second = key();
    assert_ne!(first, second);
    assert!(second.contains(through["key"].as_str().unwrap()), "{through}");
    server.stop();
    let said = desk.run(&["master-key", "rotate", "--data", &desk.at("data")]).expect(0).out;
    assert!(said.contains("everything is sealed with the master key"), "{said}");
    assert_ne!(second, key());
    let server = desk.serve(&[]);
    desk.sign_in(&server);
    desk.run(&["run", "trigger", "shop", "--wait"]).expect(2);
    server.stop();
}
