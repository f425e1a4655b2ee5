//! Row 9: pages with 10 000 stored runs.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4, TcpStream},
    sync::atomic::{AtomicU8, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use rustix::net::{AddressFamily, SocketType};

use super::{
    server::Server,
    stats::{Table, Times, ms},
};

/// Connections at once.
const CONNECTIONS: usize = 8;

pub fn pages(table: &mut Table) {
    let server = super::idle::with_runs(10_000);
    let run = server.get("/api/v1/runs?limit=1")["items"][0]["id"].as_str().unwrap().to_owned();
    let pages = [
        ("Home", "/".to_owned()),
        ("Stacks", "/stacks".to_owned()),
        ("a stack's Runs", "/stacks/bench-0".to_owned()),
        ("a run", format!("/runs/{run}")),
    ];
    for (name, path) in pages {
        let mut connection = Connection::new(&server);
        (0..50).for_each(|_| connection.get(&path));
        let times = Times::of(500, || connection.get(&path));
        let rate = rate(&server, &path);
        table.row(
            9,
            format!("{name}, 10 000 runs stored: p50; with {CONNECTIONS} connections"),
            format!("{} ms; {rate:.0}/s", ms(times.percentile(50))),
            "≤ 1 ms; ≥ 5 000/s",
        );
    }
}

fn rate(server: &Server, path: &str) -> f64 {
    let count = AtomicU64::new(0);
    let start = Instant::now();
    let end = start + Duration::from_secs(3);
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut connection = Connection::new(server);
                while Instant::now() < end {
                    connection.get(path);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    count.into_inner() as f64 / start.elapsed().as_secs_f64()
}

/// A kept-alive connection.
struct Connection {
    stream: TcpStream,
    token: String,
    buffer: Vec<u8>,
}

impl Connection {
    fn new(server: &Server) -> Self {
        // As many readers as connections: one address alone is held back above its rate.
        static NEXT: AtomicU8 = AtomicU8::new(2);
        let from = Ipv4Addr::new(127, 0, 0, NEXT.fetch_add(1, Ordering::Relaxed).max(2));
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&socket, &SocketAddrV4::new(from, 0)).unwrap();
        rustix::net::connect(&socket, &server.address.parse::<SocketAddrV4>().unwrap()).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true).unwrap();
        Self { stream, token: server.token.clone(), buffer: vec![0; 1 << 20] }
    }

    fn get(&mut self, path: &str) {
        let head =
            format!("GET {path} HTTP/1.1\r\nhost: x\r\naccept: text/html\r\ncookie: airlock={}\r\n\r\n", self.token);
        self.stream.write_all(head.as_bytes()).unwrap();
        let mut filled = 0;
        loop {
            filled += self.stream.read(&mut self.buffer[filled..]).unwrap();
            let text = &self.buffer[..filled];
            let Some(at) = find(text, b"\r\n\r\n") else { continue };
            assert!(text.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&text[..at]));
            let head = String::from_utf8_lossy(&text[..at]).to_ascii_lowercase();
            match head.lines().find_map(|line| line.strip_prefix("content-length: ")) {
                Some(length) if filled >= at + 4 + length.parse::<usize>().unwrap() => return,
                None if text.ends_with(b"0\r\n\r\n") => return,
                Some(_) | None => {}
            }
        }
    }
}

fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len()).position(|window| window == needle)
}
