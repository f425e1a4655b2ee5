//! Hosts, names, a proxy and a client that says exactly what it is told to.

use std::{
    collections::HashMap,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream},
    net::TcpListener,
    sync::mpsc,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    domain::{
        Clock, Timestamp,
        network::{AllowList, Denial, Portless},
    },
    egress::{BoundHeader, Gateway, Ledger, Policy, Proxy, Resolve, Role, Trust},
};

#[derive(Debug)]
pub struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_000)
    }
}

/// Names with the addresses of each lookup; the last ones stay.
#[derive(Debug, Default)]
pub struct Names {
    answers: Mutex<HashMap<&'static str, Vec<Vec<IpAddr>>>>,
    pub lookups: AtomicUsize,
}

impl Names {
    pub fn with(self, name: &'static str, addresses: &str) -> Self {
        let addresses = addresses.split_whitespace().map(|address| address.parse().unwrap()).collect();
        self.answers.lock().unwrap().entry(name).or_default().push(addresses);
        self
    }
}

impl Resolve for Names {
    fn resolve<'a>(&'a self, name: &'a str) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        let found = answers.get_mut(name).map(|row| if row.len() > 1 { row.remove(0) } else { row[0].clone() });
        Box::pin(async move { found.ok_or_else(|| io::Error::other("no such name")) })
    }
}

/// A host on loopback. Every connection is answered as it was told; what was asked can be looked at.
pub struct Server {
    pub address: SocketAddr,
    /// What each connection said until the head (and a body of known length) was there.
    pub heard: mpsc::UnboundedReceiver<String>,
    pub connections: Arc<AtomicUsize>,
    _task: AbortOnDropHandle<()>,
}

impl Server {
    pub async fn plain(answer: impl Into<String>) -> Self {
        Self::start(answer.into(), None).await
    }

    pub async fn secure(answer: impl Into<String>, authority: &Authority) -> Self {
        Self::start(answer.into(), Some(authority.acceptor.clone())).await
    }

    async fn start(answer: String, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (said, heard) = mpsc::unbounded_channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let (answer, said, tls) = (answer.clone(), said.clone(), tls.clone());
                // A client that goes away ends its own connection only.
                tokio::spawn(async move {
                    match tls {
                        Some(tls) => converse(tls.accept(stream).await?, &answer, &said).await,
                        None => converse(stream, &answer, &said).await,
                    }
                });
            }
        }));
        Self { address, heard, connections, _task: task }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub async fn request(&mut self) -> String {
        self.heard.recv().await.unwrap()
    }

    pub fn connected(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: &str,
    said: &mpsc::UnboundedSender<String>,
) -> io::Result<()> {
    let request = message(&mut stream).await;
    let _ = said.send(request);
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// Reads a head and its body.
async fn message(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    while !is_whole(&bytes) {
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => break,
            Ok(read) => bytes.extend_from_slice(&piece[..read]),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")).map(|n| n.parse::<usize>().unwrap());
    match length {
        Some(length) => body.len() >= length,
        None => !head.contains("transfer-encoding: chunked") || body.ends_with("0\r\n\r\n"),
    }
}

/// A private certificate authority, and the certificate that it gave.
pub struct Authority {
    pub pem: String,
    acceptor: TlsAcceptor,
}

impl Authority {
    pub fn new(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        Self { pem: made.cert.pem(), acceptor: TlsAcceptor::from(Arc::new(config)) }
    }

    pub fn trust(&self) -> Trust {
        Trust::of_bundle(self.pem.as_bytes()).unwrap()
    }
}

/// A proxy on trial.
pub struct Rig {
    pub proxy: Arc<Proxy>,
    pub names: Arc<Names>,
    /// Denials as they were told, one by one.
    pub told: Arc<Mutex<Vec<Denial>>>,
}

impl Rig {
    pub fn forward(entries: &[String], names: Names) -> Self {
        Self::new(entries, names, Role::Forward, |proxy| proxy, u64::MAX)
    }

    pub fn gateway(entries: &[String], names: Names, trust: Trust, headers: Vec<BoundHeader>) -> Self {
        Self::new(entries, names, Role::Gateway(Gateway { trust, headers, within: None }), |proxy| proxy, u64::MAX)
    }

    pub fn new(
        entries: &[String],
        names: Names,
        role: Role,
        adjust: impl FnOnce(Proxy) -> Proxy,
        most_bytes: u64,
    ) -> Self {
        let policy = Policy::run(AllowList::parse(entries, Portless::Https).unwrap());
        let (names, told) = (Arc::new(names), Arc::<Mutex<Vec<Denial>>>::default());
        let hear = Arc::clone(&told);
        let ledger = Ledger::new(Arc::new(StoppedClock), move |denial| hear.lock().unwrap().push(denial.clone()));
        let ledger = Arc::new(ledger.with_bytes(most_bytes));
        let proxy = Arc::new(adjust(Proxy::new(policy, Arc::clone(&names) as Arc<dyn Resolve>, ledger, role)));
        Self { proxy, names, told }
    }

    /// A client's connection.
    pub fn connect(&self) -> Connection {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let proxy = Arc::clone(&self.proxy);
        let task = AbortOnDropHandle::new(tokio::spawn(async move { proxy.connection(theirs).await }));
        Connection { stream: ours, task }
    }

    /// Says `bytes` on a connection of their own and gives all that comes back until it is closed.
    pub async fn say(&self, bytes: &str) -> String {
        let Connection { stream, task: _task } = self.connect();
        let (mut reading, mut writing) = tokio::io::split(stream);
        let mut all = Vec::new();
        // A proxy that has heard enough closes; what it said before that is what counts.
        let _ = tokio::join!(writing.write_all(bytes.as_bytes()), reading.read_to_end(&mut all));
        String::from_utf8_lossy(&all).into_owned()
    }

    /// The same for a request line; the other headers are what a client sends.
    pub async fn get(&self, url: &str) -> String {
        let host = url.split('/').nth(2).unwrap();
        self.say(&format!("GET {url} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await
    }

    /// Host, requests, bytes in, bytes out.
    pub fn hosts(&self) -> Vec<(String, u64, u64, u64)> {
        let hosts = self.proxy.ledger().hosts().into_iter();
        hosts.map(|one| (format!("{}:{}", one.host, one.port), one.requests, one.bytes_in, one.bytes_out)).collect()
    }

    pub fn reasons(&self) -> Vec<String> {
        self.proxy.ledger().denials().into_iter().map(|denial| denial.reason).collect()
    }
}

pub struct Connection {
    pub stream: DuplexStream,
    pub task: AbortOnDropHandle<()>,
}

impl Connection {
    /// Everything that still comes. The client's side stays open.
    pub async fn rest(&mut self) -> String {
        let mut all = Vec::new();
        // A connection that is cut off has said what it had to say.
        let _ = self.stream.read_to_end(&mut all).await;
        String::from_utf8_lossy(&all).into_owned()
    }

    /// A head, without what follows.
    pub async fn head(&mut self) -> String {
        let mut all = Vec::new();
        while !all.ends_with(b"\r\n\r\n") {
            match self.stream.read_u8().await {
                Ok(byte) => all.push(byte),
                Err(_) => break,
            }
        }
        String::from_utf8_lossy(&all).into_owned()
    }
}

pub const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

pub fn entries(entries: &[&str]) -> Vec<String> {
    entries.iter().map(|&entry| entry.to_owned()).collect()
}

pub fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
}
