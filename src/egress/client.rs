//! The server's own calls: webhooks, run tasks, notifications.
//!
//! An address may itself be a credential (the path of a webhook often is), so errors name host and
//! port and nothing else.

use std::{fmt, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, InvalidHeaderValue, TRANSFER_ENCODING, USER_AGENT},
};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use super::{
    dial::{DialError, Dialer, Resolve},
    exchange::{Answered, exchange},
    policy::Policy,
    trust::{TlsFault, Trust, TrustError},
};
use crate::domain::{
    limits::{CALL_BODY_BYTES, CALL_WAIT, URL_CHARS},
    network::{Destination, Host, HostError},
};

/// Calls hosts on behalf of the server.
#[derive(Clone, Debug)]
pub struct Client {
    dialer: Dialer,
    trust: Result<Trust, Arc<TrustError>>,
    user_agent: HeaderValue,
    wait: Duration,
}

/// One call.
#[derive(Clone)]
pub struct Call {
    pub method: Method,
    /// `http` or `https`, without credentials.
    pub url: String,
    /// Without `Host`, `User-Agent`, `Connection` and the framing, which are this client's.
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What came back, whatever its status: a redirect is an answer like any other.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// At most [`CALL_BODY_BYTES`]; the rest is not even read.
    pub body: Bytes,
    pub is_whole: bool,
}

/// Why there is no reply.
#[derive(Debug, Error)]
pub enum CallError {
    #[error("the address is not one that can be called: {0}")]
    Address(&'static str),
    #[error("the address is not one that can be called: {0}")]
    Host(#[from] HostError),
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("{0}")]
    Trust(Arc<TrustError>),
    #[error(transparent)]
    Tls(#[from] TlsFault),
    #[error("{destination} did not answer in HTTP: {source}")]
    Http { destination: Destination, source: hyper::Error },
    #[error("{destination} did not answer within {seconds} s")]
    Slow { destination: Destination, seconds: u64 },
}

impl CallError {
    /// Whether the same call may succeed later: nothing about it is forbidden or malformed.
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::Address(_) | Self::Host(_) | Self::Dial(DialError::Refused(_)) | Self::Trust(_) => false,
            Self::Dial(_) | Self::Tls(_) | Self::Http { .. } | Self::Slow { .. } => true,
        }
    }
}

/// Where an address leads.
struct Place {
    secure: bool,
    destination: Destination,
    /// The `Host` header: the port only where it is not the scheme's own.
    host: String,
    /// Path and query.
    target: String,
}

impl Client {
    /// Where nobody is believed, hosts that prove nothing can still be called.
    pub fn new(
        policy: Policy,
        resolver: Arc<dyn Resolve>,
        trust: Result<Trust, TrustError>,
        user_agent: &str,
    ) -> Result<Self, InvalidHeaderValue> {
        let dialer = Dialer::new(policy, resolver);
        Ok(Self { dialer, trust: trust.map_err(Arc::new), user_agent: user_agent.parse()?, wait: CALL_WAIT })
    }

    /// With another bound than [`CALL_WAIT`] for a whole call.
    pub const fn with_wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Sends one request and reads the reply as far as its bound. Follows no redirect, keeps no connection.
    pub async fn send(&self, call: Call) -> Result<Reply, CallError> {
        let place = Place::of(&call.url)?;
        let destination = place.destination.clone();
        match timeout(self.wait, self.carry_out(place, call)).await {
            Ok(done) => done,
            Err(_) => Err(CallError::Slow { destination, seconds: self.wait.as_secs() }),
        }
    }

    async fn carry_out(&self, place: Place, call: Call) -> Result<Reply, CallError> {
        let request = self.request(&place, call)?;
        let destination = place.destination;
        let trust = match place.secure {
            true => Some(self.trust.as_ref().map_err(|error| CallError::Trust(Arc::clone(error)))?),
            false => None,
        };
        let stream = self.dialer.dial(&destination).await?;
        match trust {
            Some(trust) => talk(trust.secure(stream, &destination).await?, request, destination).await,
            None => talk(stream, request, destination).await,
        }
    }

    fn request(&self, place: &Place, call: Call) -> Result<Request<Full<Bytes>>, CallError> {
        let unfit = |_| CallError::Address("its path cannot be sent");
        let mut request = Request::new(Full::new(call.body));
        *request.method_mut() = call.method;
        *request.uri_mut() = place.target.parse().map_err(unfit)?;
        *request.headers_mut() = call.headers;
        let headers = request.headers_mut();
        for framing in [CONTENT_LENGTH, TRANSFER_ENCODING] {
            headers.remove(framing);
        }
        headers.insert(USER_AGENT, self.user_agent.clone());
        headers.insert(HOST, place.host.parse().map_err(|_| CallError::Address("its host cannot be sent"))?);
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        Ok(request)
    }
}

async fn talk<S>(stream: S, request: Request<Full<Bytes>>, destination: Destination) -> Result<Reply, CallError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |source| CallError::Http { destination: destination.clone(), source };
    let (head, body) = exchange(stream, request).await.map_err(broken)?.into_parts();
    let (body, is_whole) = beginning(body).await.map_err(broken)?;
    Ok(Reply { status: head.status, headers: head.headers, body, is_whole })
}

/// The body as far as it may be long, and whether that is all of it.
async fn beginning(mut body: Answered) -> Result<(Bytes, bool), hyper::Error> {
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame?.into_data() else { continue };
        let room = CALL_BODY_BYTES - read.len();
        read.extend_from_slice(&piece[..piece.len().min(room)]);
        if piece.len() > room {
            return Ok((read.freeze(), false));
        }
    }
    Ok((read.freeze(), true))
}

impl Place {
    fn of(text: &str) -> Result<Self, CallError> {
        if text.chars().count() > URL_CHARS {
            return Err(CallError::Address("it is too long"));
        }
        let url = url::Url::parse(text).map_err(|_| CallError::Address("it cannot be read"))?;
        let (secure, port) = match url.scheme() {
            "https" => (true, 443),
            "http" => (false, 80),
            _ => return Err(CallError::Address("only http and https are spoken")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(CallError::Address("it holds credentials; they belong into a header or a key"));
        }
        // Addresses that were oddly spelt are in their one spelling by now.
        let host = match url.host() {
            Some(url::Host::Domain(name)) => Host::parse(name)?,
            Some(url::Host::Ipv4(address)) => Host::of(address.into()),
            Some(url::Host::Ipv6(address)) => Host::of(address.into()),
            None => return Err(CallError::Address("it names no host")),
        };
        let destination = Destination { host, port: url.port().unwrap_or(port) };
        let host = match url.port() {
            Some(_) => destination.to_string(),
            None => destination.host.to_string(),
        };
        Ok(Self {
            secure,
            destination,
            host,
            target: url[url::Position::BeforePath..url::Position::AfterQuery].to_owned(),
        })
    }
}

impl fmt::Debug for Call {
    /// Neither the address nor headers nor body: all of them may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("method", &self.method).finish_non_exhaustive()
    }
}
