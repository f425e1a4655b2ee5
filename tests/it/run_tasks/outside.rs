//! What is outside: a service that speaks the protocol, as far as these tests need it.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, Method, StatusCode},
    response::{IntoResponse as _, Redirect, Response},
    routing::any,
};
use serde_json::Value;
use tokio::sync::mpsc;

/// One request that came.
#[derive(Clone, Debug)]
pub struct Came {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Came {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// Answers 200 to everything but what it was told otherwise, and shows what came.
pub struct Outside {
    pub url: String,
    came: mpsc::UnboundedReceiver<Came>,
    desk: Desk,
}

#[derive(Clone)]
struct Desk {
    came: mpsc::UnboundedSender<Came>,
    status: Arc<Mutex<StatusCode>>,
    silent: Arc<AtomicBool>,
    plan: Arc<Mutex<String>>,
    plan_is_at: Arc<Mutex<String>>,
}

impl Outside {
    pub async fn open() -> Self {
        let (sender, came) = mpsc::unbounded_channel();
        let desk = Desk {
            came: sender,
            status: Arc::new(Mutex::new(StatusCode::OK)),
            silent: Arc::default(),
            plan: Arc::default(),
            plan_is_at: Arc::new(Mutex::new("/plan-file".to_owned())),
        };
        let router = Router::new().route("/{*path}", any(answer)).with_state(desk.clone());
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, came, desk }
    }

    /// What it answers from now on.
    pub fn answers(&self, status: u16) {
        *self.desk.status.lock().unwrap() = StatusCode::from_u16(status).unwrap();
    }

    /// Whether it takes what comes and never answers.
    pub fn is_silent(&self, silent: bool) {
        self.desk.silent.store(silent, Ordering::Relaxed);
    }

    /// The plan behind `/plan`.
    pub fn has_plan(&self, plan: &Value) {
        *self.desk.plan.lock().unwrap() = plan.to_string();
    }

    /// Where `/plan` leads from now on.
    pub fn plan_is_at(&self, address: &str) {
        address.clone_into(&mut self.desk.plan_is_at.lock().unwrap());
    }

    /// The next request.
    pub async fn next(&mut self) -> Came {
        let came = tokio::time::timeout(std::time::Duration::from_secs(90), self.came.recv()).await;
        came.expect("somebody calls").unwrap()
    }

    /// Whether nothing more has come.
    pub fn is_quiet(&mut self) -> bool {
        self.came.try_recv().is_err()
    }
}

async fn answer(
    State(desk): State<Desk>,
    Path(path): Path<String>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    // What it answers is settled before the test hears of the request and thinks of the next.
    let status = *desk.status.lock().unwrap();
    let _ = desk.came.send(Came { method, path: path.clone(), headers, body });
    if desk.silent.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
    match path.as_str() {
        "plan" => Redirect::temporary(&desk.plan_is_at.lock().unwrap()).into_response(),
        "plan-file" => desk.plan.lock().unwrap().clone().into_response(),
        _ => status.into_response(),
    }
}
