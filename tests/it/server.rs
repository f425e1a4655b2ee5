//! A real server on a port of its own, with a data directory of its own and a clock that only moves by
//! being looked at; a client that speaks JSON; and a runner that only writes what a runner would.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use airlock::{
    actions::{NewKey, Report, chain_dir},
    app::App,
    auth::{On, Permission, Permit},
    config::{Config, Flags},
    crypt::{Key, write_file_under},
    domain::{Changes, Clock, Digest, KeyId, Phase, RunId, Timestamp, UserName, Verdict},
    http::{self, Web},
    log::{LogWriter, Stream},
    mask::MaskSet,
    protocol::{self, PhaseResult, Planned, Produced, Record, RuntimeFound, WorkspaceLeft},
    queries::RoleOnStack,
};
use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};
use tokio_util::sync::CancellationToken;

/// Time that passes a little with every look at it.
#[derive(Debug)]
pub struct TestClock(AtomicI64);

impl TestClock {
    /// What one look costs. Slower, and a test would meet the limit of requests a second.
    const LOOK: i64 = 5;

    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(1_767_225_600_000)))
    }

    pub fn pass(&self, span: Duration) {
        self.0.fetch_add(i64::try_from(span.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.fetch_add(Self::LOOK, Ordering::SeqCst))
    }
}

/// A server inside the test. It ends with this value.
pub struct Server {
    pub app: App,
    pub clock: Arc<TestClock>,
    pub url: String,
    /// Holds an admin's API key.
    pub admin: Client,
    stop: CancellationToken,
    _data: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Server {
    pub async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let flags = Flags {
            data: Some(data.path().to_owned()),
            listen: Some("127.0.0.1:0".parse().unwrap()),
            slots: Some(2),
            ..Flags::default()
        };
        let mut config = Config::load(&flags).unwrap();
        let listening = http::listen(&config).await.unwrap();
        let url = format!("http://{}", listening.address().unwrap());
        config.public_url = Some(url.clone());
        let clock = TestClock::new();
        let app = App::open_at(config, Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
        let app = app.evaluated_by(env!("CARGO_BIN_EXE_airlock"));
        let stop = CancellationToken::new();
        let web = Web::new(app.actions.clone(), app.queries.clone(), Arc::clone(&app.config), stop.child_token());
        tokio::spawn(http::serve(listening, web, stop.child_token()));
        let admin = Client::new(&url, None);
        let mut server = Self { app, clock, url, admin, stop, _data: data };
        server.admin = server.key("root", true, Vec::new()).await.1;
        server
    }

    /// Ends it as SIGTERM does; open streams end.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// A client with a key of its own.
    pub async fn key(&self, name: &str, admin: bool, roles: Vec<RoleOnStack>) -> (KeyId, Client) {
        let permit = Permit::of_system(Permission::ManageKeys, On::Installation);
        let new = NewKey { name: UserName::new(name).unwrap(), admin, roles, expires_at: None };
        let minted = self.app.actions.create_key(&permit, new, None).await.unwrap();
        (minted.key.id, self.client(minted.secret.expose()))
    }

    pub fn client(&self, token: &str) -> Client {
        Client { token: Some(token.to_owned()), ..self.anonymous() }
    }

    pub fn anonymous(&self) -> Client {
        Client { token: None, ..self.admin.clone() }
    }

    /// A stack whose commands do nothing, with a source.
    pub async fn stack(&self, slug: &str) {
        let vendor = json!({"kind": "custom", "plan": "exit 2", "apply": "true"});
        self.stack_with(slug, json!({"vendor": vendor})).await;
    }

    /// A stack with a source and further settings.
    pub async fn stack_with(&self, slug: &str, settings: Value) {
        let mut body = json!({"name": slug, "slug": slug, "source": {"kind": "upload"}});
        body.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        self.admin.post("/stacks", body).await.expect(201);
        self.admin.upload(slug, archive(&[("main.tf", b"# nothing\n")])).await.expect(200);
    }

    /// Triggers a tracked run.
    pub async fn run(&self, slug: &str) -> Value {
        self.admin.post(&format!("/stacks/{slug}/runs"), json!({"kind": "tracked"})).await.expect(201).json()
    }

    /// A run that is shown to be unconfirmed.
    pub async fn unconfirmed(&self, slug: &str) -> Value {
        let run = self.run(slug).await;
        let mut runner = self.runner(&run);
        runner.plan_and_seal().await;
        self.admin.get(&format!("/runs/{}", id_of(&run))).await.expect(200).json()
    }

    /// What writes for the first chain of a run.
    pub fn runner(&self, run: &Value) -> FakeRunner {
        FakeRunner { app: self.app.clone(), run: id_of(run), chain: 1, taken: 0, phase: 0 }
    }

    pub fn data(&self) -> PathBuf {
        self.app.data.clone()
    }
}

pub fn id_of(run: &Value) -> RunId {
    run["id"].as_str().unwrap().parse().unwrap()
}

/// A tar.gz.
pub fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, *content).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

/// The binary itself, serving in a process of its own. Killed with this value.
pub struct Binary {
    pub url: String,
    /// Holds the token of a sign-in.
    pub admin: Client,
    child: Child,
    data: TempDir,
}

impl Binary {
    const PASSWORD: &str = "seven green kettles";

    pub async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        std::fs::write(data.path().join("password"), Self::PASSWORD).unwrap();
        let (child, url) = Self::spawn(data.path()).await;
        let stranger = Client::new(&url, None);
        let login = json!({"username": "admin", "password": Self::PASSWORD});
        let answer = stranger.post("/login", login).await.expect(200).json();
        let admin = Client { token: Some(answer["token"].as_str().unwrap().to_owned()), ..stranger };
        Self { url, admin, child, data }
    }

    /// Ends the process as given, and starts another on the same data.
    pub async fn restart(&mut self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
        self.child.wait().await.unwrap();
        (self.child, self.url) = Self::spawn(self.data.path()).await;
        self.admin.url.clone_from(&self.url);
    }

    async fn spawn(data: &Path) -> (Child, String) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_airlock"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data.join("data"))
            .arg("--admin-password-file")
            .arg(data.join("password"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next_line().await.unwrap().expect("the server ended before it was ready");
        let url = line.strip_prefix("airlock ready at ").unwrap_or_else(|| panic!("{line}")).to_owned();
        (child, url)
    }
}

/// Speaks JSON with a server, under a token or none.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    token: Option<String>,
}

impl Client {
    fn new(url: &str, token: Option<&str>) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { http, url: url.to_owned(), token: token.map(str::to_owned) }
    }

    /// The token that it shows.
    pub fn token(&self) -> &str {
        self.token.as_deref().unwrap_or_default()
    }

    /// A request to an address below `/api/v1`, or to any other that begins with `//`.
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let url = match path.strip_prefix("//") {
            Some(path) => format!("{}/{path}", self.url),
            None => format!("{}/api/v1{path}", self.url),
        };
        let request = self.http.request(Method::from_bytes(method.as_bytes()).unwrap(), url);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub async fn get(&self, path: &str) -> Reply {
        Reply::of(self.request("GET", path)).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        Reply::of(self.request("DELETE", path)).await
    }

    pub async fn send(&self, method: &str, path: &str, body: Value) -> Reply {
        Reply::of(self.request(method, path).json(&body)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.send("POST", path, body).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Reply {
        self.send("PUT", path, body).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Reply {
        self.send("PATCH", path, body).await
    }

    pub async fn raw(&self, method: &str, path: &str, body: impl Into<reqwest::Body>) -> Reply {
        Reply::of(self.request(method, path).body(body)).await
    }

    /// A POST under an idempotency key.
    pub async fn post_once(&self, path: &str, key: &str, body: Value) -> Reply {
        Reply::of(self.request("POST", path).header("idempotency-key", key).json(&body)).await
    }

    pub async fn upload(&self, slug: &str, archive: Vec<u8>) -> Reply {
        self.raw("PUT", &format!("/stacks/{slug}/source"), archive).await
    }

    /// Every item of a list, read in parts.
    pub async fn all(&self, path: &str, limit: usize) -> Vec<Value> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let join = if path.contains('?') { '&' } else { '?' };
            let part = self.get(&format!("{path}{join}limit={limit}{cursor}")).await.expect(200).json();
            let found = part["items"].as_array().unwrap();
            assert!(found.len() <= limit);
            items.extend(found.iter().cloned());
            match part["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Reply {
    pub async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.unwrap().to_vec();
        Self { status, headers, body }
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self
    }

    /// A problem of this status; its shape is checked.
    #[track_caller]
    pub fn problem(self, status: u16) -> Value {
        let reply = self.expect(status);
        assert_eq!(reply.header("content-type"), "application/problem+json");
        let problem = reply.json();
        for field in ["type", "title", "detail", "request_id"] {
            assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{field} in {problem}");
        }
        assert_eq!(problem["status"], status);
        assert_eq!(problem["request_id"].as_str().unwrap(), reply.header("x-request-id"));
        problem
    }

    /// The detail of a problem.
    #[track_caller]
    pub fn detail(self, status: u16) -> String {
        self.problem(status)["detail"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}

/// Reports and logs as a runner would, without carrying anything out.
pub struct FakeRunner {
    app: App,
    pub run: RunId,
    chain: u32,
    taken: u64,
    phase: u32,
}

impl FakeRunner {
    pub fn next_chain(&mut self) {
        self.chain += 1;
        self.taken = 0;
    }

    pub async fn report(&mut self, records: Vec<Record>) {
        let (from, to) = (self.taken, self.taken + 1);
        self.taken = to;
        let report = Report { run: self.run, chain: self.chain, from, to, records };
        self.app.actions.report(report).await.unwrap();
    }

    fn now(&self) -> Timestamp {
        self.app.actions.now()
    }

    pub async fn begin(&mut self, phase: Phase) {
        self.phase += 1;
        let at = self.now();
        self.report(vec![Record::PhaseStarted { number: self.phase, phase, at }]).await;
    }

    pub async fn end(&mut self, phase: Phase, verdict: Verdict, produced: Produced) {
        let at = self.now();
        let produced = Box::new(produced);
        self.report(vec![Record::PhaseEnded { number: self.phase, phase, at, verdict, produced }]).await;
    }

    /// A phase that printed something and succeeded.
    pub async fn phase(&mut self, phase: Phase, output: &str) {
        self.begin(phase).await;
        let mut log = self.log(phase);
        log.print(output);
        let log_bytes = log.finish();
        self.end(phase, Verdict::SUCCESS, Produced { log_bytes, ..Produced::default() }).await;
    }

    pub async fn finish(&mut self, workspace: WorkspaceLeft) {
        let at = self.now();
        self.report(vec![Record::Ended { at, workspace, stopped: false, fault: None }]).await;
    }

    /// Ends as somebody asked for, in the phase that it is in.
    pub async fn give_way(&mut self, phase: Phase) {
        self.end(phase, Verdict::Stopped, Produced::default()).await;
        let (at, workspace) = (self.now(), WorkspaceLeft::Removed);
        self.report(vec![Record::Ended { at, workspace, stopped: true, fault: None }]).await;
    }

    /// Plans something and seals it.
    pub async fn plan_and_seal(&mut self) {
        self.phase(Phase::Preparing, "fetching\n").await;
        self.phase(Phase::Initializing, "getting ready\n").await;
        self.plan().await;
        self.finish(WorkspaceLeft::Sealed { tree_bytes: 10, sealed_bytes: 5 }).await;
    }

    /// Plans something and seals it, all in one report: as when nobody listened meanwhile.
    pub async fn plan_at_once(&mut self, found: RuntimeFound) {
        let changes = Self::changes();
        let prepared = PhaseResult { runtime: Some(Box::new(found)), ..PhaseResult::default() };
        let planned = PhaseResult { changes: Some(changes.clone()), ..PhaseResult::default() };
        let plan = Some(Self::planned(&changes));
        let at = self.now();
        let mut records = Vec::new();
        for (phase, code, result, plan) in [
            (Phase::Preparing, 0, prepared, None),
            (Phase::Initializing, 0, PhaseResult::default(), None),
            (Phase::Planning, 2, planned, plan),
        ] {
            self.phase += 1;
            self.write_result(&result);
            let (number, verdict) = (self.phase, Verdict::Exited { code });
            let produced = Box::new(Produced { plan, result: true, ..Produced::default() });
            records.push(Record::PhaseStarted { number, phase, at });
            records.push(Record::PhaseEnded { number, phase, at, verdict, produced });
        }
        let workspace = WorkspaceLeft::Sealed { tree_bytes: 10, sealed_bytes: 5 };
        records.push(Record::Ended { at, workspace, stopped: false, fault: None });
        self.report(records).await;
    }

    fn changes() -> Changes {
        serde_json::from_value(json!({
            "resources": [{"address": "box.a", "type": "box", "action": "create", "before": null,
                           "after": {"size": 1}, "sensitive": []}],
            "outputs": [{"name": "url", "action": "create", "before": null, "after": "x", "sensitive": false}]
        }))
        .unwrap()
    }

    fn planned(changes: &Changes) -> Planned {
        let terraform_version = Some(Self::VERSION.to_owned());
        Planned { changes: true, delta: changes.delta(), digest: Self::digest(), terraform_version }
    }

    /// What it says it plans with.
    pub const VERSION: &str = "1.9.5";

    async fn plan(&mut self) {
        let changes = Self::changes();
        self.begin(Phase::Planning).await;
        let mut log = self.log(Phase::Planning);
        log.print("box.a will be made\n");
        let log_bytes = log.finish();
        let planned = Self::planned(&changes);
        self.write_result(&PhaseResult { changes: Some(changes), ..PhaseResult::default() });
        let produced = Produced { log_bytes, plan: Some(planned), result: true, ..Produced::default() };
        self.end(Phase::Planning, Verdict::Exited { code: 2 }, produced).await;
    }

    pub fn digest() -> Digest {
        Digest::new(format!("sha256:{}", "ab".repeat(32))).unwrap()
    }

    /// Applies what was confirmed.
    pub async fn apply(&mut self) {
        self.next_chain();
        self.phase(Phase::PreparingApply, "opening\n").await;
        self.phase(Phase::Applying, "box.a is made\n").await;
        self.finish(WorkspaceLeft::Removed).await;
    }

    fn write_result(&self, result: &PhaseResult) {
        let spec = self.app.actions.to_start(self.run).unwrap().unwrap().spec;
        let key = Key::from_slice(spec.secrets.chain_key.expose()).unwrap();
        let json = serde_json::to_vec(result).unwrap();
        let label = protocol::result_label(self.run, self.phase);
        let path = self.dir().join(protocol::file::result(self.phase));
        write_file_under(&path, &key, label.as_bytes(), &mut json.as_slice()).unwrap();
    }

    fn dir(&self) -> PathBuf {
        let dir = chain_dir(&self.app.data, self.run, self.chain);
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    /// The log of the present phase.
    pub fn log(&self, phase: Phase) -> FakeLog {
        let text = self.dir().join(format!("{:02}-{phase}.log", self.phase));
        let index = text.with_extension("idx");
        let writer = LogWriter::create(&text, &index, MaskSet::new([], false), 1 << 30).unwrap();
        FakeLog { app: self.app.clone(), run: self.run, phase: self.phase, writer, at: Duration::ZERO }
    }
}

/// A log that rings the run's bell.
pub struct FakeLog {
    app: App,
    run: RunId,
    phase: u32,
    writer: LogWriter,
    at: Duration,
}

impl FakeLog {
    pub fn print(&mut self, text: &str) {
        self.print_to(Stream::Stdout, text);
    }

    pub fn print_to(&mut self, stream: Stream, text: &str) {
        // Later than any flush is due, so that the text is on the disk when the bell rings.
        self.writer.write(self.at, stream, text.as_bytes()).unwrap();
        self.at += Duration::from_secs(1);
        self.writer.flush_due(self.at).unwrap();
        self.app.actions.bells().ring_log(self.run, self.phase, self.writer.len());
    }

    pub fn finish(self) -> u64 {
        let bytes = self.writer.finish(self.at).unwrap().bytes;
        self.app.actions.bells().ring_log(self.run, self.phase, bytes);
        bytes
    }
}
