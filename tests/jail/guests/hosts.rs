//! Outgoing HTTP: by list, with the address checked, with secrets that the guest uses and never holds.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    sync::{Arc, Mutex},
};

use airlock::{
    domain::EnvName,
    protocol::{DenialKind, HeaderGrant},
};

use super::{
    fetch::{DENIED, IP_PROHIBITED, Scheme, fetch},
    rig::Guest,
};
use crate::{host::servers, tests};

tests![
    a_listed_host_is_reached_and_counted,
    a_host_that_is_not_listed_is_not_reached,
    a_listed_name_that_means_this_machine_is_refused,
    a_redirect_is_only_told,
    a_bound_secret_is_used_masked_and_never_held,
    a_bound_secret_does_not_travel_in_clear_unless_the_operator_says_so,
];

/// A host on loopback that answers every request with what it was asked, and keeps it.
struct Echo {
    port: u16,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Echo {
    fn start(first_line: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, heard) = (listener.local_addr().unwrap().port(), Arc::<Mutex<Vec<String>>>::default());
        let kept = Arc::clone(&heard);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                let body = head.join("\n");
                kept.lock().unwrap().push(body.clone());
                write!(&stream, "{first_line}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
            }
        });
        Self { port, heard }
    }

    fn at(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

const OK: &str = "HTTP/1.1 200 OK";

fn a_listed_host_is_reached_and_counted() {
    for server in servers() {
        let echo = Echo::start(OK);
        let mut guest = Guest::on(*server, &fetch(Scheme::Http, &echo.at(), "/hello?x=1"));
        guest.grants.network = vec![echo.at()];
        let outcome = guest.run();
        outcome.succeeded();
        assert!(outcome.log.contains("[200]\nGET /hello?x=1 HTTP/1.1"), "{outcome:#?}");
        let hosts = &outcome.receipt().hosts;
        assert_eq!((hosts.len(), hosts[0].requests, hosts[0].host.as_str()), (1, 1, echo.at().as_str()));
        assert!(hosts[0].bytes_sent > 10 && hosts[0].bytes_received > 10);
        assert_eq!(echo.heard().len(), 1);
    }
}

fn a_host_that_is_not_listed_is_not_reached() {
    let (echo, other) = (Echo::start(OK), Echo::start(OK));
    for listed in [vec![], vec![other.at()]] {
        let mut guest = Guest::wat(&fetch(Scheme::Http, &echo.at(), "/"));
        guest.grants.network = listed;
        let outcome = guest.run();
        assert_eq!(outcome.code(), 1);
        assert!(outcome.log.contains(DENIED), "{outcome:#?}");
        assert!(outcome.denied(DenialKind::Http, &echo.at()), "{:#?}", outcome.receipt());
        assert!(outcome.receipt().hosts.is_empty());
    }
    assert!(echo.heard().is_empty() && other.heard().is_empty());
}

fn a_listed_name_that_means_this_machine_is_refused() {
    let echo = Echo::start(OK);
    let name = format!("localhost:{}", echo.port);
    let mut guest = Guest::wat(&fetch(Scheme::Http, &name, "/"));
    guest.grants.network = vec![name.clone()];
    let outcome = guest.run();
    assert!(outcome.log.contains(IP_PROHIBITED), "{outcome:#?}");
    assert!(outcome.denied(DenialKind::Http, &name), "{:#?}", outcome.receipt());
    assert!(echo.heard().is_empty());
    // The control: whoever lists the address means it, and the name may lead there.
    guest.grants.network.push(echo.at());
    assert!(guest.run().succeeded().log.contains("[200]"));
    assert_eq!(echo.heard().len(), 1);
}

fn a_redirect_is_only_told() {
    let echo = Echo::start("HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/");
    let mut guest = Guest::wat(&fetch(Scheme::Http, &echo.at(), "/"));
    guest.grants.network = vec![echo.at()];
    let outcome = guest.run();
    assert!(outcome.log.contains("[302]"), "{outcome:#?}");
    assert_eq!(outcome.receipt().hosts.len(), 1);
    // Where it points to is one more request, and not listed.
    let mut guest = Guest::wat(&fetch(Scheme::Http, "169.254.169.254", "/"));
    guest.grants.network = vec![echo.at()];
    assert!(guest.run().log.contains(DENIED));
    // The control: a guest that follows by itself gets to a target that is listed, too.
    let target = Echo::start(OK);
    let mut guest = Guest::wat(&fetch(Scheme::Http, &target.at(), "/"));
    guest.grants.network = vec![echo.at()];
    assert!(guest.run().log.contains(DENIED) && target.heard().is_empty());
    guest.grants.network.push(target.at());
    assert!(guest.run().succeeded().log.contains("[200]"));
}

const SECRET: &str = "Bearer tops3cret-0123456789";

fn bound(guest: &mut Guest, host: String, plain: bool) {
    let secret = EnvName::new("API_TOKEN").unwrap();
    guest.grants.network = vec![host.clone()];
    guest.grants.headers = vec![HeaderGrant { host, header: "Authorization".to_owned(), secret, plain }];
}

fn a_bound_secret_is_used_masked_and_never_held() {
    let echo = Echo::start(OK);
    let mut guest = Guest::wat(&fetch(Scheme::Http, &echo.at(), "/")).secret("API_TOKEN", SECRET);
    bound(&mut guest, echo.at(), true);
    let outcome = guest.run();
    outcome.succeeded();
    // The host saw it and said it again; the log does not.
    assert!(echo.heard()[0].contains(SECRET), "{:?}", echo.heard());
    assert!(outcome.log.contains("authorization: *****"), "{outcome:#?}");
    let records = std::fs::read_to_string(outcome.dir.join("records")).unwrap();
    assert!(!outcome.log.contains("tops3cret") && !records.contains("tops3cret"));
    // The control: without the grant nothing is added.
    guest.grants.headers.clear();
    guest.run().succeeded();
    assert!(!echo.heard()[1].contains("tops3cret"), "{:?}", echo.heard());
}

fn a_bound_secret_does_not_travel_in_clear_unless_the_operator_says_so() {
    let echo = Echo::start(OK);
    let mut guest = Guest::wat(&fetch(Scheme::Http, &echo.at(), "/")).secret("API_TOKEN", SECRET);
    bound(&mut guest, echo.at(), false);
    let outcome = guest.run();
    assert!(outcome.log.contains(DENIED), "{outcome:#?}");
    assert!(outcome.denied(DenialKind::Http, "only over https"), "{:#?}", outcome.receipt());
    assert!(echo.heard().is_empty());
    // A listener without TLS cannot be reached over https, either.
    let mut guest = Guest::wat(&fetch(Scheme::Https, &echo.at(), "/")).secret("API_TOKEN", SECRET);
    bound(&mut guest, echo.at(), false);
    assert_eq!(guest.run().code(), 1);
    assert!(echo.heard().iter().all(|heard| !heard.contains("tops3cret")));
}
