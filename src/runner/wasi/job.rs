//! What the runner tells the engine, and what the engine tells the runner.
//!
//! The runner believes nothing that the engine says about right and wrong: whoever breaks out of the
//! engine can say anything. Told is what a receipt shows; what holds is outside.

use serde::{Deserialize, Serialize};

use super::denials;
use crate::{
    domain::limits,
    guest::Form,
    protocol::{Caps, Denial, GuestClock, GuestRandom},
};

/// What the engine is to do.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "job", rename_all = "snake_case")]
pub enum Job {
    /// Descriptors: the report, the guest, an empty file for its code.
    Compile { form: Form },
    /// Descriptors: the report, the code, standard input and the line to the gateway where there are
    /// such.
    Run(Box<Run>),
}

/// A guest to be run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Run {
    pub form: Form,
    /// `argv[0]` and what follows.
    pub args: Vec<String>,
    pub environment: Vec<(String, String)>,
    pub caps: Caps,
    /// The room's directories that the guest sees, under the same names.
    pub directories: Vec<Directory>,
    /// Where relative paths begin: a directory of the room that the guest sees as `.`, too.
    pub home: Option<Directory>,
    pub clock: GuestClock,
    pub random: GuestRandom,
    /// Whether it has a standard input, and a line to the gateway.
    pub stdin: bool,
    pub http: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Directory {
    /// What the guest calls it.
    pub path: String,
    /// Where it is in the room, where that is not the same.
    pub at: Option<String>,
    pub writable: bool,
}

/// How a compilation ended.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "compiled", rename_all = "snake_case")]
pub enum Compiled {
    Done,
    Refused { reason: String },
}

/// How a guest ended, as the engine saw it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Told {
    pub end: End,
    pub fuel_used: u64,
    pub peak_memory_bytes: u64,
    pub output_bytes: u64,
    pub wall_ms: u64,
    pub denials: Vec<Denial>,
    pub denials_dropped: u64,
    /// Requests for memory, for room for files, were refused.
    pub memory_refused: bool,
    pub files_refused: bool,
}

impl Told {
    /// With every text passed through `shown`, and no more refusals than anybody has to say: whoever
    /// broke out of the engine says what it likes.
    pub fn bounded(mut self, shown: impl Fn(&str) -> String) -> Self {
        let shown = |text: &str| shown(&denials::shown(text));
        self.denials.truncate(limits::DENIALS);
        self.denials.iter_mut().for_each(|denial| denial.tried = shown(&denial.tried));
        match &mut self.end {
            End::Trapped { reason } | End::Refused { reason } => *reason = shown(reason),
            End::Exited { .. }
            | End::OutOfFuel
            | End::OutOfMemory
            | End::TimedOut
            | End::OutputLimit
            | End::Stopped => {}
        }
        self
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum End {
    Exited {
        code: i32,
    },
    OutOfFuel,
    OutOfMemory,
    TimedOut,
    OutputLimit,
    Trapped {
        reason: String,
    },
    Stopped,
    /// The guest was never started, and why.
    Refused {
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::DenialKind;

    #[test]
    fn what_an_engine_says_is_bounded_and_masked() {
        let denial = Denial { kind: DenialKind::Path, tried: "open \x1b[2J hunter2".to_owned(), count: 1 };
        let told = Told {
            end: End::Trapped { reason: "x".repeat(10_000) },
            fuel_used: 1,
            peak_memory_bytes: 1,
            output_bytes: 1,
            wall_ms: 1,
            denials: vec![denial; 5_000],
            denials_dropped: 0,
            memory_refused: false,
            files_refused: false,
        };
        let told = told.bounded(|text| text.replace("hunter2", "*****"));
        assert_eq!(told.denials.len(), limits::DENIALS);
        assert_eq!(told.denials[0].tried, "open \u{fffd}[2J *****");
        let End::Trapped { reason } = told.end else { panic!() };
        assert!(reason.chars().count() <= limits::DENIAL_CHARS + 1);
    }
}
