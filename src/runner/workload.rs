//! The door of a running declared task, on its jail's own loopback or, for a guest, behind its gateway:
//! tokens, and the compatible API.
//!
//! What comes in goes to the server's socket and back, as a stream. To ask for a token the runner adds
//! what proves whose runner it is; the task never holds that. While the server is away, the answer is
//! 503 and when to try again.

use std::{
    convert::Infallible,
    net::TcpListener,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue, RETRY_AFTER, TRANSFER_ENCODING},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    net::UnixStream,
    sync::Semaphore,
    task::JoinSet,
};

use crate::{
    crypt::Secret,
    domain::{limits, network::Destination},
    egress::{Answers, Within},
    protocol::WORKLOAD_HEADER,
};

/// The door's port on the jail's loopback.
pub const PORT: u16 = 8_200;
/// Connections at the same time; more wait in the backlog.
const CONNECTIONS: usize = 32;
/// Time for a request's head to come in, and for its body.
const HEAD_WAIT: Duration = Duration::from_secs(10);
const BODY_WAIT: Duration = Duration::from_secs(30);
/// Pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The longest path to a socket that the kernel takes.
const SOCKET_PATH_BYTES: usize = 107;

type Answer = Response<Either<Full<Bytes>, Incoming>>;

/// Requests a second, and how many may come at once: a task cannot keep the server from others.
const RATE: f64 = 50.0;
const BURST: f64 = 100.0;

/// Where requests go, and what is shown there.
#[derive(Debug)]
pub struct Door {
    socket: PathBuf,
    secret: Secret<String>,
    bucket: Mutex<Bucket>,
}

/// How many requests may come now.
#[derive(Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn take(&mut self, now: Instant) -> bool {
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * RATE;
        self.left = (self.left + earned).min(BURST);
        self.at = now;
        let any = self.left >= 1.0;
        if any {
            self.left -= 1.0;
        }
        any
    }
}

impl Door {
    pub fn new(socket: PathBuf, secret: Secret<String>) -> Self {
        Self { socket, secret, bucket: Mutex::new(Bucket { left: BURST, at: Instant::now() }) }
    }

    /// The door of a guest, whose requests come by its gateway: it has no loopback of its own.
    pub fn within(self) -> Within {
        let at = ["localhost", "127.0.0.1"].map(|host| Destination::parse(&format!("{host}:{PORT}"), None));
        Within { at: at.into_iter().flatten().collect(), answers: Arc::new(self) }
    }

    /// Serves until it is aborted, and its connections with it.
    pub async fn serve(self, listener: TcpListener) {
        let listener = listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener));
        let listener = match listener {
            Ok(listener) => listener,
            Err(error) => return super::start::complain(&format_args!("cannot serve the task's API: {error}")),
        };
        let (door, places) = (Arc::new(self), Arc::new(Semaphore::new(CONNECTIONS)));
        let mut connections = JoinSet::new();
        loop {
            let accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (listener.accept().await, place)
            };
            tokio::select! {
                (accepted, place) = accepted => match accepted {
                    Ok((stream, _)) => {
                        let door = Arc::clone(&door);
                        connections.spawn(async move {
                            door.connection(stream).await;
                            drop(place);
                        });
                    }
                    Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let service = service_fn(|request| {
            let door = Arc::clone(&self);
            async move { Ok::<_, Infallible>(door.answer(request).await) }
        });
        // A connection that breaks is the client's affair.
        let _ = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WAIT)
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        if !self.bucket.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now()) {
            return later(StatusCode::TOO_MANY_REQUESTS, "too many requests; wait a second");
        }
        let path = request.uri().path();
        if path != "/oauth2/token" && !path.starts_with("/projects/") && !path.starts_with("/users/") {
            return text(StatusCode::NOT_FOUND, "here are only /oauth2/token, /projects/… and /users/me");
        }
        let (head, body) = request.into_parts();
        let body = Limited::new(body, usize::try_from(limits::BODY_BYTES).unwrap_or(usize::MAX));
        let body = match tokio::time::timeout(BODY_WAIT, body.collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) => return text(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large or was cut off"),
            Err(_) => return text(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
        };
        let mut onward = Request::from_parts(head, Full::new(body));
        self.prove(&mut onward);
        match self.pass_on(onward).await {
            Some(answer) => answer.map(Either::Right),
            None => later(StatusCode::SERVICE_UNAVAILABLE, "the server is away; try again"),
        }
    }

    /// Takes away what belongs to this connection, or would speak for the runner; adds what does.
    fn prove(&self, request: &mut Request<Full<Bytes>>) {
        let is_token = request.uri().path() == "/oauth2/token";
        let secret = HeaderValue::from_str(self.secret.expose());
        let headers = request.headers_mut();
        let own = HeaderName::from_static(WORKLOAD_HEADER);
        for name in [&own, &CONNECTION, &CONTENT_LENGTH, &TRANSFER_ENCODING] {
            headers.remove(name);
        }
        headers.insert(HOST, HeaderValue::from_static("localhost:8200"));
        if let (true, Ok(mut secret)) = (is_token, secret) {
            secret.set_sensitive(true);
            headers.insert(own, secret);
        }
    }

    async fn pass_on(&self, request: Request<Full<Bytes>>) -> Option<Response<Incoming>> {
        let stream = self.connect().await.ok()?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        // It ends with the answer, or with whoever reads it.
        tokio::spawn(connection);
        let mut answer = sender.send_request(request).await.ok()?;
        for name in [CONNECTION, TRANSFER_ENCODING] {
            answer.headers_mut().remove(name);
        }
        Some(answer)
    }

    /// A path that is too long for the kernel is reached through its directory.
    async fn connect(&self) -> std::io::Result<UnixStream> {
        if self.socket.as_os_str().len() <= SOCKET_PATH_BYTES {
            return UnixStream::connect(&self.socket).await;
        }
        let parent = self.socket.parent().unwrap_or(std::path::Path::new("/"));
        let dir = std::fs::File::open(parent)?;
        let name = self.socket.file_name().unwrap_or_default();
        let path = std::path::Path::new("/proc/self/fd").join(std::os::fd::AsRawFd::as_raw_fd(&dir).to_string());
        UnixStream::connect(path.join(name)).await
    }
}

impl Answers for Door {
    fn connection(self: Arc<Self>, stream: DuplexStream) -> BoxFuture<'static, ()> {
        Box::pin(self.connection(stream))
    }
}

fn text(status: StatusCode, why: &'static str) -> Answer {
    let mut answer = Response::new(Either::Left(Full::new(Bytes::from_static(why.as_bytes()))));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

fn later(status: StatusCode, why: &'static str) -> Answer {
    let mut answer = text(status, why);
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_let_through_and_then_so_many_a_second() {
        let begin = Instant::now();
        let mut bucket = Bucket { left: BURST, at: begin };
        let taken = (0..1_000).filter(|_| bucket.take(begin)).count();
        assert_eq!(taken, 100);
        let later = begin + Duration::from_secs(1);
        assert_eq!((0..1_000).filter(|_| bucket.take(later)).count(), 50);
    }
}
