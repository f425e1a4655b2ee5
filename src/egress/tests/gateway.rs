//! What guests get: TLS and secrets that are not theirs.

use super::rig::{Authority, Names, OK, Rig, Server, local};
use crate::egress::{BindError, BoundHeader};

const SECRET: &str = "Bearer s3cret-token";

fn names() -> Names {
    Names::default().with("api.example", "127.0.0.1").with("other.example", "127.0.0.1")
}

fn listed(ports: &[u16]) -> Vec<String> {
    ports
        .iter()
        .flat_map(|port| [local(*port), format!("api.example:{port}"), format!("other.example:{port}")])
        .collect()
}

#[tokio::test]
async fn a_guest_reaches_a_secure_host_without_tls_of_its_own() {
    let authority = Authority::new(&["api.example"]);
    let mut server = Server::secure(OK, &authority).await;
    let port = server.port();
    let rig = Rig::gateway(&listed(&[port]), names(), authority.trust(), Vec::new());
    let answer = rig.get(&format!("https://api.example:{port}/v1?q=1")).await;
    assert!(answer.ends_with("hello"), "{answer}");
    let request = server.request().await;
    assert!(request.starts_with("GET /v1?q=1 HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("host: api.example:{port}\r\n")), "{request}");
    assert_eq!(rig.hosts()[0].0, format!("api.example:{port}"));
}

#[tokio::test]
async fn a_host_that_cannot_prove_its_name_is_not_talked_to() {
    let (authority, stranger) = (Authority::new(&["api.example"]), Authority::new(&["api.example"]));
    let mut server = Server::secure(OK, &authority).await;
    let port = server.port();
    for (trust, url) in [
        (stranger.trust(), format!("https://api.example:{port}/")),
        (authority.trust(), format!("https://other.example:{port}/")),
        (authority.trust(), format!("https://{}/", local(port))),
    ] {
        let header = BoundHeader::new(&format!("api.example:{port}"), "authorization", SECRET).unwrap();
        let rig = Rig::gateway(&listed(&[port]), names(), trust, vec![header]);
        let answer = rig.get(&url).await;
        assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("error=tls_protocol_error"), "{answer}");
        assert!(!answer.contains("s3cret"), "{answer}");
    }
    assert!(server.heard.try_recv().is_err());
}

#[tokio::test]
async fn a_secret_header_goes_to_its_host_and_to_no_other() {
    let authority = Authority::new(&["api.example", "other.example"]);
    let (mut server, mut elsewhere) = (Server::secure(OK, &authority).await, Server::secure(OK, &authority).await);
    let (port, other) = (server.port(), elsewhere.port());
    let header = BoundHeader::new(&format!("API.example.:{port}"), "Authorization", SECRET).unwrap();
    let rig = Rig::gateway(&listed(&[port, other]), names(), authority.trust(), vec![header]);

    let answer = rig.get(&format!("https://api.example:{port}/")).await;
    assert!(!answer.contains("s3cret"), "{answer}");
    assert!(server.request().await.contains(&format!("authorization: {SECRET}\r\n")));
    // Neither to another name at the same address, nor to another port of the same name.
    rig.get(&format!("https://other.example:{port}/")).await;
    assert!(!server.request().await.contains("s3cret"));
    rig.get(&format!("https://api.example:{other}/")).await;
    assert!(!elsewhere.request().await.contains("s3cret"));
    assert!(!format!("{:?}", rig.proxy).contains("s3cret"));
}

#[tokio::test]
async fn what_the_guest_wrote_into_a_bound_header_is_replaced() {
    let authority = Authority::new(&["api.example"]);
    let mut server = Server::secure(OK, &authority).await;
    let port = server.port();
    let header = BoundHeader::new(&format!("api.example:{port}"), "authorization", SECRET).unwrap();
    let rig = Rig::gateway(&listed(&[port]), names(), authority.trust(), vec![header]);
    // The guest names it in Connection, so that a careless proxy would take it out again.
    rig.say(&format!(
        "GET https://api.example:{port}/ HTTP/1.1\r\nAuthorization: mine\r\nAuthorization: too\r\n\
         Connection: close, authorization\r\n\r\n"
    ))
    .await;
    let request = server.request().await;
    assert_eq!(request.matches("authorization: ").count(), 1, "{request}");
    assert!(request.contains(SECRET) && !request.contains("mine"), "{request}");
}

#[tokio::test]
async fn a_secret_header_does_not_travel_in_clear() {
    let mut server = Server::plain(OK).await;
    let port = server.port();
    let bound = || BoundHeader::new(&format!("api.example:{port}"), "authorization", SECRET).unwrap();
    let trust = || Authority::new(&["api.example"]).trust();
    let rig = Rig::gateway(&listed(&[port]), names(), trust(), vec![bound()]);
    let answer = rig.get(&format!("http://api.example:{port}/")).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert!(answer.contains(&format!("the secret header `authorization` goes to api.example:{port} only over https")));
    assert_eq!(server.connected(), 0);
    // Unless the operator lists the host for it.
    let rig = Rig::gateway(&listed(&[port]), names(), trust(), vec![bound().allow_plain()]);
    rig.get(&format!("http://api.example:{port}/")).await;
    assert!(server.request().await.contains(SECRET));
}

#[tokio::test]
async fn a_redirect_does_not_take_the_secret_along() {
    let authority = Authority::new(&["api.example", "other.example"]);
    let mut elsewhere = Server::secure(OK, &authority).await;
    let to = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: https://other.example:{}/\r\nContent-Length: 0\r\n\r\n",
        elsewhere.port()
    );
    let server = Server::secure(to, &authority).await;
    let header = BoundHeader::new(&format!("api.example:{}", server.port()), "authorization", SECRET).unwrap();
    let ports = [server.port(), elsewhere.port()];
    let rig = Rig::gateway(&listed(&ports), names(), authority.trust(), vec![header]);
    let answer = rig.get(&format!("https://api.example:{}/", server.port())).await;
    assert!(answer.starts_with("HTTP/1.1 307"), "{answer}");
    assert_eq!(elsewhere.connected(), 0);
    rig.get(&format!("https://other.example:{}/", elsewhere.port())).await;
    assert!(!elsewhere.request().await.contains("s3cret"));
}

#[tokio::test]
async fn guests_have_no_tunnels() {
    let authority = Authority::new(&["api.example"]);
    let server = Server::plain(OK).await;
    let rig = Rig::gateway(&listed(&[server.port()]), names(), authority.trust(), Vec::new());
    let answer = rig.say(&format!("CONNECT api.example:{} HTTP/1.1\r\nConnection: close\r\n\r\n", server.port())).await;
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    assert_eq!(server.connected(), 0);
}

#[test]
fn only_honest_headers_can_be_bound() {
    for (host, name) in [("a.example", "Host"), ("a.example", "content-length"), ("a.example", "Transfer-Encoding")] {
        assert!(matches!(BoundHeader::new(host, name, "x"), Err(BindError::Connection(_))), "{name}");
    }
    assert!(matches!(BoundHeader::new("a.example", "a b", "x"), Err(BindError::Name(_))));
    assert!(matches!(BoundHeader::new("*.example", "x-key", "x"), Err(BindError::Host(_))));
    let error = BoundHeader::new("a.example", "x-key", "s3cret\r\nx: y").unwrap_err();
    assert!(!error.to_string().contains("s3cret") && !format!("{error:?}").contains("s3cret"));
    assert!(!format!("{:?}", BoundHeader::new("a.example", "x-key", "s3cret").unwrap()).contains("s3cret"));
}
