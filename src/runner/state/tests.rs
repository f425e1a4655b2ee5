use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::*;
use crate::{crypt::read_file_under, domain::limits};

/// The endpoint on a port of its own, until dropped.
struct Rig {
    root: tempfile::TempDir,
    states: Arc<States>,
    address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

const NUMBER: u32 = 4;

fn run() -> RunId {
    "run_01K9ZZZZZZZZZZZZZZZZZZZZZZ".parse().unwrap()
}

fn key() -> Key {
    Key::new([5; 32])
}

impl Rig {
    fn new(access: StateAccess) -> Self {
        let root = tempfile::tempdir().unwrap();
        let dir = Arc::new(ChainDir::open(root.path()).unwrap());
        let states = Arc::new(States::new(dir, key(), run(), Secret::new("pass".to_owned()), Secret::default()));
        states.open(NUMBER, access);
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(http::serve(listener, Arc::clone(&states)));
        Self { root, states, address, _runtime: runtime }
    }

    fn send(&self, head: &str, credentials: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let basic = STANDARD.encode(credentials);
        let head = format!(
            "{head} HTTP/1.1\r\nHost: state\r\nConnection: close\r\nAuthorization: Basic {basic}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        // The answer may come before all of the body was taken.
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    fn ask(&self, head: &str, body: &str) -> (u16, String) {
        self.send(head, "airlock:pass", body.as_bytes())
    }

    fn version(&self, n: u32) -> Vec<u8> {
        let path = self.root.path().join(file::state(NUMBER, n));
        read_file_under(&path, &key(), state_label(run(), NUMBER, n).as_bytes(), limits::STATE_BYTES)
            .unwrap()
            .expose()
            .clone()
    }
}

#[test]
fn every_version_is_kept_and_the_newest_is_answered() {
    let rig = Rig::new(StateAccess::Write);
    assert_eq!(rig.ask("GET /state", "").0, 204);
    assert_eq!(rig.ask("POST /state", "{\"serial\":1}").0, 200);
    assert_eq!(rig.ask("POST /state", "{\"serial\":2}").0, 200);
    assert_eq!(rig.ask("GET /state", ""), (200, "{\"serial\":2}".to_owned()));
    assert_eq!(rig.version(1), b"{\"serial\":1}");
    assert_eq!(rig.version(2), b"{\"serial\":2}");
    assert_eq!(rig.ask("DELETE /state", "").0, 200);
    assert_eq!(rig.ask("GET /state", "").0, 204);
    assert_eq!(rig.version(3), b"");
    assert_eq!(rig.states.close(), 3);
}

#[test]
fn nothing_is_said_without_the_right_credentials() {
    let rig = Rig::new(StateAccess::Write);
    for credentials in ["airlock:wrong", "other:pass", ""] {
        assert_eq!(rig.send("GET /state", credentials, b"").0, 401);
        assert_eq!(rig.send("POST /state", credentials, b"{}").0, 401);
    }
    assert_eq!(rig.states.close(), 0);
}

#[test]
fn a_phase_that_may_read_cannot_write() {
    let rig = Rig::new(StateAccess::Read);
    assert_eq!(rig.ask("GET /state", "").0, 204);
    assert_eq!(rig.ask("POST /state", "{}").0, 403);
    assert_eq!(rig.ask("DELETE /state", "").0, 403);
}

#[test]
fn who_holds_the_lock_is_told_to_whom_it_keeps_out() {
    let rig = Rig::new(StateAccess::Write);
    let (mine, other) = ("{\"ID\":\"mine\",\"Who\":\"me\"}", "{\"ID\":\"other\"}");
    assert_eq!(rig.ask("LOCK /state", mine).0, 200);
    assert_eq!(rig.ask("LOCK /state", other), (423, mine.to_owned()));
    assert_eq!(rig.ask("POST /state?ID=other", "{}"), (423, mine.to_owned()));
    assert_eq!(rig.ask("POST /state", "{}").0, 423);
    assert_eq!(rig.ask("POST /state?ID=mine", "{}").0, 200);
    assert_eq!(rig.ask("UNLOCK /state", other).0, 423);
    assert_eq!(rig.ask("UNLOCK /state", mine).0, 200);
    assert_eq!(rig.ask("LOCK /state", other).0, 200);
    assert_eq!(rig.ask("LOCK /state", "not json").0, 400);
}

#[test]
fn a_lock_ends_with_its_phase_and_so_does_all_access() {
    let rig = Rig::new(StateAccess::Write);
    assert_eq!(rig.ask("LOCK /state", "{\"ID\":\"left behind\"}").0, 200);
    rig.states.close();
    assert_eq!(rig.ask("GET /state", "").0, 503);
    assert_eq!(rig.ask("POST /state?ID=left+behind", "{}").0, 503);
    rig.states.open(NUMBER + 1, StateAccess::Write);
    assert_eq!(rig.ask("POST /state", "{}").0, 200);
}

#[test]
fn what_is_not_part_of_the_protocol_is_refused() {
    let rig = Rig::new(StateAccess::Write);
    assert_eq!(rig.ask("GET /other", "").0, 404);
    assert_eq!(rig.ask("PUT /state", "{}").0, 405);
}

#[test]
fn a_state_has_a_largest_size() {
    let rig = Rig::new(StateAccess::Write);
    let limit = usize::try_from(limits::STATE_BYTES).unwrap();
    assert_eq!(rig.send("POST /state", "airlock:pass", &vec![b' '; limit + 1]).0, 413);
    assert_eq!(rig.states.close(), 0);
    rig.states.open(NUMBER, StateAccess::Write);
    assert_eq!(rig.send("POST /state", "airlock:pass", &vec![b' '; limit]).0, 200);
    assert_eq!(rig.version(1).len(), limit);
}

#[test]
fn a_version_that_cannot_be_made_durable_is_not_accepted() {
    let rig = Rig::new(StateAccess::Write);
    std::fs::create_dir(rig.root.path().join(file::state(NUMBER, 1))).unwrap();
    assert_eq!(rig.ask("POST /state", "{}").0, 503);
    assert_eq!(rig.ask("GET /state", "").0, 204);
    assert_eq!(rig.states.close(), 0);
}
