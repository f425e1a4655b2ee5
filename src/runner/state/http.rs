//! Terraform's HTTP backend in front of [`States`]: GET, POST, DELETE, LOCK, UNLOCK on `/state`.
//!
//! What the methods, statuses and bodies mean is set by Terraform's documentation of its `http`
//! backend. Everybody who can reach the listener can talk to this: nothing is done, not even a body
//! read, before the credentials are right.

use std::{net::TcpListener, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Incoming},
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};

use crate::{
    crypt::{self, Secret},
    domain::limits,
};

use super::{No, States};

/// The user's name in the credentials.
pub const USER: &str = "airlock";
/// Where the state is.
pub const PATH: &str = "/state";

/// Connections at the same time; more wait in the backlog.
const CONNECTIONS: usize = 16;
/// Bytes of a description of a lock.
const LOCK_BYTES: u64 = 64 * limits::KIB;
/// Time for a request's head to come in, and for its body.
const HEAD_WAIT: Duration = Duration::from_secs(10);
const BODY_WAIT: Duration = Duration::from_mins(2);
/// Pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

type Answer = Response<Full<Bytes>>;

/// What all connections share.
struct Endpoint {
    states: Arc<States>,
    /// One body in memory at a time.
    bodies: Semaphore,
}

/// Serves until it is aborted, and its connections with it.
pub async fn serve(listener: TcpListener, states: Arc<States>) {
    let Ok(listener) = listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener)) else {
        return;
    };
    let endpoint = Arc::new(Endpoint { states, bodies: Semaphore::new(1) });
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = accept(&listener, &places) => match accepted {
                Some((stream, place)) => {
                    connections.spawn(connection(stream, Arc::clone(&endpoint), place));
                }
                None => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn accept(
    listener: &tokio::net::TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    let (stream, _) = listener.accept().await.ok()?;
    Some((stream, place))
}

async fn connection(stream: TcpStream, endpoint: Arc<Endpoint>, _place: OwnedSemaphorePermit) {
    let service = service_fn(|request| {
        let endpoint = Arc::clone(&endpoint);
        async move { Ok::<_, std::convert::Infallible>(endpoint.answer(request).await) }
    });
    // A connection that breaks is the client's affair.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

impl Endpoint {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        if !self.knows(request.headers().get(AUTHORIZATION)) {
            let mut answer = text(StatusCode::UNAUTHORIZED, "the credentials of this phase are needed");
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"state\""));
            return answer;
        }
        if request.uri().path() != PATH {
            return text(StatusCode::NOT_FOUND, "the state is at /state");
        }
        match self.act(request).await {
            Ok(answer) => answer,
            Err(no) => refusal(no),
        }
    }

    async fn act(&self, request: Request<Incoming>) -> Result<Answer, No> {
        let states = &self.states;
        match (request.method(), request.method().as_str()) {
            (&Method::GET, _) => Ok(states.read()?.map_or_else(
                || text(StatusCode::NO_CONTENT, ""),
                |state| json(StatusCode::OK, state.expose().clone()),
            )),
            (&Method::POST, _) => {
                let lock = lock_id(&request);
                let body = match self.body(request, limits::STATE_BYTES).await {
                    Ok(body) => body,
                    Err(answer) => return Ok(answer),
                };
                states.write(body, lock.as_deref())?;
                Ok(text(StatusCode::OK, ""))
            }
            (&Method::DELETE, _) => {
                states.write(Secret::default(), lock_id(&request).as_deref())?;
                Ok(text(StatusCode::OK, ""))
            }
            (_, "LOCK") => match self.body(request, LOCK_BYTES).await {
                Ok(info) => states.lock(info.expose().clone()).map(|()| text(StatusCode::OK, "")),
                Err(answer) => Ok(answer),
            },
            (_, "UNLOCK") => match self.body(request, LOCK_BYTES).await {
                Ok(info) => states.unlock(info.expose()).map(|()| text(StatusCode::OK, "")),
                Err(answer) => Ok(answer),
            },
            _ => Ok(text(StatusCode::METHOD_NOT_ALLOWED, "GET, POST, DELETE, LOCK and UNLOCK are known here")),
        }
    }

    /// Basic credentials, compared in constant time.
    fn knows(&self, header: Option<&HeaderValue>) -> bool {
        let Some(given) = header.and_then(|value| value.to_str().ok()).and_then(|value| value.strip_prefix("Basic "))
        else {
            return false;
        };
        let right = Secret::new(format!("{USER}:{}", self.states.password().expose()));
        STANDARD.decode(given.trim()).is_ok_and(|given| crypt::same(&given, right.expose().as_bytes()))
    }

    /// The whole body, or the answer that says why not.
    async fn body(&self, request: Request<Incoming>, most: u64) -> Result<Secret<Vec<u8>>, Answer> {
        let too_large = || text(StatusCode::PAYLOAD_TOO_LARGE, &format!("at most {most} bytes are allowed"));
        if request.body().size_hint().lower() > most {
            return Err(too_large());
        }
        let _turn = self.bodies.acquire().await;
        let limited = Limited::new(request.into_body(), usize::try_from(most).unwrap_or(usize::MAX));
        match tokio::time::timeout(BODY_WAIT, limited.collect()).await {
            Ok(Ok(body)) => Ok(Secret::new(body.to_bytes().to_vec())),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => Err(text(StatusCode::BAD_REQUEST, "the body broke off")),
            Err(_) => Err(text(StatusCode::REQUEST_TIMEOUT, "the body took too long")),
        }
    }
}

/// The lock that a writer claims: `?ID=…`.
fn lock_id(request: &Request<Incoming>) -> Option<String> {
    let query = request.uri().query()?;
    url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "ID").map(|(_, id)| id.into_owned())
}

fn refusal(no: No) -> Answer {
    match no {
        No::Closed => text(StatusCode::SERVICE_UNAVAILABLE, "no phase is running"),
        No::ReadOnly => text(StatusCode::FORBIDDEN, "this phase may read the state, not write it"),
        No::Locked(info) => json(StatusCode::LOCKED, info),
        No::Unclear => text(StatusCode::BAD_REQUEST, "a lock is a JSON object with an `ID`"),
        No::Fault => text(StatusCode::SERVICE_UNAVAILABLE, "the state could not be written durably"),
    }
}

fn json(status: StatusCode, body: Vec<u8>) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn text(status: StatusCode, words: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::copy_from_slice(words.as_bytes())));
    *answer.status_mut() = status;
    answer
}
