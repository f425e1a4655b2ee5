//! Bytes → text, and which positions a text has.

use crate::domain::limits;

use super::{super::error::Position, Flaw};

/// The text of a file, without its byte order mark.
pub(in crate::manifest) fn decode(bytes: &[u8]) -> Result<&str, Flaw> {
    if bytes.len() > limits::MANIFEST_BYTES {
        let what = format!("the file has {} bytes", bytes.len());
        let why = format!("at most {} are read ({} KiB)", limits::MANIFEST_BYTES, limits::MANIFEST_BYTES / 1_024);
        return Err(Flaw::new(Position::default(), what, why));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Flaw::new(Position::default(), "the file is UTF-16", "it must be UTF-8"));
    }
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    str::from_utf8(bytes).map_err(|error| {
        let (valid, rest) = bytes.split_at(error.valid_up_to());
        let byte = rest.first().copied().unwrap_or_default();
        let at = end_of(&String::from_utf8_lossy(valid));
        Flaw::new(at, format!("the byte 0x{byte:02x} is not UTF-8 here"), "the file must be UTF-8 text")
    })
}

/// The place right after a text.
fn end_of(text: &str) -> Position {
    let mut at = Position::default();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if is_break(c, chars.peek().copied()) {
            at = Position { line: at.line + 1, column: 1 };
        } else {
            at.column += 1;
        }
    }
    at
}

/// Whether a line ends with `c`: LF, CRLF (once) or CR, as YAML has it.
fn is_break(c: char, next: Option<char>) -> bool {
    c == '\n' || (c == '\r' && next != Some('\n'))
}

/// How many characters each line of a text has.
#[derive(Debug)]
pub(in crate::manifest) struct Lines(Vec<u32>);

impl Lines {
    pub(in crate::manifest) fn of(text: &str) -> Self {
        let mut lines = vec![0_u32];
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            if is_break(c, chars.peek().copied()) {
                lines.push(0);
            } else if let Some(last) = lines.last_mut() {
                *last += 1;
            }
        }
        if lines.len() > 1 && lines.last() == Some(&0) {
            lines.pop();
        }
        Self(lines)
    }

    /// The place itself, or the nearest one in the text: at most one column behind a line's end.
    pub(in crate::manifest) fn nearest(&self, at: Position) -> Position {
        let last = self.0.len() as u32;
        let chars = |line: u32| self.0.get(line as usize - 1).copied().unwrap_or_default();
        if at.line > last {
            return Position { line: last, column: chars(last) + 1 };
        }
        let line = at.line.max(1);
        Position { line, column: at.column.clamp(1, chars(line) + 1) }
    }
}
