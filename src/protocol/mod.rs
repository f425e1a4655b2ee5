//! What server and runner say to each other: the spec, the progress records, the socket's messages.
//!
//! A **chain** is an uninterrupted row of phases that one runner carries out. The server writes the
//! spec into the runner's standard input in two JSON lines: first [`JailSpec`] (no secret in it, so
//! that the jail can be forked before a secret is read), then [`ChainSpec`]. The runner answers
//! through files in the chain's directory and by bells on `control.sock`:
//!
//! | file | what |
//! | --- | --- |
//! | `chain.lock` | locked by the server, then by the runner for as long as it lives |
//! | `records` | [`Record`]s, one JSON line each, fsynced; the truth about progress |
//! | `control.sock` | [`Request`]s in, [`Bell`]s out |
//! | `tree/workspace`, `tree/run` | the open workspace; in the jail `/workspace` and `/run/airlock` |
//! | `tree/settings` | [`Settings`], only ever inside of a sealed workspace |
//! | `<NN>-<phase>.log`, `.idx` | the masked log of phase number `NN` |
//! | `<NN>.result` | [`PhaseResult`], encrypted under the chain's key |
//! | `<NN>-<n>.state` | the n-th state written in phase `NN`, encrypted under the chain's key |
//! | `<NN>.source` | the source that phase `NN` fetched, a tar.gz, encrypted under the chain's key |
//! | `<NN>-<n>.artifact` | the n-th artifact of phase `NN`, from 1, as [`Produced::artifacts`] lists them |
//! | `runner.err` | what the runner itself had to complain about |
//!
//! The runner closes the pipe's reading end as soon as it listens on `control.sock` (or is gone): a
//! server that keeps its end open sees the error condition on it and may connect. The socket ends
//! when the runner does. A chain that goes on with a workspace that an earlier one kept finds it in
//! its own `tree`; the server moves it there. Phases that the spec does not name appear in the
//! records where they are carried out: `ending`, and `sealing` when the sealing at the chain's end
//! failed.
//!
//! Results, states and sources are sealed with associated data: [`result_label`], [`state_label`],
//! [`source_label`].
//!
//! Every message carries [`VERSION`]; a server reads those of the previous release, too.

mod encoded;
mod guest;
mod place;
mod record;
mod secrets;
mod socket;
mod spec;

pub use guest::{
    Artifact, Caps, Denial, DenialKind, Grants, GuestClock, GuestCode, GuestCompile, GuestPhase, GuestRandom,
    HeaderGrant, HostUse, Input, PatchSummary, Receipt, StandardInput, WorkspaceGrant, guest_path,
};
pub use place::{file, inside};
pub use record::{
    PhaseResult, Planned, Produced, Record, ShownFile, WorkspaceLeft, ends_as, fuzz, read_records, result_label,
    source_label, state_label,
};
pub use secrets::{ChainSecrets, GitCredential, ManagedState, MountedFile, SealKeys, Variable};
pub use socket::{Bell, Request};
pub use spec::{
    AtEnd, Bind, Build, ChainSpec, Command, Demand, Environment, Fetch, FoundImage, GitFetch, ImagePlace, JailSpec,
    Keeps, Open, PatchFile, Prepare, Relay, Root, RunFacts, Runtime, RuntimeFound, Seal, Settings, Shell, SlugPlace,
    StateAccess, Step, Workload,
};

/// Version of everything in this module.
pub const VERSION: u32 = 1;

/// The header by which a runner shows at the server's socket which run is its own.
pub const WORKLOAD_HEADER: &str = "x-airlock-workload";

#[cfg(test)]
mod tests;
