//! What is wrong or remarkable about a file, and where.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::limits;

/// A place in a text. Lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    pub line: u32,
    pub column: u32,
}

impl Default for Position {
    /// The beginning of the file.
    fn default() -> Self {
        Self { line: 1, column: 1 }
    }
}

/// One mistake: where, what, why, and what may have been meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// As it was named to the parser, such as `.airlock/config.yaml`.
    pub file: String,
    #[serde(flatten)]
    pub at: Position,
    /// The keys that lead there, such as `tasks.report.run.timeout`; empty for the file as a whole.
    pub path: String,
    /// What stands there.
    pub what: String,
    /// The rule that it breaks.
    pub why: String,
    /// What may have been meant, or what to write.
    pub hint: Option<String>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.at.line, self.at.column)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{}: {}", self.what, self.why)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// Why a file was refused: every mistake that was found, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ManifestError {
    /// At least one, at most [`limits::MANIFEST_MISTAKES`].
    pub mistakes: Vec<Mistake>,
    /// How many more there were.
    pub more: usize,
}

impl ManifestError {
    /// `more` were found beyond those given.
    pub(super) fn new(mut mistakes: Vec<Mistake>, more: usize) -> Self {
        mistakes.sort_by(|a, b| (&a.file, a.at).cmp(&(&b.file, b.at)));
        let more = more + mistakes.len().saturating_sub(limits::MANIFEST_MISTAKES);
        mistakes.truncate(limits::MANIFEST_MISTAKES);
        Self { mistakes, more }
    }
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.mistakes.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{mistake}")?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

/// Something that is accepted and worth saying: it has no effect here, or not the expected one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    pub file: String,
    #[serde(flatten)]
    pub at: Position,
    /// The keys that lead there.
    pub path: String,
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}: {}", self.file, self.at.line, self.at.column, self.path, self.text)
    }
}

/// A text out of the file, fit for a message: short, on one line, and unable to move a terminal.
pub(super) fn quoted(text: &str) -> String {
    const MOST: usize = 60;
    let mut short = String::new();
    for c in text.chars().take(MOST) {
        if c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            short.extend(c.escape_default());
        } else {
            short.push(c);
        }
    }
    let cut = if text.chars().nth(MOST).is_some() { "…" } else { "" };
    format!("`{short}{cut}`")
}
