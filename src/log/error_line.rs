//! The line of a log that probably says what went wrong.

use super::{LogFault, LogReader, Row, Stream, ansi};

/// Rows at the end that are looked at.
const ROWS: usize = 2_000;
/// Characters of the answer.
const CHARS: usize = 200;
/// What errors are announced by.
const SIGNS: [&str; 10] =
    ["Error", "ERROR", "error:", "error[", "fatal", "FATAL", "panic", "Exception", "not found", "denied"];

impl Row {
    /// Whether the row looks as if it announced an error.
    pub fn looks_wrong(&self) -> bool {
        self.stream != Stream::Airlock && SIGNS.iter().any(|sign| self.text.contains(sign))
    }
}

/// The last line with a sign of an error, else the last line of the error stream.
pub(super) fn of(log: &LogReader) -> Result<Option<String>, LogFault> {
    let rows = log.tail_lines(ROWS)?.rows;
    let said = |row: &&Row| row.looks_wrong();
    let stderr = |row: &&Row| row.stream == Stream::Stderr;
    let candidates = rows.iter().rev().filter(said).chain(rows.iter().rev().filter(stderr));
    Ok(candidates.map(|row| tidy(&row.text)).find(|text| !text.is_empty()))
}

/// Without colours, frames and blanks around it, and not too long.
fn tidy(text: &str) -> String {
    let plain = ansi::plain(text);
    let frame = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '\u{2500}'..='\u{257F}' | '|');
    let line = plain.trim_matches(frame);
    match line.char_indices().nth(CHARS) {
        None => line.to_owned(),
        Some(_) => line.chars().take(CHARS - 1).chain(['…']).collect(),
    }
}
