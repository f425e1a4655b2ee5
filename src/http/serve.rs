//! Sockets, TLS, and the graceful end.

use std::{
    fs,
    io::{self, Write as _},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use axum::serve::Listener;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

use super::{Web, router};
use crate::config::{Config, Tls};

/// Handshakes that take longer are dropped.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes under way at once; whoever knocks then waits in the system's queue.
const HANDSHAKES: usize = 512;

/// Why the server cannot listen or serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("cannot listen on {address}: {source}; is another server running there? Choose another with --listen")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("the TLS certificate cannot be used: {0}")]
    Certificate(String),
    #[error("the server ended: {0}")]
    Ended(#[from] io::Error),
}

/// An open socket, with or without TLS.
pub struct Listening {
    tcp: TcpListener,
    tls: Option<Arc<RwLock<Arc<ServerConfig>>>>,
    /// Each ends by itself within its time, and with this value.
    handshakes: JoinSet<Option<(Stream, SocketAddr)>>,
}

impl std::fmt::Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listening").field("tcp", &self.tcp).field("tls", &self.tls.is_some()).finish_non_exhaustive()
    }
}

impl Listening {
    /// Where it listens: the port that the system chose for port 0.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

/// Opens the socket that the configuration names.
pub async fn listen(config: &Config) -> Result<Listening, ServeError> {
    let address = config.listen;
    let tls = tls_config(config)?.map(|tls| Arc::new(RwLock::new(tls)));
    let tcp = TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, source })?;
    reload_on_hangup(tls.clone(), config.clone())?;
    Ok(Listening { tcp, tls, handshakes: JoinSet::new() })
}

/// Serves until `stop`, then lets requests end.
pub async fn serve(listening: Listening, web: Web, stop: CancellationToken) -> Result<(), ServeError> {
    let service = router(web).into_make_service_with_connect_info::<ClientAddress>();
    axum::serve(listening, service).with_graceful_shutdown(stop.cancelled_owned()).await?;
    Ok(())
}

/// Whether the certificate that the configuration names, if any, can be used.
pub fn check_certificate(config: &Config) -> Result<(), ServeError> {
    match config.tls {
        Tls::Given { .. } => tls_config(config).map(drop),
        Tls::Off | Tls::SelfSigned => Ok(()),
    }
}

fn tls_config(config: &Config) -> Result<Option<Arc<ServerConfig>>, ServeError> {
    let (certificates, key) = match &config.tls {
        Tls::Off => return Ok(None),
        Tls::SelfSigned => self_signed(config)?,
        Tls::Given { cert, key } => (read_certificates(cert)?, read_key(key)?),
    };
    let bad = |error: rustls::Error| ServeError::Certificate(error.to_string());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(bad)?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(bad)?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Some(Arc::new(tls)))
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The certificate of a server that has none: made at the first start and kept beside the data, so
/// that clients and browsers can trust it. Another one is made when the server gets other names.
fn self_signed(config: &Config) -> Result<Identity, ServeError> {
    let names = own_names(config);
    let cert = config.data.join(SELF_SIGNED);
    let key = cert.with_extension("key");
    let head = format!("# for {}\n", names.join(", "));
    let kept = fs::read_to_string(&cert).is_ok_and(|text| text.starts_with(&head)) && key.exists();
    if !kept {
        let made =
            rcgen::generate_simple_self_signed(names).map_err(|error| ServeError::Certificate(error.to_string()))?;
        keep(&key, &made.signing_key.serialize_pem(), 0o600)?;
        keep(&cert, &format!("{head}{}", made.cert.pem()), 0o644)?;
    }
    tracing::info!("clients trust this server with `--ca-cert {}`", cert.display());
    Ok((read_certificates(&cert)?, read_key(&key)?))
}

/// Below the data directory.
const SELF_SIGNED: &str = "self-signed.crt";

fn own_names(config: &Config) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), config.listen.ip().to_string()];
    let public = config.public_url.as_deref().and_then(|url| url::Url::parse(url).ok()?.host_str().map(str::to_owned));
    names.extend(public.filter(|host| !names.contains(host)));
    names
}

/// Writes a file as a whole, or not at all.
fn keep(path: &Path, text: &str, mode: u32) -> Result<(), ServeError> {
    let fresh = path.with_extension("new");
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    };
    write().map_err(|error| ServeError::Certificate(format!("{}: {error}", path.display())))
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ServeError> {
    let bad = |error: String| ServeError::Certificate(format!("{}: {error}", path.display()));
    let read = CertificateDer::pem_file_iter(path).map_err(|error| bad(error.to_string()))?;
    let certificates = read.collect::<Result<Vec<_>, _>>().map_err(|error| bad(error.to_string()))?;
    if certificates.is_empty() { Err(bad("holds no certificate".to_owned())) } else { Ok(certificates) }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, ServeError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| ServeError::Certificate(format!("{}: {error}", path.display())))
}

/// SIGHUP reads a renewed certificate; one that cannot be used leaves the old one in place. It is
/// listened to in any case: unheard, it would end the server.
fn reload_on_hangup(current: Option<Arc<RwLock<Arc<ServerConfig>>>>, config: Config) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangups = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            match (&config.tls, &current) {
                (Tls::Given { .. }, Some(current)) => reload(current, &config),
                (Tls::Given { .. } | Tls::Off | Tls::SelfSigned, _) => {
                    tracing::info!("nothing to read again: the server was given no certificate");
                }
            }
        }
    });
    Ok(())
}

fn reload(current: &RwLock<Arc<ServerConfig>>, config: &Config) {
    match tls_config(config) {
        Ok(Some(renewed)) => {
            *current.write().unwrap_or_else(PoisonError::into_inner) = renewed;
            tracing::info!("the TLS certificate was read again");
        }
        Ok(None) => {}
        Err(error) => tracing::error!(%error, "the TLS certificate stays the old one"),
    }
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddress(pub SocketAddr);

impl axum::extract::connect_info::Connected<axum::serve::IncomingStream<'_, Listening>> for ClientAddress {
    fn connect_info(stream: axum::serve::IncomingStream<'_, Listening>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// A connection, with or without TLS.
#[derive(Debug)]
pub enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Listener for Listening {
    type Io = Stream;
    type Addr = SocketAddr;

    /// Whoever is slow with a handshake, or never begins it, keeps nobody else waiting.
    async fn accept(&mut self) -> (Stream, SocketAddr) {
        loop {
            let (tcp, address) = tokio::select! {
                Some(done) = self.handshakes.join_next() => match done {
                    Ok(Some(connection)) => return connection,
                    Ok(None) => continue,
                    Err(error) => {
                        tracing::error!(%error, "a TLS handshake broke off");
                        continue;
                    }
                },
                accepted = Listener::accept(&mut self.tcp), if self.handshakes.len() < HANDSHAKES => accepted,
            };
            if let Err(error) = tcp.set_nodelay(true) {
                tracing::debug!(%error, "a connection was gone at once");
            }
            let Some(tls) = &self.tls else { return (Stream::Plain(tcp), address) };
            let config = Arc::clone(&tls.read().unwrap_or_else(PoisonError::into_inner));
            self.handshakes.spawn(shake_hands(config, tcp, address));
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

async fn shake_hands(config: Arc<ServerConfig>, tcp: TcpStream, address: SocketAddr) -> Option<(Stream, SocketAddr)> {
    match tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(config).accept(tcp)).await {
        Ok(Ok(stream)) => return Some((Stream::Tls(Box::new(stream)), address)),
        Ok(Err(error)) => tracing::debug!(%error, %address, "a TLS handshake failed"),
        Err(_) => tracing::debug!(%address, "a TLS handshake took too long"),
    }
    None
}

mod stream {
    use std::{
        io,
        pin::Pin,
        task::{Context, Poll},
    };

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::Stream;

    impl AsyncRead for Stream {
        fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            match self.get_mut() {
                Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
                Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            }
        }
    }

    impl AsyncWrite for Stream {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            match self.get_mut() {
                Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
                Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            }
        }

        fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            match self.get_mut() {
                Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
                Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            }
        }

        fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            match self.get_mut() {
                Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
                Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            }
        }
    }
}
