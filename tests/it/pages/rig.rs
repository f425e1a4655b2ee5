//! A whole server in this process, and people who look at it.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use airlock::{
    actions::{NewRun, NewStack, NewUser, Secret},
    app::{App, SystemClock},
    auth::{On, Permission, Permit, Who},
    config::{Config, Flags},
    dispatch::Dispatch,
    domain::{Clock, Kind, Role, RunId, State, Timestamp, UserName},
    http,
    queries::{RoleOnStack, Run, Stack},
    scheduler,
};
use reqwest::{
    Method,
    header::{COOKIE, HeaderMap, LOCATION, SET_COOKIE},
};
use scraper::{Html, Selector};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use url::form_urlencoded;

use crate::whole::rig::tar_gz;

/// Longer than anything here takes: a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(90);
pub const PASSWORD: &str = "correct horse battery staple";

/// The time of day, and more if a test wants; or a moment that stays.
#[derive(Debug, Default)]
struct TestClock {
    ahead_ms: AtomicI64,
    stopped: OnceLock<Timestamp>,
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let now = self.stopped.get().copied().unwrap_or_else(|| SystemClock.now());
        Timestamp::from_millis(now.millis() + self.ahead_ms.load(Ordering::Relaxed))
    }
}

/// A server with everything that belongs to it.
pub struct Site {
    pub app: App,
    pub base: String,
    pub dir: tempfile::TempDir,
    clock: Arc<TestClock>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Site {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// A site whose configuration is changed before it opens.
    pub async fn with(set: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = Some(dir.path().join("data"));
        let flags = Flags { data, slots: Some(2), listen: Some("127.0.0.1:0".parse().unwrap()), ..Flags::default() };
        let mut config = Config::load(&flags).unwrap();
        set(&mut config);
        let clock = Arc::new(TestClock::default());
        let app = App::open_at(config, Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
        let app = app.evaluated_by(env!("CARGO_BIN_EXE_airlock"));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        scheduler::recover(&app.actions).await.unwrap();
        let dispatch =
            Dispatch::new(app.actions.clone(), env!("CARGO_BIN_EXE_airlock"), tasks.clone(), stop.child_token());
        tasks.spawn(dispatch.run());
        let listening = http::listen(&app.config).await.unwrap();
        let base = format!("http://{}", listening.address().unwrap());
        let web = http::Web::new(app.actions.clone(), app.queries.clone(), Arc::clone(&app.config), stop.child_token());
        tasks.spawn(http::serve(listening, web, stop.child_token()));
        Self { app, base, dir, clock, stop, tasks }
    }

    /// Ends the server; open streams hear of it.
    pub async fn end(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Lets no time pass by itself any more.
    pub fn stop_the_clock(&self) {
        self.clock.stopped.set(SystemClock.now()).unwrap();
    }

    /// Lets time pass.
    pub fn pass(&self, time: Duration) {
        self.clock.ahead_ms.fetch_add(i64::try_from(time.as_millis()).unwrap(), Ordering::Relaxed);
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn permit(&self, permission: Permission, on: On) -> Permit {
        airlock::auth::permit(&Who::system(), permission, on, self.app.actions.now()).unwrap()
    }

    /// Somebody who has signed in.
    pub async fn person(&self, name: &str, admin: bool, roles: &[(&Stack, Role)]) -> Browser {
        let roles = roles.iter().map(|(stack, role)| RoleOnStack { stack: stack.id, role: *role }).collect();
        let new = NewUser { name: UserName::new(name).unwrap(), admin, roles };
        let permit = self.permit(Permission::ManageUsers, On::Installation);
        let invited = self.app.actions.invite(&permit, new, None).await.unwrap();
        let password = Secret::new(PASSWORD.to_owned());
        self.app.actions.accept_invitation(invited.token.expose(), None, password, None).await.unwrap();
        let browser = self.stranger();
        let page = browser.post("/sign-in", &[("username", name), ("password", PASSWORD)]).await;
        assert_eq!(page.status, 303, "{}", page.text);
        browser
    }

    pub async fn admin(&self) -> Browser {
        self.person("ada", true, &[]).await
    }

    /// A browser that nobody has signed in with.
    pub fn stranger(&self) -> Browser {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Browser { client, base: self.base.clone(), cookies: Mutex::default() }
    }

    /// A stack with an uploaded source.
    pub async fn stack(&self, settings: serde_json::Value) -> Stack {
        let stack = self.bare_stack(settings).await;
        let scratch = self.data().join("uploads").join("incoming-test");
        std::fs::write(&scratch, tar_gz(&[("greeting", "hello\n")])).unwrap();
        let permit = self.permit(Permission::UploadSource, On::Stack(stack.id));
        self.app.actions.upload(&permit, stack.id, scratch).await.unwrap();
        stack
    }

    /// A stack that waits for its upload, unless it has another source.
    pub async fn bare_stack(&self, mut settings: serde_json::Value) -> Stack {
        if settings["source"].is_null() {
            settings["source"] = serde_json::json!({"kind": "upload"});
        }
        let settings = serde_json::from_value(settings).unwrap();
        let permit = self.permit(Permission::CreateStack, On::Installation);
        self.app.actions.create_stack(&permit, NewStack { slug: None, settings }, None).await.unwrap()
    }

    pub async fn trigger(&self, stack: &Stack, kind: Kind) -> Run {
        let permit = self.permit(Permission::Trigger, On::Stack(stack.id));
        let new = NewRun { kind, commit: None, message: None, runtime_config: None };
        self.app.actions.trigger(&permit, stack.id, new, None).await.unwrap()
    }

    /// Waits until a run is in a state.
    pub async fn until(&self, run: RunId, state: State) -> Run {
        let mut bell = self.app.actions.bells().hear_run(run);
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                bell.mark_unchanged();
                let now = self.app.queries.run(&Who::system(), run).unwrap();
                if now.state == state || now.state.is_terminal() {
                    return now;
                }
                bell.changed().await.unwrap();
            }
        });
        let run = waited.await.expect("the run stands still");
        assert_eq!(run.state, state, "{run:#?}");
        run
    }

    /// A stack with a run that waits for a decision.
    pub async fn waiting(&self, name: &str) -> (Stack, Run) {
        let stack = self.stack(custom(name)).await;
        let run = self.trigger(&stack, Kind::Tracked).await;
        let run = self.until(run.id, State::Unconfirmed).await;
        (stack, run)
    }
}

/// Settings of a stack whose plan changes one thing.
pub fn custom(name: &str) -> serde_json::Value {
    serde_json::json!({
        "name": name,
        "labels": ["prod"],
        "vendor": {
            "kind": "custom",
            "init": "echo initializing",
            "plan": r#"printf '[{"address":"a.b","type":"a","action":"create","before":null,"after":{"x":"<b>1</b>"}}]' > "$AIRLOCK_PLAN_FILE"; printf '\033[31mred\033[0m planned\n'; exit 2"#,
            "apply": "echo applied",
        }
    })
}

/// What a browser keeps between requests.
pub struct Browser {
    client: reqwest::Client,
    base: String,
    cookies: Mutex<BTreeMap<String, String>>,
}

/// An answer.
pub struct Page {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Browser {
    pub async fn get(&self, path: &str) -> Page {
        self.send(Method::GET, path, "", Vec::new()).await
    }

    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.send(Method::POST, path, "application/x-www-form-urlencoded", body.into_bytes()).await
    }

    /// A form with a file, as browsers send it: the button's value comes last.
    pub async fn post_file(&self, path: &str, fields: &[(&str, &str)], file: (&str, &[u8])) -> Page {
        let mut body = Vec::new();
        let mut part = |head: String, content: &[u8]| {
            body.extend_from_slice(format!("--edge\r\nContent-Disposition: form-data; {head}\r\n\r\n").as_bytes());
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        };
        part(format!("name=\"{}\"; filename=\"f\"\r\nContent-Type: application/octet-stream", file.0), file.1);
        for (name, value) in fields {
            part(format!("name=\"{name}\""), value.as_bytes());
        }
        body.extend_from_slice(b"--edge--\r\n");
        self.send(Method::POST, path, "multipart/form-data; boundary=edge", body).await
    }

    async fn send(&self, method: Method, path: &str, kind: &str, body: Vec<u8>) -> Page {
        let response = self.request(method, path).header("content-type", kind).body(body).send().await.unwrap();
        self.keep(response.headers());
        Page {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    /// A request with this browser's cookies.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.bare_request(method, path).header("sec-fetch-site", "same-origin")
    }

    /// The same, without saying which site asks.
    pub fn bare_request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let cookies: Vec<String> =
            self.cookies.lock().unwrap().iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = self.client.request(method, format!("{}{path}", self.base));
        request
            .header("accept", "text/html,application/xhtml+xml")
            .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0")
            .header(COOKIE, cookies.join("; "))
    }

    fn keep(&self, headers: &HeaderMap) {
        let mut cookies = self.cookies.lock().unwrap();
        for line in headers.get_all(SET_COOKIE) {
            let line = line.to_str().unwrap();
            let (name, rest) = line.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            if line.contains("Max-Age=0;") {
                cookies.remove(name);
            } else {
                cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    pub fn cookie(&self, name: &str) -> Option<String> {
        self.cookies.lock().unwrap().get(name).cloned()
    }

    pub fn set_cookie(&self, name: &str, value: &str) {
        self.cookies.lock().unwrap().insert(name.to_owned(), value.to_owned());
    }

    /// Sends a form and looks at where it leads.
    pub async fn post_and_follow(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        let page = self.post(path, fields).await;
        assert_eq!(page.status, 303, "{} {}", page.status, page.words("main"));
        self.get(&page.to()).await
    }
}

impl Page {
    /// Where a redirect leads.
    pub fn to(&self) -> String {
        let to = self.headers.get(LOCATION).expect("a redirect").to_str().unwrap();
        to.split('#').next().unwrap().to_owned()
    }

    pub fn html(&self) -> Html {
        Html::parse_document(&self.text)
    }

    pub fn has(&self, selector: &str) -> bool {
        self.html().select(&Selector::parse(selector).unwrap()).next().is_some()
    }

    pub fn count(&self, selector: &str) -> usize {
        self.html().select(&Selector::parse(selector).unwrap()).count()
    }

    /// The text of the first match, its blanks tidied.
    pub fn words(&self, selector: &str) -> String {
        let html = self.html();
        let found = html.select(&Selector::parse(selector).unwrap()).next();
        let text: String = found.map(|element| element.text().collect()).unwrap_or_default();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// An attribute of the first match.
    pub fn attribute(&self, selector: &str, name: &str) -> Option<String> {
        let html = self.html();
        let found = html.select(&Selector::parse(selector).unwrap()).next()?;
        found.value().attr(name).map(str::to_owned)
    }

    /// An attribute of all matches.
    pub fn attributes(&self, selector: &str, name: &str) -> Vec<String> {
        let html = self.html();
        let selector = Selector::parse(selector).unwrap();
        html.select(&selector).filter_map(|element| element.value().attr(name).map(str::to_owned)).collect()
    }

    /// The values of the buttons that say what a form does.
    pub fn verbs(&self) -> Vec<String> {
        let mut verbs = self.attributes("main button[name=do]", "value");
        verbs.sort();
        verbs.dedup();
        verbs
    }
}
