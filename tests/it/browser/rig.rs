//! The server as its users start it, and Chromium as they open it.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use fantoccini::{Client, ClientBuilder, Locator, elements::Element, error::CmdError, wd::WebDriverCompatibleCommand};
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

use crate::whole::gate::Gate;

const DRIVER: &str = "/usr/bin/chromedriver";
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that is ended with the test, by its id.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(i32::try_from(self.0.id()).unwrap_or_default()) {
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
        let _ = self.0.wait();
    }
}

impl Process {
    /// Starts a program and reads what it prints until a line says that it is ready.
    fn start(mut command: Command, ready: &str) -> (Self, String) {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.find_map(|line| line.ok().filter(|line| line.contains(ready)));
        // What else it prints is read, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        (Self(child), line.unwrap_or_else(|| panic!("{command:?} ended without `{ready}`")))
    }
}

/// `airlock serve` on a fresh data directory.
pub struct Server {
    pub base: String,
    pub data: PathBuf,
    _process: Process,
    _dir: tempfile::TempDir,
}

impl Server {
    pub fn start() -> Self {
        Self::on(tempfile::tempdir().unwrap())
    }

    /// A server on a directory in which something may have been prepared.
    pub fn on(dir: tempfile::TempDir) -> Self {
        let data = dir.path().join("data");
        let mut command = Command::new(env!("CARGO_BIN_EXE_airlock"));
        command.arg("serve").arg("--data").arg(&data).args(["--listen", "127.0.0.1:0"]).stderr(Stdio::null());
        command.env("AIRLOCK_OUTBOUND_ALLOW", "127.0.0.1");
        let (process, line) = Process::start(command, "airlock ready at ");
        let base = line.split("airlock ready at ").nth(1).unwrap().trim().to_owned();
        Self { base, data, _process: process, _dir: dir }
    }

    /// The path of the link that makes the first admin.
    pub fn set_up_path(&self) -> String {
        let link = std::fs::read_to_string(self.data.join("setup-link")).unwrap();
        format!("/setup{}", link.trim().split_once("/setup").unwrap().1)
    }
}

/// A window of Chromium.
pub struct Window {
    pub client: Client,
    pub base: String,
    _driver: Process,
    profile: tempfile::TempDir,
}

impl Drop for Window {
    /// A driver that is ended leaves its browser behind.
    fn drop(&mut self) {
        let profile = self.profile.path().to_str().unwrap_or_default().as_bytes();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let words = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
            if let Some(pid) = pid.filter(|_| memchr::memmem::find(&words, profile).is_some()) {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// One of the driver's own commands.
#[derive(Debug)]
struct Own {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Own {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &url::Url) -> (reqwest::Method, Option<String>) {
        (reqwest::Method::POST, Some(self.body.to_string()))
    }
}

impl Window {
    pub async fn open(server: &Server) -> Self {
        Self::open_with(server, true).await
    }

    pub async fn open_without_scripts(server: &Server) -> Self {
        Self::open_with(server, false).await
    }

    async fn open_with(server: &Server, scripts: bool) -> Self {
        assert!(Path::new(DRIVER).exists(), "{DRIVER} is missing: install the packages chromium and chromium-driver");
        let mut command = Command::new(DRIVER);
        command.arg("--port=0").stderr(Stdio::null());
        let (driver, line) = Process::start(command, "started successfully on port ");
        let port: String = line.split("on port ").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect();
        let profile = tempfile::tempdir().unwrap();
        let javascript = if scripts { 1 } else { 2 };
        let capabilities = json!({
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {
                "args": [
                    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                    "--disable-background-networking", "--disable-component-update", "--disable-sync",
                    "--disable-dev-shm-usage", "--hide-scrollbars", "--window-size=1440,900",
                    format!("--user-data-dir={}", profile.path().display()),
                ],
                "prefs": {
                    "profile.managed_default_content_settings.javascript": javascript,
                    "credentials_enable_service": false,
                },
            },
        });
        let Value::Object(capabilities) = capabilities else { unreachable!() };
        let client = ClientBuilder::rustls()
            .unwrap()
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .unwrap();
        Self { client, base: server.base.clone(), _driver: driver, profile }
    }

    pub async fn close(self) {
        self.client.clone().close().await.unwrap();
    }

    pub async fn go(&self, path: &str) {
        self.client.goto(&format!("{}{path}", self.base)).await.unwrap();
    }

    /// The path that is open, with its query.
    pub async fn path(&self) -> String {
        let url = self.client.current_url().await.unwrap();
        url.as_str().strip_prefix(&self.base).unwrap_or(url.as_str()).to_owned()
    }

    /// Waits for an element.
    pub async fn find(&self, css: &str) -> Element {
        match self.client.wait().at_most(PATIENCE).every(Duration::from_millis(20)).for_element(Locator::Css(css)).await
        {
            Ok(element) => element,
            Err(error) => {
                let page = self.client.find(Locator::Css("body")).await.unwrap().text().await.unwrap_or_default();
                panic!("no `{css}` on {}: {error}\n{page}", self.path().await)
            }
        }
    }

    /// Waits until the path that is open holds a text.
    pub async fn find_path(&self, part: &str) {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let path = self.path().await;
            if path.contains(part) {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "the path never holds `{part}`: {path}");
        }
    }

    /// Waits until the title begins with a text.
    pub async fn find_title(&self, beginning: &str) {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let title = self.client.title().await.unwrap();
            if title.starts_with(beginning) {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "the title never begins with `{beginning}`: {title}");
        }
    }

    pub async fn has(&self, css: &str) -> bool {
        self.client.find(Locator::Css(css)).await.is_ok()
    }

    /// Waits until an element shows a text, and answers with all of its text.
    pub async fn find_text(&self, css: &str, part: &str) -> String {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let text = self.try_text(css).await.unwrap_or_default();
            if text.contains(part) {
                return text;
            }
            if std::time::Instant::now() > deadline {
                let said = self.console().await;
                let bar = self.run("return document.body.innerText.slice(0, 400)").await;
                self.client.refresh().await.unwrap();
                let anew = self.try_text(css).await.unwrap_or_default();
                panic!(
                    "`{css}` on {} never shows `{part}`: {text}; after a reload: {anew}; {said:?} {bar}",
                    self.path().await
                );
            }
            self.client
                .wait()
                .every(Duration::from_millis(20))
                .at_most(PATIENCE)
                .for_element(Locator::Css("body"))
                .await
                .unwrap();
        }
    }

    /// The text of an element that may be replaced while it is read.
    async fn try_text(&self, css: &str) -> Option<String> {
        self.client.find(Locator::Css(css)).await.ok()?.text().await.ok()
    }

    /// The text of an element, which may be replaced while it is read.
    pub async fn text(&self, css: &str) -> String {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            match self.find(css).await.text().await {
                Ok(text) => return text,
                Err(error) => still_there(css, deadline, &error),
            }
        }
    }

    /// Clicks an element that may be replaced on the way to it.
    pub async fn click(&self, css: &str) {
        let deadline = std::time::Instant::now() + PATIENCE;
        while let Err(error) = self.find(css).await.click().await {
            still_there(css, deadline, &error);
        }
    }

    /// Writes into a field, in the place of what was there; the field may be replaced on the way.
    pub async fn fill(&self, css: &str, text: &str) {
        let deadline = std::time::Instant::now() + PATIENCE;
        while let Err(error) = self.try_fill(css, text).await {
            still_there(css, deadline, &error);
        }
    }

    async fn try_fill(&self, css: &str, text: &str) -> Result<(), CmdError> {
        let field = self.find(css).await;
        field.clear().await?;
        field.send_keys(text).await
    }

    /// Presses keys wherever the focus is.
    pub async fn press(&self, keys: &str) {
        self.client.active_element().await.unwrap().send_keys(keys).await.unwrap();
    }

    pub async fn run(&self, script: &str) -> Value {
        self.client.execute(script, vec![]).await.unwrap()
    }

    /// What the browser complained about since the last time.
    pub async fn console(&self) -> Vec<String> {
        let own = Own { path: "se/log", body: json!({"type": "browser"}) };
        let entries = self.client.issue_cmd(own).await.unwrap();
        let entries = entries.as_array().cloned().unwrap_or_default();
        entries.iter().map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// A command of the browser's debugging protocol.
    pub async fn debug(&self, command: &str, params: Value) -> Value {
        let own = Own { path: "goog/cdp/execute", body: json!({"cmd": command, "params": params}) };
        self.client.issue_cmd(own).await.unwrap()
    }

    /// Makes the first admin and signs in.
    pub async fn set_up(&self, server: &Server) {
        self.go(&server.set_up_path()).await;
        self.fill("#username", "ada").await;
        self.fill("#password", PASSWORD).await;
        self.fill("#repeat", PASSWORD).await;
        self.click("main form .button").await;
        self.find_text(".flash", "Welcome, ada.").await;
    }

    /// Invites another administrator; gives the path of the link.
    pub async fn invite(&self, name: &str) -> String {
        self.go("/admin/users").await;
        self.fill("#name", name).await;
        self.click("label[for=admin]").await;
        self.click("button[value=invite]").await;
        self.text(".once-value code")
            .await
            .trim()
            .split_once("/invitation")
            .map(|(_, rest)| format!("/invitation{rest}"))
            .unwrap()
    }

    /// Comes in by an invitation's link.
    pub async fn come_in(&self, link: &str) {
        self.go(link).await;
        self.fill("#password", PASSWORD).await;
        self.fill("#repeat", PASSWORD).await;
        self.click("main form .button").await;
        self.find_text(".flash", "Welcome").await;
    }

    pub async fn sign_in(&self) {
        self.go("/sign-in").await;
        self.fill("#username", "ada").await;
        self.fill("#password", PASSWORD).await;
        self.click("main form .button").await;
        self.find("nav[aria-label=Main]").await;
    }

    /// Makes a stack with commands of its own through the form, and uploads its source.
    pub async fn new_stack(&self, name: &str, plan: &str, apply: &str) {
        self.go("/stacks/new").await;
        self.fill("#name", name).await;
        self.click("label:has([name='source.kind'][value=upload])").await;
        self.click("label:has([name='vendor.kind'][value=custom])").await;
        self.fill("[id='vendor.init']", "cat greeting").await;
        self.fill("[id='vendor.plan']", plan).await;
        self.fill("[id='vendor.apply']", apply).await;
        self.click(".form-end button[value=create]").await;
        self.find_text(".flash", "Upload its source next").await;
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().write_all(&crate::whole::rig::tar_gz(&[("greeting", "hello from the source\n")])).unwrap();
        self.find("#source").await.send_keys(file.path().to_str().unwrap()).await.unwrap();
        self.click("button[value=upload]").await;
        self.find_text(".flash", "is what new runs of").await;
    }
}

pub const PASSWORD: &str = "correct horse battery staple";

/// A plan that changes one thing, slowly enough to be seen.
pub const PLAN: &str = r#"for i in 1 2 3 4 5 6 7 8; do echo "looking at $i"; sleep 0.1; done; printf '[{"address":"cache.main","type":"cache","action":"update","before":{"size":1},"after":{"size":2}}]' > "$AIRLOCK_PLAN_FILE"; exit 2"#;

/// The same plan, held at a gate once it has looked at everything.
pub fn plan_held_by(gate: &Gate) -> String {
    PLAN.replacen("done;", &format!("done; {};", gate.command("plan")), 1)
}

/// An element that was replaced is looked for again; whatever else went wrong is a failure.
fn still_there(css: &str, deadline: std::time::Instant, error: &CmdError) {
    let replaced = error.to_string().contains("stale element");
    assert!(replaced && std::time::Instant::now() < deadline, "`{css}`: {error}");
}
