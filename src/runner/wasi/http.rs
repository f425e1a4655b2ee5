//! Outgoing HTTP of guests: each request goes to the runner's gateway over a connection of its own,
//! in absolute form. The gateway decides, connects, does TLS and adds bound headers; nothing of that
//! is in this process.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    client::conn::http1::Builder,
};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, Sleep, timeout};
use tokio_util::task::AbortOnDropHandle;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::{denials::Watch, line::Line};
use crate::{domain::limits::PROXY_HEAD_BYTES, protocol::DenialKind};

/// What a guest that sets no times of its own waits; its wall time bounds it anyway.
const PATIENCE: Duration = Duration::from_mins(10);
/// How the gateway names its refusals (RFC 9209). No host's own gets through it.
const PROXY_STATUS: &str = "proxy-status";

/// What a guest's requests meet.
pub struct Outgoing {
    /// None where no host was granted.
    line: Option<Arc<Line>>,
    watch: Watch,
}

impl Outgoing {
    pub fn new(line: Option<Arc<Line>>, watch: Watch) -> Self {
        Self { line, watch }
    }
}

type Sent = Result<(), Error>;
type Answer = Result<(Response<WasiBody>, Box<dyn Future<Output = Sent> + Send>), Error>;

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Sent> + Send>,
    ) -> Box<dyn Future<Output = Answer> + Send> {
        if let Some(line) = &self.line {
            return Box::new(send(Arc::clone(line), request, options.unwrap_or_default()));
        }
        let host = request.uri().authority().map_or("", |authority| authority.as_str());
        self.watch.deny(DenialKind::Http, &format!("{} {host}", request.method()));
        Box::new(async { Err(Error::HttpRequestDenied) })
    }
}

async fn send(line: Arc<Line>, request: Request<WasiBody>, options: RequestOptions) -> Answer {
    let connecting = async {
        let stream = TokioIo::new(line.connect().await.map_err(Error::Connect)?);
        Ok::<_, Error>(Builder::new().max_header_size(PROXY_HEAD_BYTES).handshake(stream).await?)
    };
    let connected = timeout(options.connect_timeout.unwrap_or(PATIENCE), connecting).await;
    let (mut sender, connection) = connected.map_err(|_| Error::ConnectionTimeout)??;
    let connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let answered = timeout(options.first_byte_timeout.unwrap_or(PATIENCE), sender.send_request(request)).await;
    let answer = answered.map_err(|_| Error::ConnectionReadTimeout)??;
    if let Some(error) = refusal(&answer) {
        return Err(error);
    }
    let answer = answer.map(|body| Timed::new(body, options.between_bytes_timeout.unwrap_or(PATIENCE)).boxed_unsync());
    let rest = async move {
        match connection.await {
            Ok(ended) => ended.map_err(Error::from),
            Err(_) => Err(Error::ConnectionTerminated),
        }
    };
    Ok((answer, Box::new(rest)))
}

/// What the gateway itself said in place of a host.
fn refusal(answer: &Response<Incoming>) -> Option<Error> {
    let said = answer.headers().get(PROXY_STATUS)?.to_str().ok()?;
    Some(match said.rsplit_once("error=").map_or("", |(_, error)| error) {
        "http_request_denied" => Error::HttpRequestDenied,
        "destination_ip_prohibited" => Error::DestinationIpProhibited,
        "dns_error" => Error::DnsError { rcode: None, info_code: None },
        "dns_timeout" => Error::DnsTimeout,
        "destination_unavailable" => Error::DestinationUnavailable,
        "connection_timeout" => Error::ConnectionTimeout,
        "tls_protocol_error" => Error::TlsProtocolError,
        "http_request_error" => Error::HttpRequestUriInvalid,
        _ => Error::HttpProtocolError,
    })
}

/// A body that must not pause for too long.
struct Timed {
    body: Incoming,
    most: Duration,
    pause: Pin<Box<Sleep>>,
}

impl Timed {
    fn new(body: Incoming, most: Duration) -> Self {
        Self { body, most, pause: Box::pin(tokio::time::sleep(most)) }
    }
}

impl Body for Timed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match pin!(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                let next = Instant::now() + self.most;
                self.pause.as_mut().reset(next);
                Poll::Ready(frame.map(|frame| frame.map_err(Error::from)))
            }
            Poll::Pending => {
                ready!(self.pause.as_mut().poll(cx));
                Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
