//! What a phase's script reports, and what that makes of the phase.

use crate::{domain::Verdict, protocol::Shell};

/// The descriptor on which a script reports.
pub const REPORT_FD: i32 = 3;

/// Bytes of a report that are read; an honest one is far shorter.
pub const REPORT_BYTES: usize = 64 * 1024;

/// How a phase ended, as its report and its shell's end say together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub verdict: Verdict,
    /// The command's own exit code, where it got that far: 2 of a plan, which the verdict shows as 0.
    pub command: Option<i32>,
    /// A sentence for the log and for people in a hurry, where something other than the command went
    /// wrong.
    pub complaint: Option<String>,
}

/// Joins what was reported on [`REPORT_FD`] with how the phase's shell ended.
pub fn interpret(shell: &Shell, reported: &[u8], ended: Verdict) -> Outcome {
    let _ = (shell, reported, ended);
    unimplemented!()
}
