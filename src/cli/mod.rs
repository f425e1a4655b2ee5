//! The command line: verbs of the server, verbs on a data directory, and verbs of a client.
//!
//! | file | verbs |
//! | --- | --- |
//! | `serve`, `demo`, `check` | the server, with what the host offers (`host`) |
//! | `user`, `key`, `master_key`, `audit` | through the server, or on a data directory (`offline`) |
//! | `client` | `login`, `stack`, `run`, `task`; `stop` without a server |
//! | `guest` | guests at hand, without a server |
//! | `policy` | tests of policies, without a server |
//! | `tools` | completions, manual pages |
//!
//! Exit codes: 0 finished or done, 1 failed, 2 needs confirmation, 3 refused, 4 not found, 5 no
//! connection, 64 usage. Errors name the thing, the reason and the next step.

mod args;
mod audit;
mod check;
mod clean;
mod client;
mod demo;
mod failure;
mod guest;
mod host;
mod key;
mod master_key;
mod offline;
mod output;
mod policy;
mod secret;
mod serve;
mod shape;
mod stop;
mod table;
mod task_check;
mod tools;
mod user;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Verb};
use failure::Done;

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
    // Nor does an evaluation need anything of what comes here.
    if std::env::args_os().nth(1).is_some_and(|verb| verb == "evaluate") {
        return crate::policy::main();
    }
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            let asked_for = !error.use_stderr();
            return if asked_for { Outcome::Done } else { Outcome::Usage }.into();
        }
    };
    let outcome = carry_out(&args.verb).unwrap_or_else(|failure| {
        if let Some(lines) = failure.lines() {
            output::note(&format!("airlock: {lines}"));
        }
        failure.outcome
    });
    outcome.into()
}

fn carry_out(verb: &Verb) -> Done {
    match verb {
        Verb::Serve(args) => serve::run(args),
        Verb::Demo(args) => demo::run(args),
        Verb::Check(args) => check::run(args),
        Verb::User(args) => user::run(args),
        Verb::ApiKey(args) => key::run(args),
        Verb::MasterKey(args) => master_key::run(args),
        Verb::Audit(args) => audit::run(args),
        Verb::Login(args) => client::login(args),
        Verb::Stack(args) => client::stack(args),
        Verb::Run(args) => client::run(args),
        Verb::Task(args) => client::task(args),
        Verb::Guest(args) => guest::verb(args),
        Verb::Policy(args) => policy::run(args),
        Verb::Image(args) => client::image(args),
        Verb::Completions(args) => tools::completions(args),
        Verb::Man(args) => tools::man(args),
    }
}
