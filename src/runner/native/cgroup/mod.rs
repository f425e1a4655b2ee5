//! Cgroups: what holds memory, processes and processor time of a whole jail.
//!
//! One group per phase, made before its first process and removed after its last. Version 2 where the
//! three controllers may be given to children, else version 1, else none (the runner then polls).
//! Group names carry the chain that they belong to, so that what a killed runner left behind can be
//! told from what lives ([`sweep`]).
//!
//! ```text
//! v2: <base>/<installation>-<chain>-<n>          v1: <base>/{memory,pids,cpu}/airlock/<same>
//! ```

mod find;
mod group;
#[cfg(test)]
mod tests;

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

pub use find::find;
pub(super) use group::{Group, Readings};

use super::{JailError, Mechanism};

/// The directory of each v1 hierarchy that holds all groups of Airlock.
const FOLDER: &str = "airlock";
/// Controllers without which a version is not used.
const NEEDED: [&str; 3] = ["memory", "pids", "cpu"];

/// Where groups are made.
#[derive(Clone, Debug)]
pub(super) enum Base {
    V2(PathBuf),
    /// The directory in which the hierarchies are mounted.
    V1(PathBuf),
}

impl Base {
    /// What a [`crate::protocol::JailSpec`] says: version 2 shows by its file of controllers.
    pub(super) fn at(path: &Path) -> Self {
        if path.join("cgroup.controllers").exists() { Self::V2(path.to_owned()) } else { Self::V1(path.to_owned()) }
    }

    pub(super) const fn mechanism(&self) -> Mechanism {
        match self {
            Self::V2(_) => Mechanism::Cgroup2,
            Self::V1(_) => Mechanism::Cgroup1,
        }
    }

    /// The directories that hold one directory per group.
    fn folders(&self) -> Vec<PathBuf> {
        match self {
            Self::V2(base) => vec![base.clone()],
            Self::V1(base) => NEEDED.iter().map(|hierarchy| base.join(hierarchy).join(FOLDER)).collect(),
        }
    }
}

/// The part of a group's name that says whose it is. `dir` is the chain's directory,
/// `…/<runs>/<run>/<chain>`: the hash of the part before tells installations apart.
fn chain_name(dir: &Path) -> String {
    let part = |path: Option<&Path>| {
        let name = path.and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect::<String>()
    };
    let runs = dir.parent().and_then(Path::parent).unwrap_or(Path::new(""));
    format!("{}-{}-{}-", installation(runs), part(dir.parent()), part(Some(dir)))
}

fn installation(runs: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, runs.as_os_str().as_bytes());
    hex::encode(&digest.as_ref()[..6])
}

/// Removes the groups of chains that are not alive, killing what may still be in them. `runs` is the
/// directory that holds all runs of this installation, `alive` are the directories of chains whose
/// lock is held. Says how many groups were removed.
pub fn sweep(cgroup: &Path, runs: &Path, alive: &[PathBuf]) -> Result<usize, JailError> {
    let own = format!("{}-", installation(runs));
    let alive: Vec<String> = alive.iter().map(|dir| chain_name(dir)).collect();
    let mut removed = 0;
    for folder in Base::at(cgroup).folders() {
        for group in groups(&folder)? {
            let name = group.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with(&own) && !alive.iter().any(|chain| name.starts_with(chain)) {
                kill_all(&group);
                removed += usize::from(fs::remove_dir(&group).is_ok());
            }
        }
    }
    Ok(removed)
}

fn groups(folder: &Path) -> Result<Vec<PathBuf>, JailError> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(JailError::Cgroup { doing: "list", path: folder.to_owned(), source }),
    }
}

/// Kills every process of a group and waits for their end: at once where the kernel can, else round
/// after round until the list is empty.
fn kill_all(group: &Path) {
    const ROUNDS: usize = 1_000;
    let at_once = group.join("cgroup.kill");
    let at_once = at_once.exists() && fs::write(at_once, "1").is_ok();
    for _ in 0..ROUNDS {
        let opened: Vec<_> = members(group).into_iter().filter_map(|pid| Some((pid, open(pid)?))).collect();
        if opened.is_empty() {
            return;
        }
        // Whoever is still a member now is who was opened: its number was not given to somebody else.
        let still = members(group);
        for (_, pidfd) in opened.iter().filter(|(pid, _)| still.contains(pid)) {
            let killed = at_once || pidfd_send_signal(pidfd, Signal::KILL).is_ok();
            if !killed || !ended(pidfd) {
                return;
            }
        }
    }
}

fn members(group: &Path) -> Vec<Pid> {
    let list = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    list.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)).collect()
}

fn open(pid: Pid) -> Option<OwnedFd> {
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

/// Waits for the end of a killed process, which takes long only if the kernel cannot let go of it.
fn ended(pidfd: &OwnedFd) -> bool {
    let patience = Timespec { tv_sec: 5, tv_nsec: 0 };
    poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&patience)).is_ok_and(|ready| ready > 0)
}
