//! Logs: one text and one index per phase.
//!
//! Owns how they are written, read, followed and compressed, and what colours in them mean. Knows
//! neither runs nor phases: the caller says which file. All offsets anywhere are bytes of the masked
//! text.
//!
//! Invariants:
//! - Nothing is written that did not go through the masker.
//! - The text is valid UTF-8; streams switch at line ends only.
//! - Every byte of text is covered by an index entry that was written before it, so that a reader of
//!   a growing log always knows line, time and stream.
//! - The text is never rewritten; what was read once stays true.
//!
//! | file | what |
//! | --- | --- |
//! | `….log` | the text, nothing else |
//! | `….idx` | fixed-width entries, see `index.rs` |
//! | finished | both in one file, see `frames.rs` |

pub mod ansi;
mod append;
mod compress;
mod error_line;
mod frames;
mod fuzz;
mod index;
mod last;
mod pages;
mod reader;
mod recover;
mod tail;
mod utf8;
mod writer;

#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

pub use compress::compress;
#[doc(hidden)]
pub use fuzz::{fuzz, reopened, written};
pub use pages::{Found, Page, Row};
pub use reader::{Chunk, LogReader};
pub use recover::recover;
pub use tail::{Progress, Shared, Tail};
pub use writer::{LogWriter, Summary};

/// Where a piece of a log comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    Stdout,
    Stderr,
    /// Airlock's own notes.
    Airlock,
}

/// What keeps a log from being written or read.
#[derive(Debug, thiserror::Error)]
pub enum LogFault {
    #[error("the log {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("the log {} is damaged: {what}", path.display())]
    Damaged { path: PathBuf, what: &'static str },
}

/// Turns an I/O error at `path` into a fault.
fn at(path: &Path) -> impl Fn(io::Error) -> LogFault + '_ {
    |source| LogFault::Io { path: path.to_path_buf(), source }
}
