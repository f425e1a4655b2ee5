//! Live pages: the stream says what changed, sends every line once, and ends when it should.

use std::time::Duration;

use airlock::domain::{Kind, Role, State};
use serde_json::Value;

use super::rig::{Browser, Site, custom};

/// A stream that is open.
struct Stream {
    response: reqwest::Response,
    text: String,
}

impl Stream {
    async fn open(browser: &Browser, path: &str) -> Self {
        let response = browser.request(reqwest::Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new() }
    }

    /// The next event: name, data, id; none at the end.
    async fn next(&mut self) -> Option<(String, Value, String)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let found = event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                    found.unwrap_or_default().trim().to_owned()
                };
                let found = (field("event"), field("data"), field("id"));
                self.text = rest.to_owned();
                if !found.1.is_empty() {
                    return Some((found.0, serde_json::from_str(&found.1).unwrap(), found.2));
                }
                continue;
            }
            let piece = tokio::time::timeout(Duration::from_secs(60), self.response.chunk());
            let piece = piece.await.expect("nothing comes").unwrap()?;
            self.text.push_str(std::str::from_utf8(&piece).unwrap());
        }
    }

    async fn until(&mut self, fits: impl Fn(&str, &Value) -> bool) -> (Value, String) {
        while let Some((name, data, id)) = self.next().await {
            if fits(&name, &data) {
                return (data, id);
            }
        }
        panic!("the stream is over");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_hears_that_its_blocks_changed_and_the_numbers_fit_those_of_the_page() {
    let site = Site::new().await;
    let stack = site.stack(custom("Shop")).await;
    let admin = site.admin().await;
    for path in ["/", "/stacks", "/stacks/shop", "/runs", "/queue", "/tasks"] {
        let page = admin.get(path).await;
        let live = page.attribute("main", "data-live").unwrap();
        let mut stream = Stream::open(&admin, &live).await;
        let (name, state, _) = stream.next().await.unwrap();
        assert_eq!(name, "state");
        assert_eq!(state["title"], page.words("title"), "{path}");
        for (block, rev) in state["blocks"].as_object().unwrap() {
            let shown = page.attribute(&format!("[data-block={block}]"), "data-rev").unwrap();
            assert_eq!(rev.to_string(), shown, "{path} {block}");
        }
    }
    let page = admin.get("/stacks/shop").await;
    let mut stream = Stream::open(&admin, &page.attribute("main", "data-live").unwrap()).await;
    let (_, before, _) = stream.next().await.unwrap();
    site.trigger(&stack, Kind::Proposed).await;
    let (after, _) = stream.until(|name, _| name == "state").await;
    assert_ne!(after["blocks"], before["blocks"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_gets_every_line_once_whenever_it_comes_and_however_often_it_comes_back() {
    let site = Site::new().await;
    site.stack(custom("Shop")).await;
    let admin = site.admin().await;
    let command = "for i in $(seq 1 300); do echo line-$i; sleep 0.005; done";
    let to = admin.post("/stacks/shop/tasks", &[("do", "perform"), ("command", command)]).await.to();
    let id = to.trim_start_matches("/runs/").to_owned();
    let mut lines: Vec<(u64, String)> = Vec::new();
    let mut after = "performing:1".to_owned();
    let mut turns = 0;
    'turns: loop {
        turns += 1;
        let mut stream = Stream::open(&admin, &format!("/live/runs/{id}?of=page&tab=log&after={after}")).await;
        let mut heard = 0;
        while let Some((name, data, place)) = stream.next().await {
            match name.as_str() {
                "log" if data["phase"] == "performing" => {
                    for line in data["lines"].as_array().unwrap() {
                        let text: String =
                            line["s"].as_array().unwrap().iter().map(|it| it[1].as_str().unwrap()).collect();
                        let n = line["n"].as_u64().unwrap();
                        lines.retain(|(other, _)| *other != n);
                        lines.push((n, text));
                    }
                    after = place;
                    heard += 1;
                }
                "end" => {
                    assert_eq!(data["why"], "done");
                    break 'turns;
                }
                _ => {}
            }
            // The connection is lost now and then.
            if heard == 3 {
                continue 'turns;
            }
        }
        panic!("the stream ended without saying why");
    }
    let expected: Vec<(u64, String)> = (1..=300).map(|n| (n, format!("line-{n}"))).collect();
    assert_eq!(lines, expected, "after {turns} connections");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_a_run_hears_of_its_states_and_of_locks() {
    let site = Site::new().await;
    let (stack, run) = site.waiting("Shop").await;
    let (ada, will) = (site.admin().await, site.person("will", false, &[(&stack, Role::Writer)]).await);
    let page = will.get(&format!("/runs/{}", run.id)).await;
    let mut stream = Stream::open(&will, &page.attribute("main", "data-live").unwrap()).await;
    let (_, first, _) = stream.next().await.unwrap();
    for block in ["head", "aside", "tabs", "panel"] {
        let shown = page.attribute(&format!("[data-block={block}]"), "data-rev").unwrap();
        assert_eq!(first["blocks"][block].to_string(), shown, "{block}");
    }
    assert_eq!((first["look"].as_str(), first["say"].as_str()), (Some("needs_you"), None));
    ada.post("/stacks/shop", &[("do", "lock")]).await;
    let (locked, _) = stream.until(|name, _| name == "state").await;
    assert_ne!(locked["blocks"]["head"], first["blocks"]["head"]);
    ada.post(&format!("/runs/{}", run.id), &[("do", "confirm")]).await;
    let (done, _) = stream.until(|name, data| name == "state" && data["look"] == "succeeded").await;
    assert_eq!(done["say"], "Run #1 is finished");
    assert_eq!(done["title"], "✓ run #1 · Shop · Airlock");
    assert_eq!(stream.until(|name, _| name == "end").await.0["why"], "done");
    site.until(run.id, State::Finished).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_session_with_the_stack_and_with_the_server() {
    let site = Site::new().await;
    let (stack, run) = site.waiting("Shop").await;
    let (ada, will) = (site.admin().await, site.person("will", false, &[(&stack, Role::Writer)]).await);
    let mut list = Stream::open(&will, "/live/home").await;
    let mut page = Stream::open(&will, &format!("/live/runs/{}", run.id)).await;
    list.next().await.unwrap();
    page.next().await.unwrap();
    ada.post("/admin/users", &[("do", "roles"), ("user", "will")]).await;
    assert_eq!(list.until(|name, _| name == "end").await.0["why"], "signed_out");
    assert_eq!(page.until(|name, _| name == "end").await.0["why"], "signed_out");
    assert!(list.next().await.is_none());

    let other = site.stack(custom("Gone")).await;
    let mut gone = Stream::open(&ada, "/live/stacks/gone").await;
    gone.next().await.unwrap();
    ada.post("/stacks/gone/settings", &[("do", "delete"), ("confirm", "gone")]).await;
    assert_eq!(gone.until(|name, _| name == "end").await.0["why"], "forbidden");
    drop(other);

    let mut last = Stream::open(&ada, "/live/queue").await;
    last.next().await.unwrap();
    tokio::join!(site.end(), async {
        assert_eq!(last.until(|name, _| name == "end").await.0["why"], "restart");
    });
}
