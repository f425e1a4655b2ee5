//! The parts of a run that execute something.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One part of a run that executes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The workspace is made: source, mounted files.
    Preparing,
    /// `before_init` hooks and the vendor's init.
    Initializing,
    Planning,
    /// The sealed workspace is opened and verified.
    PreparingApply,
    Applying,
    /// A task's command.
    Performing,
    Destroying,
    /// The workspace is sealed although the runner had expected to go on.
    Sealing,
    /// `after_run` hooks.
    Ending,
}

impl Phase {
    pub const ALL: [Self; 9] = [
        Self::Preparing,
        Self::Initializing,
        Self::Planning,
        Self::PreparingApply,
        Self::Applying,
        Self::Performing,
        Self::Destroying,
        Self::Sealing,
        Self::Ending,
    ];

    /// The word in the API, in file names and in `$AIRLOCK_PHASE`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Initializing => "initializing",
            Self::Planning => "planning",
            Self::PreparingApply => "preparing_apply",
            Self::Applying => "applying",
            Self::Performing => "performing",
            Self::Destroying => "destroying",
            Self::Sealing => "sealing",
            Self::Ending => "ending",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.word() == word)
    }

    /// Whether the phase may have changed something outside, so that losing it leaves a question.
    pub const fn changes_things(self) -> bool {
        matches!(self, Self::Applying | Self::Performing | Self::Destroying)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
