//! The native jail: commands run in a root of their own, with nothing but what they were given.
//!
//! Owns every step between "here is a command" and "nothing of it is alive any more": namespaces,
//! root file system, privileges, system-call filter, limits, the end of all processes. Must not
//! know what a phase is for, where its output goes, or how long it may take: wall time, silence and
//! output are the caller's business.
//!
//! ```text
//! runner ── fork ──> zygote             before secrets are read; sees neither secrets nor environments
//!    │                 └─ clone ──> init (pid 1 of the jail, a child of the runner)
//!    └───── phase socket ─────────────┘  └─ fork ──> sh
//! ```
//!
//! Invariants:
//! - The zygote is forked while the runner has one thread, so that ordinary code may run in it and in
//!   all that it clones.
//! - The command starts only after the last fence stands; there is no path on which one is skipped
//!   silently. Only Landlock is best effort, because it is the second fence around files.
//! - When [`RunningJail::wait`] returns, every process of the jail is dead.
//! - All `unsafe` code stands in `sys.rs` and, for loading compiled guests, in `code.rs`.

mod cgroup;
pub(in crate::runner) mod code;
mod error;
mod fence;
mod init;
mod jailer;
mod kept;
mod mounts;
mod privileges;
mod probe;
mod processes;
mod program;
mod room;
mod root;
mod running;
mod seccomp;
mod supervise;
mod sys;
mod wire;
mod zygote;

pub use cgroup::{find as find_cgroups, sweep as sweep_cgroups};
pub use error::JailError;
pub use fence::landlock_abi;
pub use jailer::{Jailer, PhaseJail};
pub use kept::make_kept;
pub use probe::{HostItem, HostReport, HostStatus, Question, probe};
pub use room::{Room, RoomView, RoomWorkspace, Writable, Written};
pub use running::{JailEnd, Mechanism, RunningJail, StopSignal, Usage};

use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};

/// What a jail holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Program {
    /// A program and its arguments, in a root of the chain's kind. The program is an absolute path
    /// inside, usually `/bin/sh`.
    Exec(Vec<String>),
    /// The engine, in an empty room: forked, not executed, so that the room needs no file for it.
    Engine {
        /// What it is to do, in words of its own. It finds it in memory; nobody sees it in an argv.
        instructions: String,
        room: Room,
    },
}

/// The part of this program that [`Program::Engine`] stands for. What it returns is its exit code.
pub type Engine = fn(Inside) -> i32;

/// What the engine finds itself with.
#[derive(Debug)]
pub struct Inside {
    pub instructions: String,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
    /// [`PhaseJail::inherited`], in its order.
    pub inherited: Vec<OwnedFd>,
}
