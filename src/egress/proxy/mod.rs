//! The forward proxy: HTTP/1.1 in absolute form and `CONNECT`; for guests, which cannot do TLS
//! themselves, also `https` in absolute form.
//!
//! A client is one connection, whatever it is made of. What is refused is answered in plain text that
//! names the host and the reason, and with `Proxy-Status` (RFC 9209), so that a program can tell this
//! proxy's word from a host's: no `Proxy-Status` of a host gets through.

mod answer;
pub(super) mod head;
mod relay;
mod secret;

use std::{convert::Infallible, fmt, future::Future, io, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, copy_bidirectional_with_sizes},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::Semaphore,
    task::JoinSet,
};

use super::{
    dial::{Dialer, Resolve},
    exchange::BUFFER,
    ledger::Ledger,
    meter::{Moved, Watched, idle},
    policy::Policy,
    trust::Trust,
};
use crate::domain::{
    limits::{PROXY_CONNECTIONS, PROXY_HEAD_BYTES, PROXY_HEAD_WAIT, PROXY_IDLE},
    network::Destination,
};

use self::answer::Tunnel;
pub use self::secret::{BindError, BoundHeader};

/// Bytes of a tunnel held in memory, for each direction.
const PIECE: usize = 32 << 10;
/// Pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the proxy does for its clients.
#[derive(Debug)]
pub enum Role {
    /// For programs with a TLS of their own: `http` in absolute form, and tunnels.
    Forward,
    /// For guests: `http` and `https` in absolute form, no tunnels.
    Gateway(Gateway),
}

/// What a guest's requests get on their way.
#[derive(Debug)]
pub struct Gateway {
    pub trust: Trust,
    /// Secrets that the guest may use and not read.
    pub headers: Vec<BoundHeader>,
    /// What is answered here, and not by any host.
    pub within: Option<Within>,
}

/// Addresses of a guest's own loopback behind which the proxy's owner itself is. They need no listing,
/// are never resolved, and no bound secret goes there.
#[derive(Debug)]
pub struct Within {
    pub at: Vec<Destination>,
    pub answers: Arc<dyn Answers>,
}

/// Whoever answers over connections that do not leave the process.
pub trait Answers: fmt::Debug + Send + Sync {
    /// Serves one connection until its other end is gone.
    fn connection(self: Arc<Self>, stream: DuplexStream) -> BoxFuture<'static, ()>;
}

/// The proxy of one phase.
#[derive(Debug)]
pub struct Proxy {
    dialer: Dialer,
    ledger: Arc<Ledger>,
    role: Role,
    waits: Waits,
}

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
struct Waits {
    head: Duration,
    idle: Duration,
}

/// Something that gives connections.
pub trait Accept {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn accept(&mut self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn accept(&mut self) -> io::Result<TcpStream> {
        let (stream, _) = TcpListener::accept(self).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl Accept for UnixListener {
    type Stream = UnixStream;

    async fn accept(&mut self) -> io::Result<UnixStream> {
        UnixListener::accept(self).await.map(|(stream, _)| stream)
    }
}

impl Proxy {
    pub fn new(policy: Policy, resolver: Arc<dyn Resolve>, ledger: Arc<Ledger>, role: Role) -> Self {
        let waits = Waits { head: PROXY_HEAD_WAIT, idle: PROXY_IDLE };
        Self { dialer: Dialer::new(policy, resolver), ledger, role, waits }
    }

    /// With other bounds than [`PROXY_HEAD_WAIT`] and [`PROXY_IDLE`].
    pub const fn with_waits(mut self, head: Duration, idle: Duration) -> Self {
        self.waits = Waits { head, idle };
        self
    }

    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Serves until it is dropped, and its connections with it. Beyond [`PROXY_CONNECTIONS`], clients
    /// wait.
    pub async fn serve(self: Arc<Self>, mut listener: impl Accept) {
        let places = Arc::new(Semaphore::new(PROXY_CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            let accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (listener.accept().await, place)
            };
            tokio::select! {
                (accepted, place) = accepted => match accepted {
                    Ok(stream) => {
                        let proxy = Arc::clone(&self);
                        connections.spawn(async move {
                            proxy.connection(stream).await;
                            drop(place);
                        });
                    }
                    Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }

    /// Serves one client: its requests one after the other, then its tunnel, if it wants one.
    pub async fn connection(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let moved = Moved::default();
        let stream = Watched { stream, moved: Arc::clone(&moved) };
        tokio::select! {
            () = self.converse(stream) => {}
            () = idle(&moved, self.waits.idle) => {}
        }
        self.tell_when_spent();
    }

    async fn converse(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let tunnel = std::sync::Mutex::new(None);
        let service = service_fn(async |request| Ok::<_, Infallible>(self.answer(request, &tunnel).await));
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.waits.head)
            .max_header_size(PROXY_HEAD_BYTES)
            .max_buf_size(BUFFER)
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
            .await;
        let tunnel = tunnel.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        // A connection that breaks is the client's affair.
        if let (Ok(()), Some(Tunnel { client, mut host })) = (served, tunnel)
            && let Ok(client) = client.await
        {
            // The end of a tunnel is whatever one side makes of it.
            let _ = copy_bidirectional_with_sizes(&mut TokioIo::new(client), &mut host, PIECE, PIECE).await;
        }
    }
}
