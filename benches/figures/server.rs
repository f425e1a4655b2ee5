//! A real server: the binary of this build on a throw-away data directory.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

const PASSWORD: &str = "seven green kettles";

pub struct Server {
    child: Child,
    pub address: String,
    pub dir: tempfile::TempDir,
    pub token: String,
    pub started_in: Duration,
}

impl Server {
    /// A fresh one.
    pub fn new() -> Self {
        Self::on(tempfile::tempdir().unwrap())
    }

    /// One on a directory whose `data` may hold something already.
    pub fn on(dir: tempfile::TempDir) -> Self {
        let password = dir.path().join("password");
        std::fs::write(&password, PASSWORD).unwrap();
        let start = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_airlock"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(dir.path().join("data"))
            .arg("--admin-password-file")
            .arg(&password)
            .env("AIRLOCK_LOG", "error")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit("//").next().unwrap().to_owned();
        let mut server = Self { child, address, dir, token: String::new(), started_in: Duration::ZERO };
        assert_eq!(server.request("GET", "/healthz", None, "").0, 200);
        server.started_in = start.elapsed();
        let login = server.post("/api/v1/login", &json!({"username": "admin", "password": PASSWORD}));
        server.token = login["token"].as_str().unwrap().to_owned();
        server
    }

    /// Resident memory in bytes.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    pub fn post(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.request("POST", path, Some("application/json"), &body.to_string());
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        serde_json::from_str(&answer).unwrap()
    }

    pub fn put(&self, path: &str, body: &Value) -> u16 {
        self.request("PUT", path, Some("application/json"), &body.to_string()).0
    }

    pub fn get(&self, path: &str) -> Value {
        let (status, answer) = self.request("GET", path, None, "");
        assert_eq!(status, 200, "{path}: {answer}");
        serde_json::from_str(&answer).unwrap()
    }

    /// A stack of the custom vendor with an uploaded source.
    pub fn stack(&self, name: &str) {
        let settings = json!({"name": name, "vendor": {"kind": "custom"}, "source": {"kind": "upload"},
            "executor": {"network": "none"}});
        self.post("/api/v1/stacks", &settings);
        self.send("PUT", &format!("/api/v1/stacks/{name}/source"), &tar_gz());
    }

    /// Registers a guest; it is compiled before the answer.
    pub fn import(&self, name: &str, interpreter: bool, code: &[u8]) {
        self.send("POST", &format!("/api/v1/guests?name={name}&interpreter={interpreter}"), code);
    }

    fn send(&self, method: &str, path: &str, body: &[u8]) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            self.token,
            body.len()
        )
        .unwrap();
        stream.write_all(body).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 2"), "{answer}");
    }

    pub fn task(&self, stack: &str, command: &str) -> String {
        let body = json!({"command": command, "skip_initialization": true});
        let run = self.post(&format!("/api/v1/stacks/{stack}/tasks"), &body);
        run["id"].as_str().unwrap().to_owned()
    }

    /// Waits for the end of a run by its stream of events.
    pub fn until_done(&self, run: &str) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        write!(
            stream,
            "GET /api/v1/runs/{run}/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n",
            self.token
        )
        .unwrap();
        for line in BufReader::new(stream).lines() {
            if line.unwrap() == "event: done" {
                return;
            }
        }
        panic!("the stream ended before the run did");
    }

    pub fn state(&self, run: &str) -> String {
        self.get(&format!("/api/v1/runs/{run}"))["state"].as_str().unwrap().to_owned()
    }

    fn request(&self, method: &str, path: &str, kind: Option<&str>, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        let kind = kind.map(|kind| format!("content-type: {kind}\r\n")).unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n{kind}content-length: {}\r\nconnection: close\r\n\r\n{body}",
            self.token,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        (status, if chunked { dechunked(body) } else { body.to_owned() })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn dechunked(body: &str) -> String {
    let mut rest = body;
    let mut whole = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 {
            break;
        }
        whole.push_str(&after[..size]);
        rest = &after[size + 2..];
    }
    whole
}

fn tar_gz() -> Vec<u8> {
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append_data(&mut header, "readme", &b"hi\n"[..]).unwrap();
    tar.into_inner().unwrap().finish().unwrap()
}

/// The size of a file in MB.
pub fn megabytes(path: impl AsRef<Path>) -> f64 {
    std::fs::metadata(path).unwrap().len() as f64 / 1e6
}
