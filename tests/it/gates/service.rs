//! A run-task service of somebody else: it verifies signatures as real ones do, and answers as the
//! test says.

use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};

use airlock::{crypt, crypt::Secret};
use axum::{Router, body::Bytes, extract::State, http::HeaderMap, http::StatusCode, routing::post};
use reqwest::Method;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{Mutex, mpsc, watch},
};
use tokio_util::{sync::CancellationToken, sync::DropGuard};

const PATIENCE: Duration = Duration::from_secs(90);
pub const KEY: &str = "a key of both – Schlüssel 🔑";

/// A request that came in, verified.
pub struct Called {
    pub payload: Value,
    pub raw: String,
    pub signature: String,
    /// Where the server is by now, if it moved.
    base: Option<String>,
}

struct Shared {
    calls: mpsc::UnboundedSender<Called>,
    /// What the next requests are answered with; 200 when there is nothing more.
    statuses: Mutex<VecDeque<u16>>,
    /// Requests are taken and not answered as long as this says so.
    holds: watch::Sender<bool>,
}

pub struct Service {
    pub url: String,
    calls: Mutex<mpsc::UnboundedReceiver<Called>>,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

impl Service {
    pub async fn new() -> Self {
        let (sender, calls) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared { calls: sender, statuses: Mutex::default(), holds: watch::Sender::new(false) });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/check?from=airlock", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let router = Router::new().route("/check", post(called)).with_state(Arc::clone(&shared));
        let ends = stop.clone();
        tokio::spawn(async move {
            axum::serve(listener, router).with_graceful_shutdown(ends.cancelled_owned()).await.unwrap();
        });
        Self { url, calls: Mutex::new(calls), shared, _stop: stop.drop_guard() }
    }

    /// The next requests are answered with these.
    pub async fn answers_with(&self, statuses: &[u16]) {
        self.shared.statuses.lock().await.extend(statuses);
    }

    /// Whether requests are taken and not answered, until this is taken back.
    pub fn holds(&self, holds: bool) {
        self.shared.holds.send_replace(holds);
    }

    /// The next request that is no verification.
    pub async fn called(&self) -> Called {
        let mut calls = self.calls.lock().await;
        loop {
            let call = tokio::time::timeout(PATIENCE, calls.recv()).await.expect("somebody calls").unwrap();
            if call.payload["stage"] != "test" {
                return call;
            }
        }
    }

    /// Every request so far.
    pub async fn all_calls(&self) -> Vec<Called> {
        let mut calls = self.calls.lock().await;
        std::iter::from_fn(|| calls.try_recv().ok()).collect()
    }
}

async fn called(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let signature = header("x-tfc-task-signature");
    let key = Secret::new(KEY.to_owned());
    let again: Ordered = serde_json::from_slice(&body).unwrap();
    let again = serde_json::to_string(&again).unwrap();
    let signed = |body: &[u8]| crypt::signature(&key, body) == signature;
    if !signed(&body) || !signed(again.as_bytes()) {
        return StatusCode::UNAUTHORIZED;
    }
    assert_eq!(header("content-type"), "application/json");
    assert!(header("user-agent").contains("Airlock"));
    let status = shared.statuses.lock().await.pop_front().unwrap_or(200);
    let raw = String::from_utf8(body.to_vec()).unwrap();
    let payload = serde_json::from_str(&raw).unwrap();
    let _ = shared.calls.send(Called { payload, raw, signature, base: None });
    let _ = shared.holds.subscribe().wait_for(|holds| !holds).await;
    StatusCode::from_u16(status).unwrap()
}

/// JSON read and written again with its fields in their order, as JavaScript does it.
struct Ordered(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Ordered;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Ordered(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

impl serde::Serialize for Ordered {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// What came back for something that a service asked.
pub struct Answer {
    pub status: u16,
    pub location: Option<String>,
    pub kind: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&self.body)))
    }
}

impl Called {
    pub fn text(&self, field: &str) -> String {
        self.payload[field].as_str().unwrap_or_else(|| panic!("no {field} in {:#}", self.payload)).to_owned()
    }

    pub fn token(&self) -> String {
        self.text("access_token")
    }

    /// The same for a server that was started again elsewhere.
    pub fn at(&self, base: &str) -> Self {
        let (payload, raw, signature) = (self.payload.clone(), self.raw.clone(), self.signature.clone());
        Self { payload, raw, signature, base: Some(base.to_owned()) }
    }

    /// A callback that may not get through; gives the status if it did.
    pub async fn tries(&self, status: &str) -> Option<u16> {
        let request = reqwest::Client::new().patch(self.text("task_result_callback_url")).bearer_auth(self.token());
        let sent = request.body(body(status, "").to_string()).send().await;
        sent.ok().map(|answer| answer.status().as_u16())
    }

    /// A callback with these attributes; gives the status.
    pub async fn says(&self, status: &str, message: &str) -> u16 {
        self.sends(&body(status, message)).await.status
    }

    pub async fn sends(&self, body: &Value) -> Answer {
        self.patches(&self.token(), body.to_string()).await
    }

    pub async fn patches(&self, token: &str, body: impl Into<reqwest::Body>) -> Answer {
        let url = self.text("task_result_callback_url");
        self.asks(Method::PATCH, &url, Some(token), Some(body.into())).await
    }

    pub async fn gets(&self, url: &str) -> Answer {
        self.asks(Method::GET, url, Some(&self.token()), None).await
    }

    pub async fn asks(&self, method: Method, url: &str, token: Option<&str>, body: Option<reqwest::Body>) -> Answer {
        let moved = self.base.as_ref().and_then(|base| {
            let path = url.split_once("/api/")?.1;
            Some(format!("{base}/api/{path}"))
        });
        let url = moved.as_deref().unwrap_or(url);
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let mut request = client.request(method, url).header("content-type", "application/vnd.api+json");
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let answer = request.send().await.unwrap();
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        Answer {
            status: answer.status().as_u16(),
            location: header("location"),
            kind: header("content-type").unwrap_or_default(),
            body: answer.bytes().await.unwrap().to_vec(),
        }
    }
}

pub fn body(status: &str, message: &str) -> Value {
    json!({"data": {"type": "task-results", "attributes": {"status": status, "message": message}}})
}
