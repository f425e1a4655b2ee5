//! The client: verbs that ask a server over its HTTP API.
//!
//! | file | what |
//! | --- | --- |
//! | `address` | which server, and the token for it: variables, or what `login` stored |
//! | `answer` | what a refusal or a lost connection means for the exit code |
//! | `events` | server-sent events, followed through lost connections |
//! | `wait` | waiting for a run, with a progress line |
//! | `show` | runs and stacks for people |
//! | `login`, `stack`, `run`, `logs`, `task`, `guest`, `image` | the verbs |
//!
//! Everything that comes from a server is data: it is cleaned before a terminal sees it.

mod address;
mod answer;
mod events;
mod guest;
mod image;
mod login;
mod logs;
mod pack;
mod run;
mod show;
mod stack;
mod task;
mod wait;

use std::{path::Path, time::Duration};

use reqwest::{Body, Method, RequestBuilder, Response};
use serde_json::Value;

use crate::{crypt::Secret, domain::limits};

use super::{Outcome, args::Reach, failure::Failure};
use answer::{lost, refused};

pub(super) use address::is_known;
pub(super) use guest::{import as guest_import, list as guest_list, remove as guest_remove};
pub(super) use image::verb as image;
pub(super) use login::run as login;
pub(super) use pack::{Archive, archive as pack, files as pack_files};
pub(super) use run::run;
pub(super) use stack::run as stack;
pub(super) use task::run as task;

/// Where the API is below a server's address.
const API: &str = "/api/v1";
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(60);
/// A stream from which nothing comes for so long is dead: the server gives a sign of life every 15 s.
const SILENCE: Duration = Duration::from_secs(60);
/// Pauses between tries to create something, when a connection is lost meanwhile.
const TRIES: [Duration; 2] = [Duration::from_millis(300), Duration::from_secs(2)];
/// Bytes of a JSON answer.
const ANSWER_BYTES: usize = 64 * limits::MIB as usize;

/// A server and who asks it.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    /// Without a slash at its end.
    base: String,
    token: Option<Secret<String>>,
}

impl Client {
    /// The server that the environment names, or that `login` stored.
    pub fn new(reach: &Reach) -> Result<Self, Failure> {
        let known = address::known(reach)?;
        Ok(Self { http: address::connector(&known.url, &known.trust)?, base: known.url, token: Some(known.token) })
    }

    /// A server that nobody has signed in to yet.
    fn to(url: &str, trust: &address::Trust) -> Result<Self, Failure> {
        Ok(Self { http: address::connector(url, trust)?, base: url.to_owned(), token: None })
    }

    /// A part of a path, as it stands in an address.
    pub fn part(text: &str) -> String {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    }

    /// The address of a page for people.
    fn page(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{API}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        }
    }

    pub async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value, Failure> {
        self.json(self.request(Method::GET, &with_query(path, query)).timeout(ANSWER)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.json(self.request(Method::POST, path).json(body).timeout(ANSWER)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.json(self.request(Method::PATCH, path).json(body).timeout(ANSWER)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.json(self.request(Method::PUT, path).json(body).timeout(ANSWER)).await
    }

    pub async fn delete(&self, path: &str) -> Result<(), Failure> {
        self.send(self.request(Method::DELETE, path).timeout(ANSWER)).await.map(drop)
    }

    /// Creates something. The key makes sure that trying again after a lost connection creates it once.
    pub async fn create(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let key = crate::crypt::random_token();
        let mut pauses = TRIES.iter();
        let mut again = false;
        loop {
            let request = self.request(Method::POST, path).header("idempotency-key", key.expose());
            let tried = request.json(body).timeout(ANSWER).send().await;
            match tried {
                Err(error) if !error.is_connect() => match pauses.next() {
                    Some(pause) => {
                        tokio::time::sleep(*pause).await;
                        again = true;
                    }
                    None => return Err(lost(&self.base, &error)),
                },
                answered => {
                    let answer = self.check(answered).await;
                    let response = answer.map_err(|failure| if again { unheard(path, failure) } else { failure })?;
                    return self.read(response).await;
                }
            }
        }
    }

    /// Sends a file as the body. It may take as long as it takes.
    async fn upload(&self, path: &str, file: &Path) -> Result<Value, Failure> {
        self.send_file(self.request(Method::PUT, path), "application/gzip", file).await
    }

    async fn send_file(&self, request: RequestBuilder, kind: &str, file: &Path) -> Result<Value, Failure> {
        let opened = tokio::fs::File::open(file).await.map_err(|error| Failure::file("read", file, &error))?;
        let length = opened.metadata().await.map_err(|error| Failure::file("read", file, &error))?.len();
        let request = request.header("content-type", kind).header("content-length", length);
        self.json(request.body(Body::wrap_stream(tokio_util::io::ReaderStream::new(opened)))).await
    }

    /// Everything behind an address, a piece at a time.
    pub async fn download(
        &self,
        path: &str,
        mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut response = self.send(self.request(Method::GET, path)).await?;
        while let Some(piece) = response.chunk().await.map_err(|error| lost(&self.base, &error))? {
            take(&piece)?;
        }
        Ok(())
    }

    /// The items of a list, over as many pages as it has, but not more than `most`.
    pub async fn list(&self, path: &str, query: &[(&str, String)], most: usize) -> Result<Vec<Value>, Failure> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let limit = limits::LIST_MAX.min(most - items.len());
            let mut query = query.to_vec();
            query.push(("limit", limit.to_string()));
            query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
            let mut page = self.get(path, &query).await?;
            if let Value::Array(found) = page["items"].take() {
                items.extend(found);
            }
            cursor = page["next"].as_str().map(str::to_owned);
            if cursor.is_none() || items.len() >= most {
                items.truncate(most);
                return Ok(items);
            }
        }
    }

    async fn json(&self, request: RequestBuilder) -> Result<Value, Failure> {
        let response = self.send(request).await?;
        self.read(response).await
    }

    async fn read(&self, mut response: Response) -> Result<Value, Failure> {
        let mut bytes = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| lost(&self.base, &error))? {
            bytes.extend_from_slice(&piece);
            if bytes.len() > ANSWER_BYTES {
                return Err(Failure::failed(format_args!(
                    "{}: an answer is larger than {ANSWER_BYTES} bytes",
                    self.base
                )));
            }
        }
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|_| answer::stranger(&self.base))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        self.check(request.send().await).await
    }

    async fn check(&self, answered: reqwest::Result<Response>) -> Result<Response, Failure> {
        let response = answered.map_err(|error| lost(&self.base, &error))?;
        if response.status().is_success() { Ok(response) } else { Err(refused(&self.base, response).await) }
    }
}

/// A refusal of what was tried once more. What is shown only once is lost with the answer to the first try.
fn unheard(path: &str, failure: Failure) -> Failure {
    match (path, failure.outcome) {
        ("/api-keys", Outcome::Refused) => failure.next(
            "the answer to the first try was lost on its way, and the key's secret with it: revoke that key \
             (`airlock api-key revoke KEY`) and create another",
        ),
        ("/users", Outcome::Refused) => failure.next(
            "the answer to the first try was lost on its way, and the link with it: `airlock user passwd NAME` makes \
             another",
        ),
        _ => failure,
    }
}

fn with_query(path: &str, query: &[(&str, String)]) -> String {
    if query.is_empty() {
        return path.to_owned();
    }
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    format!("{path}?{query}")
}
