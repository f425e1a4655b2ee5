//! The runner's handle on its zygote.

use std::{fmt, os::fd::OwnedFd, path::PathBuf};

use super::{JailError, RunningJail};
use crate::{
    domain::stack::{Limits, NetworkMode},
    protocol::{Bind, Environment, JailSpec},
};

/// Makes jails. Holds the zygote, which dies with this process's first thread.
#[derive(Debug)]
pub struct Jailer {}

/// What one phase runs, and with what.
pub struct PhaseJail {
    /// The program and its arguments. The program is an absolute path inside, usually `/bin/sh`.
    pub argv: Vec<String>,
    /// The whole environment; nothing is inherited.
    pub environment: Environment,
    /// Where it starts; a path inside (unconfined: a path of the host).
    pub cwd: PathBuf,
    /// [`NetworkMode::Host`] shares the host's network; the others have only a loopback of their own.
    pub network: NetworkMode,
    /// What it sees beside its root, `/workspace` and `/run/airlock`.
    pub binds: Vec<Bind>,
    pub limits: Limits,
    /// A port on 127.0.0.1 of the jail's network that the runner wants to serve; 0 means any.
    pub listen: Option<u16>,
    /// Standard input is always empty.
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
    /// Descriptors that the program finds as 3, 4, …; the first one is usually the write end of the
    /// pipe on which the exit code of the command is reported.
    pub inherited: Vec<OwnedFd>,
}

impl fmt::Debug for PhaseJail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PhaseJail").field("cwd", &self.cwd).field("network", &self.network).finish_non_exhaustive()
    }
}

impl Jailer {
    /// Forks the zygote. To be called while the process has one thread, before it has read a secret,
    /// and from the thread that lives as long as the process: all jails die with it.
    pub fn start(_spec: &JailSpec) -> Result<Self, JailError> {
        Err(JailError::ZygoteGone)
    }

    /// Makes a jail and starts the phase's program in it. Blocks until the jail is complete (some
    /// 2 ms). A program that cannot be executed shows in the verdict, as `refused`.
    pub fn run(&self, _phase: PhaseJail) -> Result<RunningJail, JailError> {
        Err(JailError::ZygoteGone)
    }
}
