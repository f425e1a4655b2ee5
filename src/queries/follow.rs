//! Following the log of a run: every byte once, in order, however late it is asked for, and from any
//! place on.
//!
//! A follower never waits: it hands out what is there. Whoever uses it listens to the run's bell and
//! asks again.

use std::{fmt, str::FromStr, sync::Arc};

use bytes::Bytes;
use tokio::sync::watch;

use crate::{
    auth::Who,
    domain::{Phase, Refused, RunId},
    log::{Chunk, Progress, Tail},
    store::record::{PhaseRow, Run},
};

use super::{Queries, Result, logs::unreadable};

/// A place in a run's log: `planning:1024`. Offsets are bytes of everything that was printed in phases
/// of that name: a planning that was done again goes on behind the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPoint {
    pub phase: Phase,
    pub offset: u64,
}

impl fmt::Display for LogPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.phase, self.offset)
    }
}

impl FromStr for LogPoint {
    type Err = Refused;

    fn from_str(text: &str) -> std::result::Result<Self, Refused> {
        text.split_once(':')
            .and_then(|(phase, offset)| Some(Self { phase: Phase::from_word(phase)?, offset: offset.parse().ok()? }))
            .ok_or_else(|| Refused::field("after", "must be phase:offset, such as planning:1024"))
    }
}

/// A piece of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// `{"phase","offset","text"}`, at most `limits::LOG_EVENT_BYTES`; the offset is where it begins.
    pub json: String,
    /// Where the next begins: where to resume.
    pub end: LogPoint,
}

/// One reader of a run's log.
pub struct Follower {
    queries: Queries,
    who: Who,
    run: Run,
    /// Which phase is being read.
    phase: usize,
    /// How far it is read.
    at: u64,
    tail: Option<Following>,
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower").field("run", &self.run.id).field("phase", &self.phase).finish_non_exhaustive()
    }
}

struct Following {
    tail: Tail<fn(&Chunk) -> Bytes>,
    /// Bytes of earlier phases of that name.
    base: u64,
}

impl Queries {
    /// Follows a run's log, from its beginning or from behind what was read before.
    pub fn follow(&self, who: &Who, run: RunId, after: Option<LogPoint>) -> Result<Follower> {
        let run = self.run(who, run)?;
        let (phase, at) = match after {
            Some(point) => self.find(&run, point)?,
            None => (0, 0),
        };
        Ok(Follower { queries: self.clone(), who: who.clone(), run, phase, at, tail: None })
    }

    /// The phase that a point lies in, and where in it.
    fn find(&self, run: &Run, point: LogPoint) -> Result<(usize, u64)> {
        let mut base = 0;
        for (number, row) in run.phases.iter().enumerate().filter(|(_, row)| row.phase == point.phase) {
            let len = self.log_bytes(run, row)?;
            // At the end of one phase it goes on behind that phase, not with the next of its name.
            if point.offset <= base + len {
                return Ok((number, point.offset - base));
            }
            base += len;
        }
        Err(Refused::field("after", format!("{point} is beyond what was logged")).into())
    }

    /// Bytes of phases of the same name before this one.
    fn base(&self, run: &Run, phase: usize) -> Result<u64> {
        let (name, before) = (run.phases[phase].phase, &run.phases[..phase]);
        before.iter().filter(|row| row.phase == name).map(|row| self.log_bytes(run, row)).sum()
    }
}

impl Follower {
    /// The next piece that is there; none when all was handed out that is there now.
    pub async fn next(&mut self) -> Result<Option<Piece>> {
        loop {
            let Some(row) = self.run.phases.get(self.phase).cloned() else {
                if self.look_again()? {
                    continue;
                }
                return Ok(None);
            };
            if let Some(piece) = self.piece(&row).await? {
                return Ok(Some(piece));
            }
            // Whether the phase has ended was known before its log was read to the end.
            if row.finished_at.is_some() || self.run.state.is_terminal() {
                self.phase += 1;
                self.at = 0;
                self.tail = None;
            } else if !self.look_again()? {
                return Ok(None);
            }
        }
    }

    /// Reads the run again; says whether it is another than before.
    fn look_again(&mut self) -> Result<bool> {
        let run = self.queries.run(&self.who, self.run.id)?;
        let changed = run != self.run;
        self.run = run;
        Ok(changed)
    }

    async fn piece(&mut self, row: &PhaseRow) -> Result<Option<Piece>> {
        if self.tail.is_none() {
            self.tail = self.open(row)?;
        }
        let Some(Following { tail, base }) = &mut self.tail else { return Ok(None) };
        let Some(json) = tail.next().await else { return Ok(None) };
        let json = event(row.phase, *base, &json.map_err(unreadable)?);
        self.at = tail.at();
        Ok(Some(Piece { json, end: LogPoint { phase: row.phase, offset: *base + self.at } }))
    }

    fn open(&self, row: &PhaseRow) -> Result<Option<Following>> {
        let Some(log) = self.queries.open_log(&self.run, row)? else { return Ok(None) };
        let base = self.queries.base(&self.run, self.phase)?;
        let id = self.run.seq << 16 | u64::from(row.number);
        // This bell says that nothing more comes: the tail hands out what is there and never waits.
        let bell = watch::channel(Progress { bytes: 0, done: true }).1;
        let shared = Arc::clone(&self.queries.pieces);
        Ok(Some(Following { tail: Tail::new(Arc::new(log), id, self.at, bell, shared, encode), base }))
    }
}

/// What readers of one log share: `<offset> <text as JSON>`.
fn encode(chunk: &Chunk) -> Bytes {
    format!("{} {}", chunk.offset, serde_json::json!(chunk.text)).into()
}

/// The event out of what [`encode`] made.
fn event(phase: Phase, base: u64, encoded: &[u8]) -> String {
    let encoded = String::from_utf8_lossy(encoded);
    let (offset, text) = encoded.split_once(' ').unwrap_or(("0", r#""""#));
    let offset = base + offset.parse::<u64>().unwrap_or_default();
    format!(r#"{{"phase":"{phase}","offset":{offset},"text":{text}}}"#)
}
