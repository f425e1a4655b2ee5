//! The WASI executor: guests that nobody needs to trust.
//!
//! Owns the engine and what surrounds it: settings, caps, grants, compiled code, what a guest leaves.
//! Must not know what a phase is for.
//!
//! ```text
//! runner                            jail: an empty room, no capabilities, no network
//! ──────                            ────────────────────────────────────────────────
//! cache: verified code ── fd ─────> engine ── Wasmtime ── guest
//! log, masks, clock    <─ pipes ──┘   │
//! receipt              <─ report ─────┘
//! gateway: hosts, TLS, bound headers <─ line ──  outgoing HTTP
//! artifacts, patch     <─ directories of the room, read when everybody in it is dead
//! ```
//!
//! Two walls: a guest that breaks out of Wasmtime stands in a room with nothing but its own files.
//! So this module has two halves. [`engine`] and what it calls run inside; [`cache`], [`changes`],
//! [`leave`] and [`patch`] outside. Between them go only [`job`] and [`mod@line`].
//!
//! Invariants: no guest is compiled outside a jail; no code is loaded that the runner has not
//! authenticated on the very descriptor that is loaded; nothing is granted that was not asked for;
//! every loop of a guest ends by fuel or by time.

mod beneath;
pub mod cache;
pub mod changes;
mod clock;
mod compile;
mod component;
mod core;
mod cut;
mod denials;
mod http;
pub mod job;
pub mod leave;
mod limiter;
pub mod line;
pub mod patch;
mod preview1;
mod preview2;
mod run;
mod settings;
mod sink;
mod steady;

use std::{fs::File, io::Write};

use super::native::Inside;
use job::Job;

pub use beneath::{Kind, Root, is_too_deep};

/// Stands for the settings of this engine, in names of compiled guests.
pub fn fingerprint() -> Result<&'static str, String> {
    static ONCE: std::sync::OnceLock<Result<String, String>> = std::sync::OnceLock::new();
    let made = ONCE.get_or_init(|| {
        let engine = settings::engine(settings::Purpose::Run).map_err(|error| format!("no engine: {error:#}"))?;
        Ok(settings::fingerprint(&engine))
    });
    made.as_deref().map_err(Clone::clone)
}

/// What the engine's process does; see [`super::native::Engine`]. Exit code 0: the report is complete.
pub fn engine(inside: Inside) -> i32 {
    match act(inside) {
        Ok(()) => 0,
        Err(reason) => {
            // Standard error is the guest's, and so the log: there is nobody else to tell.
            super::start::complain(&reason);
            1
        }
    }
}

fn act(inside: Inside) -> Result<(), String> {
    let Inside { instructions, stdout, stderr, inherited } = inside;
    let job: Job = serde_json::from_str(&instructions).map_err(|error| error.to_string())?;
    drop(zeroize::Zeroizing::new(instructions));
    let mut inherited = inherited.into_iter();
    let mut next = || inherited.next().ok_or_else(|| "a descriptor is missing".to_owned());
    let (report, code) = (File::from(next()?), next()?);
    match job {
        Job::Compile { form } => tell(report, &compile::compile(form, code, next()?)),
        Job::Run(run) => {
            let stdin = run.stdin.then(&mut next).transpose()?;
            let line = run.http.then(&mut next).transpose()?;
            let given = run::Given { run: *run, code, stdin, line, stdout, stderr };
            tell(report, &run::run(given)?)
        }
    }
}

fn tell(mut report: File, what: &impl serde::Serialize) -> Result<(), String> {
    let bytes = serde_json::to_vec(what).map_err(|error| error.to_string())?;
    report.write_all(&bytes).map_err(|error| format!("the report cannot be written: {error}"))
}
