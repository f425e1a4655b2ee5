//! Terraform, OpenTofu and the custom vendor: what each phase runs, in which environment, and what
//! came out of it.
//!
//! Owns the shell text of the phases, the protocol on the report descriptor, the environment, and
//! how plans are read. Runs inside the runner, between two processes that it does not start: it
//! knows no process, no clock and no file but what a caller hands it, and every function is pure.
//!
//! Invariants: no text of a user is ever spliced into shell source, it travels by argument; a phase
//! whose command did not report its end is never a success; a sensitive value never leaves
//! [`read_plan`] in clear.

mod carried;
mod environment;
mod hcl;
mod places;
mod plan;
mod report;
mod script;
mod state;

#[cfg(test)]
mod tests;

pub use carried::{Carried, TooMuchCarried, carried};
pub use environment::{Surroundings, TARGETS, base, environment, is_told_targets};
pub use places::Places;
pub use plan::{PlanError, PlanRead, plan_digest, read_plan};
pub use report::{Outcome, REPORT_BYTES, REPORT_FD, interpret};
pub use script::{Script, script};
pub use state::{
    OVERRIDE_FILE, StateEndpoint, backend_override, cli_config, is_configuration, needs_managed_state,
    state_environment,
};

use rustix::process::Signal;

use crate::domain::stack::Vendor;

/// The program that a vendor runs: what the stack says, else the vendor's own name. None for the
/// custom vendor, which runs nothing but its commands.
pub fn binary(vendor: &Vendor) -> Option<&str> {
    match vendor {
        Vendor::Terraform { binary, .. } => Some(binary.as_deref().unwrap_or("terraform")),
        Vendor::OpenTofu { binary, .. } => Some(binary.as_deref().unwrap_or("tofu")),
        Vendor::Custom { .. } | Vendor::Wasi { .. } => None,
    }
}

/// The signal that asks a phase to stop. Terraform ends in an orderly way on SIGINT, and writes its
/// state; a second one would make it drop everything.
pub const fn stop_signal(vendor: &Vendor) -> Signal {
    match vendor {
        Vendor::Terraform { .. } | Vendor::OpenTofu { .. } => Signal::INT,
        Vendor::Custom { .. } | Vendor::Wasi { .. } => Signal::TERM,
    }
}
