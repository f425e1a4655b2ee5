//! Every verb and flag. What they mean in a sentence each: `--help` is read before any page is.
//!
//! | file | verbs |
//! | --- | --- |
//! | `server` | serve, demo, check |
//! | `people` | user, api-key |
//! | `client` | login, stack, run, task |
//! | `guest` | guest |
//! | `policy` | policy |
//! | `guest`, `image` | guest, image |
//! | `tools` | audit, completions, man |

mod client;
mod guest;
mod image;
mod people;
mod policy;
mod server;
#[cfg(test)]
mod tests;
mod tools;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub use client::{
    Confirm, Decide, How, Login, Logs, NewStack, Perform, Reach, Review, Run, RunDeclared, RunVerb, Stack, StackVerb,
    Task, TaskVerb, Trigger, VendorKind, Waiting,
};
pub use guest::{
    Clock, Guest, GuestCaps, GuestGrants, GuestImport, GuestInspect, GuestList, GuestRemove, GuestRun, GuestVerb,
    Header, Random,
};
pub use image::{Image, ImageImport, ImageList, ImageRemove, ImageVerb};
pub use people::{ApiKey, ApiKeyVerb, MasterKey, MasterKeyVerb, NewSecret, Place, Rights, RoleOn, User, UserVerb};
pub use policy::{Policy, PolicyTest, PolicyVerb};
pub use server::{Check, Demo, Serve};
pub use tools::{Audit, AuditVerb, Completions, Man};

/// Plan, seal, confirm, apply: safe infrastructure changes and untrusted tasks on one machine.
#[derive(Debug, Parser)]
#[command(
    name = "airlock",
    version,
    about,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    max_term_width = 100,
    after_help = "\
Begin with
  airlock demo                   a server with example stacks, one of them waiting for you
  airlock check                  what this host offers, and what to do about what is missing
  airlock serve                  the server
  airlock login URL              then `airlock stack list`, `airlock run trigger STACK --wait`

Exit codes
  0  finished or done            3  refused (no permission, wrong state, bad input)
  1  failed                      4  not found
  2  needs confirmation          5  no connection
  64 wrong usage

Client verbs take the address from AIRLOCK_URL and the token from AIRLOCK_TOKEN, else from what
`airlock login` stored."
)]
pub struct Args {
    /// As behind the verb
    #[arg(long, global = true, hide = true)]
    pub json: bool,
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs, each described where its flags are.
#[derive(Debug, Subcommand)]
pub enum Verb {
    Serve(Box<Serve>),
    Demo(Demo),
    Check(Check),
    User(User),
    ApiKey(ApiKey),
    MasterKey(MasterKey),
    Audit(Audit),
    Login(Login),
    Stack(Stack),
    Run(Run),
    Task(Task),
    Guest(Guest),
    Policy(Policy),
    Image(Image),
    Completions(Completions),
    Man(Man),
}

/// How something is printed.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Shown {
    /// Print JSON: the shapes of the HTTP API
    #[arg(long)]
    pub json: bool,
}

/// Which data directory is worked on while no server runs on it.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Without a server")]
pub struct Offline {
    /// Work on this data directory; no server may be running on it
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Configuration file [default: /etc/airlock/config.toml where it exists]
    #[arg(long, value_name = "FILE", requires = "data")]
    pub config: Option<PathBuf>,
    /// Master key kept elsewhere than in the data directory
    #[arg(long, value_name = "FILE", requires = "data")]
    pub master_key_file: Option<PathBuf>,
}
