//! `CONNECT`.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::rig::{Authority, Names, OK, Rig, Server, entries, local};
use crate::domain::network::{Denied, Destination};

#[tokio::test]
async fn a_tunnel_carries_tls_of_the_clients_own() {
    let authority = Authority::new(&["shop.example"]);
    let mut server = Server::secure(OK, &authority).await;
    let port = server.port();
    let rig = Rig::forward(
        &[format!("shop.example:{port}"), local(port)],
        Names::default().with("shop.example", "127.0.0.1"),
    );
    let mut connection = rig.connect();
    let request = format!("CONNECT shop.example:{port} HTTP/1.1\r\nHost: shop.example:{port}\r\n\r\n");
    connection.stream.write_all(request.as_bytes()).await.unwrap();
    assert!(connection.head().await.starts_with("HTTP/1.1 200"));
    let destination = Destination::parse("shop.example:443", None).unwrap();
    let mut secure = authority.trust().secure(connection.stream, &destination).await.unwrap();
    secure.write_all(b"GET /x HTTP/1.1\r\nHost: shop.example\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    let _ = secure.read_to_string(&mut answer).await;
    assert!(answer.ends_with("hello"), "{answer}");
    assert!(server.request().await.starts_with("GET /x"));
    let (host, requests, bytes_in, bytes_out) = rig.hosts().remove(0);
    assert_eq!((host, requests), (format!("shop.example:{port}"), 1));
    assert!(bytes_in > 500 && bytes_out > 200, "{bytes_in} {bytes_out}");
}

#[tokio::test]
async fn a_tunnel_goes_only_to_listed_hosts_and_ports() {
    let server = Server::plain(OK).await;
    let other = Server::plain(OK).await;
    let rig = Rig::forward(&[local(server.port())], Names::default());
    for (target, status) in [
        (local(other.port()), "403"),
        ("evil.example:443".to_owned(), "403"),
        (format!("[::1]:{}", server.port()), "403"),
        (format!("[::ffff:127.0.0.1]:{}", other.port()), "403"),
        ("127.0.0.1".to_owned(), "400"),
        (format!("0x7f.1:{}", server.port()), "400"),
        (format!("2130706433:{}", server.port()), "400"),
        (format!("user@127.0.0.1:{}", server.port()), "400"),
        ("127.0.0.1:0".to_owned(), "400"),
    ] {
        let answer = rig.say(&format!("CONNECT {target} HTTP/1.1\r\nConnection: close\r\n\r\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{target}: {answer}");
    }
    assert_eq!((server.connected(), other.connected()), (0, 0));
    assert!(rig.hosts().is_empty());
    let denials = rig.proxy.ledger().denials();
    assert_eq!((denials[1].what, denials[1].tried.as_str()), (Denied::Host, "CONNECT evil.example:443"));
}

#[tokio::test]
async fn a_refused_tunnel_leaves_the_connection_usable() {
    let server = Server::plain(OK).await;
    let host = local(server.port());
    let rig = Rig::forward(std::slice::from_ref(&host), Names::default());
    let answers = rig
        .say(&format!(
            "CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n\
             GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        ))
        .await;
    assert!(answers.starts_with("HTTP/1.1 403") && answers.ends_with("hello"), "{answers}");
}

/// A host that tells what came until its client had said everything, and then says `bye`.
async fn listener_to_the_end() -> (u16, tokio::task::JoinHandle<io::Result<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        let mut all = String::new();
        stream.read_to_string(&mut all).await?;
        stream.write_all(b"bye").await?;
        Ok(all)
    });
    (port, task)
}

#[tokio::test]
async fn either_side_of_a_tunnel_may_finish_first() {
    let (port, host) = listener_to_the_end().await;
    let rig = Rig::forward(&[local(port)], Names::default());
    let mut connection = rig.connect();
    // What comes right behind the head belongs to the tunnel.
    let request = format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\nearly ");
    connection.stream.write_all(request.as_bytes()).await.unwrap();
    connection.head().await;
    connection.stream.write_all(b"and late").await.unwrap();
    connection.stream.shutdown().await.unwrap();
    assert_eq!(host.await.unwrap().unwrap(), "early and late");
    assert_eq!(connection.rest().await, "bye");
    connection.task.await.unwrap();
    assert_eq!(rig.hosts(), [(local(port), 1, 3, 14)]);
}

#[tokio::test]
async fn older_clients_may_leave_the_port_out_of_the_host_header() {
    let (port, _host) = listener_to_the_end().await;
    let rig = Rig::forward(&[local(port)], Names::default());
    let mut connection = rig.connect();
    let request = format!("CONNECT 127.0.0.1:{port} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n");
    connection.stream.write_all(request.as_bytes()).await.unwrap();
    assert!(connection.head().await.contains(" 200 "));
}

#[tokio::test]
async fn a_real_listener_is_served_until_it_is_dropped() {
    let server = Server::plain(OK).await;
    let host = local(server.port());
    let rig = Rig::forward(&entries(&[&host]), Names::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(rig.proxy.clone().serve(listener));
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("CONNECT {host} HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    serving.abort();
    assert!(serving.await.unwrap_err().is_cancelled());
    // Its tunnels are gone with it.
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
