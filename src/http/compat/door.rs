//! The socket for running tasks: the compatible API, and tokens for those that a runner vouches for.
//!
//! It lies in the data directory, which only the server's own user may enter. Runners forward what
//! tasks ask for at `localhost:8200`, and add to a request for a token the secret that the server gave
//! them; nothing of it is reachable from the network.

use std::{
    fs, io,
    os::{fd::AsRawFd as _, unix::net::UnixListener as StdListener},
    path::{Path, PathBuf},
    time::Duration,
};

use axum::{Json, Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use super::Answer;
use crate::{
    actions::{Secret, WORKLOAD_HEADER, WORKLOAD_SOCKET},
    domain::{Refused, RefusedKind, limits},
    http::{Problem, Web, shield},
};

/// The open socket.
#[derive(Debug)]
pub struct Doorway {
    listener: StdListener,
}

/// The longest path to a socket that the kernel takes.
const SOCKET_PATH_BYTES: usize = 107;

/// Opens the socket in a data directory, in place of one that an earlier server left.
pub fn open_door(data: &Path) -> io::Result<Doorway> {
    let path = data.join(WORKLOAD_SOCKET);
    match fs::remove_file(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let dir = fs::File::open(data)?;
    let short = if path.as_os_str().len() <= SOCKET_PATH_BYTES {
        path
    } else {
        PathBuf::from(format!("/proc/self/fd/{}/{WORKLOAD_SOCKET}", dir.as_raw_fd()))
    };
    let listener = StdListener::bind(short)?;
    listener.set_nonblocking(true)?;
    Ok(Doorway { listener })
}

/// Serves until `stop`, then lets requests end.
pub async fn serve_door(doorway: Doorway, web: Web, stop: CancellationToken) -> io::Result<()> {
    let routes = Router::new().route("/oauth2/token", post(token)).merge(super::routes(&web));
    let router: Router = shield::around(routes, &web).with_state(web);
    let listener = UnixListener::from_std(doorway.listener)?;
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

/// A token for the task whose runner asks.
async fn token(State(web): State<Web>, headers: HeaderMap, body: Bytes) -> Answer<Json<Value>> {
    let grant = url::form_urlencoded::parse(&body).find(|(name, _)| name == "grant_type");
    if grant.as_ref().map(|(_, value)| &**value) != Some("client_credentials") {
        let why = "`grant_type` must be client_credentials";
        return Err(Problem::of_status(axum::http::StatusCode::BAD_REQUEST, why));
    }
    let unknown = || Problem::from(Refused::new(RefusedKind::Unauthenticated, "no running task asks here"));
    let secret = headers.get(WORKLOAD_HEADER).and_then(|value| value.to_str().ok()).ok_or_else(unknown)?;
    let life = life(&headers, &body);
    let signed_in = web.actions.workload_token(&Secret::new(secret.to_owned()), life).await?;
    let token = signed_in.token.expose();
    Ok(Json(json!({"access_token": token, "expires_in": life.as_secs(), "token_type": "bearer"})))
}

/// How long the token is to live: by the header, else by a field that some clients send.
fn life(headers: &HeaderMap, body: &[u8]) -> Duration {
    let header = headers.get("x-token-ttl").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let field = || {
        url::form_urlencoded::parse(body).find(|(name, _)| name == "x-token-ttl").map(|(_, value)| value.into_owned())
    };
    let seconds = header.or_else(field).and_then(|text| text.trim().parse().ok());
    let life = seconds.map_or(limits::TOKEN_MIN, Duration::from_secs);
    life.clamp(limits::TOKEN_MIN, limits::TOKEN_MAX)
}
