//! Bounds.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::rig::{Connection, Names, OK, Rig, Server, entries, local};
use crate::{
    domain::{
        limits::{DENIALS_RECORDED, HOSTS_RECORDED, PROXY_CONNECTIONS, PROXY_HEAD_WAIT, PROXY_IDLE},
        network::Denied,
    },
    egress::Role,
};

#[tokio::test]
async fn a_huge_head_is_refused() {
    let server = Server::plain(OK).await;
    let host = local(server.port());
    let rig = Rig::forward(std::slice::from_ref(&host), Names::default());
    let large = format!("X-Large: {}\r\n", "x".repeat(70_000));
    let many: String = "X-Many: x\r\n".repeat(200);
    for headers in [large, many] {
        let answer = rig
            .say(&format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n"))
            .await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    let path = "a".repeat(70_000);
    let answer = rig.say(&format!("GET http://{host}/{path} HTTP/1.1\r\nConnection: close\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 414") || answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert_eq!(server.connected(), 0);
}

#[tokio::test]
async fn a_huge_head_of_an_answer_is_refused() {
    let server = Server::plain(format!("HTTP/1.1 200 OK\r\nX-Large: {}\r\n\r\n", "x".repeat(70_000))).await;
    let host = local(server.port());
    let rig = Rig::forward(std::slice::from_ref(&host), Names::default());
    let answer = rig.get(&format!("http://{host}/")).await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{} bytes of answer", answer.len());
}

/// A proxy that waits only so long for a head.
fn impatient() -> Rig {
    let short = |proxy: crate::egress::Proxy| proxy.with_waits(Duration::from_millis(20), PROXY_IDLE);
    Rig::new(&[], Names::default(), Role::Forward, short, u64::MAX)
}

#[tokio::test]
async fn a_head_that_trickles_in_is_not_waited_for() {
    let rig = impatient();
    let Connection { mut stream, task } = rig.connect();
    let trickle = async {
        // Each byte is one more sign of life, and none of them helps. So many are no huge head yet.
        for _ in 0..50_000 {
            if stream.write_all(b"G").await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    let ((), ended) = tokio::join!(trickle, task);
    ended.unwrap();
    let mut said = String::new();
    // A connection that is cut off has said what it had to say.
    let _ = stream.read_to_string(&mut said).await;
    assert!(!said.contains(" 431 "), "{said}");
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let rig = impatient();
    assert_eq!(rig.connect().rest().await, "");
    // Nor does one stay that has had its answer.
    let mut connection = rig.connect();
    connection.stream.write_all(b"GET http://a.example/ HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(connection.rest().await.starts_with("HTTP/1.1 403"));
}

#[tokio::test]
async fn a_silent_tunnel_is_closed() {
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = server.local_addr().unwrap().to_string();
    let short = |proxy: crate::egress::Proxy| proxy.with_waits(PROXY_HEAD_WAIT, Duration::from_millis(20));
    let rig = Rig::new(std::slice::from_ref(&host), Names::default(), Role::Forward, short, u64::MAX);
    assert!(Duration::from_millis(20) < PROXY_IDLE);
    let mut connection = rig.connect();
    connection.stream.write_all(format!("CONNECT {host} HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
    assert!(connection.head().await.contains(" 200 "));
    let _kept_open = server.accept().await.unwrap();
    assert_eq!(connection.rest().await, "");
    connection.task.await.unwrap();
}

#[tokio::test]
async fn only_so_many_connections_are_served_at_once() {
    let rig = Rig::forward(&[], Names::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let _serving = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(rig.proxy.clone().serve(listener)));
    let ask = b"GET http://a.example/ HTTP/1.1\r\n\r\n";
    let mut open = Vec::new();
    for _ in 0..PROXY_CONNECTIONS {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(ask).await.unwrap();
        answered(&mut stream).await;
        open.push(stream);
    }
    // One more waits in the backlog until another one goes.
    let mut waiting = tokio::net::TcpStream::connect(address).await.unwrap();
    waiting.write_all(ask).await.unwrap();
    tokio::task::yield_now().await;
    assert_eq!(rig.proxy.ledger().denials()[0].count, PROXY_CONNECTIONS as u64);
    drop(open.pop());
    answered(&mut waiting).await;
    assert_eq!(rig.proxy.ledger().denials()[0].count, PROXY_CONNECTIONS as u64 + 1);
}

async fn answered(stream: &mut tokio::net::TcpStream) {
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 403");
}

#[tokio::test]
async fn a_phase_has_so_many_bytes_and_no_more() {
    let server = Server::plain(format!("HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n{}", "x".repeat(50_000))).await;
    let host = local(server.port());
    let rig = Rig::new(std::slice::from_ref(&host), Names::default(), Role::Forward, |proxy| proxy, 20_000);
    let url = format!("http://{host}/");
    let answer = rig.get(&url).await;
    assert!(answer.len() < 50_000, "{}", answer.len());
    let answer = rig.get(&url).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert!(answer.ends_with("the 20000 bytes that one phase may send and receive are used up\n"), "{answer}");
    assert_eq!(server.connected(), 1);
    assert!(rig.proxy.ledger().denials().iter().all(|denial| denial.what == Denied::Limit));
}

#[tokio::test]
async fn endless_names_fill_no_records() {
    let rig = Rig::forward(&entries(&[]), Names::default());
    let many: String = (0..DENIALS_RECORDED + 50)
        .map(|n| format!("GET http://{n}.evil.example/ HTTP/1.1\r\n\r\n"))
        .chain(["GET http://last.example/ HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned()])
        .collect();
    rig.say(&many).await;
    let denials = rig.proxy.ledger().denials();
    assert_eq!(denials.len(), DENIALS_RECORDED + 1);
    let last = denials.last().unwrap();
    assert_eq!((last.tried.as_str(), last.count), ("others", 51));
    assert_eq!(rig.told.lock().unwrap().len(), DENIALS_RECORDED + 1);
}

#[tokio::test]
async fn endless_hosts_fill_no_records() {
    use std::sync::Arc;

    use super::rig::StoppedClock;
    use crate::{domain::network::Destination, egress::Ledger};
    let ledger = Ledger::new(Arc::new(StoppedClock), |_| {});
    for n in 0..HOSTS_RECORDED + 10 {
        ledger.begin(&Destination::parse(&format!("{n}.example:443"), None).unwrap());
    }
    let hosts = ledger.hosts();
    assert_eq!(hosts.len(), HOSTS_RECORDED + 1);
    assert_eq!((hosts.last().unwrap().host.as_str(), hosts.last().unwrap().requests), ("others", 10));
}
