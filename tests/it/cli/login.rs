//! Signing in, and having it remembered.

use std::{fs, os::unix::fs::PermissionsExt as _};

use super::rig::Desk;

#[test]
fn a_login_is_stored_for_its_owner_alone_and_can_be_forgotten() {
    let desk = Desk::new();
    let server = desk.signed_in();
    let file = desk.path(".config/airlock/login.toml");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(&server.url) && !text.contains("seven green kettles"), "{text}");
    desk.run(&["stack", "list"]).expect(0);

    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let open = desk.run(&["stack", "list"]).expect(1);
    assert!(open.err.contains("others can read the token"), "{}", open.err);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();

    let token = text.lines().find_map(|line| line.strip_prefix("token = ")).unwrap().trim_matches('"').to_owned();
    let gone = desk.run(&["login", "--forget"]).expect(0);
    assert!(gone.out.contains("the session with it") && !file.exists(), "{}", gone.out);
    let ended = [("AIRLOCK_URL", server.url.as_str()), ("AIRLOCK_TOKEN", token.as_str())];
    desk.run_with(&["stack", "list"], "", &ended).expect(3);
    let nobody = desk.run(&["stack", "list"]).expect(5);
    assert!(nobody.err.contains("airlock login URL"), "{}", nobody.err);
    server.stop();
}

#[test]
fn a_wrong_password_and_a_wrong_key_store_nothing() {
    let desk = Desk::new();
    let password = desk.write("password", "seven green kettles");
    let server = desk.serve(&["--admin-password-file", &password]);
    let wrong = desk.run_with(&["login", &server.url], "admin\nseven green pots\n", &[]).expect(3);
    assert!(wrong.err.contains("wrong"), "{}", wrong.err);
    desk.run_with(&["login", &server.url, "--token"], "ak_nonsense\n", &[]).expect(3);
    desk.run_with(&["login", "127.0.0.1"], "", &[]).expect(64);
    desk.run_with(&["login", "http://127.0.0.1:1"], "admin\nx\n", &[]).expect(5);
    assert!(!desk.path(".config").exists());

    desk.run_with(&["login", &server.url], "admin\nseven green kettles\n", &[]).expect(0);
    let key = desk.run(&["api-key", "create", "ci", "--admin"]).expect(0).out;
    desk.run_with(&["login", &server.url, "--token"], &key, &[]).expect(0);
    desk.run(&["user", "list"]).expect(0);
    server.stop();
}

#[test]
fn what_is_no_airlock_is_told_from_one() {
    let desk = Desk::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stranger = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4_096]).unwrap();
        stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let ran = desk.run_with(&["stack", "list"], "", &[("AIRLOCK_URL", &url), ("AIRLOCK_TOKEN", "secret")]).expect(5);
    assert!(ran.err.contains("leads on to http://elsewhere/"), "{}", ran.err);
    stranger.join().unwrap();
}
