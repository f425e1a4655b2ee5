//! Server-sent events: everything once, in order, however often the reader comes back.

use airlock::{
    domain::{Phase, limits},
    protocol::WorkspaceLeft,
};
use futures_util::{Stream, StreamExt as _};
use serde_json::{Value, json};

use super::server::{Client, Server, id_of};

/// One event as it came.
#[derive(Clone, Debug)]
pub struct Event {
    pub id: String,
    pub name: String,
    pub data: Value,
    /// Bytes of its data.
    size: usize,
}

/// A reader of a stream of events.
pub struct Events {
    chunks: std::pin::Pin<Box<dyn Stream<Item = reqwest::Result<bytes::Bytes>> + Send>>,
    buffer: Vec<u8>,
}

impl Events {
    pub async fn open(client: &Client, path: &str, last: Option<&str>) -> Self {
        let mut request = client.request("GET", path);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { chunks: Box::pin(response.bytes_stream()), buffer: Vec::new() }
    }

    /// The next event; none when the server ended the stream.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
                if let Some(event) = parse(&String::from_utf8(block).unwrap()) {
                    return Some(event);
                }
                continue;
            }
            self.buffer.extend_from_slice(&self.chunks.next().await?.ok()?);
        }
    }

    /// The next event of a name; others are passed over.
    pub async fn named(&mut self, name: &str) -> Event {
        loop {
            let event = self.next().await.expect("the stream ended");
            if event.name == name {
                return event;
            }
        }
    }

    /// All text of the log up to `bytes` more bytes, checked for gaps, and the id to go on behind.
    async fn read(&mut self, bytes: usize) -> (String, String) {
        let (mut text, mut id) = (String::new(), String::new());
        while text.len() < bytes {
            let event = self.named("log").await;
            assert!(event.size <= limits::LOG_EVENT_BYTES, "{} bytes", event.size);
            text.push_str(event.data["text"].as_str().unwrap());
            id = event.id;
        }
        (text, id)
    }

    async fn is_over(&mut self) -> bool {
        loop {
            match self.next().await {
                None => return true,
                Some(event) if event.name == "state" => {}
                Some(_) => return false,
            }
        }
    }
}

/// None for a comment, which only keeps the line open.
fn parse(block: &str) -> Option<Event> {
    let field = |name: &str| {
        let found = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        found.unwrap_or_default().to_owned()
    };
    let data = field("data");
    if data.is_empty() {
        return None;
    }
    let size = data.len();
    Some(Event { id: field("id"), name: field("event"), data: serde_json::from_str(&data).unwrap(), size })
}

pub fn events_of(run: &Value) -> String {
    format!("/runs/{}/events", run["id"].as_str().unwrap())
}

#[tokio::test]
async fn a_run_is_followed_from_its_beginning_to_its_end() {
    let server = Server::start().await;
    server.stack("shop").await;
    let run = server.run("shop").await;
    let mut events = Events::open(&server.admin, &events_of(&run), None).await;
    let first = events.next().await.unwrap();
    assert_eq!((first.name.as_str(), &first.data["state"]), ("state", &json!("preparing")));
    assert_eq!(first.data["id"], run["id"]);
    let mut runner = server.runner(&run);
    runner.phase(Phase::Preparing, "one\r\ntwo\n").await;
    let log = events.named("log").await;
    assert_eq!(log.data, json!({"phase": "preparing", "offset": 0, "text": "one\r\ntwo\n"}));
    assert_eq!(log.id, "preparing:9");
    runner.begin(Phase::Initializing).await;
    loop {
        if events.named("state").await.data["state"] == "initializing" {
            break;
        }
    }
    let mut log = runner.log(Phase::Initializing);
    log.print("three\n");
    assert_eq!(events.named("log").await.data["offset"], 0);
    log.print("four\n");
    let event = events.named("log").await;
    assert_eq!((&event.data["offset"], event.id.as_str()), (&json!(6), "initializing:11"));
    log.finish();
    runner.finish(WorkspaceLeft::Removed).await;
    assert_eq!(events.named("done").await.data, json!({"state": "failed"}));
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_reader_who_comes_back_reads_every_byte_once() {
    let server = Server::start().await;
    server.stack("shop").await;
    let run = server.run("shop").await;
    let path = events_of(&run);
    let mut runner = server.runner(&run);
    runner.phase(Phase::Preparing, "first phase\n").await;
    runner.begin(Phase::Initializing).await;
    let mut log = runner.log(Phase::Initializing);
    let mut printed = "first phase\n".to_owned();
    let (mut seen, mut last) = (String::new(), None::<String>);
    for n in 0..40 {
        // Now and then more than one event holds.
        let piece = format!("{n} {}\n", "x\"\u{1b}é".repeat(if n % 10 == 3 { 9_000 } else { 7 }));
        log.print(&piece);
        printed.push_str(&piece);
        // Comes back by the header, by the address, or not at all.
        let address = match (&last, n % 2) {
            (Some(last), 0) => format!("{path}?after={last}"),
            _ => path.clone(),
        };
        let header = last.as_deref().filter(|_| n % 2 == 1);
        let mut events = Events::open(&server.admin, &address, header).await;
        let (text, id) = events.read(printed.len() - seen.len()).await;
        seen.push_str(&text);
        last = Some(id);
    }
    assert!(seen == printed);
    let last = last.unwrap();
    log.finish();
    runner.finish(WorkspaceLeft::Removed).await;
    let mut events = Events::open(&server.admin, &format!("{path}?after={last}"), None).await;
    assert_eq!(events.named("state").await.data["state"], "failed");
    assert_eq!(events.next().await.unwrap().name, "done");
}

#[tokio::test]
async fn a_planning_that_is_done_again_goes_on_behind_the_first() {
    let server = Server::start().await;
    server.stack_with("shop", json!({"vendor": {"kind": "terraform"}})).await;
    let run = server.run("shop").await;
    let mut runner = server.runner(&run);
    runner.plan_and_seal().await;
    let run = server.admin.get(&format!("/runs/{}", id_of(&run))).await.json();
    let replan = server.admin.post(&format!("/runs/{}/replan", id_of(&run)), json!({"targets": ["box.a"]})).await;
    assert_eq!(replan.expect(200).json()["state"], "preparing_apply");
    runner.next_chain();
    runner.phase(Phase::PreparingApply, "opening\n").await;
    runner.begin(Phase::Planning).await;
    runner.log(Phase::Planning).print("again\n");
    let first = "box.a will be made\n".len();
    let path = events_of(&run);
    // At the end of the first planning, the log goes on with what came after it.
    let mut events = Events::open(&server.admin, &format!("{path}?after=planning:{first}"), None).await;
    assert_eq!(events.named("log").await.data["text"], "opening\n");
    let again = events.named("log").await;
    assert_eq!(again.data, json!({"phase": "planning", "offset": first, "text": "again\n"}));
    let id = format!("planning:{}", first + 6);
    assert_eq!(again.id, id);
    let both = server.admin.get(&format!("/runs/{}/log?phase=planning&offset={first}", id_of(&run))).await;
    assert_eq!(both.expect(200).text(), "again\n");
    let mut events = Events::open(&server.admin, &format!("{path}?after=planning:{}", first + 2), None).await;
    assert_eq!(events.named("log").await.data["text"], "ain\n");
}

#[tokio::test]
async fn who_loses_access_loses_the_stream() {
    let server = Server::start().await;
    server.stack("shop").await;
    let run = server.run("shop").await;
    let (id, reader) = server.key("watcher", true, Vec::new()).await;
    let mut events = Events::open(&reader, &events_of(&run), None).await;
    events.named("state").await;
    server.admin.delete(&format!("/api-keys/{id}")).await.expect(204);
    assert!(events.is_over().await);
}

#[tokio::test]
async fn a_server_that_ends_ends_its_streams() {
    let server = Server::start().await;
    server.stack("shop").await;
    let run = server.run("shop").await;
    let mut events = Events::open(&server.admin, &events_of(&run), None).await;
    events.named("state").await;
    server.stop();
    assert!(events.is_over().await);
}

#[tokio::test]
async fn a_place_that_is_none_is_refused() {
    let server = Server::start().await;
    server.stack("shop").await;
    let run = server.run("shop").await;
    server.runner(&run).phase(Phase::Preparing, "x\n").await;
    for after in ["x", "planning", "planning:x", "cooking:1", "preparing:99", "planning:0"] {
        let detail = server.admin.get(&format!("{}?after={after}", events_of(&run))).await.detail(422);
        assert!(detail.contains("after"), "{after}: {detail}");
    }
}
