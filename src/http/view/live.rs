//! The live contract between pages and server; `static/app.js` and `static/log.js` are its other
//! half.
//!
//! A page with live parts has **one** stream: `<main data-live="URL">` ([`LiveHook`]). The script
//! opens it while the page is visible, closes it while hidden, and reopens it after an interruption
//! with growing pauses. The position is always carried in the URL as `after=<last event id>`, on the
//! first opening as well as on every later one; `Last-Event-ID` means the same and is not relied on.
//!
//! | event | data | what the page does |
//! | --- | --- | --- |
//! | `state` | [`LiveState`] | fetches each block whose `data-rev` differs, by the `hx-get` of the element with that `data-block`; sets title and icon; says `say` politely |
//! | `log` | [`LiveLog`], `id: <phase>:<offset>` | puts the lines into the list of that phase: a number that is already there is **replaced**, so that progress bars, unfinished lines and repeated events need no care |
//! | `end` | [`LiveEnd`] | stops; shows why |
//!
//! The id is opaque to the page. Its offset is where the first line begins that may still change, so
//! that an unfinished line comes again, whole, after a reconnection.
//!
//! The server sends `state` first on every connection (numbers, never differences: nothing can be
//! missed), then whenever the bell rings. A block is fetched as `GET <page>?block=<name>` and
//! answered with the rendered block alone (`page.as_<name>()`), which carries its new `data-rev`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::status::Badge;

/// Where a page hears of changes: `/live/home`, `/live/runs/<id>?after=applying:1203`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveHook {
    pub url: String,
}

impl LiveHook {
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into() }
    }
}

/// Data of the event `state`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LiveState {
    /// The number of each block, as its `data-rev` shows it. Any number that changes when the block
    /// would look different, times apart.
    pub blocks: BTreeMap<&'static str, u64>,
    /// The look of the page's object, for the icon; null where there is none.
    pub look: Option<&'static str>,
    /// The browser's title.
    pub title: String,
    /// A sentence for the polite status line, null when the state is the same as before.
    pub say: Option<String>,
    /// How many runs wait for this person.
    pub needs_you: u64,
}

impl LiveState {
    /// The state of one object's page.
    pub fn new(badge: Option<&Badge>, title: String) -> Self {
        Self { blocks: BTreeMap::new(), look: badge.map(|badge| badge.look.word()), title, say: None, needs_you: 0 }
    }
}

/// Data of the event `log`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LiveLog {
    /// The phase's word.
    pub phase: &'static str,
    pub lines: Vec<LiveLine>,
}

/// One line of a log, already taken apart: no markup, no escape sequences.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LiveLine {
    /// Its number, from 1, within the phase.
    pub n: u64,
    /// When it was begun, in words since the phase's start: `1.02s`.
    pub t: String,
    /// Class set (blank-separated, may be empty) and text.
    pub s: Vec<(String, String)>,
    /// Whether it looks like an error: `e` jumps to it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub e: bool,
}

/// Data of the event `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LiveEnd {
    pub why: EndReason,
}

/// Why a stream is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The object is in a terminal state and all of its log was sent.
    Done,
    /// The session is over: the page offers to sign in.
    SignedOut,
    /// The role is gone: the page offers to reload.
    Forbidden,
    /// The server goes down: the page reconnects.
    Restart,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_events_are_written_as_the_scripts_read_them() {
        let log = LiveLog {
            phase: "applying",
            lines: vec![LiveLine { n: 7, t: "1.02s".into(), s: vec![("g".into(), "ok".into())], e: false }],
        };
        assert_eq!(
            serde_json::to_string(&log).unwrap(),
            r#"{"phase":"applying","lines":[{"n":7,"t":"1.02s","s":[["g","ok"]]}]}"#
        );
        assert_eq!(serde_json::to_string(&LiveEnd { why: EndReason::SignedOut }).unwrap(), r#"{"why":"signed_out"}"#);
    }
}
