//! What this host offers: what `airlock check` prints and the server's start insists on.
//!
//! What matters is tried, not deduced: a jail is made and a program run in it. The other items say
//! what is behind the result, what it means for people, and how to mend it.

mod items;
#[cfg(test)]
mod tests;

use std::{
    fs, io,
    ops::RangeInclusive,
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt, chown},
    },
    path::{Path, PathBuf},
};

use rustix::pipe::{PipeFlags, pipe_with};

use super::{JailError, Jailer, PhaseJail, Program, find_cgroups, privileges};
use crate::{
    domain::{
        Verdict,
        stack::{ExecutorKind, Limits, NetworkMode},
    },
    protocol::{JailSpec, Root, VERSION, file, inside},
};

/// What to look at.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// The data directory: its disk is looked at, and the trial's files are made in it.
    pub data: &'a Path,
    /// The uids that a server run by root leases to its runs.
    pub uids: RangeInclusive<u32>,
}

/// What this host offers.
#[derive(Clone, Debug)]
pub struct HostReport {
    pub items: Vec<HostItem>,
    /// Whether a jail with the default settings was made just now.
    pub default_isolation_works: bool,
    /// For [`JailSpec::cgroup`].
    pub cgroup: Option<PathBuf>,
}

/// One thing that matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostItem {
    pub name: &'static str,
    pub status: HostStatus,
    /// What is the case, and what that means.
    pub means: String,
    /// What to do about it, where something can be done.
    pub mend: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostStatus {
    Ok,
    /// It works with less than could be.
    Degraded,
    /// Something that is needed is not there.
    Missing,
}

impl HostStatus {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Missing => "missing",
        }
    }
}

/// Looks at the host and makes trial jails. To be called while the process has one thread, before the
/// server starts its own; may move the process into a leaf of its cgroup ([`find_cgroups`]).
pub fn probe(question: &Question<'_>) -> HostReport {
    let root = privileges::own().uid == 0;
    let cgroup = find_cgroups();
    let user = root.then(|| *question.uids.start());
    let place = cgroup.as_deref().ok();
    let closed = trial(question.data, user, place, NetworkMode::None);
    // If a network of its own is all that cannot be had, the default still works.
    let open = match &closed {
        Ok(()) => Ok(()),
        Err(_) => trial(question.data, user, place, NetworkMode::Host),
    };
    let default_isolation_works = open.is_ok();
    let items = vec![
        items::trial(&open),
        items::network(&closed, &open),
        items::user(root),
        items::kernel(),
        items::user_namespaces(root, default_isolation_works),
        items::seccomp(),
        items::landlock(super::landlock_abi()),
        items::limits(&cgroup),
        items::uids(root, &question.uids),
        items::disk(question.data),
        items::systemd(),
    ];
    HostReport { items, default_isolation_works, cgroup: cgroup.ok() }
}

/// Makes a jail as the server would and runs a shell in it.
fn trial(data: &Path, user: Option<u32>, cgroup: Option<&Path>, network: NetworkMode) -> Result<(), JailError> {
    let place = Place::make(data, user).map_err(|error| JailError::Request {
        what: format!("cannot make files for a trial in {}: {error}", data.display()),
    })?;
    let spec = JailSpec {
        version: VERSION,
        kind: ExecutorKind::Jail,
        user,
        limits: Limits::default(),
        root: Root::Host,
        dir: place.dir.clone(),
        hostname: "airlock-check".to_owned(),
        cgroup: cgroup.map(Path::to_owned),
    };
    let (output, jailer) = (pipe()?, Jailer::start(&spec)?);
    let jail = jailer.run(PhaseJail {
        program: Program::Exec(["/bin/sh", "-c", ": > /workspace/file"].map(str::to_owned).to_vec()),
        environment: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
        cwd: inside::WORKSPACE.into(),
        network,
        root: None,
        binds: Vec::new(),
        limits: spec.limits.clone(),
        listen: Vec::new(),
        stdin: None,
        stdout: output.0,
        stderr: output.1,
        inherited: Vec::new(),
    })?;
    match jail.wait().verdict {
        verdict if verdict.is_success() => Ok(()),
        Verdict::Refused { reason } => Err(JailError::Request { what: reason }),
        verdict => Err(JailError::Request { what: format!("a shell in a trial jail ended with: {verdict}") }),
    }
}

/// Both ends go to the jail: nobody reads what it prints.
fn pipe() -> Result<(OwnedFd, OwnedFd), JailError> {
    pipe_with(PipeFlags::CLOEXEC)
        .map_err(|error| JailError::Request { what: format!("cannot make a pipe: {}", io::Error::from(error)) })
}

/// A chain's directory for the trial, removed afterwards.
struct Place {
    top: PathBuf,
    dir: PathBuf,
}

impl Place {
    fn make(data: &Path, user: Option<u32>) -> io::Result<Self> {
        let top = data.join(format!("check-{}", std::process::id()));
        // Not recursive: a data directory that is not there is not made by asking about it.
        fs::DirBuilder::new().mode(0o700).create(&top)?;
        let place = Self { dir: top.join("trial/1"), top };
        for name in [file::WORKSPACE, file::RUN] {
            let path = place.dir.join(file::TREE).join(name);
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
            chown(&path, user, user)?;
        }
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // If it cannot be removed, it holds one empty file.
        let _ = fs::remove_dir_all(&self.top);
    }
}
