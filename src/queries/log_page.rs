//! Lines of a phase's log as plain data: numbered, timed, taken apart into spans.
//!
//! Owns which lines a reader sees at once. What the colours look like is the reader's business.

use crate::{
    auth::Who,
    domain::{RunId, limits},
    log::{LogFault, LogReader, Page, Row, Stream, ansi::Ansi},
    store::Fault,
};

use super::{LogPlace, PhaseLog, Queries, Result};

pub use crate::log::ansi::Span as LogSpan;

/// Bytes of one line that are shown; the rest of it is in the whole log.
const SHOWN: usize = 8 * limits::KIB as usize;
/// Lines that one search answers with.
const HITS: usize = 500;
/// Blocks that one search looks through, each of `limits::LOG_SEARCH_BYTES`.
const BLOCKS: usize = 8;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// From 1.
    pub n: u64,
    /// Milliseconds since the phase began.
    pub ms: u64,
    pub spans: Vec<LogSpan>,
    /// It looks like an error.
    pub wrong: bool,
}

/// Which lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogWindow {
    /// The last ones.
    Tail,
    /// The last ones before a line.
    Before(u64),
    /// Those around a line.
    Around(u64),
    /// Those that hold a text, from a place in the log on.
    Holding { text: String, from: u64 },
}

/// A part of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPart {
    pub lines: Vec<LogLine>,
    /// Lines of the log as it is now.
    pub total: u64,
    /// Bytes of the log as it is now.
    pub bytes: u64,
    /// The line that followers go on with: the next one, or the last one while it is unfinished.
    pub next: u64,
    /// Where a search goes on that has not seen all of the log.
    pub search_on: Option<u64>,
}

/// Where a follower is.
#[derive(Clone, Debug)]
pub struct LogMark {
    /// The next line to read.
    pub next: u64,
    look: Ansi,
}

impl LogMark {
    pub fn at(next: u64) -> Self {
        Self { next: next.max(1), look: Ansi::default() }
    }
}

impl Queries {
    /// A part of the log of one phase of a run, by the phase's number; none where there is no log.
    pub fn log_part(&self, who: &Who, run: RunId, phase: u32, window: &LogWindow) -> Result<Option<LogPart>> {
        self.with_log(who, run, phase, |log| read(log, window))
    }

    /// The lines from a place on, at most `most`, and the place after them. A last line that is
    /// unfinished is answered as it is, and again the next time.
    pub fn log_on(
        &self,
        who: &Who,
        run: RunId,
        phase: u32,
        place: &LogMark,
        most: usize,
    ) -> Result<Option<(Vec<LogLine>, LogMark)>> {
        self.with_log(who, run, phase, |log| follow(log, place.clone(), most))
    }

    /// Reads a log, once more when it was filed away in between.
    fn with_log<T>(
        &self,
        who: &Who,
        run: RunId,
        phase: u32,
        read: impl Fn(&LogReader) -> std::result::Result<T, LogFault>,
    ) -> Result<Option<T>> {
        let find =
            || Ok::<_, crate::store::Error>(self.logs(who, run)?.into_iter().find(|log| log.phase.number == phase));
        let Some(found) = find()? else { return Ok(None) };
        let opened = match found.open() {
            Err(_) if matches!(found.place, LogPlace::Live { .. }) => {
                find()?.as_ref().map(PhaseLog::open).transpose()?.flatten()
            }
            opened => opened?,
        };
        let Some(log) = opened else { return Ok(None) };
        Ok(Some(read(&log).map_err(|error| Fault::Io(error.to_string()))?))
    }
}

fn read(log: &LogReader, window: &LogWindow) -> std::result::Result<LogPart, LogFault> {
    let most = limits::LOG_TAIL_LINES;
    let bytes = log.len()?;
    let (total, next) = end(log, bytes)?;
    let part = |lines| LogPart { lines, total, bytes, next, search_on: None };
    let page = match window {
        LogWindow::Tail => log.lines_before(bytes, most)?,
        LogWindow::Before(line) => {
            let offset = log.offset_of_line(*line)?.unwrap_or(bytes);
            log.lines_before(offset, most)?
        }
        LogWindow::Around(line) => {
            let first = line.saturating_sub(most as u64 / 2).max(1);
            log.lines_from(first, most)?
        }
        LogWindow::Holding { text, from } => {
            let (rows, search_on) = search(log, text, *from)?;
            let mut lines = shown(&mut Ansi::default(), rows);
            for line in &mut lines {
                mark(line, text);
            }
            return Ok(LogPart { search_on, ..part(lines) });
        }
    };
    Ok(part(shown(&mut Ansi::default(), page.rows)))
}

/// How many lines there are, and which one followers go on with.
fn end(log: &LogReader, bytes: u64) -> std::result::Result<(u64, u64), LogFault> {
    if bytes == 0 {
        return Ok((0, 1));
    }
    let line = log.line_of_offset(bytes)?;
    let ended = log.range(bytes - 1, 1)? == b"\n";
    Ok(if ended { (line - 1, line) } else { (line, line) })
}

fn search(log: &LogReader, text: &str, from: u64) -> std::result::Result<(Vec<Row>, Option<u64>), LogFault> {
    let mut rows = Vec::new();
    let mut next = Some(from);
    for _ in 0..BLOCKS {
        let Some(at) = next.filter(|_| rows.len() < HITS) else { break };
        let found = log.search(text, at, HITS - rows.len())?;
        rows.extend(found.rows);
        next = found.next;
    }
    Ok((rows, next))
}

fn follow(log: &LogReader, mut place: LogMark, most: usize) -> std::result::Result<(Vec<LogLine>, LogMark), LogFault> {
    let Page { rows, end, .. } = log.lines_from(place.next, most)?;
    let unfinished = end > 0 && !rows.is_empty() && log.range(end - 1, 1)? != b"\n";
    let Some(last) = rows.last().map(|row| row.line) else { return Ok((Vec::new(), place)) };
    let (rest, done): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(|row| unfinished && row.line == last);
    let mut lines = shown(&mut place.look, done);
    place.next = if unfinished { last } else { last + 1 };
    lines.extend(shown(&mut place.look.clone(), rest));
    Ok((lines, place))
}

/// Rows as lines; parts of one very long line become one, cut short.
fn shown(look: &mut Ansi, rows: Vec<Row>) -> Vec<LogLine> {
    let mut lines: Vec<LogLine> = Vec::with_capacity(rows.len());
    for row in rows {
        match lines.last_mut() {
            Some(last) if row.continued && last.n == row.line => {}
            _ => lines.push(line(look, &row)),
        }
    }
    lines
}

fn line(look: &mut Ansi, row: &Row) -> LogLine {
    let cut = row.text.floor_char_boundary(SHOWN);
    let mut spans = look.line(&row.text[..cut]);
    if row.stream == Stream::Airlock {
        spans.iter_mut().filter(|span| span.class.is_empty()).for_each(|span| "m".clone_into(&mut span.class));
    }
    if cut < row.text.len() {
        spans.push(LogSpan {
            class: "m".to_owned(),
            text: " … the line goes on; all of it is in the raw log".to_owned(),
        });
    }
    LogLine { n: row.line, ms: row.ms, spans, wrong: row.looks_wrong() }
}

/// Gives what was searched for a look of its own.
fn mark(line: &mut LogLine, text: &str) {
    let mut spans = Vec::new();
    for span in std::mem::take(&mut line.spans) {
        let mut rest = span.text.as_str();
        while let Some((before, after)) = rest.split_once(text) {
            if !before.is_empty() {
                spans.push(LogSpan { class: span.class.clone(), text: before.to_owned() });
            }
            spans.push(LogSpan { class: format!("{} h", span.class).trim().to_owned(), text: text.to_owned() });
            rest = after;
        }
        if !rest.is_empty() {
            spans.push(LogSpan { class: span.class.clone(), text: rest.to_owned() });
        }
    }
    line.spans = spans;
}

#[cfg(test)]
mod tests;
