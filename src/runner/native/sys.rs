//! The system calls that have no safe wrapper. All `unsafe` code of Airlock stands here.
//!
//! Each function does one call (or one short, inseparable row) and turns failure into
//! [`io::Error`]. Forking is sound here because [`super::Jailer::start`] refuses to fork a process
//! with more than one thread: the child is then an ordinary process that may allocate, lock and
//! panic.

#![allow(unsafe_code)]

use std::{
    ffi::CString,
    fs::File,
    io,
    mem::{size_of, zeroed},
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    ptr,
};

use rustix::mount::MountAttrFlags;

/// What a fork returned to.
pub(super) enum Fork {
    Child,
    Parent(libc::pid_t),
}

fn checked(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Forks. The caller has one thread.
pub(super) fn fork() -> io::Result<Fork> {
    // SAFETY: fork itself has no memory preconditions. That ordinary code may run in the child rests
    // on the process having one thread, which `Jailer::start` checks and its descendants keep.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid)),
    }
}

/// A cloned process as its maker sees it.
pub(super) struct Cloned {
    pub pid: libc::pid_t,
    pub pidfd: OwnedFd,
}

/// Forks into new namespaces (`CLONE_NEW*` flags), straight into a cgroup v2 where one is given: a
/// move afterwards would wait for an RCU grace period (7 ms on an idle machine). The child is the
/// caller's sibling (`CLONE_PARENT`), so that it is the runner that waits for it and that it dies
/// with. `None` in the child.
pub(super) fn clone_sibling(namespaces: libc::c_int, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Option<Cloned>> {
    let mut pidfd: RawFd = -1;
    let flags = namespaces | libc::CLONE_PARENT | libc::CLONE_PIDFD;
    let pid = match cgroup {
        // The old call suffices and is let through by the profiles of containers. Its first three
        // arguments have the same order on x86_64 and aarch64; the others are zero.
        None => {
            // SAFETY: a null stack makes it a fork (no CLONE_VM), so the child has its own copy of all
            // memory; `pidfd` outlives the call and is where CLONE_PIDFD stores; see `fork` for the rest.
            unsafe { libc::syscall(libc::SYS_clone, flags, ptr::null::<u8>(), &raw mut pidfd, 0_usize, 0_usize) }
        }
        Some(cgroup) => {
            let arguments = CloneArguments {
                flags: flags as u64 | CLONE_INTO_CGROUP,
                pidfd: &raw mut pidfd as u64,
                cgroup: cgroup.as_raw_fd() as u64,
                // Must be zero together with CLONE_PARENT: the child gets the caller's.
                exit_signal: 0,
                ..CloneArguments::default()
            };
            // SAFETY: `arguments` is a live `struct clone_args` of the size that is passed, its pidfd
            // points to a live integer, its stack is null (a fork, as above).
            unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArguments>()) }
        }
    };
    match checked(pid)? {
        0 => Ok(None),
        // SAFETY: the kernel has just stored a new descriptor that nobody else owns.
        pid => Ok(Some(Cloned { pid: pid as libc::pid_t, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })),
    }
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `struct clone_args` of linux/sched.h, version 2.
#[repr(C)]
#[derive(Default)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Ends the process at once, without running anything that the runner registered.
pub(super) fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions; it runs no destructors and no exit handlers, which belong
    // to the process that this one was forked from.
    unsafe { libc::_exit(code) }
}

/// Enters namespaces of the calling process's own.
pub(super) fn unshare(namespaces: libc::c_int) -> io::Result<()> {
    // SAFETY: only namespace flags are passed (no CLONE_FILES or CLONE_FS), so no descriptor or path
    // that safe code relies on changes its owner.
    checked(unsafe { libc::unshare(namespaces) }.into()).map(drop)
}

/// Closes every descriptor but this one, which becomes number 3; 0, 1 and 2 are `/dev/null`.
///
/// For the zygote only: it never returns to code that owns one of the others.
pub(super) fn keep_only(keep: OwnedFd) -> io::Result<OwnedFd> {
    const KEPT: RawFd = 3;
    let null: OwnedFd = File::options().read(true).write(true).open("/dev/null")?.into();
    let sources = [duplicate_from(null.as_fd(), KEPT + 1)?, duplicate_from(keep.as_fd(), KEPT + 1)?];
    for to in 0..KEPT {
        duplicate_to(sources[0].as_fd(), to)?;
    }
    duplicate_to(sources[1].as_fd(), KEPT)?;
    // They are closed below, by number.
    std::mem::forget((null, keep, sources));
    // SAFETY: this closes descriptors of the forked copy of the runner, whose owners were forgotten
    // with the runner's stack: the zygote never returns to it. Number 3 has no other owner.
    unsafe {
        checked(libc::syscall(libc::SYS_close_range, KEPT + 1, libc::c_uint::MAX, 0))?;
        checked(libc::fcntl(KEPT, libc::F_SETFD, libc::FD_CLOEXEC).into())?;
        Ok(OwnedFd::from_raw_fd(KEPT))
    }
}

/// Makes a descriptor available as number `to`, inherited by exec.
pub(super) fn duplicate_to(fd: BorrowedFd<'_>, to: RawFd) -> io::Result<()> {
    // SAFETY: what is replaced is 0, 1, 2, or a number that the caller has kept free on the way to
    // exec: nobody in this process goes on to use what was there.
    checked(unsafe { libc::dup2(fd.as_raw_fd(), to) }.into()).map(drop)
}

/// Has exec close every descriptor from `first` on.
pub(super) fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    // SAFETY: only flags of descriptors change.
    let flags = libc::CLOSE_RANGE_CLOEXEC;
    checked(unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, flags) }).map(drop)
}

/// Takes the descriptors 1 to `count` over and closes all above them.
///
/// Only for a forked process that goes on as the engine: it never returns to code that owned one of
/// the others.
pub(super) fn own_and_close_others(count: RawFd) -> io::Result<Vec<OwnedFd>> {
    // SAFETY: the numbers were filled by `duplicate_to` a moment ago and have no other owner; the
    // owners of what is closed are on the stack of init's code, to which this process never returns.
    unsafe {
        checked(libc::syscall(libc::SYS_close_range, count + 1, libc::c_uint::MAX, 0))?;
        Ok((1..=count).map(|number| OwnedFd::from_raw_fd(number)).collect())
    }
}

/// Copies a descriptor to the lowest free number from `least` on, closed by exec.
pub(super) fn duplicate_from(fd: BorrowedFd<'_>, least: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC returns a new descriptor that nobody else owns.
    unsafe {
        let new = checked(libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, least).into())?;
        Ok(OwnedFd::from_raw_fd(new as RawFd))
    }
}

/// Sets attributes (`MOUNT_ATTR_*`) on a mount; with `recursive` on all below it, too.
pub(super) fn mount_setattr(mount: BorrowedFd<'_>, set: MountAttrFlags, recursive: bool) -> io::Result<()> {
    let attributes = libc::mount_attr { attr_set: set.bits().into(), attr_clr: 0, propagation: 0, userns_fd: 0 };
    change_mount(mount, &attributes, if recursive { libc::AT_RECURSIVE } else { 0 })
}

/// Shows whom things on a mount belong to as a user namespace counts. The mount was made by the caller
/// and is not attached yet.
pub(super) fn map_owners(mount: BorrowedFd<'_>, namespace: BorrowedFd<'_>) -> io::Result<()> {
    let userns_fd = namespace.as_raw_fd() as u64;
    let attributes = libc::mount_attr {
        attr_set: MountAttrFlags::MOUNT_ATTR_IDMAP.bits().into(),
        attr_clr: 0,
        propagation: 0,
        userns_fd,
    };
    change_mount(mount, &attributes, 0)
}

fn change_mount(mount: BorrowedFd<'_>, attributes: &libc::mount_attr, flags: libc::c_int) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | flags;
    // SAFETY: the path is a terminated empty string, `attributes` is live and of the size passed; the
    // kernel only reads it, and a descriptor that it names is only looked at.
    checked(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            ptr::from_ref(attributes),
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}

/// Takes one capability out of the bounding set. `EINVAL` says that there is none of that number.
pub(super) fn drop_bounding(capability: libc::c_ulong) -> io::Result<()> {
    // SAFETY: this option of prctl takes a number and touches no memory.
    checked(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) }.into()).map(drop)
}

/// Puts a system-call filter on the calling thread, for good. `no_new_privs` is already set.
pub(super) fn install_filter(program: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: program.len().try_into().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?,
        // The kernel only reads it, whatever the type says.
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: `program` is a live `struct sock_fprog` whose length is that of the slice behind it; the
    // kernel copies and verifies it.
    checked(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) }).map(drop)
}

/// The kernel's Landlock interface; 0 where there is none.
pub(super) fn landlock_abi() -> u32 {
    const VERSION: u32 = 1;
    // SAFETY: with this flag the kernel expects no structure and only answers a number.
    let abi = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, ptr::null::<u8>(), 0_usize, VERSION) };
    abi.try_into().unwrap_or(0)
}

/// Gives every signal its default effect and blocks none, as a program expects to start.
pub(super) fn reset_signals() -> io::Result<()> {
    for signal in 1..=64 {
        // Those that cannot be caught, and the two that libc keeps to itself, answer EINVAL.
        // SAFETY: SIG_DFL installs no handler.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: an all-zero sigset_t is valid memory that sigemptyset then initializes; the old set is
    // not asked for.
    checked(
        unsafe {
            let mut none: libc::sigset_t = zeroed();
            libc::sigemptyset(&raw mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut())
        }
        .into(),
    )
    .map(drop)
}

/// Lets ends of children be read from a descriptor instead of interrupting.
pub(super) fn child_events() -> io::Result<OwnedFd> {
    // SAFETY: the set is initialized by sigemptyset before use; signalfd returns a new descriptor that
    // nobody else owns.
    unsafe {
        let mut set: libc::sigset_t = zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        checked(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()).into())?;
        let fd = checked(libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK).into())?;
        Ok(OwnedFd::from_raw_fd(fd as RawFd))
    }
}

/// Ignores a signal.
pub(super) fn ignore(signal: libc::c_int) {
    // SAFETY: SIG_IGN installs no handler.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Sends a signal to every process that this one may signal, except itself. Only for pid 1 of a pid
/// namespace, where that means: to every process of the jail.
pub(super) fn signal_all(signal: libc::c_int) {
    // SAFETY: kill touches no memory. ESRCH (there is nobody) is fine.
    unsafe { libc::kill(-1, signal) };
}

/// Brings the loopback interface of the calling process's network namespace up.
pub(super) fn loopback_up(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: an all-zero ifreq is valid; the name "lo" fits and stays terminated; SIOCSIFFLAGS reads
    // the flags of the union, which are the ones written.
    unsafe {
        let mut request: libc::ifreq = zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        checked(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request).into()).map(drop)
    }
}

/// Replaces the process. Returns only if that failed.
pub(super) fn exec(program: &CString, arguments: &[CString], environment: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: both arrays hold pointers to live terminated strings and end in null.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// What a process that has ended, and the descendants that were waited for, have used.
pub(super) struct Reaped {
    pub cpu_ms: u64,
    /// The largest resident set of any single one.
    pub largest_rss_bytes: u64,
}

/// Waits for a child by its descriptor. Blocks.
pub(super) fn wait_with_usage(pidfd: BorrowedFd<'_>) -> io::Result<Reaped> {
    // SAFETY: both structures are plain data for which zeroes are valid, and live during the call.
    unsafe {
        let mut info: libc::siginfo_t = zeroed();
        let mut usage: libc::rusage = zeroed();
        loop {
            let result = libc::syscall(
                libc::SYS_waitid,
                libc::P_PIDFD,
                pidfd.as_raw_fd(),
                &raw mut info,
                libc::WEXITED,
                &raw mut usage,
            );
            match checked(result) {
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let ms = |time: libc::timeval| time.tv_sec as u64 * 1_000 + time.tv_usec as u64 / 1_000;
        Ok(Reaped {
            cpu_ms: ms(usage.ru_utime) + ms(usage.ru_stime),
            largest_rss_bytes: usage.ru_maxrss as u64 * 1_024,
        })
    }
}
