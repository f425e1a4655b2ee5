//! What can go wrong in the runner itself.

use std::io;

/// Something that the runner needed did not work. Never holds a secret: the sentences go into
/// records and into `runner.err`.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("cannot {doing}: {source}")]
    Io { doing: String, source: io::Error },
    #[error("the specification was cut short: nothing was run")]
    CutShort,
    #[error("the {which} is larger than {limit} bytes")]
    TooLarge { which: &'static str, limit: usize },
    /// Only where in the line, because the text may be secret.
    #[error("the {which} cannot be read (column {column}): server and runner do not agree on it")]
    Spec { which: &'static str, column: usize },
    #[error(
        "the specification has version {found}; this runner speaks version {spoken}: start the server again, so that both are the same program"
    )]
    Version { found: u32, spoken: u32 },
    #[error("standard output is not the locked `{lock}` of `{dir}`: the runner is started by the server")]
    NotLocked { lock: &'static str, dir: String },
    #[error("the chain has run already: its records are not empty")]
    RanAlready,
    #[error("the specification names no {0}")]
    Missing(&'static str),
    #[error("{0}")]
    Other(String),
}

impl Fault {
    /// For `map_err`: an I/O error with what was being done.
    pub fn io<E: Into<io::Error>>(doing: impl Into<String>) -> impl FnOnce(E) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source: source.into() }
    }

    /// For `map_err`: an error of another module, whose sentences hold no secrets.
    pub fn of<E: std::fmt::Display>(error: E) -> Self {
        Self::Other(error.to_string())
    }
}
