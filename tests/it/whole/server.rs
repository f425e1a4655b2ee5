//! A real server process, commanded through its API, that can be killed.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

use super::rig::tar_gz;

const PATIENCE: Duration = Duration::from_secs(90);
const PASSWORD: &str = "a long enough password";

pub struct Server {
    child: Child,
    url: String,
    token: String,
    client: reqwest::Client,
    data: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Server {
    /// Starts a server on a data directory below `dir`.
    pub async fn start(dir: &Path) -> Self {
        Self::launch(dir, &[], None).await
    }

    /// The same with variables of its environment.
    pub async fn start_with(dir: &Path, environment: &[(&str, &str)]) -> Self {
        Self::launch(dir, environment, None).await
    }

    /// The same, with a file for what it has to say.
    pub async fn start_saying(dir: &Path, said: &Path) -> Self {
        Self::launch(dir, &[], Some(said)).await
    }

    async fn launch(dir: &Path, environment: &[(&str, &str)], said: Option<&Path>) -> Self {
        let password = dir.join("password");
        fs::write(&password, PASSWORD).unwrap();
        let data = dir.join("data");
        let mut child = Command::new(env!("CARGO_BIN_EXE_airlock"))
            .arg("serve")
            .args(["--listen", "127.0.0.1:0", "--tls", "off"])
            .arg("--data")
            .arg(&data)
            .arg("--admin-password-file")
            .arg(&password)
            .env("AIRLOCK_LOG", "warn")
            // Services of tests are on this machine.
            .env("AIRLOCK_OUTBOUND_ALLOW", "127.0.0.1")
            .env("AIRLOCK_DRAIN_SECONDS", "1")
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(said.map_or_else(Stdio::inherit, |said| fs::File::create(said).unwrap().into()))
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let url = ready.trim().strip_prefix("airlock ready at ").unwrap_or_else(|| panic!("not ready: {ready}"));
        let mut server = Self { child, url: url.to_owned(), token: String::new(), client: client(), data };
        let login = json!({"username": "admin", "password": PASSWORD});
        server.token = server.post("login", login).await["token"].as_str().unwrap().to_owned();
        server
    }

    /// Where it is reached; another one after each start.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// SIGKILL, and nothing else.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM; gives the exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        self.ask_to_end();
        self.ended()
    }

    /// SIGTERM.
    pub fn ask_to_end(&self) {
        rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// Waits for the end; gives the exit code.
    pub fn ended(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Kills this one and starts another on the same data.
    pub async fn killed_and_restarted(mut self) -> Self {
        self.kill();
        Self::start(self.data.parent().unwrap()).await
    }

    pub async fn stack(&self, settings: Value, files: &[(&str, &str)]) -> String {
        let mut settings = settings;
        settings["source"] = json!({"kind": "upload"});
        let made = self.post("stacks", settings).await;
        let slug = made["slug"].as_str().unwrap().to_owned();
        self.upload(&slug, files).await;
        slug
    }

    pub async fn upload<T: AsRef<[u8]>>(&self, slug: &str, files: &[(&str, T)]) {
        let url = format!("{}/api/v1/stacks/{slug}/source", self.url);
        let upload = self.client.put(url).bearer_auth(&self.token).body(tar_gz(files)).send().await.unwrap();
        assert!(upload.status().is_success(), "{}", upload.text().await.unwrap());
    }

    /// Registers a guest; it is compiled before the answer.
    pub async fn import(&self, name: &str, interpreter: bool, code: Vec<u8>) -> Value {
        let url = format!("{}/api/v1/guests?name={name}&interpreter={interpreter}", self.url);
        answer(self.client.post(url).bearer_auth(&self.token).body(code).send().await.unwrap()).await
    }

    /// Starts a run of a kind; gives its id.
    pub async fn trigger(&self, stack: &str, kind: &str) -> String {
        let made = self.post(&format!("stacks/{stack}/runs"), json!({"kind": kind})).await;
        made["id"].as_str().unwrap().to_owned()
    }

    pub async fn task(&self, stack: &str, command: &str) -> String {
        let task = json!({"command": command, "skip_initialization": true});
        self.post(&format!("stacks/{stack}/tasks"), task).await["id"].as_str().unwrap().to_owned()
    }

    pub async fn run(&self, run: &str) -> Value {
        self.get(&format!("runs/{run}")).await
    }

    /// Waits for a state, listening to the run's events.
    pub async fn until(&self, run: &str, state: &str) -> Value {
        let url = format!("{}/api/v1/runs/{run}/events", self.url);
        let waited = tokio::time::timeout(PATIENCE, async {
            let mut events = self.client.get(url).bearer_auth(&self.token).send().await.unwrap();
            loop {
                let now = self.run(run).await;
                if now["state"] == state {
                    return now;
                }
                let more = events.chunk().await.unwrap();
                assert!(more.is_some(), "the run ended as {now:#}");
            }
        });
        match waited.await {
            Ok(run) => run,
            Err(_) => panic!("still {:#}\n{}", self.run(run).await, self.log(run).await),
        }
    }

    pub async fn log(&self, run: &str) -> String {
        let url = format!("{}/api/v1/runs/{run}/log", self.url);
        self.client.get(url).bearer_auth(&self.token).send().await.unwrap().text().await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Value {
        let url = format!("{}/api/v1/{path}", self.url);
        answer(self.client.get(url).bearer_auth(&self.token).send().await.unwrap()).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Value {
        let url = format!("{}/api/v1/{path}", self.url);
        answer(self.client.post(url).bearer_auth(&self.token).json(&body).send().await.unwrap()).await
    }

    /// A request to any address, as somebody who shows this token; the status and the body.
    pub async fn raw(&self, token: Option<&str>, method: &str, path: &str, body: Option<Value>) -> (u16, String) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        // Links are whole addresses.
        let url = if path.starts_with("http://") { path.to_owned() } else { format!("{}{path}", self.url) };
        let request = self.client.request(method, url);
        let request = request.bearer_auth(token.unwrap_or(&self.token));
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let response = tokio::time::timeout(PATIENCE, request.send()).await.unwrap().unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// A page, as its administrator sees it.
    pub async fn page(&self, path: &str) -> String {
        let request =
            self.client.get(format!("{}{path}", self.url)).header("cookie", format!("airlock={}", self.token));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        response.text().await.unwrap()
    }

    /// A body that is signed as calls of run tasks are; nothing else says who sends it.
    pub async fn signed(&self, path: &str, signature: &str, body: String) -> (u16, String) {
        let request = self.client.post(format!("{}{path}", self.url)).body(body);
        let request = request.header("content-type", "application/json").header("x-tfc-task-signature", signature);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    pub fn base(&self) -> &str {
        &self.url
    }

    pub fn token(&self) -> &str {
        &self.token
    }

    /// How an answer is packed for a client that takes gzip, once all of it has come.
    pub async fn packing(&self, url: &str) -> Option<String> {
        let request = self.client.get(url).bearer_auth(&self.token).header("accept-encoding", "gzip");
        let response = request.send().await.unwrap();
        let packing = response.headers().get("content-encoding").map(|value| value.to_str().unwrap().to_owned());
        response.bytes().await.unwrap();
        packing
    }

    /// A form to any address; the status and the body.
    pub async fn form(&self, path: &str, headers: &[(&str, &str)], form: &'static str) -> (u16, String) {
        let mut request = self.client.post(format!("{}{path}", self.url)).body(form);
        request = request.header("content-type", "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    pub fn data(&self) -> &Path {
        &self.data
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn answer(response: reqwest::Response) -> Value {
    let status = response.status();
    let text = response.text().await.unwrap();
    assert!(status.is_success(), "{status}: {text}");
    serde_json::from_str(&text).unwrap()
}

/// The processes that hold a chain's lock below a data directory.
pub fn runners(data: &Path) -> Vec<i32> {
    let runs = data.canonicalize().unwrap().join("runs");
    let holds = |pid: &i32| {
        let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        fds.filter_map(|fd| fs::read_link(fd.path()).ok())
            .any(|path| path.starts_with(&runs) && path.file_name().is_some_and(|name| name == "chain.lock"))
    };
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let own = std::process::id().cast_signed();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != own)
        .filter(holds)
        .collect()
}

/// Waits until no chain's lock is held below a data directory.
pub async fn until_runners_are_gone(data: &Path) {
    let locks = super::rig::files_below(&data.join("runs")).into_iter().filter(|path| path.ends_with("chain.lock"));
    for lock in locks {
        let freed = tokio::task::spawn_blocking(move || {
            let lock = fs::File::open(lock).unwrap();
            rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
        });
        tokio::time::timeout(PATIENCE, freed).await.expect("the runner ends").unwrap();
    }
}

/// SIGKILL to every runner below a data directory, by its id.
pub fn kill_runners(data: &Path) {
    for pid in runners(data) {
        let _ = rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
    }
}
