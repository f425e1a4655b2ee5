//! The shell text of one phase.

use crate::{
    protocol::{RunFacts, Shell},
    vendor::Places,
};

/// One `sh` of a phase: its text, which is ours alone, and its arguments, which hold what users said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    pub text: String,
    pub arguments: Vec<String>,
}

impl Script {
    /// The whole argument vector: `sh -c TEXT airlock ARGUMENT…`.
    pub fn argv(&self) -> Vec<&str> {
        ["sh", "-c", &self.text, "airlock"].into_iter().chain(self.arguments.iter().map(String::as_str)).collect()
    }
}

/// The script of a phase, to be run by a POSIX shell with [`super::REPORT_FD`] open for writing and
/// [`super::environment`] as its environment. It enters the project root by itself.
pub fn script(shell: &Shell, facts: &RunFacts, places: &Places) -> Script {
    let _ = (shell, facts, places);
    unimplemented!()
}
