//! Logs: one text and one index per phase.

pub mod ansi;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::mask::{MaskSet, Word};

/// Where a piece of a log comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    Stdout,
    Stderr,
    /// Airlock's own notes.
    Airlock,
}

#[derive(Debug, thiserror::Error)]
pub enum LogFault {
    #[error("the log {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("the log {path} is damaged: {what}")]
    Damaged { path: PathBuf, what: &'static str },
}

/// Writes one phase's log. Synchronous; times are spans since the phase began.
pub struct LogWriter {}

/// What a finished log came to.
#[derive(Debug)]
pub struct Summary {
    /// Bytes of masked text, Airlock's notes included.
    pub bytes: u64,
    pub lines: u64,
    /// Bytes of output that came after the limit and were not kept.
    pub dropped_bytes: u64,
    /// Added in this phase and in those before it.
    pub added_masks: Vec<Word>,
    /// A line that probably says what went wrong: masked, plain, at most 200 characters.
    pub error_line: Option<String>,
}

impl LogWriter {
    /// Makes both files; they must not exist. `limit_bytes` of output are kept.
    pub fn create(_text: &Path, _index: &Path, _masks: Arc<MaskSet>, _limit_bytes: u64) -> Result<Self, LogFault> {
        unimplemented!()
    }

    pub fn write(&mut self, _at: Duration, _stream: Stream, _bytes: &[u8]) -> Result<(), LogFault> {
        unimplemented!()
    }

    /// One line of Airlock's own, written at once as `[airlock] …`.
    pub fn note(&mut self, _at: Duration, _text: &str) -> Result<(), LogFault> {
        unimplemented!()
    }

    /// When [`Self::flush_due`] wants to be called, if anything waits.
    pub fn due(&self) -> Option<Duration> {
        unimplemented!()
    }

    /// Writes what has waited for `limits::LOG_FLUSH`.
    pub fn flush_due(&mut self, _at: Duration) -> Result<(), LogFault> {
        unimplemented!()
    }

    /// Bytes of text in the file: what the doorbell says.
    pub fn len(&self) -> u64 {
        unimplemented!()
    }

    /// Bytes of output that were dropped so far.
    pub fn dropped(&self) -> u64 {
        unimplemented!()
    }

    /// Ends both streams, writes and fsyncs everything.
    pub fn finish(self, _at: Duration) -> Result<Summary, LogFault> {
        unimplemented!()
    }
}

/// Brings the index of a log whose writer died in line with its text.
pub fn recover(_text: &Path, _index: &Path) -> Result<(), LogFault> {
    unimplemented!()
}

/// Writes text and index of a finished log into the one compressed file `to`; atomic and durable.
pub fn compress(_text: &Path, _index: &Path, _to: &Path) -> Result<(), LogFault> {
    unimplemented!()
}

/// Reads a log, growing or finished. All offsets are bytes of the text, all line numbers count from 1.
pub struct LogReader {}

/// A line, or a part of one longer than `limits::LOG_LINE_BYTES`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub line: u64,
    pub offset: u64,
    pub ms: u64,
    pub stream: Stream,
    /// Without its line end.
    pub text: String,
    /// Whether it goes on a line that an earlier row began.
    pub continued: bool,
}

/// Neighbouring rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The text that the rows stand for: `start..end`.
    pub start: u64,
    pub end: u64,
    pub rows: Vec<Row>,
}

/// A piece of a log for followers, at most `limits::LOG_EVENT_BYTES`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    pub offset: u64,
    /// Number of the line that the text begins in.
    pub line: u64,
    pub ms: u64,
    pub stream: Stream,
    pub text: String,
}

impl Chunk {
    /// Where the next one begins.
    pub fn end(&self) -> u64 {
        self.offset + self.text.len() as u64
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub rows: Vec<Row>,
    /// Where to go on searching; none at the end of the text.
    pub next: Option<u64>,
}

impl LogReader {
    /// A log in its two files, perhaps still growing.
    pub fn live(_text: &Path, _index: &Path) -> Result<Self, LogFault> {
        unimplemented!()
    }

    /// A log that [`compress`] made.
    pub fn finished(_file: &Path) -> Result<Self, LogFault> {
        unimplemented!()
    }

    /// Bytes of text, now.
    pub fn len(&self) -> Result<u64, LogFault> {
        unimplemented!()
    }

    /// The bytes from `offset`, at most `max` of them and not beyond the end.
    pub fn range(&self, _offset: u64, _max: usize) -> Result<Vec<u8>, LogFault> {
        unimplemented!()
    }

    pub fn line_of_offset(&self, _offset: u64) -> Result<u64, LogFault> {
        unimplemented!()
    }

    /// Where a line begins; none beyond the last.
    pub fn offset_of_line(&self, _line: u64) -> Result<Option<u64>, LogFault> {
        unimplemented!()
    }

    /// The last `n` rows.
    pub fn tail_lines(&self, _n: usize) -> Result<Page, LogFault> {
        unimplemented!()
    }

    /// The last `n` rows of the text before `offset`.
    pub fn lines_before(&self, _offset: u64, _n: usize) -> Result<Page, LogFault> {
        unimplemented!()
    }

    /// At most `n` rows from `line` on.
    pub fn lines_from(&self, _line: u64, _n: usize) -> Result<Page, LogFault> {
        unimplemented!()
    }

    /// The piece that begins at `offset`; none at the end of what is there.
    pub fn chunk(&self, _offset: u64) -> Result<Option<Chunk>, LogFault> {
        unimplemented!()
    }

    /// Lines from `from` on that contain `needle`, at most `limit` of them.
    pub fn search(&self, _needle: &str, _from: u64, _limit: usize) -> Result<Found, LogFault> {
        unimplemented!()
    }
}

/// How far a log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub bytes: u64,
    /// Nothing more will come.
    pub done: bool,
}
