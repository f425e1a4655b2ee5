//! The command line: verbs of the server, verbs on a data directory, and verbs of a client.
//!
//! Exit codes: 0 finished or done, 1 failed, 2 needs confirmation, 3 refused, 4 not found, 5 no
//! connection, 64 usage.

mod args;
mod output;
mod serve;
mod task_check;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, TaskVerb, Verb};

/// What a verb came to, in the words of exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Failed,
    NeedsConfirmation,
    Refused,
    NotFound,
    NoConnection,
    Usage,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Done => 0,
            Outcome::Failed => 1,
            Outcome::NeedsConfirmation => 2,
            Outcome::Refused => 3,
            Outcome::NotFound => 4,
            Outcome::NoConnection => 5,
            Outcome::Usage => 64,
        })
    }
}

/// Parses the command line and carries it out.
pub fn main() -> ExitCode {
    // The runner forks while it has one thread and no secrets: nothing may come before it.
    if std::env::args_os().nth(1).is_some_and(|verb| verb == "runner") {
        return crate::runner::main();
    }
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            let asked_for = !error.use_stderr();
            return if asked_for { Outcome::Done } else { Outcome::Usage }.into();
        }
    };
    match args.verb {
        Verb::Serve(args) => serve::run(&args),
        Verb::Task(args) => match args.verb {
            TaskVerb::Check(args) => task_check::run(&args),
        },
    }
    .into()
}
