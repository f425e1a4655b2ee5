//! A site with a few people, a stack, and policies on it.

use airlock::{
    actions::{NewPolicy, Saving},
    auth::{On, Permission},
    domain::{Kind, PolicyKind, Role, RunId, State},
    queries::{Run, Stack},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::pages::rig::{Browser, Site, custom};

/// Two approvals by people who did not trigger the run; one rejection is enough.
pub const TWO_OTHERS: &str = r#"package spacelift

others[login] {
    login := input.reviews.current.approvals[_].session.login
    login != input.run.creator_session.login
}

approve { input.run.state == "QUEUED" }
approve { count(others) >= 2 }
reject { count(input.reviews.current.rejections) > 0 }
"#;

/// One approval by somebody who did not trigger the run.
pub const ONE_OTHER: &str = r#"package spacelift

approve { input.run.state == "QUEUED" }
approve { input.reviews.current.approvals[_].session.login != input.run.creator_session.login }
reject { count(input.reviews.current.rejections) > 0 }
"#;

/// What an API call answers.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub body: Value,
}

impl Reply {
    async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        Self { status, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{:#}", self.body);
        self.body
    }

    /// The refusal's text, when it has this status.
    #[track_caller]
    pub fn refused(self, status: u16) -> String {
        self.expect(status)["detail"].as_str().unwrap_or_default().to_owned()
    }
}

/// Somebody's browser, used as a client of the API.
pub trait Api {
    async fn call(&self, method: Method, path: &str, body: Value) -> Reply;

    async fn review(&self, run: RunId, decision: &str) -> Reply {
        self.call(Method::POST, &format!("runs/{run}/review"), json!({"decision": decision})).await
    }

    async fn confirm(&self, run: RunId) -> Reply {
        self.call(Method::POST, &format!("runs/{run}/confirm"), json!({})).await
    }

    async fn run(&self, run: RunId) -> Value {
        self.call(Method::GET, &format!("runs/{run}"), Value::Null).await.expect(200)
    }

    /// Triggers a run of a kind on the shop.
    async fn trigger(&self, kind: &str) -> RunId {
        let made = self.call(Method::POST, "stacks/shop/runs", json!({"kind": kind})).await.expect(201);
        made["id"].as_str().unwrap().parse().unwrap()
    }
}

impl Api for Browser {
    async fn call(&self, method: Method, path: &str, body: Value) -> Reply {
        let request = self.request(method, &format!("/api/v1/{path}"));
        let request = if body.is_null() { request } else { request.json(&body) };
        Reply::of(request).await
    }
}

/// A program with a key.
pub struct Key {
    base: String,
    pub secret: String,
}

impl Api for Key {
    async fn call(&self, method: Method, path: &str, body: Value) -> Reply {
        let request = reqwest::Client::new().request(method, format!("{}/api/v1/{path}", self.base));
        let request = if body.is_null() { request } else { request.json(&body) };
        Reply::of(request.bearer_auth(&self.secret)).await
    }
}

/// A stack that plans a change, an admin, and writers of it.
pub struct Team {
    pub site: Site,
    pub stack: Stack,
    pub ada: Browser,
    pub bob: Browser,
    pub cleo: Browser,
    pub dan: Browser,
}

impl Team {
    pub async fn new() -> Self {
        Self::with(custom("Shop")).await
    }

    pub async fn with(settings: Value) -> Self {
        let site = Site::new().await;
        let stack = site.stack(settings).await;
        Self::of(site, stack).await
    }

    /// The people of a site with one stack.
    pub async fn of(site: Site, stack: Stack) -> Self {
        let ada = site.admin().await;
        let writer = async |name| site.person(name, false, &[(&stack, Role::Writer)]).await;
        let (bob, cleo, dan) = (writer("bob").await, writer("cleo").await, writer("dan").await);
        Self { site, stack, ada, bob, cleo, dan }
    }

    /// Makes a policy that every stack has.
    pub async fn policy(&self, name: &str, kind: PolicyKind, body: &str) {
        let new = NewPolicy {
            name: name.parse().unwrap(),
            kind,
            body: body.to_owned(),
            labels: vec!["autoattach:*".parse().unwrap()],
            description: String::new(),
        };
        let permit = self.site.permit(Permission::ManagePolicies, On::Installation);
        self.site.app.actions.save_policy(&permit, Saving::New, new, None).await.unwrap();
    }

    /// Makes a policy out of the library one that every stack has.
    pub async fn library_policy(&self, name: &str) {
        let offered = airlock::policy::LIBRARY.iter().find(|one| one.name == name).unwrap();
        self.policy(name, offered.kind, offered.body).await;
    }

    /// Somebody with a key of their own making, for the shop; an admin's if that is said.
    pub async fn key(&self, name: &str, by: &impl Api, admin: bool) -> Key {
        let roles = json!([{"stack": "shop", "role": "writer"}]);
        let made = by.call(Method::POST, "api-keys", json!({"name": name, "admin": admin, "roles": roles})).await;
        Key { base: self.site.base.clone(), secret: made.expect(201)["secret"].as_str().unwrap().to_owned() }
    }

    pub async fn forget_policy(&self, name: &str) {
        let permit = self.site.permit(Permission::ManagePolicies, On::Installation);
        self.site.app.actions.delete_policy(&permit, name.parse().unwrap()).await.unwrap();
    }

    /// A tracked run that somebody triggered and that waits with its plan.
    pub async fn waiting(&self, by: &Browser) -> Run {
        let run = by.trigger("tracked").await;
        self.site.until(run, State::Unconfirmed).await
    }

    /// Waits until what the policies said about a run fits.
    pub async fn until(&self, run: RunId, fits: impl Fn(&Value) -> bool) -> Value {
        let mut bell = self.site.app.actions.bells().hear_run(run);
        let waited = tokio::time::timeout(std::time::Duration::from_secs(90), async {
            loop {
                bell.mark_unchanged();
                let now = self.ada.run(run).await;
                if fits(&now) {
                    return now;
                }
                bell.changed().await.unwrap();
            }
        });
        match waited.await {
            Ok(run) => run,
            Err(_) => panic!("still {:#}", self.ada.run(run).await),
        }
    }

    /// Waits until the policies said that more is needed.
    pub async fn until_open(&self, run: RunId) -> Value {
        self.until(run, |run| run["approval"]["decision"] == "open").await
    }

    /// What the audit log has of a verb: outcomes with details.
    pub async fn audited(&self, verb: &str) -> Vec<(String, String)> {
        let rows = self.ada.call(Method::GET, &format!("audit?verb={verb}"), Value::Null).await.expect(200);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        rows["items"].as_array().unwrap().iter().map(|row| (text(&row["outcome"]), text(&row["detail"]))).collect()
    }
}

/// A preview, triggered by the system.
pub async fn preview(team: &Team) -> RunId {
    team.site.trigger(&team.stack, Kind::Proposed).await.id
}
