//! Rows 1, 2, 3: tasks in the jail, through the API.

use std::{process::Command, time::Instant};

use serde_json::json;

use super::{
    server::Server,
    stats::{Table, Times},
};

/// One task after the other: API call → `finished` seen over the API.
pub fn latency(table: &mut Table) {
    let server = Server::new();
    server.stack("bench");
    let once = || {
        let run = server.task("bench", "true");
        server.until_done(&run);
    };
    (0..20).for_each(|_| once());
    let spawn = Times::of(200, || {
        let _ = Command::new("sh").args(["-c", "true"]).status().unwrap();
    });
    let times = Times::of(200, once);
    table.row(
        1,
        "task `true`, init skipped: API call → finished, p50 / p95",
        times.p50_p95(),
        format!("≤ 8 / 12 ms; `sh -c true` alone {}", spawn.p50_p95()),
    );
}

/// 200 tasks at once over 50 stacks.
pub fn many(table: &mut Table) {
    let server = Server::new();
    for n in 0..50 {
        server.stack(&format!("bench-{n}"));
    }
    let start = Instant::now();
    let runs: Vec<String> = (0..200).map(|n| server.task(&format!("bench-{}", n % 50), "true")).collect();
    for run in &runs {
        server.until_done(run);
    }
    let seconds = start.elapsed().as_secs_f64();
    assert!(runs.iter().all(|run| server.state(run) == "finished"));
    table.row(2, "200 such tasks at once over 50 stacks", format!("{:.0}/s", 200.0 / seconds), "≥ 250/s");
}

/// 100 MB of output through the masker with 50 secrets in all forms.
pub fn output(table: &mut Table) {
    const BYTES: u64 = 101_000_000;
    let server = Server::new();
    server.stack("bench");
    for n in 0..50 {
        let body = json!({"value": format!("s3cret-number-{n:04}-{:x}", n * 7_919), "sensitive": true});
        let path = format!("/api/v1/stacks/bench/environment/SECRET_{n}");
        let status = server.put(&path, &body);
        assert!((200..300).contains(&status));
    }
    let line = "x".repeat(100);
    let command = format!("yes {line} | head -n 1000000");
    let floor = {
        let path = server.dir.path().join("floor");
        let start = Instant::now();
        let shell = format!("{command} > {}", path.display());
        assert!(Command::new("sh").args(["-c", &shell]).status().unwrap().success());
        rustix::fs::fsync(std::fs::File::open(&path).unwrap()).unwrap();
        BYTES as f64 / 1e6 / start.elapsed().as_secs_f64()
    };
    let start = Instant::now();
    let run = server.task("bench", &command);
    while server.state(&run) != "finished" {
        std::thread::yield_now();
    }
    let seconds = start.elapsed().as_secs_f64();
    let log = server.get(&format!("/api/v1/runs/{run}"));
    assert_eq!(log["phases"].as_array().unwrap().last().unwrap()["log_bytes"], BYTES);
    table.row(
        3,
        "a task that prints 100 MB, 50 secrets masked in all forms",
        format!("{:.0} MB/s", BYTES as f64 / 1e6 / seconds),
        format!("≥ 400 MB/s; the same command into a fsynced file {floor:.0} MB/s"),
    );
}
