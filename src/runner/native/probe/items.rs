//! One function per item: a fact of the host in, a sentence for people out.

use std::{
    fs,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use super::{super::Mechanism, HostItem, HostStatus, JailError};
use crate::{
    domain::{
        limits::{DISK_FLOOR_BYTES, GIB},
        verdict::bytes,
    },
    runner::native::cgroup::Base,
};

/// mount_setattr, with which a whole tree of mounts is made read-only at once.
const OLDEST_KERNEL: (u32, u32) = (5, 12);
/// From this interface on Landlock covers abstract sockets.
const LANDLOCK_SCOPES: u32 = 6;

fn item(name: &'static str, status: HostStatus, means: impl Into<String>) -> HostItem {
    HostItem { name, status, means: means.into(), mend: None }
}

impl HostItem {
    fn mend(self, mend: impl Into<String>) -> Self {
        Self { mend: Some(mend.into()), ..self }
    }
}

pub(super) fn trial(result: &Result<(), JailError>) -> HostItem {
    match result {
        Ok(()) => item("jail", HostStatus::Ok, "a trial jail was made, and a shell ran in it"),
        Err(error) => item("jail", HostStatus::Missing, format!("no jail can be made here: {error}")),
    }
}

pub(super) fn network(closed: &Result<(), JailError>, open: &Result<(), JailError>) -> HostItem {
    const NAME: &str = "network namespace";
    match (closed, open) {
        (Ok(()), _) => item(NAME, HostStatus::Ok, "phases can be cut off from the network"),
        (Err(error), Ok(())) => {
            item(NAME, HostStatus::Degraded, format!("network modes `none` and `allow` do not work: {error}"))
        }
        (Err(_), Err(_)) => item(NAME, HostStatus::Missing, "without a jail there is none"),
    }
}

pub(super) fn user(root: bool) -> HostItem {
    if root {
        return item("server user", HostStatus::Ok, "root: each run gets an unprivileged uid of its own");
    }
    item(
        "server user",
        HostStatus::Degraded,
        "an ordinary user: jails run as the same uid as the server, so an escape from a jail would reach the key file",
    )
    .mend("run the server as root: it executes nothing itself, and its jails have fewer rights than now")
}

pub(super) fn kernel() -> HostItem {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    kernel_of(&release)
}

pub(super) fn kernel_of(release: &str) -> HostItem {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= OLDEST_KERNEL {
        return item("kernel", HostStatus::Ok, format!("Linux {release}"));
    }
    let (major, minor) = OLDEST_KERNEL;
    item("kernel", HostStatus::Missing, format!("Linux {release} is too old for jails"))
        .mend(format!("use Linux {major}.{minor} or newer"))
}

pub(super) fn user_namespaces(root: bool, works: bool) -> HostItem {
    const NAME: &str = "user namespaces";
    if root {
        return item(NAME, HostStatus::Ok, "not needed, since the server is root");
    }
    if works {
        return item(NAME, HostStatus::Ok, "ordinary users can make them");
    }
    let off = [
        ("user/max_user_namespaces", "0", "user.max_user_namespaces=15000"),
        ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns=0"),
    ];
    let found = off.into_iter().find(|(name, off, _)| {
        fs::read_to_string(Path::new("/proc/sys").join(name)).is_ok_and(|value| value.trim() == *off)
    });
    match found {
        Some((_, _, mend)) => item(NAME, HostStatus::Missing, "this host does not let ordinary users make them")
            .mend(format!("sysctl -w {mend}, or run the server as root")),
        None => item(NAME, HostStatus::Degraded, "no setting forbids them, and yet no jail can be made")
            .mend("look at the container's or the security module's rules, or run the server as root"),
    }
}

pub(super) fn seccomp() -> HostItem {
    let actions = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    if actions.split_whitespace().any(|action| action == "kill_process") {
        return item("seccomp", HostStatus::Ok, "system calls are filtered by an allow list");
    }
    item("seccomp", HostStatus::Missing, "this kernel cannot filter system calls")
        .mend("use a kernel with CONFIG_SECCOMP_FILTER")
}

pub(super) fn landlock(abi: u32) -> HostItem {
    let mend = "use a newer kernel with `landlock` in its `lsm=` list";
    match abi {
        0 => item("landlock", HostStatus::Degraded, "not there: the mount namespace is the only fence around files")
            .mend(mend),
        1..LANDLOCK_SCOPES => item(
            "landlock",
            HostStatus::Degraded,
            format!("ABI {abi}: a second fence around files; with the host's network abstract sockets are in reach"),
        )
        .mend(mend),
        _ => item("landlock", HostStatus::Ok, format!("ABI {abi}: a second fence around files and abstract sockets")),
    }
}

pub(super) fn limits(cgroup: &Result<PathBuf, Vec<String>>) -> HostItem {
    const NAME: &str = "limits";
    match cgroup {
        Ok(path) => {
            let version = match Base::at(path).mechanism() {
                Mechanism::Cgroup2 => "cgroup v2",
                Mechanism::Cgroup1 => "cgroup v1",
                Mechanism::Poll => "the runner",
            };
            item(
                NAME,
                HostStatus::Ok,
                format!("{version} at {} holds memory, processes and processor time", path.display()),
            )
        }
        Err(reasons) => item(
            NAME,
            HostStatus::Degraded,
            format!(
                "no cgroup can be made ({}): memory is summed up every 50 ms and may be exceeded for that long, \
                 processor time is not limited",
                reasons.join("; ")
            ),
        )
        .mend("start the server by its systemd units (Delegate=yes), or as root with a writable /sys/fs/cgroup"),
    }
}

pub(super) fn uids(root: bool, range: &RangeInclusive<u32>) -> HostItem {
    const NAME: &str = "uid range";
    if !root {
        return item(NAME, HostStatus::Ok, "not needed: an ordinary user's jails map its own uid");
    }
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    uids_of(range, &read("/proc/self/uid_map"), &read("/etc/passwd"))
}

pub(super) fn uids_of(range: &RangeInclusive<u32>, map: &str, passwd: &str) -> HostItem {
    const NAME: &str = "uid range";
    let (first, last) = (*range.start(), *range.end());
    let shown = format!("{first} to {last}");
    let mapped = map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(|number| number.parse::<u64>().unwrap_or(0));
        let (inside, _, count) = (numbers.next().unwrap_or(0), numbers.next(), numbers.next().unwrap_or(0));
        inside <= u64::from(first) && u64::from(last) < inside + count
    });
    if first == 0 || !mapped {
        return item(NAME, HostStatus::Missing, format!("{shown} do not all exist in this user namespace"))
            .mend("set `uid_range` to ids that this container maps, none of them 0");
    }
    let taken = passwd.lines().find(|line| {
        line.split(':').nth(2).and_then(|uid| uid.parse().ok()).is_some_and(|uid: u32| range.contains(&uid))
    });
    match taken.and_then(|line| line.split(':').next()) {
        Some(name) => item(
            NAME,
            HostStatus::Degraded,
            format!("`{name}` of this host has a uid within {shown}: runs could act as that user"),
        )
        .mend("set `uid_range` to ids that nobody has"),
        None => item(NAME, HostStatus::Ok, format!("{shown} belong to nobody else")),
    }
}

pub(super) fn disk(data: &Path) -> HostItem {
    match rustix::fs::statvfs(data) {
        Ok(disk) => disk_of(disk.f_bavail.saturating_mul(disk.f_frsize)),
        Err(error) => item("disk", HostStatus::Missing, format!("{}: {}", data.display(), std::io::Error::from(error))),
    }
}

pub(super) fn disk_of(free: u64) -> HostItem {
    let shown = bytes(free);
    if free < DISK_FLOOR_BYTES {
        item("disk", HostStatus::Missing, format!("{shown} free: below {} nothing is started", bytes(DISK_FLOOR_BYTES)))
            .mend("free space, or move the data directory")
    } else if free < GIB {
        item("disk", HostStatus::Degraded, format!("{shown} free: providers and workspaces are often larger"))
            .mend("free space")
    } else {
        item("disk", HostStatus::Ok, format!("{shown} free"))
    }
}

pub(super) fn systemd() -> HostItem {
    let manages = Path::new("/run/systemd/system").is_dir();
    if manages && std::process::id() != 1 {
        return item("systemd", HostStatus::Ok, "runs go on while the server restarts, if its two units are installed");
    }
    item(
        "systemd",
        HostStatus::Degraded,
        "not there: whoever stops the server's container or session ends running phases, too",
    )
    .mend("install the two systemd units")
}
