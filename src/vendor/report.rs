//! What a phase's script reports, and what that makes of the phase.

use crate::{
    domain::{Phase, Verdict},
    protocol::{Command, Shell},
};

/// The descriptor on which a script reports.
pub const REPORT_FD: i32 = 3;

/// Bytes of a report that are read; an honest one is far shorter.
pub const REPORT_BYTES: usize = 64 * 1024;

/// Characters of a hook that a complaint quotes.
const QUOTED_CHARS: usize = 80;

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
///
/// A shell that did not end by itself (a signal, a limit, a stop) keeps that verdict. A command that
/// did not report its end is never a success, whatever its shell says.
pub fn interpret(shell: &Shell, reported: &[u8], ended: Verdict) -> Outcome {
    let report = Report::read(reported);
    let command = report.command;
    let Verdict::Exited { code } = ended else {
        let complaint = match report.at {
            At::Before(n) => Some(format!("{} was running", hook(shell, "before", n))),
            At::After(n) => Some(format!("{} was running", hook(shell, "after", n))),
            At::Nothing | At::NoRoot | At::NoProgram | At::BadSyntax | At::Command | At::Ended | At::Done => None,
        };
        return Outcome { verdict: ended, command, complaint };
    };
    let (verdict, complaint) = match report.at {
        At::Nothing => never_ran("its shell reported nothing".to_owned()),
        At::NoRoot => never_ran("the source has no such project root".to_owned()),
        At::NoProgram => never_ran("its program was not found".to_owned()),
        At::BadSyntax => never_ran("the shell does not understand it".to_owned()),
        At::Before(n) => never_ran(hook_ended(shell, "before", n, code)),
        At::Command | At::Ended | At::After(_) | At::Done if command.is_none() => {
            fell(code, format!("the command did not report its end; its shell ended with {code}"))
        }
        At::Command | At::Ended | At::After(_) | At::Done if !is_good(shell, command) => {
            (exited(command.unwrap_or(code)), None)
        }
        At::Command | At::Ended => fell(code, format!("the phase's shell ended with {code} after its command")),
        At::After(n) if n == shell.after.len() && code == 0 => (Verdict::SUCCESS, None),
        At::After(n) => fell(code, hook_ended(shell, "after", n, code)),
        At::Done if code == 0 => (Verdict::SUCCESS, None),
        At::Done => fell(code, format!("a trap ended the phase's shell with {code}")),
    };
    Outcome { verdict, command, complaint }
}

/// How far a report got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Nothing,
    NoRoot,
    NoProgram,
    BadSyntax,
    Before(usize),
    Command,
    Ended,
    After(usize),
    Done,
}

struct Report {
    at: At,
    command: Option<i32>,
}

impl Report {
    /// Lines that are not ours are passed over; a last line without its end does not count.
    fn read(reported: &[u8]) -> Self {
        let mut report = Self { at: At::Nothing, command: None };
        let whole = reported.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in String::from_utf8_lossy(&reported[..whole]).lines() {
            let (word, number) = line.split_once(' ').unwrap_or((line, ""));
            report.at = match (word, number.parse::<usize>()) {
                ("root", _) => At::NoRoot,
                ("missing", _) => At::NoProgram,
                ("syntax", _) => At::BadSyntax,
                ("before", Ok(n)) => At::Before(n),
                ("command", _) => At::Command,
                ("exit", Ok(code)) => {
                    report.command = i32::try_from(code).ok();
                    At::Ended
                }
                ("after", Ok(n)) => At::After(n),
                ("done", _) => At::Done,
                _ => continue,
            };
        }
        report
    }
}

/// Whether after-hooks follow such a code.
fn is_good(shell: &Shell, command: Option<i32>) -> bool {
    command == Some(0) || (command == Some(2) && matches!(shell.command, Command::Plan { .. }))
}

const fn exited(code: i32) -> Verdict {
    Verdict::Exited { code }
}

fn never_ran(why: String) -> (Verdict, Option<String>) {
    let reason = format!("the command never ran: {why}");
    (Verdict::Refused { reason: reason.clone() }, Some(reason))
}

/// The command did not end the phase, something else did. An exit code of 0 says that what had to
/// follow was swallowed.
fn fell(code: i32, reason: String) -> (Verdict, Option<String>) {
    let verdict = if code == 0 { Verdict::Refused { reason: reason.clone() } } else { exited(code) };
    (verdict, Some(reason))
}

/// `before_init hook 2 (`make deps`) ended with 1`
fn hook_ended(shell: &Shell, when: &str, n: usize, code: i32) -> String {
    let how = if code == 0 { "ended the shell with 0".to_owned() } else { format!("ended with {code}") };
    format!("{} {how}", hook(shell, when, n))
}

/// `before_init hook 2 (`make deps`)`
fn hook(shell: &Shell, when: &str, n: usize) -> String {
    let list =
        if shell.phase == Phase::Ending { "after_run".to_owned() } else { format!("{when}_{}", verb(shell.phase)) };
    let hooks = if when == "before" { &shell.before } else { &shell.after };
    let text = n.checked_sub(1).and_then(|index| hooks.get(index)).map_or("", String::as_str);
    format!("{list} hook {n} (`{}`)", first_line(text))
}

/// The word in the names of a phase's hooks.
const fn verb(phase: Phase) -> &'static str {
    match phase {
        Phase::Initializing => "init",
        Phase::Planning => "plan",
        Phase::Applying => "apply",
        Phase::Performing => "perform",
        Phase::Destroying => "destroy",
        Phase::Ending => "run",
        Phase::Preparing | Phase::PreparingApply | Phase::Sealing => phase.word(),
    }
}

fn first_line(text: &str) -> String {
    let text = text.trim();
    let line = text.lines().next().unwrap_or_default();
    let quoted: String = line.chars().take(QUOTED_CHARS).collect();
    if quoted.len() < text.len() { format!("{quoted}…") } else { quoted }
}

#[cfg(test)]
mod tests;
