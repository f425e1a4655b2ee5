//! serve, check: starting, refusing to, ending.

use std::io::{ErrorKind, Read as _, Write as _};

use airlock::{
    actions::Secret,
    app::App,
    domain::UserName,
    store::{Backend, Rows as _, Store, tables},
};
use rustix::process::Signal;

use super::rig::{Desk, Server, Talking, WAITS};
use crate::whole::rig::config;

#[test]
fn a_server_says_where_it_listens_and_how_its_first_user_is_made() {
    let desk = Desk::new();
    let server = desk.serve(&[]);
    assert!(!server.url.ends_with(":0"), "{}", server.url);
    let link = std::fs::read_to_string(desk.path("data/setup-link")).unwrap();
    let url = server.url.clone();
    server.stop();
    let said = std::fs::read_to_string(desk.path("server.err")).unwrap();
    assert!(said.contains(&format!("{url}/setup?token=")), "{said}");
    assert!(link.contains("/setup?token="), "{link}");
}

#[tokio::test]
async fn a_server_withdraws_set_up_links_that_were_left_beside_users() {
    let desk = Desk::new();
    let app = App::open(config(desk.dir.path(), |_| {})).unwrap();
    let password = Secret::new("seven green kettles".to_owned());
    assert!(app.actions.bootstrap_admin(UserName::new("ada").unwrap(), password).await.unwrap());
    app.actions.set_up_token().await.unwrap();
    drop(app);
    desk.serve(&[]).stop();
    let store = Store::open(Backend::File(desk.path("data/airlock.redb"))).unwrap();
    let left = store.read().unwrap().all(tables::HASH_TO_INVITATION, [0; 32]..=[255; 32]).unwrap();
    assert_eq!(left, []);
}

#[test]
fn a_second_server_on_the_same_data_says_who_holds_it() {
    let desk = Desk::new();
    let server = desk.serve(&[]);
    let second = desk.run(&["serve", "--data", &desk.at("data"), "--listen", "127.0.0.1:0"]).expect(3);
    assert!(second.err.contains("another server holds the store"), "{}", second.err);
    let third = desk.run(&["serve", "--data", &desk.at("other"), "--listen", server.address()]).expect(1);
    assert!(third.err.contains("cannot listen on") && third.err.contains("--listen"), "{}", third.err);
    server.stop();
}

#[test]
fn a_server_that_is_asked_to_end_drains_while_somebody_follows_a_run() {
    let desk = Desk::new();
    let server = desk.signed_in();
    desk.stack("Shop", "exit 0", "true");
    let run = desk.start(&["task", "perform", "shop", "--no-init", "--", WAITS]);
    let mut follower = Talking::spawn(desk.command(&["run", "logs", "-f", &run]));
    follower.until("waiting");
    server.stop();
    desk.run(&["run", "stop", &run, "--offline", "--data", &desk.at("data")]).expect(0);
    follower.signal(Signal::KILL);
}

#[test]
fn a_wrong_configuration_is_named_before_anything_is_made() {
    let desk = Desk::new();
    let file = desk.write("config.toml", "sluts = 3\n");
    for verb in [&["serve", "--config", &file][..], &["check", "--config", &file]] {
        let ran = desk.run(verb).expect(64);
        assert!(ran.err.contains("did you mean `slots`?"), "{}", ran.err);
    }
    assert!(!desk.path("airlock-data").exists());
    let ran = desk.run_with(&["check"], "", &[("AIRLOCK_SLOTS", "many")]).expect(64);
    assert!(ran.err.contains("AIRLOCK_SLOTS"), "{}", ran.err);
}

#[test]
fn a_check_refuses_what_a_server_would_and_says_where() {
    let desk = Desk::new();
    let cases = [
        ("slots = 3\nlisten = \"nowhere\"\n", "line 2"),
        ("outbound_allow = [\"0x7f.1\"]\n", "0x7f.1"),
        ("public_url = \"not a url\"\n", "not a url"),
        ("tls_cert = \"/nowhere/cert\"\ntls_key = \"/nowhere/key\"\n", "config.toml, line 1: tls_cert: /nowhere/cert"),
        ("master_key_file = \"/nowhere/key\"\n", "/nowhere/key"),
        ("binaries = {tofu = \"/nowhere/tofu\"}\n", "/nowhere/tofu"),
        ("state_versions = 0\n", "state_versions"),
    ];
    for (text, why) in cases {
        let file = desk.write("config.toml", text);
        for verb in ["serve", "check"] {
            let ran = desk.run(&[verb, "--config", &file]).expect(64);
            assert!(ran.err.contains(&file) && ran.err.contains(why), "{verb}: {}", ran.err);
        }
    }
    let garbage = desk.write("cert", "no certificate");
    let text = format!("tls_cert = \"{garbage}\"\ntls_key = \"{garbage}\"\n");
    let ran = desk.run(&["check", "--config", &desk.write("config.toml", &text)]).expect(64);
    assert!(ran.err.contains("holds no certificate"), "{}", ran.err);
}

#[test]
fn a_check_says_what_each_thing_means() {
    let desk = Desk::new();
    let file = desk.write("config.toml", "slots = 3\n");
    let ran = desk.run(&["check", "--json", "--config", &file, "--data", &desk.at("not-there")]);
    let report = ran.json();
    let works = report["default_isolation_works"].as_bool().unwrap();
    assert_eq!(ran.code, i32::from(!works));
    let items = report["items"].as_array().unwrap();
    for name in ["jail", "landlock", "limits", "disk", "clock", "configuration", "data directory"] {
        let item = items.iter().find(|item| item["name"] == name).unwrap_or_else(|| panic!("{name} is missing"));
        assert!(["ok", "degraded", "missing"].contains(&item["status"].as_str().unwrap()));
        assert!(!item["means"].as_str().unwrap().is_empty());
    }
    assert!(!desk.path("not-there").exists());
    let text = desk.run(&["check"]).out;
    assert!(text.contains("jail") && text.contains("default isolation"), "{text}");
}

#[test]
fn a_self_signed_certificate_stays_and_can_be_trusted() {
    let desk = Desk::new();
    let password = desk.write("password", "seven green kettles\n");
    let start = || desk.serve(&["--tls", "self-signed", "--admin-password-file", &password]);
    let login = |server: &Server, more: &[&str]| {
        desk.run_with(&[&["login", &server.url, "--user", "admin"], more].concat(), "seven green kettles\n", &[])
    };
    let server = start();
    assert!(server.url.starts_with("https://127.0.0.1:"));
    let stranger = login(&server, &[]).expect(5);
    assert!(stranger.err.contains("--ca-cert"), "{}", stranger.err);
    let certificate = desk.at("data/self-signed.crt");
    login(&server, &["--ca-cert", &certificate]).expect(0);
    desk.run(&["stack", "list"]).expect(0);
    let plain = desk.run_with(&["login", &server.url.replace("https", "http")], "admin\nx\n", &[]).expect(5);
    assert!(plain.err.contains("https://"), "{}", plain.err);
    server.stop();
    let again = start();
    login(&again, &["--ca-cert", &certificate]).expect(0);
    login(&again, &["--insecure"]).expect(0);
    again.stop();
}

#[test]
fn somebody_who_never_shakes_hands_keeps_nobody_waiting() {
    let desk = Desk::new();
    let server = desk.serve(&["--tls", "self-signed"]);
    let mut idle: Vec<_> = (0..3).map(|_| std::net::TcpStream::connect(server.address()).unwrap()).collect();
    let certificate = desk.at("data/self-signed.crt");
    let ran = desk.run_with(&["login", &server.url, "--user", "admin", "--ca-cert", &certificate], "wrong\n", &[]);
    let ran = ran.expect(3);
    assert!(ran.err.contains("wrong"), "{}", ran.err);
    // It was not answered for the reason that those before it were given up.
    for stream in &mut idle {
        stream.set_nonblocking(true).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    drop(idle);
    server.stop();
}

#[test]
fn a_hangup_ends_no_server_that_was_given_no_certificate() {
    let desk = Desk::new();
    let server = desk.signed_in();
    server.process.signal(Signal::HUP);
    desk.run(&["stack", "list"]).expect(0);
    server.stop();
}

#[test]
fn metrics_ask_for_their_token_where_there_is_one() {
    let ask = |server: &Server, header: &str| {
        let mut stream = std::net::TcpStream::connect(server.address()).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{header}\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let desk = Desk::new();
    let open = desk.serve(&[]);
    let answer = ask(&open, "");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("# EOF\n"), "{answer}");
    assert!(answer.contains("application/openmetrics-text") && answer.contains("airlock_slots "), "{answer}");
    let through_a_proxy = ask(&open, "x-forwarded-for: 192.0.2.1\r\n");
    assert!(through_a_proxy.starts_with("HTTP/1.1 403"), "{through_a_proxy}");
    open.stop();
    let token = desk.write("token", "a token of its own\n");
    let closed = desk.serve(&["--metrics-token-file", &token]);
    assert!(ask(&closed, "").starts_with("HTTP/1.1 401"));
    assert!(ask(&closed, "authorization: Bearer another\r\n").starts_with("HTTP/1.1 401"));
    assert!(ask(&closed, "authorization: Bearer a token of its own\r\n").starts_with("HTTP/1.1 200"));
    closed.stop();
}
