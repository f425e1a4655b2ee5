//! Logs over the API.

use airlock::{domain::Phase, log::Stream};
use serde_json::Value;

use super::server::{Reply, Server};

async fn with_log() -> (Server, String) {
    let server = Server::start().await;
    server.stack("shop").await;
    let run = server.run("shop").await;
    let mut runner = server.runner(&run);
    runner.phase(Phase::Preparing, "one\ntwo\n").await;
    runner.begin(Phase::Initializing).await;
    let mut log = runner.log(Phase::Initializing);
    log.print("three\nfo");
    log.print("ur\n");
    log.print_to(Stream::Stderr, "oops: ü\n");
    log.print("no end");
    log.finish();
    let path = format!("/runs/{}/log", run["id"].as_str().unwrap());
    (server, path)
}

const WHOLE: &str = "one\ntwo\nthree\nfour\noops: ü\nno end";

#[tokio::test]
async fn a_log_is_what_was_printed_phase_by_phase() {
    let (server, path) = with_log().await;
    let log = server.admin.get(&path).await.expect(200);
    assert_eq!(log.text(), WHOLE);
    assert_eq!(log.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(log.header("accept-ranges"), "bytes");
    assert_eq!(log.header("content-length"), WHOLE.len().to_string());
    assert_eq!(server.admin.get(&format!("{path}?phase=preparing")).await.expect(200).text(), "one\ntwo\n");
    assert_eq!(server.admin.get(&format!("{path}?phase=planning")).await.expect(200).text(), "");
    assert_eq!(server.admin.get(&format!("{path}?offset=8")).await.expect(200).text(), &WHOLE[8..]);
    assert_eq!(server.admin.get(&format!("{path}?offset=4&phase=preparing")).await.expect(200).text(), "two\n");
    assert_eq!(server.admin.get(&format!("{path}?offset=1000")).await.expect(200).text(), "");
    assert!(server.admin.get(&format!("{path}?phase=cooking")).await.detail(422).contains("phase"));
    assert!(server.admin.get(&format!("{path}?format=xml")).await.detail(422).contains("format"));
    assert!(server.admin.get(&format!("{path}?offset=-1")).await.detail(422).contains("offset"));
}

#[tokio::test]
async fn a_range_is_honoured_across_phases() {
    let (server, path) = with_log().await;
    let ranged = |range: &str| Reply::of(server.admin.request("GET", &path).header("range", range));
    let part = ranged("bytes=4-13").await.expect(206);
    assert_eq!(part.text(), &WHOLE[4..14]);
    assert_eq!(part.header("content-range"), format!("bytes 4-13/{}", WHOLE.len()));
    assert_eq!(ranged("bytes=-3").await.expect(206).text(), "end");
    assert_eq!(ranged("bytes=8-").await.expect(206).text(), &WHOLE[8..]);
    assert_eq!(ranged("bytes=0-1,4-5").await.expect(200).text(), WHOLE);
    let beyond = ranged("bytes=1000-").await.expect(416);
    assert_eq!(beyond.header("content-range"), format!("bytes */{}", WHOLE.len()));
    // A range of what the address names.
    let request = server.admin.request("GET", &format!("{path}?phase=preparing&offset=4")).header("range", "bytes=0-1");
    assert_eq!(Reply::of(request).await.expect(206).text(), "tw");
}

#[tokio::test]
async fn every_line_says_when_and_where_it_was_printed() {
    let (server, path) = with_log().await;
    let log = server.admin.get(&format!("{path}?format=jsonl")).await.expect(200);
    assert_eq!(log.header("content-type"), "application/jsonl");
    let lines: Vec<Value> = log.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let shown: Vec<_> =
        lines.iter().map(|line| ["phase", "stream", "text"].map(|field| line[field].as_str().unwrap())).collect();
    let expected = [
        ["preparing", "stdout", "one"],
        ["preparing", "stdout", "two"],
        ["initializing", "stdout", "three"],
        ["initializing", "stdout", "four"],
        ["initializing", "stderr", "oops: ü"],
        ["initializing", "stdout", "no end"],
    ];
    assert_eq!(shown, expected);
    assert!(lines[0]["at"].as_str().unwrap().starts_with("2026-01-01T"));
    assert!(lines[3]["at"].as_str() < lines[5]["at"].as_str());
}

#[tokio::test]
async fn a_large_log_is_read_in_pieces_and_whole_lines() {
    let server = Server::start().await;
    server.stack("shop").await;
    let run = server.run("shop").await;
    let mut runner = server.runner(&run);
    runner.begin(Phase::Preparing).await;
    let mut log = runner.log(Phase::Preparing);
    let mut whole = String::new();
    for n in 0..200 {
        let piece = format!("{n} {}\n{}", "ä".repeat(4_000), "\u{1b}[0m".repeat(50));
        log.print(&piece);
        whole.push_str(&piece);
    }
    log.finish();
    let path = format!("/runs/{}/log", run["id"].as_str().unwrap());
    assert!(server.admin.get(&path).await.expect(200).text() == whole);
    let lines = server.admin.get(&format!("{path}?format=jsonl")).await.expect(200).text();
    let texts: Vec<String> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["text"].as_str().unwrap().to_owned())
        .collect();
    assert!(texts == whole.lines().collect::<Vec<_>>());
}
