//! A server process, somebody outside who listens, and what people see of it.

use airlock::domain::State;
use aws_lc_rs::hmac;
use scraper::{Html, Selector};
use serde_json::{Value, json};

use crate::{
    pages::rig::custom,
    run_tasks::outside::{Came, Outside},
    whole::server::Server,
};

pub const SECRET: &str = "the webhook's secret";

/// Makes a webhook that calls somebody outside.
pub async fn webhook(server: &Server, id: &str, outside: &Outside, more: Value) {
    let mut webhook = json!({"id": id, "name": id, "url": format!("{}/{id}", outside.url), "secret": SECRET});
    for (name, value) in more.as_object().unwrap() {
        webhook[name] = value.clone();
    }
    server.post("webhooks", webhook).await;
}

/// Saves a notification policy that every stack has.
pub async fn policy(server: &Server, name: &str, body: &str) {
    let policy = json!({"name": name, "kind": "notification", "body": body, "labels": ["autoattach:*"]});
    server.post("policies", policy).await;
}

/// A server with the stack *Shop*.
pub async fn served(dir: &std::path::Path) -> Server {
    let server = Server::start(dir).await;
    server.stack(custom("Shop"), &[]).await;
    server
}

/// Whether a delivery carries both signatures of its very bytes.
pub fn is_signed(came: &Came, secret: &str) -> bool {
    let fits = |name: &str, prefix: &str, algorithm| {
        let Some(tag) = came.header(name).strip_prefix(prefix).and_then(|tag| hex::decode(tag).ok()) else {
            return false;
        };
        hmac::verify(&hmac::Key::new(algorithm, secret.as_bytes()), &came.body, &tag).is_ok()
    };
    fits("x-signature", "sha1=", hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY)
        && fits("x-signature-256", "sha256=", hmac::HMAC_SHA256)
}

/// Looks at something until it fits.
pub async fn until(server: &Server, path: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let looked = tokio::time::timeout(std::time::Duration::from_secs(90), async {
        loop {
            let now = server.get(path).await;
            if fits(&now) {
                return now;
            }
        }
    });
    match looked.await {
        Ok(found) => found,
        Err(_) => panic!("still {:#}", server.get(path).await),
    }
}

/// A part of somebody's first page; with no token, the admin's.
pub async fn home(server: &Server, token: Option<&str>, selector: &str) -> Vec<String> {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.get(server.url()).header("accept", "text/html");
    let request = request.header("cookie", format!("airlock={}", token.unwrap_or(server.token())));
    let html = Html::parse_document(&request.send().await.unwrap().text().await.unwrap());
    let words = |element: scraper::ElementRef<'_>| {
        element.text().collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    html.select(&Selector::parse(selector).unwrap()).map(words).collect()
}

/// Waits until the admin's inbox has a message with these words, and gives it.
pub async fn until_told(server: &Server, words: &str) -> String {
    let looked = tokio::time::timeout(std::time::Duration::from_secs(90), async {
        loop {
            let told = home(server, None, ".message").await;
            if let Some(found) = told.into_iter().find(|message| message.contains(words)) {
                return found;
            }
        }
    });
    looked.await.unwrap_or_else(|_| panic!("nobody is told {words}"))
}

/// The states that a run went through, with their numbers, as webhooks name them.
pub fn history(run: &Value) -> Vec<(u64, String)> {
    let states = run["history"].as_array().unwrap().iter().map(|entry| entry["state"].as_str().unwrap());
    let shout = |word: &str| {
        assert!(State::from_word(word).is_some());
        word.to_uppercase()
    };
    (1..).zip(states.map(shout)).collect()
}
