//! One group: made with its limits, read at the end, removed.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, Mode, OFlags, openat};

use super::{super::privileges::INIT, Base, FOLDER, chain_name, kill_all};
use crate::{domain::stack::Limits, runner::native::JailError};

/// Processor time is handed out in periods of so many microseconds.
const PERIOD_US: u64 = 100_000;

/// The group of one phase. Removed when dropped; nothing may be alive in it by then.
#[derive(Debug)]
pub(in super::super) struct Group {
    version: Version,
}

#[derive(Debug)]
enum Version {
    V2(PathBuf),
    V1 {
        memory: PathBuf,
        pids: PathBuf,
        /// Only where processor time is limited.
        cpu: Option<PathBuf>,
    },
}

/// What a group counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Readings {
    pub peak_memory_bytes: Option<u64>,
    pub cpu_ms: Option<u64>,
    /// Processes that the kernel killed because memory was out.
    pub out_of_memory_kills: u64,
    /// Forks that failed because there were too many processes.
    pub refused_forks: u64,
}

impl Group {
    /// Makes the group of the chain's phase number `n` and sets its limits.
    pub(in super::super) fn create(base: &Base, dir: &Path, n: u32, limits: &Limits) -> Result<Self, JailError> {
        let name = format!("{}{n}", chain_name(dir));
        let group = match base {
            Base::V2(base) => Self { version: Version::V2(make(base, &name)?) },
            Base::V1(base) => {
                let make = |hierarchy| make(&base.join(hierarchy).join(FOLDER), &name);
                // Each is removed again if a later one cannot be made.
                let mut group =
                    Self { version: Version::V1 { memory: make("memory")?, pids: PathBuf::new(), cpu: None } };
                if let Version::V1 { pids, cpu, .. } = &mut group.version {
                    *pids = make("pids")?;
                    *cpu = limits.cpu_percent.map(|_| make("cpu")).transpose()?;
                }
                group
            }
        };
        group.limit(limits)?;
        Ok(group)
    }

    fn limit(&self, limits: &Limits) -> Result<(), JailError> {
        let memory = limits.memory_bytes.to_string();
        let processes = (limits.processes + INIT).to_string();
        let quota = limits.cpu_percent.map(|percent| u64::from(percent) * PERIOD_US / 100);
        match &self.version {
            Version::V2(group) => {
                set(group, "memory.max", &memory)?;
                // Not there where the kernel has no swap accounting.
                set_if_there(group, "memory.swap.max", "0")?;
                set(group, "memory.oom.group", "1")?;
                set(group, "pids.max", &processes)?;
                quota.map_or(Ok(()), |quota| set(group, "cpu.max", &format!("{quota} {PERIOD_US}")))
            }
            Version::V1 { memory: group, pids, cpu } => {
                set(group, "memory.limit_in_bytes", &memory)?;
                set_if_there(group, "memory.memsw.limit_in_bytes", &memory)?;
                set(pids, "pids.max", &processes)?;
                let (Some(cpu), Some(quota)) = (cpu, quota) else { return Ok(()) };
                set(cpu, "cpu.cfs_period_us", &PERIOD_US.to_string())?;
                set(cpu, "cpu.cfs_quota_us", &quota.to_string())
            }
        }
    }

    /// For version 2: the directory, into which a process can be cloned.
    pub(in super::super) fn directory(&self) -> Result<Option<OwnedFd>, JailError> {
        let Version::V2(group) = &self.version else { return Ok(None) };
        openat(CWD, group, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map(Some)
            .map_err(|error| failed("open", group, error.into()))
    }

    /// For version 1: the files that a process writes `0` into to join.
    pub(in super::super) fn join_files(&self) -> Vec<PathBuf> {
        match &self.version {
            Version::V2(_) => Vec::new(),
            Version::V1 { memory, pids, cpu } => [Some(memory), Some(pids), cpu.as_ref()]
                .into_iter()
                .flatten()
                .map(|group| group.join("tasks"))
                .collect(),
        }
    }

    /// Kills what is in it. For phases without a pid namespace, whose end does that.
    pub(in super::super) fn kill(&self) {
        match &self.version {
            Version::V2(group) | Version::V1 { pids: group, .. } => kill_all(group),
        }
    }

    pub(in super::super) fn read(&self) -> Readings {
        match &self.version {
            Version::V2(group) => Readings {
                peak_memory_bytes: number(group, "memory.peak"),
                cpu_ms: entry(group, "cpu.stat", "usage_usec").map(|us| us / 1_000),
                out_of_memory_kills: entry(group, "memory.events", "oom_kill").unwrap_or_default(),
                refused_forks: entry(group, "pids.events", "max").unwrap_or_default(),
            },
            Version::V1 { memory, pids, .. } => Readings {
                peak_memory_bytes: number(memory, "memory.max_usage_in_bytes"),
                cpu_ms: None,
                out_of_memory_kills: entry(memory, "memory.oom_control", "oom_kill").unwrap_or_default(),
                refused_forks: entry(pids, "pids.events", "max").unwrap_or_default(),
            },
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let groups = match &self.version {
            Version::V2(group) => vec![group],
            Version::V1 { memory, pids, cpu } => {
                [Some(memory), Some(pids), cpu.as_ref()].into_iter().flatten().collect()
            }
        };
        for group in groups {
            // What cannot be removed is swept at the server's next start.
            let _ = fs::remove_dir(group);
        }
    }
}

fn make(folder: &Path, name: &str) -> Result<PathBuf, JailError> {
    let group = folder.join(name);
    match fs::create_dir(&group) {
        Ok(()) => Ok(group),
        // The first group of this boot.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(&group).map(|()| group.clone()).map_err(|source| failed("make", &group, source))
        }
        // Left by a runner that was killed, and its limits may be others.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            kill_all(&group);
            fs::remove_dir(&group)
                .and_then(|()| fs::create_dir(&group))
                .map(|()| group.clone())
                .map_err(|source| failed("make anew", &group, source))
        }
        Err(source) => Err(failed("make", &group, source)),
    }
}

fn set(group: &Path, file: &str, value: &str) -> Result<(), JailError> {
    let path = group.join(file);
    fs::write(&path, value).map_err(|source| failed("write", &path, source))
}

fn set_if_there(group: &Path, file: &str, value: &str) -> Result<(), JailError> {
    if group.join(file).exists() { set(group, file, value) } else { Ok(()) }
}

fn failed(doing: &'static str, path: &Path, source: io::Error) -> JailError {
    JailError::Cgroup { doing, path: path.to_owned(), source }
}

fn number(group: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(group.join(file)).ok()?.trim().parse().ok()
}

/// A line `key value` of a file.
fn entry(group: &Path, file: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(group.join(file)).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}
