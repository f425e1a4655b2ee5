//! Who a jail is, and what it may not become.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::OwnedFd,
};

use rustix::{
    fs::{Mode, OFlags, openat},
    process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit, umask},
    thread::{
        CapabilitySet, CapabilitySets, clear_ambient_capability_set, set_capabilities, set_no_new_privs,
        set_thread_groups, set_thread_res_gid, set_thread_res_uid,
    },
};

use super::{
    mounts::Owner,
    sys,
    wire::{Doing, Failure},
};
use crate::domain::stack::Limits;

/// What the jail's programs see as their uid where a user namespace maps it.
pub(super) const MAPPED_UID: u32 = 1_000;
/// Bytes that a process may lock in memory; libraries for secrets lock a page or two.
const LOCKED_BYTES: u64 = 64 * 1_024;
/// Init is a process of the jail, too.
pub(super) const INIT: u32 = 1;
/// Where a cgroup counts processes, the count of the user is the second wall, a little further out, so
/// that the cgroup is the one that is hit and tells.
const SPARE_PROCESSES: u32 = 16;

/// Uid and gid as the present user namespace counts.
pub(super) fn own() -> Owner {
    Owner { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
}

/// The calling process in `/proc`, for when there is no path to it any more.
pub(super) fn own_process() -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open("/proc/self", flags, Mode::empty()).doing("open /proc/self")
}

/// Maps `inside` to the one id `outside`, both as uid and as gid, in a user namespace just entered.
pub(super) fn map_ids(process: &OwnedFd, inside: u32, outside: Owner) -> Result<(), Failure> {
    // Entering a user namespace may take this away; files in /proc of a process that cannot be dumped
    // belong to root, and the maps could not be opened.
    set_dumpable_behavior(DumpableBehavior::Dumpable).doing("let the id maps be written")?;
    // The kernel wants the group list frozen before an ordinary user may map a gid.
    let write = |name: &str, text: &str| -> io::Result<()> {
        let file = openat(process, name, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        File::from(file).write_all(text.as_bytes())
    };
    write("setgroups", "deny").doing("freeze the group list of the user namespace")?;
    write("uid_map", &format!("{inside} {} 1", outside.uid)).doing("map the user id")?;
    write("gid_map", &format!("{inside} {} 1", outside.gid)).doing("map the group id")
}

/// Limits per process. `counted`: whether a cgroup counts the processes.
pub(super) fn limit(limits: &Limits, counted: bool) -> Result<(), Failure> {
    let processes = limits.processes + INIT + if counted { SPARE_PROCESSES } else { 0 };
    let rows = [
        (Resource::Core, 0),
        (Resource::Nofile, limits.open_files.into()),
        (Resource::Fsize, limits.file_bytes),
        (Resource::Nproc, processes.into()),
        (Resource::Memlock, LOCKED_BYTES),
    ];
    for (resource, most) in rows {
        // Raising a hard limit takes a capability that root in a container may lack.
        let most = getrlimit(resource).maximum.map_or(most, |present| present.min(most));
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
            .doing(&format!("limit {resource:?} to {most}"))?;
    }
    umask(Mode::from_raw_mode(0o022));
    Ok(())
}

/// Becomes the unprivileged user of the run.
pub(super) fn become_user(user: Owner) -> Result<(), Failure> {
    use rustix::fs::{Gid, Uid};
    // Supplementary groups first: without root they could not be given up any more.
    set_thread_groups(&[]).doing("give up supplementary groups")?;
    // Then the group, for the same reason; real, effective and saved, so that there is no way back.
    let gid = Gid::from_raw(user.gid);
    set_thread_res_gid(gid, gid, gid).doing("become the run's group")?;
    let uid = Uid::from_raw(user.uid);
    set_thread_res_uid(uid, uid, uid).doing("become the run's user")
}

/// Empties the bounding set: whatever is executed later, no capability can come back. Needs the
/// capabilities that are given up next.
pub(super) fn empty_bounding_set() -> Result<(), Failure> {
    for capability in 0..64 {
        match sys::drop_bounding(capability) {
            Ok(()) => {}
            // The kernel knows no more of them.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            Err(error) => return Err(Failure::new("empty the capability bounding set", &error)),
        }
    }
    Ok(())
}

/// Gives up every capability.
pub(super) fn drop_capabilities() -> Result<(), Failure> {
    clear_ambient_capability_set().doing("clear the ambient capabilities")?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
        .doing("drop all capabilities")
}

/// Nothing executed from here on gains privileges by set-uid bits or file capabilities.
pub(super) fn no_new_privileges() -> Result<(), Failure> {
    set_no_new_privs(true).doing("set no_new_privs")
}

/// Keeps processes of the same uid, which is what the jail's are, out of this one's memory.
pub(super) fn not_dumpable() -> Result<(), Failure> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).doing("keep others out of init's memory")
}

/// How readily the kernel ends the calling process when memory is short; children inherit it. Under
/// pressure jails go first.
pub(super) fn oom_score(score: &File, adjustment: i32) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    score.write_all_at(adjustment.to_string().as_bytes(), 0)
}
