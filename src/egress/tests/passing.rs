//! Plain requests in absolute form.

use std::sync::atomic::Ordering;

use super::rig::{Names, OK, Rig, Server, entries, local};
use crate::domain::network::Denied;

#[tokio::test]
async fn a_listed_host_is_reached_and_recorded() {
    let mut server = Server::plain(OK).await;
    let host = local(server.port());
    let rig = Rig::forward(std::slice::from_ref(&host), Names::default());
    let answer = rig.get(&format!("http://{host}/a?b=c")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhello"), "{answer}");
    let request = server.request().await;
    assert!(request.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("host: {host}\r\n")), "{request}");
    let sent = request.len() as u64;
    assert_eq!(rig.hosts(), [(host, 1, OK.len() as u64, sent)]);
    assert_eq!(rig.reasons(), [""; 0]);
}

#[tokio::test]
async fn a_host_that_is_not_listed_is_refused_by_name_and_not_even_resolved() {
    let server = Server::plain(OK).await;
    let rig = Rig::forward(&entries(&["good.example:80"]), Names::default().with("evil.example", "127.0.0.1"));
    for url in ["http://evil.example/", &format!("http://{}/", local(server.port()))] {
        let answer = rig.get(url).await;
        let host = url.split('/').nth(2).unwrap();
        assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
        assert!(answer.contains("proxy-status: airlock; error=http_request_denied\r\n"), "{answer}");
        let port = if host.contains(':') { "" } else { ":80" };
        assert!(answer.ends_with(&format!("\r\n\r\nairlock: {host}{port} is not on this run's list\n")), "{answer}");
    }
    assert_eq!(rig.names.lookups.load(Ordering::SeqCst), 0);
    assert_eq!(server.connected(), 0);
    assert_eq!(rig.hosts(), []);
    let denials = rig.proxy.ledger().denials();
    assert_eq!(
        (denials[0].what, denials[0].tried.as_str(), denials[0].count),
        (Denied::Host, "GET http://evil.example", 1)
    );
}

#[tokio::test]
async fn the_same_refusal_is_told_once_and_counted() {
    let rig = Rig::forward(&[], Names::default());
    for _ in 0..5 {
        rig.get("http://evil.example/secret-path").await;
    }
    assert_eq!(rig.told.lock().unwrap().len(), 1);
    let denials = rig.proxy.ledger().denials();
    assert_eq!((denials.len(), denials[0].count), (1, 5));
    assert!(!denials[0].tried.contains("secret-path"));
}

#[tokio::test]
async fn a_listed_name_that_resolves_to_this_machine_is_refused() {
    let server = Server::plain(OK).await;
    let port = server.port();
    let rig = Rig::forward(&[format!("sly.example:{port}")], Names::default().with("sly.example", "127.0.0.1 ::1"));
    let answer = rig.get(&format!("http://sly.example:{port}/")).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert!(answer.contains("error=destination_ip_prohibited"), "{answer}");
    assert!(answer.contains("a loopback address that is not on this run's list"), "{answer}");
    assert_eq!(server.connected(), 0);
    assert_eq!(rig.proxy.ledger().denials()[0].what, Denied::Address);
}

#[tokio::test]
async fn a_name_whose_second_lookup_lies_gains_nothing() {
    // Rebinding: the checked answer is listed, what a second lookup would say is not.
    let (good, evil) = (Server::plain(OK).await, Server::plain("HTTP/1.1 200 OK\r\n\r\nevil").await);
    let listed = [format!("re.example:{}", good.port()), local(good.port())];
    let names = Names::default().with("re.example", "127.0.0.1").with("re.example", "127.0.0.2");
    let rig = Rig::forward(&listed, names);
    let url = format!("http://re.example:{}/", good.port());
    assert!(rig.get(&url).await.ends_with("hello"));
    assert_eq!(rig.names.lookups.load(Ordering::SeqCst), 1);
    // The next request is resolved and checked anew.
    assert!(rig.get(&url).await.starts_with("HTTP/1.1 403"));
    assert_eq!((good.connected(), evil.connected()), (1, 0));
}

#[tokio::test]
async fn of_several_addresses_only_allowed_ones_are_used() {
    let server = Server::plain(OK).await;
    let port = server.port();
    let listed = [format!("many.example:{port}"), local(port)];
    let names = Names::default().with("many.example", "10.0.0.1 169.254.169.254 127.0.0.1");
    let rig = Rig::forward(&listed, names);
    assert!(rig.get(&format!("http://many.example:{port}/")).await.ends_with("hello"));
}

#[tokio::test]
async fn a_redirect_is_handed_back_and_not_followed() {
    let other = Server::plain(OK).await;
    let to = format!("HTTP/1.1 302 Found\r\nLocation: http://{}/\r\nContent-Length: 0\r\n\r\n", local(other.port()));
    let server = Server::plain(to).await;
    let rig = Rig::forward(&[local(server.port())], Names::default());
    let answer = rig.get(&format!("http://{}/", local(server.port()))).await;
    assert!(answer.starts_with("HTTP/1.1 302 Found\r\n"), "{answer}");
    assert!(answer.contains(&format!("location: http://{}/\r\n", local(other.port()))), "{answer}");
    assert_eq!(other.connected(), 0);
    // Whoever follows it asks again, and is refused.
    assert!(rig.get(&format!("http://{}/", local(other.port()))).await.starts_with("HTTP/1.1 403"));
}

#[tokio::test]
async fn headers_between_neighbours_end_at_the_proxy() {
    let answer = "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
                  Proxy-Authenticate: Basic\r\nProxy-Status: airlock; error=http_request_denied\r\nX-End: 2\r\n\
                  Content-Length: 0\r\n\r\n";
    let mut server = Server::plain(answer).await;
    let host = local(server.port());
    let rig = Rig::forward(std::slice::from_ref(&host), Names::default());
    let answer = rig
        .say(&format!(
            "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\nTE: trailers\r\n\
             Upgrade: websocket\r\nProxy-Authorization: Basic c2VjcmV0\r\nProxy-Connection: keep-alive\r\nX-Other: 2\r\n\r\n"
        ))
        .await
        .to_lowercase();
    for gone in ["x-hop", "keep-alive", "proxy-authenticate", "proxy-status"] {
        assert!(!answer.contains(gone), "{gone}: {answer}");
    }
    assert!(answer.contains("x-end: 2\r\n"));
    let request = server.request().await.to_lowercase();
    for gone in ["x-mine", "te:", "upgrade", "proxy-", "websocket"] {
        assert!(!request.contains(gone), "{gone}: {request}");
    }
    assert!(request.contains("x-other: 2\r\n") && request.contains("connection: close\r\n"), "{request}");
}

#[tokio::test]
async fn bodies_go_both_ways_and_are_framed_anew() {
    let mut server =
        Server::plain("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").await;
    let host = local(server.port());
    let rig = Rig::forward(std::slice::from_ref(&host), Names::default());
    let answer = rig
        .say(&format!(
            "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody"
        ))
        .await;
    assert!(answer.contains("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), "{answer}");
    let request = server.request().await;
    assert!(request.contains("content-length: 4\r\n") && request.ends_with("\r\n\r\nbody"), "{request}");
    rig.say(&format!(
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n4\r\nbody\r\n0\r\n\r\n"
    ))
    .await;
    let request = server.request().await;
    assert!(request.contains("transfer-encoding: chunked\r\n") && request.contains("4\r\nbody\r\n"), "{request}");
}

#[tokio::test]
async fn a_client_may_stop_talking_before_it_listens() {
    use tokio::io::AsyncWriteExt;
    let server = Server::plain(OK).await;
    let host = local(server.port());
    let rig = Rig::forward(std::slice::from_ref(&host), Names::default());
    let mut connection = rig.connect();
    let request = format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n");
    connection.stream.write_all(request.as_bytes()).await.unwrap();
    connection.stream.shutdown().await.unwrap();
    assert!(connection.rest().await.ends_with("hello"));
}

#[tokio::test]
async fn one_connection_serves_request_after_request() {
    let server = Server::plain(OK).await;
    let host = local(server.port());
    let rig = Rig::forward(std::slice::from_ref(&host), Names::default());
    let once = format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let last = "GET http://other.example/ HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n";
    let answers = rig.say(&format!("{once}{once}{last}")).await;
    assert_eq!(answers.matches("hello").count(), 2, "{answers}");
    assert!(answers.contains("airlock: other.example:80 is not on this run's list"), "{answers}");
    // Towards the host, each had a connection of its own.
    assert_eq!((server.connected(), rig.hosts()[0].1), (2, 2));
}

#[tokio::test]
async fn what_only_went_wrong_is_no_denial() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = closed.local_addr().unwrap().to_string();
    drop(closed);
    let rig = Rig::forward(&[host.clone(), "gone.example:80".to_owned()], Names::default());
    let answer = rig.get(&format!("http://{host}/")).await;
    assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("error=destination_unavailable"), "{answer}");
    let answer = rig.get("http://gone.example/").await;
    assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("error=dns_error"), "{answer}");
    assert!(answer.contains("the name of gone.example:80 cannot be resolved"), "{answer}");
    let mumbling = Server::plain("mumble mumble\r\n\r\n").await;
    let rig = Rig::forward(&[local(mumbling.port())], Names::default());
    let answer = rig.get(&format!("http://{}/", local(mumbling.port()))).await;
    assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("error=http_protocol_error"), "{answer}");
    assert_eq!(rig.reasons(), [""; 0]);
}

#[tokio::test]
async fn answers_without_a_body_keep_their_lengths() {
    for (method, answer, kept) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", "content-length: 500\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\nETag: a\r\n\r\n", "etag: a\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n", "x-a: b\r\n"),
        ("DELETE", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "content-length: 0\r\n"),
    ] {
        let server = Server::plain(answer).await;
        let host = local(server.port());
        let rig = Rig::forward(std::slice::from_ref(&host), Names::default());
        let answer = rig.say(&format!("{method} http://{host}/ HTTP/1.1\r\nConnection: close\r\n\r\n")).await;
        assert!(answer.contains(kept) && answer.ends_with("\r\n\r\n"), "{method}: {answer}");
    }
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_to_go_on() {
    let mut server = Server::plain(OK).await;
    let host = local(server.port());
    let rig = Rig::forward(std::slice::from_ref(&host), Names::default());
    let answer = rig
        .say(&format!(
            "PUT http://{host}/ HTTP/1.1\r\nHost: {host}\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\
             Connection: close\r\n\r\nbody"
        ))
        .await;
    assert!(answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK"), "{answer}");
    let request = server.request().await;
    assert!(request.ends_with("body") && !request.to_lowercase().contains("expect"), "{request}");
}

#[tokio::test]
async fn an_empty_body_is_said_to_be_empty() {
    let mut server = Server::plain(OK).await;
    let host = local(server.port());
    let rig = Rig::forward(std::slice::from_ref(&host), Names::default());
    rig.say(&format!("POST http://{host}/ HTTP/1.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")).await;
    assert!(server.request().await.contains("content-length: 0\r\n"));
}

#[tokio::test]
async fn older_clients_are_understood() {
    let server = Server::plain("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n").await;
    let host = local(server.port());
    let rig = Rig::forward(std::slice::from_ref(&host), Names::default());
    let answer = rig.say(&format!("GET http://{host}/ HTTP/1.0\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("\r\n\r\nhello"), "{answer}");
}

#[tokio::test]
async fn ipv6_is_spoken() {
    let Ok(listener) = tokio::net::TcpListener::bind("[::1]:0").await else {
        panic!("this test needs an IPv6 loopback");
    };
    let port = listener.local_addr().unwrap().port();
    let rig = Rig::forward(&[format!("[::1]:{port}")], Names::default());
    let url = format!("http://[0:0::1]:{port}/");
    let (answer, ()) = tokio::join!(rig.get(&url), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, OK.as_bytes()).await.unwrap();
    });
    // The other spelling of the host in the Host header is the same host.
    assert!(answer.ends_with("hello"), "{answer}");
    assert_eq!(rig.hosts()[0].0, format!("[::1]:{port}"));
}

#[tokio::test]
async fn a_pair_of_sockets_is_a_client_like_any_other() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let rig = Rig::forward(&[], Names::default());
    let (mut ours, theirs) = tokio::net::UnixStream::pair().unwrap();
    let asking = async {
        ours.write_all(b"GET http://a.example/ HTTP/1.1\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        ours.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let (answer, ()) = tokio::join!(asking, rig.proxy.connection(theirs));
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}
