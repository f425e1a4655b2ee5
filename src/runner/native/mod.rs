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
//! - All `unsafe` code stands in `sys.rs`.

mod cgroup;
mod error;
mod fence;
mod init;
mod jailer;
mod mounts;
mod privileges;
mod probe;
mod processes;
mod program;
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
pub use probe::{HostItem, HostReport, HostStatus, Question, probe};
pub use running::{JailEnd, Mechanism, RunningJail, StopSignal, Usage};
