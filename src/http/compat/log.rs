//! The log of an activity as `application/x-json-stream`: one JSON document a line.
//!
//! An item is a printed line; its `_id` is where it begins in the whole log, in bytes, so that ids
//! grow, stay what they are, and lead back at no cost. `start_at` shows the items from that id on. The
//! last line is `{"_id": N, "seal": true}`, and comes when nothing more will.

use std::{convert::Infallible, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    http::header,
    response::{IntoResponse as _, Response},
    routing::get,
};
use futures_util::{Stream, StreamExt as _, stream};
use serde::Deserialize;
use serde_json::json;
use tokio::{sync::watch, time::Instant};

use super::{Answer, Caller, activities, hal::time};
use crate::{
    domain::RunId,
    http::{
        Problem, Web,
        extract::{At, Params},
    },
    live::Heard,
    queries::{LogText, TextLine, Which},
};

/// At most between two looks at whether the reader still may.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route("/projects/{project}/activities/{id}/log", get(of_project))
        .route("/projects/{project}/environments/{environment}/activities/{id}/log", get(of_environment))
}

#[derive(Debug, Deserialize)]
struct LogParams {
    #[serde(default)]
    start_at: u64,
    max_items: Option<usize>,
    /// Milliseconds to wait for more; 0: what is there; below 0, or nothing: until the seal.
    max_delay: Option<i64>,
}

async fn of_project(
    caller: Caller,
    At((project, id)): At<(String, String)>,
    Params(params): Params<LogParams>,
) -> Answer<Response> {
    let run = activities::find(&caller, &project, None, &id).await?;
    Ok(answer(caller, run.id, &params))
}

async fn of_environment(
    caller: Caller,
    At((project, environment, id)): At<(String, String, String)>,
    Params(params): Params<LogParams>,
) -> Answer<Response> {
    let run = activities::find(&caller, &project, Some(&environment), &id).await?;
    Ok(answer(caller, run.id, &params))
}

fn answer(caller: Caller, run: RunId, params: &LogParams) -> Response {
    let reading = Reading::new(caller, run, params);
    ([(header::CONTENT_TYPE, "application/x-json-stream")], Body::from_stream(pieces(reading))).into_response()
}

fn pieces(reading: Reading) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let pieces = stream::unfold(reading, |mut reading| async move {
        let piece = reading.next().await?;
        Some((Ok(piece), reading))
    });
    // Layers around a body may ask once more than there is.
    pieces.fuse()
}

/// One reader of one log.
struct Reading {
    caller: Caller,
    run: RunId,
    heard: watch::Receiver<Heard>,
    /// Where the next item begins.
    at: u64,
    /// Whether one does begin there: at first it is only what a client says.
    known: bool,
    left: usize,
    until: Option<Instant>,
    over: bool,
}

impl Reading {
    /// Listens first and reads then: nothing falls between.
    fn new(caller: Caller, run: RunId, params: &LogParams) -> Self {
        let heard = caller.web.actions.bells().hear_run(run);
        let delay = params.max_delay.unwrap_or(-1);
        let until = u64::try_from(delay).ok().map(|delay| Instant::now() + Duration::from_millis(delay));
        let left = params.max_items.unwrap_or(usize::MAX);
        Self { caller, run, heard, at: params.start_at, known: false, left, until, over: false }
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.over || self.left == 0 || self.caller.web.stop.is_cancelled() {
                return None;
            }
            self.heard.mark_unchanged();
            match self.look().await {
                Ok(piece) if !piece.is_empty() => return Some(piece.into()),
                Ok(_) => {}
                Err(problem) => {
                    tracing::debug!(run = %self.run, problem = problem.detail, "a stream of a log ended");
                    return None;
                }
            }
            if !self.wait().await {
                return None;
            }
        }
    }

    /// What is there now, from where the last look ended.
    async fn look(&mut self) -> Answer<Vec<u8>> {
        let web = &self.caller.web;
        let who = web.queries.again(&self.caller.who)?.ok_or_else(|| Problem::not_found("access is over"))?;
        let who = web.actions.narrowed(who).await?;
        // Whether it had ended is known before its log is read to the end.
        let run = web.queries.run(&who, self.run)?;
        let ended = run.state.is_terminal();
        if ended && run.logs_expired {
            return Ok(self.seal(run.phases.iter().map(|phase| phase.log_bytes).sum()));
        }
        let text = web.queries.log_text(&who, self.run, Which::All)?;
        let len = text.len();
        let (from, most) = (Start { at: self.at, known: self.known }, self.left);
        let read = tokio::task::spawn_blocking(move || items(text, from, most, ended));
        let Items { mut bytes, count, next } = read.await.map_err(|_| Problem::internal())??;
        self.left -= count;
        self.known |= count > 0;
        self.at = next;
        if ended && self.left > 0 && self.at >= len {
            bytes.extend(self.seal(len));
        }
        Ok(bytes)
    }

    /// Nothing more will come.
    fn seal(&mut self, len: u64) -> Vec<u8> {
        self.over = true;
        format!("{}\n", json!({"_id": self.at.max(len), "seal": true})).into_bytes()
    }

    /// Until something may have come; false when that takes too long.
    async fn wait(&mut self) -> bool {
        let look_again = Instant::now() + LOOK_AGAIN;
        let until = self.until.map_or(look_again, |until| until.min(look_again));
        tokio::select! {
            () = self.caller.web.stop.cancelled() => false,
            heard = self.heard.changed() => heard.is_ok(),
            () = tokio::time::sleep_until(until) => self.until.is_none_or(|until| Instant::now() < until),
        }
    }
}

/// Some items of a log.
struct Items {
    bytes: Vec<u8>,
    count: usize,
    /// Where the next one begins.
    next: u64,
}

/// At most so many bytes at once.
const PIECE: usize = 256 << 10;

/// Where reading goes on.
#[derive(Clone, Copy)]
struct Start {
    at: u64,
    /// Whether an item begins there.
    known: bool,
}

/// Items that begin at `from` or behind it. A line that may still grow waits for its end.
///
/// The items of a line that is longer than one follow from where the line begins.
fn items(text: LogText, from: Start, most: usize, ended: bool) -> Result<Items, crate::actions::Error> {
    let mut items = Items { bytes: Vec::new(), count: 0, next: from.at };
    let len = text.len();
    let start = if from.known { from.at } else { text.start_of_line(from.at.saturating_sub(1))? };
    let mut lines = text.lines(start);
    while let Some(block) = lines.next_lines()? {
        for line in block {
            let begins_before = line.offset < from.at;
            if begins_before {
                continue;
            }
            let end = line.offset + line.text.len() as u64 + u64::from(line.ended);
            let may_grow = !line.ended && !ended && end >= len;
            if may_grow || items.count == most {
                return Ok(items);
            }
            write(&mut items.bytes, &line);
            items.count += 1;
            items.next = end;
        }
        if items.bytes.len() >= PIECE {
            return Ok(items);
        }
    }
    items.next = items.next.max(len);
    Ok(items)
}

fn write(out: &mut Vec<u8>, line: &TextLine) {
    let message = if line.ended { format!("{}\n", line.text) } else { line.text.clone() };
    let item = json!({"_id": line.offset, "data": {"timestamp": time(line.at), "message": message}});
    out.extend_from_slice(item.to_string().as_bytes());
    out.push(b'\n');
}

/// A log out of any bytes as a stream, whole and resumed at its items: the entry for fuzzers. `dir` is
/// empty, and is left with files in it.
#[doc(hidden)]
pub fn fuzz(dir: &std::path::Path, bytes: &[u8]) {
    let said = LogText::fuzz_written(dir, bytes);
    let all = fuzz_items(dir, 0, usize::MAX);
    let id = |item: &serde_json::Value| item["_id"].as_u64().unwrap_or(u64::MAX);
    let messages: String = all.iter().filter_map(|item| item["data"]["message"].as_str()).collect();
    assert_eq!(messages, said, "everything is said once");
    assert!(all.is_sorted_by(|one, other| id(one) < id(other)), "ids grow");
    for (n, item) in all.iter().enumerate().take(32) {
        assert_eq!(fuzz_items(dir, id(item), 1), std::slice::from_ref(item), "an item is where its id says");
        // A log of half a million lines is read to its end once, not 32 times.
        let most = if n == 0 { all.len() } else { 64 };
        let rest = &all[n + 1..];
        let rest = &rest[..rest.len().min(most)];
        assert_eq!(fuzz_items(dir, id(item) + 1, most), rest, "resumed behind {}", id(item));
    }
}

/// Items as a client gets them that asks again and again.
fn fuzz_items(dir: &std::path::Path, from: u64, most: usize) -> Vec<serde_json::Value> {
    let (mut from, mut all) = (Start { at: from, known: false }, Vec::new());
    loop {
        let text = LogText::fuzz(dir);
        let len = text.len();
        let read = items(text, from, most - all.len(), true).unwrap_or_else(|error| panic!("{error}"));
        let lines = String::from_utf8(read.bytes).expect("JSON is UTF-8");
        all.extend(lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a line is JSON")));
        if all.len() == most || read.next >= len {
            return all;
        }
        assert!(read.next > from.at, "it goes on");
        from = Start { at: read.next, known: read.count > 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_several_items_is_resumed_at_each() {
        // Pieces of output, as often as that: no line ends.
        let dir = tempfile::tempdir().unwrap();
        let piece = [&[0, 60, 255][..], &[b'g'; 60]].concat();
        fuzz(dir.path(), &piece.repeat(3));
    }
}
