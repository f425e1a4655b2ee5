//! One request, answered: passed on, turned into a tunnel, or refused with a reason.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::{
    Request, Response, StatusCode,
    body::{Body, Incoming},
    header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue},
    upgrade::OnUpgrade,
};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

use super::{
    Gateway, Proxy, Role, Within,
    head::{self, Unclear, Wish},
};
use crate::{
    domain::{
        limits::CONNECT_WAIT,
        network::{Denied, Destination},
    },
    egress::{
        dial::DialError,
        exchange::{Answered, BUFFER, exchange},
        meter::Metered,
        policy::Refusal,
        trust::TlsFault,
    },
};

/// A tunnel whose client was told to go ahead.
#[derive(Debug)]
pub struct Tunnel {
    pub client: OnUpgrade,
    pub host: Metered<TcpStream>,
}

/// Where the connection finds the tunnel that a request asked for.
type Slot = Mutex<Option<Tunnel>>;

type Answer = Response<Either<Full<Bytes>, Answered>>;

/// Why a request is not passed on.
#[derive(Debug, Error)]
enum No {
    #[error(transparent)]
    Unclear(#[from] Unclear),
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Tls(#[from] TlsFault),
    #[error("{0} did not agree on a secure connection in time")]
    TlsSlow(Destination),
    #[error("{destination} did not answer in HTTP: {source}")]
    Http { destination: Destination, source: hyper::Error },
    #[error("ask for {0} with CONNECT: this proxy makes no secure connections itself")]
    NeedsTunnel(Destination),
    #[error("{0} cannot be reached by a tunnel from a guest: ask for the absolute address")]
    GuestTunnel(Destination),
    #[error(
        "the secret header `{name}` goes to {destination} only over https, unless the operator lists it under outbound_allow"
    )]
    Plain { destination: Destination, name: HeaderName },
    #[error("the {0} bytes that one phase may send and receive are used up")]
    Spent(u64),
}

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

impl Proxy {
    pub(super) async fn answer(&self, request: Request<Incoming>, slot: &Slot) -> Answer {
        let asked = asked(&request);
        match self.fulfil(request, slot).await {
            Ok(answer) => answer,
            Err(no) => {
                if let Some(what) = no.denies() {
                    self.ledger.deny(what, &asked, &no.to_string());
                }
                no.answer()
            }
        }
    }

    /// A connection for a client that cannot be told why there is none.
    pub(super) async fn open_or_deny(&self, destination: &Destination) -> Option<Metered<TcpStream>> {
        match self.open(destination).await {
            Ok(stream) => Some(stream),
            Err(no) => {
                if let Some(what) = no.denies() {
                    self.ledger.deny(what, &destination.to_string(), &no.to_string());
                }
                None
            }
        }
    }

    /// Says once that nothing goes through any more, however the last connection ended.
    pub(super) fn tell_when_spent(&self) {
        let traffic = self.ledger.traffic();
        if traffic.is_spent() {
            self.ledger.deny(Denied::Limit, "more bytes", &No::Spent(traffic.most()).to_string());
        }
    }

    async fn fulfil(&self, mut request: Request<Incoming>, slot: &Slot) -> Result<Answer, No> {
        if self.ledger.traffic().is_spent() {
            return Err(No::Spent(self.ledger.traffic().most()));
        }
        let (head, body) = request.into_parts();
        let wish = head::read(&head)?;
        request = Request::from_parts(head, body);
        match (wish, &self.role) {
            (Wish::Tunnel(destination), Role::Forward) => self.tunnel(request, &destination, slot).await,
            (Wish::Tunnel(destination), Role::Gateway(_)) => Err(No::GuestTunnel(destination)),
            (Wish::Pass { secure: true, destination, .. }, Role::Forward) => Err(No::NeedsTunnel(destination)),
            (Wish::Pass { secure: false, destination, path }, Role::Forward) => {
                *request.uri_mut() = path;
                let request = addressed(request, false, &destination);
                let stream = self.open(&destination).await?;
                pass(stream, request, destination).await
            }
            (Wish::Pass { secure, destination, path }, Role::Gateway(gateway)) => {
                *request.uri_mut() = path;
                self.through(gateway, secure, destination, request).await
            }
        }
    }

    /// A guest's request: with TLS and with secrets, where they belong.
    async fn through(
        &self,
        gateway: &Gateway,
        secure: bool,
        destination: Destination,
        request: Request<Incoming>,
    ) -> Result<Answer, No> {
        if !secure && let Some(within) = gateway.within.as_ref().filter(|within| within.at.contains(&destination)) {
            return self.within(within, destination, request).await;
        }
        if !secure && let Some(header) = gateway.headers.iter().find(|header| header.forbids_plain(&destination)) {
            return Err(No::Plain { name: header.name().clone(), destination });
        }
        let mut request = addressed(request, secure, &destination);
        let stream = self.open(&destination).await?;
        for header in &gateway.headers {
            header.put(&destination, request.headers_mut());
        }
        if !secure {
            return pass(stream, request, destination).await;
        }
        match timeout(CONNECT_WAIT, gateway.trust.secure(stream, &destination)).await {
            Ok(stream) => pass(stream?, request, destination).await,
            Err(_) => Err(No::TlsSlow(destination)),
        }
    }

    /// A request that the proxy's owner answers itself.
    async fn within(
        &self,
        within: &Within,
        destination: Destination,
        request: Request<Incoming>,
    ) -> Result<Answer, No> {
        let (stream, theirs) = tokio::io::duplex(BUFFER);
        // It ends with the answer, or with whoever reads it.
        tokio::spawn(Arc::clone(&within.answers).connection(theirs));
        let stream = Metered { stream, counts: self.ledger.begin(&destination), traffic: self.ledger.traffic() };
        pass(stream, addressed(request, false, &destination), destination).await
    }

    async fn tunnel(&self, request: Request<Incoming>, destination: &Destination, slot: &Slot) -> Result<Answer, No> {
        let host = self.open(destination).await?;
        let tunnel = Tunnel { client: hyper::upgrade::on(request), host };
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(tunnel);
        Ok(Response::new(Either::Left(Full::default())))
    }

    async fn open(&self, destination: &Destination) -> Result<Metered<TcpStream>, No> {
        let stream = self.dialer.dial(destination).await?;
        Ok(Metered { stream, counts: self.ledger.begin(destination), traffic: self.ledger.traffic() })
    }
}

/// What was asked for, as far as it can be told.
fn asked(request: &Request<Incoming>) -> String {
    let uri = request.uri();
    match (uri.scheme_str(), uri.authority()) {
        // Without the path, which is long and may hold secrets.
        (Some(scheme), Some(authority)) => {
            format!("{} {scheme}://{}", request.method(), without_user(authority.as_str()))
        }
        (None, Some(authority)) => format!("{} {}", request.method(), without_user(authority.as_str())),
        (_, None) => request.method().to_string(),
    }
}

fn without_user(authority: &str) -> &str {
    authority.rsplit('@').next().unwrap_or(authority)
}

/// A request in origin form for one host, without anything of the connection that it came on.
fn addressed(mut request: Request<Incoming>, secure: bool, destination: &Destination) -> Request<Incoming> {
    let is_empty = request.body().is_end_stream();
    let headers = request.headers_mut();
    head::strip(headers);
    // Framing is made from the body as it was read, not from what was said about it.
    let said_length = headers.remove(CONTENT_LENGTH).is_some();
    headers.remove(HOST);
    if let Some(host) = head::host_header(secure, destination) {
        headers.insert(HOST, host);
    }
    // Some hosts want to be told even that there is nothing.
    if said_length && is_empty {
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    *request.version_mut() = hyper::Version::HTTP_11;
    request
}

async fn pass<S>(stream: S, request: Request<Incoming>, destination: Destination) -> Result<Answer, No>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut answer = exchange(stream, request).await.map_err(|source| No::Http { destination, source })?;
    head::strip(answer.headers_mut());
    *answer.version_mut() = hyper::Version::HTTP_11;
    Ok(answer.map(Either::Right))
}

impl No {
    /// Which fence this was; none for what only went wrong.
    const fn denies(&self) -> Option<Denied> {
        match self {
            Self::Dial(DialError::Refused(Refusal::NotListed(_))) => Some(Denied::Host),
            Self::Dial(DialError::Refused(_)) => Some(Denied::Address),
            Self::Unclear(_) | Self::GuestTunnel(_) | Self::Plain { .. } => Some(Denied::Request),
            Self::Spent(_) => Some(Denied::Limit),
            Self::Dial(_) | Self::Tls(_) | Self::TlsSlow(_) | Self::Http { .. } | Self::NeedsTunnel(_) => None,
        }
    }

    /// The status, and the error's type as RFC 9209 names it.
    const fn kind(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Unclear(_) | Self::NeedsTunnel(_) => (StatusCode::BAD_REQUEST, "http_request_error"),
            Self::GuestTunnel(_) => (StatusCode::METHOD_NOT_ALLOWED, "http_request_denied"),
            Self::Plain { .. } | Self::Spent(_) | Self::Dial(DialError::Refused(Refusal::NotListed(_))) => {
                (StatusCode::FORBIDDEN, "http_request_denied")
            }
            Self::Dial(DialError::Refused(_)) => (StatusCode::FORBIDDEN, "destination_ip_prohibited"),
            Self::Dial(DialError::Resolve { .. } | DialError::NoAddress(_)) => (StatusCode::BAD_GATEWAY, "dns_error"),
            Self::Dial(DialError::ResolveSlow { .. }) => (StatusCode::GATEWAY_TIMEOUT, "dns_timeout"),
            Self::Dial(DialError::Connect { .. }) => (StatusCode::BAD_GATEWAY, "destination_unavailable"),
            Self::Dial(DialError::ConnectSlow { .. }) | Self::TlsSlow(_) => {
                (StatusCode::GATEWAY_TIMEOUT, "connection_timeout")
            }
            Self::Tls(_) => (StatusCode::BAD_GATEWAY, "tls_protocol_error"),
            Self::Http { .. } => (StatusCode::BAD_GATEWAY, "http_protocol_error"),
        }
    }

    fn answer(&self) -> Answer {
        let (status, error) = self.kind();
        let mut answer = Response::new(Either::Left(Full::new(Bytes::from(format!("airlock: {self}\n")))));
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if let Ok(value) = format!("airlock; error={error}").parse() {
            headers.insert(PROXY_STATUS, value);
        }
        answer
    }
}
