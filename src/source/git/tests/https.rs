//! Fetching over https: a TLS server on loopback with `git http-backend` behind it.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

use super::{Rig, repository::Repository};
use crate::source::git::{Address, Credential, FetchError};

/// One certificate for all servers of a test.
struct Authority {
    pem: String,
    config: Arc<ServerConfig>,
}

impl Authority {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        Self { pem: made.cert.pem(), config: Arc::new(config) }
    }

    /// A rig that trusts it.
    fn rig(&self) -> Rig {
        let mut rig = Rig::new();
        let path = rig.dir.path().join("ca.pem");
        fs::write(&path, &self.pem).unwrap();
        rig.environment.push(("GIT_SSL_CAINFO".to_owned(), path.to_str().unwrap().to_owned()));
        rig
    }

    /// Serves the repository; with a credential only to those who have it.
    fn serve(&self, repository: &Repository, credential: Option<&'static str>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("https://{}", listener.local_addr().unwrap());
        let seen = Arc::<Mutex<Vec<Option<String>>>>::default();
        let (config, root, log) = (self.config.clone(), repository.dir.path().to_owned(), seen.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let connection = ServerConnection::new(config.clone()).unwrap();
                // A client that does not trust us goes away in the middle.
                let _ = answer(StreamOwned::new(connection, stream.unwrap()), &root, credential, &log);
            }
        });
        Server { base, seen }
    }
}

struct Server {
    base: String,
    /// The `Authorization` of every request.
    seen: Arc<Mutex<Vec<Option<String>>>>,
}

impl Server {
    fn address(&self) -> Address {
        Address::parse(&format!("{}/repository/.git", self.base)).unwrap()
    }
}

type Stream = StreamOwned<ServerConnection, std::net::TcpStream>;

fn answer(
    stream: Stream,
    root: &Path,
    credential: Option<&str>,
    seen: &Mutex<Vec<Option<String>>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    if head.is_empty() {
        return Ok(());
    }
    let header = |name: &str| {
        head.iter()
            .filter_map(|line| line.split_once(": "))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|h| h.1)
    };
    let mut body = vec![0; header("content-length").map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body)?;
    let authorization = header("authorization");
    seen.lock().unwrap().push(authorization.map(str::to_owned));
    let answer = if credential.is_some() && authorization != credential {
        b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n".to_vec()
    } else {
        let first = head.first().map_or("", String::as_str);
        backend(root, first, header("content-type"), header("content-encoding"), header("git-protocol"), &body)
    };
    let mut stream = reader.into_inner();
    stream.write_all(&answer)?;
    stream.conn.send_close_notify();
    stream.flush()
}

/// What `git http-backend` answers, as HTTP.
fn backend(
    root: &Path,
    request: &str,
    content_type: Option<&str>,
    encoding: Option<&str>,
    protocol: Option<&str>,
    body: &[u8],
) -> Vec<u8> {
    let mut words = request.split(' ');
    let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut child = Command::new("git")
        .args(["-c", "safe.directory=*", "http-backend"])
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", content_type.unwrap_or(""))
        .env("HTTP_CONTENT_ENCODING", encoding.unwrap_or(""))
        .env("GIT_PROTOCOL", protocol.unwrap_or(""))
        .env("CONTENT_LENGTH", body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(body).unwrap();
    let output = child.wait_with_output().unwrap().stdout;
    let split = output.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(output[..split].to_vec()).unwrap();
    let status = head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK");
    let mut answer = format!(
        "HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        output.len() - split - 4
    )
    .into_bytes();
    answer.extend_from_slice(&output[split + 4..]);
    answer
}

const TOKEN: &str = "tok$en-with \\odd' chars";
/// `Basic` of `robot` and the token.
const BASIC: &str = "Basic cm9ib3Q6dG9rJGVuLXdpdGggXG9kZCcgY2hhcnM=";

fn everything_below(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            everything_below(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn a_repository_behind_a_token_is_fetched_and_the_token_stays_nowhere() {
    let authority = Authority::new();
    let repository = Repository::new();
    let first = repository.commit("a.txt", "one\n");
    repository.commit("a.txt", "two\n");
    let server = authority.serve(&repository, Some(BASIC));
    let (rig, address) = (authority.rig(), server.address());
    let fetched = rig.fetch(&address, |request| {
        request.credential = Some(Credential::Https { user: "robot", token: TOKEN });
        request.commit = Some(&first);
    });
    assert_eq!(fetched.result, Ok(first.clone()), "{}", fetched.log);
    assert_eq!(rig.file("a.txt"), "one\n");
    assert!(!fetched.log.contains("tok$en"));
    let mut files = Vec::new();
    everything_below(rig.dir.path(), &mut files);
    for file in files {
        let content = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
        assert!(!content.contains("tok$en") && !content.contains(&BASIC[6..]), "{}", file.display());
    }
}

#[test]
fn a_missing_and_a_wrong_credential_are_told_apart() {
    let authority = Authority::new();
    let repository = Repository::new();
    repository.commit("a.txt", "one\n");
    let server = authority.serve(&repository, Some(BASIC));
    let address = server.address();
    let rig = authority.rig();
    let fetched = rig.fetch(&address, |_| {});
    assert!(matches!(fetched.result, Err(FetchError::CredentialWanted { .. })), "{:?} {}", fetched.result, fetched.log);
    let rig = authority.rig();
    let wrong = Credential::Https { user: "robot", token: "wrong" };
    let fetched = rig.fetch(&address, |request| request.credential = Some(wrong));
    assert!(
        matches!(fetched.result, Err(FetchError::CredentialRefused { .. })),
        "{:?} {}",
        fetched.result,
        fetched.log
    );
}

#[test]
fn a_certificate_that_nobody_knows_is_not_trusted() {
    let repository = Repository::new();
    repository.commit("a.txt", "one\n");
    let server = Authority::new().serve(&repository, None);
    let fetched = Rig::new().fetch(&server.address(), |_| {});
    assert!(matches!(fetched.result, Err(FetchError::Certificate { .. })), "{:?} {}", fetched.result, fetched.log);
    assert!(server.seen.lock().unwrap().is_empty());
}

#[test]
fn a_repository_that_is_not_there_is_said_to_be_missing() {
    let authority = Authority::new();
    let server = authority.serve(&Repository::new(), None);
    let address = Address::parse(&format!("{}/none.git", server.base)).unwrap();
    let rig = authority.rig();
    let fetched = rig.fetch(&address, |_| {});
    assert!(matches!(fetched.result, Err(FetchError::NoRepository { .. })), "{:?} {}", fetched.result, fetched.log);
}

#[test]
fn a_submodule_elsewhere_is_fetched_and_does_not_get_the_token() {
    let authority = Authority::new();
    let inner = Repository::new();
    inner.commit("inner.txt", "inner\n");
    let elsewhere = authority.serve(&inner, None);
    let repository = Repository::new();
    repository.git(&[
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "--quiet",
        "add",
        inner.path().to_str().unwrap(),
        "sub",
    ]);
    repository.git(&["config", "-f", ".gitmodules", "submodule.sub.url", &elsewhere.address().to_string()]);
    let head = repository.commit("a.txt", "one\n");
    let server = authority.serve(&repository, Some(BASIC));
    let (rig, address) = (authority.rig(), server.address());
    let fetched = rig.fetch(&address, |request| {
        request.credential = Some(Credential::Https { user: "robot", token: TOKEN });
        request.submodules = true;
    });
    assert_eq!(fetched.result, Ok(head), "{}", fetched.log);
    assert_eq!(rig.file("sub/inner.txt"), "inner\n");
    let seen = elsewhere.seen.lock().unwrap();
    assert!(!seen.is_empty() && seen.iter().all(Option::is_none), "{seen:?}");
}
