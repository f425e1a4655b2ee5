//! Requests that are meant to be misunderstood.

use super::rig::{Names, OK, Rig, Server, entries, local};

/// Says something to a proxy that lists one plain host, and gives what came back and what the host
/// heard, if it heard anything.
async fn attempt(request: impl Fn(&str) -> String) -> (String, Option<String>) {
    let mut server = Server::plain(OK).await;
    let host = local(server.port());
    let rig = Rig::forward(std::slice::from_ref(&host), Names::default());
    let answer = rig.say(&request(&host)).await;
    (answer, server.heard.try_recv().ok())
}

#[tokio::test]
async fn a_request_that_names_two_hosts_is_refused() {
    for host_lines in
        ["Host: evil.example", "Host: HOST\r\nHost: HOST", "Host: HOST, evil.example", "Host: user@HOST", "Host:"]
    {
        let (answer, heard) = attempt(|host| {
            let lines = host_lines.replace("HOST", host);
            format!("GET http://{host}/ HTTP/1.1\r\n{lines}\r\nConnection: close\r\n\r\n")
        })
        .await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{host_lines}: {answer}");
        assert_eq!(heard, None, "{host_lines}");
    }
    let (answer, heard) =
        attempt(|host| format!("CONNECT {host} HTTP/1.1\r\nHost: evil.example:443\r\nConnection: close\r\n\r\n")).await;
    assert!(answer.contains("but its Host header says `evil.example:443`") && heard.is_none(), "{answer}");
}

#[tokio::test]
async fn a_different_spelling_of_the_same_host_is_the_same_host() {
    let mut server = Server::plain(OK).await;
    let port = server.port();
    let rig = Rig::forward(
        &[format!("Shop.Example:{port}"), local(port)],
        Names::default().with("shop.example", "127.0.0.1"),
    );
    let answer = rig
        .say(&format!(
            "GET http://SHOP.example.:{port}/ HTTP/1.1\r\nHost: shop.EXAMPLE:{port}\r\nConnection: close\r\n\r\n"
        ))
        .await;
    assert!(answer.ends_with("hello"), "{answer}");
    assert!(server.request().await.contains(&format!("host: shop.example:{port}\r\n")));
}

#[tokio::test]
async fn a_proxy_is_no_origin() {
    for line in ["GET / HTTP/1.1", "GET /http://HOST/ HTTP/1.1", "OPTIONS * HTTP/1.1"] {
        let (answer, heard) =
            attempt(|host| format!("{}\r\nHost: {host}\r\nConnection: close\r\n\r\n", line.replace("HOST", host)))
                .await;
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("this is a proxy"), "{line}: {answer}");
        assert_eq!(heard, None, "{line}");
    }
}

#[tokio::test]
async fn odd_targets_are_refused() {
    for (target, says) in [
        ("http://0x7f.1:PORT/", "odd spelling"),
        ("http://2130706433:PORT/", "odd spelling"),
        ("http://0177.0.0.1:PORT/", "odd spelling"),
        ("http://127.1:PORT/", "odd spelling"),
        ("http://user:pass@127.0.0.1:PORT/", "credentials"),
        ("http://127.0.0.1@evil.example/", "credentials"),
        ("ftp://127.0.0.1:PORT/", "`ftp` is not spoken"),
        ("https://127.0.0.1:PORT/", "with CONNECT"),
    ] {
        let (answer, heard) = attempt(|host| {
            let target = target.replace("PORT", host.split(':').nth(1).unwrap());
            format!("GET {target} HTTP/1.1\r\nConnection: close\r\n\r\n")
        })
        .await;
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains(says), "{target}: {answer}");
        assert!(!answer.contains("pass"), "{answer}");
        assert_eq!(heard, None, "{target}");
    }
}

#[tokio::test]
async fn a_trace_is_refused() {
    let (answer, heard) =
        attempt(|host| format!("TRACE http://{host}/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("TRACE is refused") && heard.is_none(), "{answer}");
}

/// Whatever is said about the length of a body: one request reaches the host, with one framing that
/// is true, or none does.
#[tokio::test]
async fn smuggled_requests_stay_where_they_are() {
    let hidden = "GET http://evil.example/hidden HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    for headers in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity\r\nContent-Length: 4\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Content-Length: 4\r\nContent-Length: 0\r\n",
        "Content-Length: +4\r\n",
        "Content-Length: 4, 0\r\n",
        "Content-Length: -1\r\n",
        "X: y\rTransfer-Encoding: chunked\r\n",
        "X: y\r\n Transfer-Encoding: chunked\r\n",
        "X: y\0\r\n",
    ] {
        let (answer, heard) = attempt(|host| {
            format!(
                "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n0\r\n\r\n{hidden}"
            )
        })
        .await;
        let Some(heard) = heard else {
            assert!(answer.starts_with("HTTP/1.1 400"), "{headers:?}: {answer:?}");
            continue;
        };
        let (head, body) = heard.split_once("\r\n\r\n").unwrap();
        assert!(!heard.contains("hidden"), "{headers:?}: {heard}");
        let head = head.to_lowercase();
        let (chunked, length) =
            (head.matches("transfer-encoding: chunked").count(), head.matches("content-length").count());
        assert_eq!(chunked + length, 1, "{headers:?}: {heard}");
        assert_eq!(body, "0\r\n\r\n", "{headers:?}: {heard}");
    }
}

#[tokio::test]
async fn a_host_that_smuggles_answers_is_not_believed() {
    let second = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let server = Server::plain(format!("{OK}{second}")).await;
    let host = local(server.port());
    let rig = Rig::forward(std::slice::from_ref(&host), Names::default());
    let once = format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let last = "GET http://other.example/ HTTP/1.1\r\nConnection: close\r\n\r\n";
    let answers = rig.say(&format!("{once}{last}")).await;
    assert!(!answers.contains("evil") && answers.contains("other.example:80 is not on"), "{answers}");
}

#[tokio::test]
async fn an_answer_that_says_two_lengths_has_the_true_one() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        let server = Server::plain(answer).await;
        let host = local(server.port());
        let rig = Rig::forward(std::slice::from_ref(&host), Names::default());
        let answer = rig.get(&format!("http://{host}/")).await;
        assert!(!answer.contains("content-length") && answer.ends_with("5\r\nhello\r\n0\r\n\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn what_was_tried_is_shown_harmlessly() {
    let rig = Rig::forward(&entries(&[]), Names::default());
    let long = "a".repeat(5_000);
    rig.say(&format!("GET http://{long}.example/ HTTP/1.1\r\nConnection: close\r\n\r\n")).await;
    rig.say("GET http://a.example/ HTTP/1.1\r\nHost: b\u{9b}31m\r\nConnection: close\r\n\r\n").await;
    rig.say(&format!("GET http://a.example/ HTTP/1.1\r\nHost: {long}\r\nConnection: close\r\n\r\n")).await;
    rig.say(&format!("{long} / HTTP/1.1\r\nConnection: close\r\n\r\n")).await;
    assert_eq!(rig.reasons().len(), 4);
    for denial in rig.proxy.ledger().denials() {
        assert!(denial.tried.chars().count() <= 500 && denial.reason.chars().count() <= 300, "{denial:?}");
        assert!(!denial.reason.contains(char::is_control) && !denial.tried.contains(char::is_control), "{denial:?}");
    }
}
