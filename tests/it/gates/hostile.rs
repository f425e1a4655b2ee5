//! Run tasks and services that mean no good.

use airlock::{
    actions::{NewRunTask, NewRunTaskKind},
    auth::{On, Permission, Permit},
    domain::{Enforcement, Kind, Stage, State},
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::mpsc,
};

use super::{
    rig::{attach, attached, custom, rig, run_task},
    service::{Service, body},
};
use crate::whole::{
    rig::{Rig, assert_nothing_held},
    server::Server,
};

/// A receiver that answers with bytes of the test's choice, whatever it is asked.
struct Receiver {
    url: String,
    asked: mpsc::UnboundedReceiver<String>,
}

impl Receiver {
    async fn new(answers: impl Fn(usize) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/check", listener.local_addr().unwrap());
        let (said, asked) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            for n in 0.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.windows(4).any(|four| four == b"\r\n\r\n") {
                    let mut piece = [0; 4096];
                    let read = stream.read(&mut piece).await.unwrap_or(0);
                    if read == 0 {
                        break;
                    }
                    head.extend_from_slice(&piece[..read]);
                }
                let _ = said.send(String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned());
                let _ = stream.write_all(&answers(n)).await;
                let _ = stream.shutdown().await;
            }
        });
        Self { url, asked }
    }
}

const FINE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// Fine while it is verified, and what it is later.
fn then(later: impl Into<Vec<u8>>) -> impl Fn(usize) -> Vec<u8> + Send + 'static {
    let later = later.into();
    move |n| if n == 0 { FINE.to_vec() } else { later.clone() }
}

fn http(name: &str, url: &str) -> NewRunTask {
    let kind = NewRunTaskKind::Http { url: url.to_owned(), hmac_key: None };
    NewRunTask { name: name.parse().unwrap(), description: String::new(), kind, enabled: true, trusted: false }
}

async fn create(rig: &Rig, new: NewRunTask) -> Result<airlock::domain::RunTaskId, String> {
    let permit = Permit::of_system(Permission::ManageRunTasks, On::Installation);
    rig.app.actions.create_run_task(&permit, new, None).await.map(|task| task.id).map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_no_acceptance_end_the_call_within_bounds() {
    let rig = rig().await;
    let inside = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let elsewhere = format!("http://{}/inside", inside.local_addr().unwrap());
    let bomb = {
        use std::io::Write as _;
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gz.write_all(&vec![b'x'; 64 << 20]).unwrap();
        let body = gz.finish().unwrap();
        let mut answer =
            format!("HTTP/1.1 500 Oh\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
        answer.extend(body);
        answer
    };
    let long = |status: &str| {
        let mut answer = format!("HTTP/1.1 {status}\r\n\r\n").into_bytes();
        answer.resize(answer.len() + (2 << 20), b'x');
        answer
    };
    let redirect = format!("HTTP/1.1 307 Go\r\nlocation: {elsewhere}\r\ncontent-length: 0\r\n\r\n");
    for (name, answer, tries, said) in [
        ("redirects", redirect.into_bytes(), 5, "HTTP 307"),
        ("bomb", bomb, 5, "HTTP 500: "),
        ("endless", long("500 Oh"), 5, "HTTP 500"),
        ("mute", Vec::new(), 5, "did not answer in HTTP"),
        ("garbage", b"\x00\xff\xfe not http at all\r\n\r\n".to_vec(), 5, "did not answer in HTTP"),
        ("created", b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n".to_vec(), 5, "HTTP 201"),
    ] {
        let mut receiver = Receiver::new(then(answer)).await;
        let stack = custom(&rig, name, json!({})).await;
        let id = create(&rig, http(name, &receiver.url)).await.unwrap();
        attach(&rig, &stack, id, &[Stage::PostPlan], Enforcement::Mandatory).await;
        let run = rig.trigger(&stack, Kind::Tracked).await;
        let failed = rig.until_state(&run, State::Failed).await;
        let reason = failed.reason.unwrap();
        assert!(reason.starts_with(&format!("mandatory run task {name} is unreachable after planning")), "{reason}");
        assert!(reason.contains(said) && reason.chars().count() < 1_000, "{name}: {reason}");
        let asked = std::iter::from_fn(|| receiver.asked.try_recv().ok()).count();
        assert_eq!(asked, tries + 1, "{name}: with the verification");
    }
    let followed = tokio::select! {
        biased;
        came = inside.accept() => came.is_ok(),
        () = std::future::ready(()) => false,
    };
    assert!(!followed, "a redirect was followed");
    rig.until_tidy().await;
    let dir = rig.stop().await;
    assert_nothing_held(&dir.path().join("data"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn this_machine_is_refused_however_it_is_spelt_and_not_called() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &[("AIRLOCK_OUTBOUND_ALLOW", "")]).await;
    let inside = TcpListener::bind(("0.0.0.0", 0)).await.unwrap();
    let port = inside.local_addr().unwrap().port();
    for host in [
        "127.0.0.1",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "127.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "0.0.0.0",
        "[::]",
        "169.254.169.254",
        "[fe80::1]",
        "１２７.0.0.1",
    ] {
        let new = json!({"name": "inside", "url": format!("http://{host}:{port}/x?secret=hidden")});
        let (status, text) = server.raw(None, "POST", "/api/v1/run-tasks", Some(new)).await;
        assert_eq!(status, 422, "{host}: {text}");
        assert!(!text.contains("hidden"), "{text}");
    }
    for url in ["ftp://example.org/", "file:///etc/passwd", "http://user:word@example.org/", "http://", "gopher://x"] {
        let new = json!({"name": "inside", "url": url});
        assert_eq!(server.raw(None, "POST", "/api/v1/run-tasks", Some(new)).await.0, 422, "{url}");
    }
    let called = tokio::select! {
        biased;
        came = inside.accept() => came.is_ok(),
        () = std::future::ready(()) => false,
    };
    assert!(!called);
    assert_eq!(server.get("run-tasks").await["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_callbacks_are_read_with_care_and_change_nothing() {
    let rig = rig().await;
    let stack = custom(&rig, "Shop", json!({})).await;
    let service = attached(&rig, &stack, "check", &[Stage::PostPlan], Enforcement::Mandatory).await;
    let run = rig.trigger(&stack, Kind::Tracked).await;
    let call = service.called().await;
    assert_eq!(call.says("running", "begun").await, 200);
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth)).into_bytes();
    let deep = format!("{}1{}", "{\"data\":".repeat(100_000), "}".repeat(100_000)).into_bytes();
    let mut with_bad_text = body("passed", "MARK").to_string().into_bytes();
    let at = with_bad_text.windows(4).position(|four| four == b"MARK").unwrap();
    with_bad_text.splice(at..at + 4, [0xff, 0xc0, 0x80, 0xed, 0xa0, 0x80]);
    let many: Vec<Value> = vec![json!({"outcome-id": "A", "description": "d", "tags": {}}); 251];
    for (what, sent) in [
        ("empty", Vec::new()),
        ("nested lists", nested(1_000_000)),
        ("nested objects", deep),
        ("bad UTF-8", with_bad_text),
        (
            "a lone surrogate",
            br#"{"data":{"type":"task-results","attributes":{"status":"passed","message":"\ud800"}}}"#.to_vec(),
        ),
        ("a number", b"1e999999999".to_vec()),
        ("no object", b"null".to_vec()),
        ("an array for data", br#"{"data":[{"type":"task-results","attributes":{"status":"passed"}}]}"#.to_vec()),
        ("a status in capitals", body("PASSED", "").to_string().into_bytes()),
        ("a long message", body("passed", &"ü".repeat(1_001)).to_string().into_bytes()),
        (
            "too many outcomes",
            json!({"data": {"type": "task-results", "attributes": {"status": "passed", "outcomes": many}}})
                .to_string()
                .into_bytes(),
        ),
    ] {
        let answer = call.patches(&call.token(), sent).await;
        assert_eq!(answer.status, 422, "{what}: {}", String::from_utf8_lossy(&answer.body));
        assert_eq!(answer.json()["errors"][0]["status"], "422", "{what}");
        assert!(answer.body.len() < 4_096, "{what}: an answer is short");
    }
    for token in ["", "x", &"y".repeat(8_000), "art_01K0000000000000000000000000"] {
        assert_eq!(call.patches(token, body("passed", "").to_string()).await.status, 401, "{token}");
    }
    let url = call.text("task_result_callback_url");
    assert_eq!(call.asks(Method::PATCH, &url, None, Some("{}".into())).await.status, 401);
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        assert_eq!(call.asks(method, &url, Some(&call.token()), Some("{}".into())).await.status, 405);
    }
    let now = rig.run(run.id);
    assert_eq!(now.state, State::Checking, "none of this changed anything");
    let odd = "zero \u{0} bell \u{7} <script>alert(1)</script> \u{202e}back";
    assert_eq!(call.says("passed", odd).await, 200, "odd characters are text");
    rig.until_state(&run, State::Unconfirmed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_one_result_of_one_run_and_nothing_of_another() {
    let rig = rig().await;
    let service = Service::new().await;
    let task = run_task(&rig, "check", &service).await;
    let mut calls = Vec::new();
    for name in ["One", "Other"] {
        let stack = custom(&rig, name, json!({})).await;
        attach(&rig, &stack, task, &[Stage::PostPlan], Enforcement::Mandatory).await;
        let run = rig.trigger(&stack, Kind::Tracked).await;
        let call = service.called().await;
        assert_eq!(call.text("run_id").replace('-', "_"), run.id.to_string());
        calls.push((run, call));
    }
    let [(one, mine), (other, foreign)] = &calls[..] else { panic!() };
    let passed = || Some(body("passed", "").to_string().into());
    let base = rig.app.actions.setup().public_url.clone();
    let link = foreign.gets(&foreign.text("plan_json_api_url")).await.location.unwrap();
    for (method, url, status) in [
        (Method::PATCH, foreign.text("task_result_callback_url"), 401),
        (Method::GET, foreign.text("plan_json_api_url"), 404),
        (Method::GET, foreign.text("configuration_version_download_url"), 404),
        (Method::GET, format!("{base}/api/v2/runs/{}", foreign.text("run_id")), 404),
        (Method::GET, format!("{base}/api/v2/runs/{}/plan", foreign.text("run_id")), 404),
        (Method::GET, format!("{base}/api/v2/runs/{}/task-stages", mine.text("run_id")), 401),
        (Method::GET, format!("{base}/api/v2/organizations/airlock/tasks"), 401),
        (Method::GET, format!("{base}/api/v1/runs/{}", one.id), 401),
        (Method::POST, format!("{base}/api/v1/runs/{}/confirm", one.id), 401),
    ] {
        let body = (method != Method::GET).then(passed).flatten();
        let answer = mine.asks(method, &url, Some(&mine.token()), body).await;
        assert_eq!(answer.status, status, "{url}: {}", String::from_utf8_lossy(&answer.body));
    }
    // A short-lived address is nobody else's either: not with another id, another time, or a guess.
    let (place, tag) = link.rsplit_once('/').unwrap();
    let (place, until) = place.rsplit_once('/').unwrap();
    let later = until.parse::<i64>().unwrap() + 1;
    let elsewhere = place.replace(&foreign.text("task_result_id"), &mine.text("task_result_id"));
    assert_ne!(elsewhere, place);
    for url in [format!("{elsewhere}/{until}/{tag}"), format!("{place}/{later}/{tag}"), format!("{place}/{until}/0000")]
    {
        assert_eq!(mine.gets(&url).await.status, 404, "{url}");
    }
    for (run, call) in [(one, mine), (other, foreign)] {
        assert_eq!(call.says("passed", "").await, 200);
        rig.until_state(run, State::Unconfirmed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_progress_leaves_one_result_and_no_log_of_itself() {
    let rig = rig().await;
    let stack = custom(&rig, "Shop", json!({})).await;
    let service = attached(&rig, &stack, "check", &[Stage::PostPlan], Enforcement::Mandatory).await;
    let run = rig.trigger(&stack, Kind::Tracked).await;
    let call = std::sync::Arc::new(service.called().await);
    let outcome = json!({"outcome-id": "A", "description": "d", "body": "x".repeat(10_000)});
    let mut progress = body("running", "still at it");
    progress["data"]["attributes"]["outcomes"] = json!(vec![outcome; 20]);
    let mut flood = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let (call, progress) = (std::sync::Arc::clone(&call), progress.clone());
        flood.spawn(async move { call.sends(&progress).await.status });
    }
    while let Some(status) = flood.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    let before = rig.app.queries.run_detail(&airlock::auth::Who::system(), run.id).unwrap();
    assert_eq!(before.run.history, rig.run(run.id).history);
    assert!(before.history.len() < 10, "progress is no part of the timeline: {:#?}", before.history);
    assert_eq!(call.says("passed", "done").await, 200);
    rig.until_state(&run, State::Unconfirmed).await;
}
