//! The logs of a run as one text: phase by phase, in order, exactly what was printed.
//!
//! The lines that Airlock itself wrote into a log (`[airlock] …`) are part of it: ranges, offsets and
//! events count the bytes of the files, and a text without those lines would have bytes of its own.

use crate::{
    auth::Who,
    domain::{Phase, Refused, RefusedKind, RunId, Timestamp, limits},
    log::{Chunk, LogReader, Stream},
};

use super::{PhaseRow, Queries, Result, logs::unreadable};

/// The text of some phases, one behind the other, as long as it was when this was made.
#[derive(Debug)]
pub struct LogText {
    parts: Vec<Part>,
    len: u64,
}

#[derive(Debug)]
struct Part {
    log: LogReader,
    phase: Phase,
    started_at: Timestamp,
    /// Where it begins in the whole.
    from: u64,
    len: u64,
}

/// One printed line, or a part of a very long one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextLine {
    pub at: Timestamp,
    pub phase: Phase,
    /// `stdout`, `stderr`, `airlock`.
    pub stream: &'static str,
    /// Without its line end.
    pub text: String,
    /// Where it begins in the whole text.
    pub offset: u64,
    /// Whether its line end was printed.
    pub ended: bool,
}

/// Which phases of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    All,
    /// A phase that was gone through twice (after a replan) is there twice.
    Named(Phase),
    /// The one of this number.
    Numbered(u32),
}

impl Which {
    fn holds(self, row: &PhaseRow) -> bool {
        match self {
            Self::All => true,
            Self::Named(phase) => row.phase == phase,
            Self::Numbered(number) => row.number == number,
        }
    }
}

impl Queries {
    /// The log of a run, or of some of its phases.
    pub fn log_text(&self, who: &Who, run: RunId, which: Which) -> Result<LogText> {
        let run = self.run(who, run)?;
        if run.logs_expired {
            let why = "the logs of this run were removed, because their time was up; its record stays";
            return Err(Refused::new(RefusedKind::NotFound, why).into());
        }
        let mut parts = Vec::new();
        let mut from = 0;
        for row in run.phases.iter().filter(|row| which.holds(row)) {
            let Some(log) = self.open_log(&run, row)? else { continue };
            let len = log.len().map_err(unreadable)?;
            parts.push(Part { log, phase: row.phase, started_at: row.started_at, from, len });
            from += len;
        }
        Ok(LogText { parts, len: from })
    }
}

impl LogText {
    /// Writes a log of these pieces of output into an empty directory; gives its text: for fuzzers.
    #[doc(hidden)]
    pub fn fuzz_written(dir: &std::path::Path, bytes: &[u8]) -> String {
        crate::log::written(dir, bytes).1
    }

    /// That log.
    #[doc(hidden)]
    pub fn fuzz(dir: &std::path::Path) -> Self {
        let log = crate::log::reopened(dir);
        let len = log.len().expect("a log has a length");
        let part = Part { log, phase: Phase::Performing, started_at: Timestamp::from_millis(0), from: 0, len };
        Self { parts: vec![part], len }
    }

    /// Bytes of the whole.
    pub const fn len(&self) -> u64 {
        self.len
    }

    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// At most `max` bytes from `offset` on; empty only at the end. Blocks on the files.
    pub fn read(&self, offset: u64, max: usize) -> Result<Vec<u8>> {
        let Some(part) = self.parts.iter().find(|part| offset < part.from + part.len) else { return Ok(Vec::new()) };
        let within = offset.saturating_sub(part.from);
        let there = usize::try_from(part.len - within).unwrap_or(usize::MAX);
        part.log.range(within, max.min(there)).map_err(unreadable)
    }

    /// The last line that commands printed, if they printed any. Blocks on the files.
    pub fn last_line(&self) -> Result<Option<String>> {
        let mut lines = self.parts.iter().rev().map(|part| part.log.last_line(Stream::Stdout).map_err(unreadable));
        lines.find_map(Result::transpose).transpose()
    }

    /// Where the printed line begins that holds `offset`. Blocks on the files.
    pub fn start_of_line(&self, offset: u64) -> Result<u64> {
        let Some(part) = self.parts.iter().find(|part| offset < part.from + part.len) else { return Ok(self.len) };
        let line = part.log.line_of_offset(offset.saturating_sub(part.from)).map_err(unreadable)?;
        let within = part.log.offset_of_line(line).map_err(unreadable)?;
        Ok(part.from + within.unwrap_or(0))
    }

    /// The lines from `offset` on.
    pub fn lines(self, offset: u64) -> LogLines {
        LogLines { text: self, at: offset, open: None }
    }
}

/// Reads a log line by line.
#[derive(Debug)]
pub struct LogLines {
    text: LogText,
    at: u64,
    /// A line whose end was not read yet.
    open: Option<TextLine>,
}

impl LogLines {
    /// Some more lines; none at the end. Blocks on the files.
    pub fn next_lines(&mut self) -> Result<Option<Vec<TextLine>>> {
        let Some(number) = self.text.parts.iter().position(|part| self.at < part.from + part.len) else {
            return Ok(self.open.take().map(|line| vec![line]));
        };
        let part = &self.text.parts[number];
        let within = self.at.max(part.from) - part.from;
        let mut lines = Vec::new();
        match part.log.chunk(within).map_err(unreadable)? {
            Some(chunk) => {
                self.at = part.from + chunk.end().min(part.len);
                let at = part.started_at.plus(std::time::Duration::from_millis(chunk.ms));
                split(&chunk, part.from, at, part.phase, &mut self.open, &mut lines);
            }
            // A torn end: nothing more of this phase can be read.
            None => self.at = part.from + part.len,
        }
        if self.at >= part.from + part.len {
            lines.extend(self.open.take());
        }
        Ok(Some(lines))
    }
}

/// Cuts a chunk into lines; what was left open before goes on, unless it is from another stream.
fn split(
    chunk: &Chunk,
    base: u64,
    at: Timestamp,
    phase: Phase,
    open: &mut Option<TextLine>,
    lines: &mut Vec<TextLine>,
) {
    let stream = stream_word(chunk.stream);
    let mut offset = base + chunk.offset;
    for piece in chunk.text.split_inclusive('\n') {
        let (text, ended) = piece.strip_suffix('\n').map_or((piece, false), |text| (text, true));
        let goes_on = |line: &TextLine| line.stream == stream && line.text.len() < limits::LOG_LINE_BYTES;
        let mut line = match open.take() {
            Some(mut line) if goes_on(&line) => {
                line.text.push_str(text);
                line
            }
            before => {
                lines.extend(before);
                TextLine { at, phase, stream, text: text.to_owned(), offset, ended: false }
            }
        };
        line.ended = ended;
        offset += piece.len() as u64;
        if ended {
            lines.push(line);
        } else {
            *open = Some(line);
        }
    }
}

const fn stream_word(stream: Stream) -> &'static str {
    match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
        Stream::Airlock => "airlock",
    }
}
