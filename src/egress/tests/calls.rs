//! The server's own calls.

use std::{sync::Arc, time::Duration};

use hyper::{HeaderMap, Method};

use super::rig::{Authority, Names, OK, Server, local};
use crate::{
    domain::{
        limits::CALL_BODY_BYTES,
        network::{AllowList, Portless},
    },
    egress::{Call, CallError, Client, DialError, Policy, TrustError},
};

fn client(operator: &[&str], names: Names, authority: &Authority) -> Client {
    let operator = AllowList::parse(operator, Portless::Any).unwrap();
    Client::new(Policy::outbound(operator), Arc::new(names), Ok(authority.trust()), "Airlock/1").unwrap()
}

fn post(url: &str, body: &'static str) -> Call {
    let mut headers = HeaderMap::new();
    headers.insert("x-signature", "abc".parse().unwrap());
    Call { method: Method::POST, url: url.to_owned(), headers, body: body.into() }
}

fn authority() -> Authority {
    Authority::new(&["hooks.example"])
}

#[tokio::test]
async fn a_call_is_sent_as_it_is_and_its_reply_read_whole() {
    let mut server = Server::plain("HTTP/1.1 202 Accepted\r\nX-Id: 7\r\nContent-Length: 2\r\n\r\nok").await;
    let url = format!("http://{}/hook?key=1#part", local(server.port()));
    let reply = client(&["127.0.0.1"], Names::default(), &authority()).send(post(&url, "{}")).await.unwrap();
    assert_eq!(
        (reply.status.as_u16(), &reply.body[..], &reply.headers["x-id"]),
        (202, &b"ok"[..], &"7".parse().unwrap())
    );
    let request = server.request().await;
    assert!(request.starts_with("POST /hook?key=1 HTTP/1.1\r\n") && request.ends_with("\r\n\r\n{}"), "{request}");
    for header in
        ["x-signature: abc", "user-agent: Airlock/1", "content-length: 2", &format!("host: {}", local(server.port()))]
    {
        assert!(request.contains(&format!("{header}\r\n")), "{header}: {request}");
    }
}

#[tokio::test]
async fn a_secure_call_trusts_the_given_authority_only() {
    let authority = authority();
    let mut server = Server::secure(OK, &authority).await;
    let names = || Names::default().with("hooks.example", "127.0.0.1");
    let url = format!("https://hooks.example:{}/", server.port());
    let reply = client(&["hooks.example"], names(), &authority).send(post(&url, "")).await.unwrap();
    assert_eq!(&reply.body[..], b"hello");
    server.request().await;
    let stranger = Authority::new(&["hooks.example"]);
    let error = client(&["hooks.example"], names(), &stranger).send(post(&url, "")).await.unwrap_err();
    assert!(matches!(&error, CallError::Tls(_)) && error.may_pass(), "{error}");
}

#[tokio::test]
async fn a_host_without_authorities_calls_who_proves_nothing() {
    let operator = AllowList::parse(&["127.0.0.1"], Portless::Any).unwrap();
    let policy = Policy::outbound(operator);
    let client = Client::new(policy, Arc::new(Names::default()), Err(TrustError::None), "Airlock/1").unwrap();
    let server = Server::plain(OK).await;
    let reply = client.send(post(&format!("http://{}/", local(server.port())), "")).await.unwrap();
    assert_eq!(reply.status.as_u16(), 200);
    let error = client.send(post(&format!("https://{}/", local(server.port())), "")).await.unwrap_err();
    assert!(error.to_string().contains("no certificate authorities") && !error.may_pass(), "{error}");
    assert_eq!(server.connected(), 1);
}

#[tokio::test]
async fn this_machine_is_called_only_where_the_operator_says_so() {
    let server = Server::plain(OK).await;
    let port = server.port();
    let names = || Names::default().with("inside.example", "127.0.0.1").with("meta.example", "169.254.169.254");
    for url in [
        format!("http://127.0.0.1:{port}/"),
        format!("http://0x7f.1:{port}/"),
        format!("http://2130706433:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("http://inside.example:{port}/"),
        "http://meta.example/latest/meta-data/".to_owned(),
        "http://0/".to_owned(),
        "http://[::]/".to_owned(),
    ] {
        let error = client(&["other.example"], names(), &authority()).send(post(&url, "")).await.unwrap_err();
        assert!(matches!(&error, CallError::Dial(DialError::Refused(_))), "{url}: {error}");
        assert!(!error.may_pass());
    }
    assert_eq!(server.connected(), 0);
    let url = format!("http://inside.example:{port}/");
    assert!(client(&["inside.example"], names(), &authority()).send(post(&url, "")).await.is_ok());
    assert!(client(&["127.0.0.0/8"], names(), &authority()).send(post(&url, "")).await.is_ok());
}

#[tokio::test]
async fn an_address_that_somebody_else_sent_is_called_inside_only_where_the_operator_says_so() {
    let foreign = |entries: &[&str]| {
        let operator = AllowList::parse(entries, Portless::Any).unwrap();
        let names = Names::default().with("inside.example", "10.1.2.3").with("here.example", "127.0.0.1");
        Client::new(Policy::foreign(operator), Arc::new(names), Ok(authority().trust()), "Airlock/1").unwrap()
    };
    for url in ["http://10.1.2.3/", "http://inside.example/", "http://here.example/", "http://[fd12::1]/"] {
        let error = foreign(&["other.example"]).send(post(url, "")).await.unwrap_err();
        assert!(matches!(&error, CallError::Dial(DialError::Refused(_))) && !error.may_pass(), "{url}: {error}");
    }
    let server = Server::plain(OK).await;
    let url = format!("http://here.example:{}/", server.port());
    assert!(foreign(&["here.example"]).send(post(&url, "")).await.is_ok());
}

#[tokio::test]
async fn a_redirect_is_a_reply() {
    let other = Server::plain(OK).await;
    let to = format!("HTTP/1.1 301 Moved\r\nLocation: http://{}/\r\nContent-Length: 0\r\n\r\n", local(other.port()));
    let server = Server::plain(to).await;
    let url = format!("http://{}/", local(server.port()));
    let reply = client(&["127.0.0.1"], Names::default(), &authority()).send(post(&url, "")).await.unwrap();
    assert_eq!((reply.status.as_u16(), other.connected()), (301, 0));
}

#[tokio::test]
async fn a_long_reply_keeps_its_status_whether_or_not_it_says_its_length() {
    let body = "x".repeat(CALL_BODY_BYTES + 1);
    for head in [format!("Content-Length: {}\r\n", body.len()), String::new()] {
        let server = Server::plain(format!("HTTP/1.1 200 OK\r\n{head}\r\n{body}")).await;
        let url = format!("http://{}/", local(server.port()));
        let reply = client(&["127.0.0.1"], Names::default(), &authority()).send(post(&url, "")).await.unwrap();
        assert_eq!((reply.status.as_u16(), reply.body.len(), reply.is_whole), (200, CALL_BODY_BYTES, false));
    }
    let server = Server::plain(format!("HTTP/1.1 200 OK\r\n\r\n{}", &body[1..])).await;
    let url = format!("http://{}/", local(server.port()));
    let reply = client(&["127.0.0.1"], Names::default(), &authority()).send(post(&url, "")).await.unwrap();
    assert!(reply.body.len() == CALL_BODY_BYTES && reply.is_whole);
}

#[tokio::test]
async fn a_host_that_never_answers_is_not_waited_for() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/secret-path", listener.local_addr().unwrap());
    let client = client(&["127.0.0.1"], Names::default(), &authority()).with_wait(Duration::from_millis(20));
    let error = client.send(post(&url, "")).await.unwrap_err();
    assert!(matches!(error, CallError::Slow { .. }) && error.may_pass(), "{error}");
    assert!(!error.to_string().contains("secret-path"));
}

#[tokio::test]
async fn a_host_that_answers_byte_by_byte_is_not_waited_for_either() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    for head in ["HTTP/1.1 200 O", "HTTP/1.1 200 OK\r\nx: ", "HTTP/1.1 200 OK\r\n\r\n"] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let trickle = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            // What is endless may be too long before it is too slow.
            for _ in 0..300 {
                if stream.write_all(b"0").await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            // Until the other side has had enough.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        let client = client(&["127.0.0.1"], Names::default(), &authority()).with_wait(Duration::from_millis(20));
        let error = client.send(post(&url, "")).await.unwrap_err();
        assert!(matches!(error, CallError::Slow { .. }), "{error}");
        trickle.await.unwrap();
    }
}

#[tokio::test]
async fn an_address_that_cannot_be_called_is_refused_without_being_shown() {
    let client = client(&["127.0.0.1"], Names::default(), &authority());
    for url in [
        "ftp://a.example/",
        "hooks.example/s3cret",
        "https://u:s3cret@a.example/",
        "http://:80/s3cret",
        "file:///s3cret",
        "",
    ] {
        let error = client.send(post(url, "")).await.unwrap_err();
        assert!(matches!(&error, CallError::Address(_)), "{url}: {error:?}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
    assert!(!format!("{:?}", post("https://a.example/s3cret", "s3cret")).contains("s3cret"));
}

#[tokio::test]
async fn a_caller_cannot_pretend_to_be_for_another_host() {
    let mut server = Server::plain(OK).await;
    let mut call = post(&format!("http://{}/", local(server.port())), "");
    for (name, value) in [("host", "evil.example"), ("transfer-encoding", "evil"), ("content-length", "9")] {
        call.headers.insert(name, value.parse().unwrap());
    }
    client(&["127.0.0.1"], Names::default(), &authority()).send(call).await.unwrap();
    let request = server.request().await;
    assert!(request.contains(&format!("host: {}\r\n", local(server.port()))) && !request.contains("evil"), "{request}");
}
