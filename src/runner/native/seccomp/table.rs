//! What a jail may ask the kernel for.
//!
//! Everything that is not named here fails with `EPERM`. Numbers above the newest call named here
//! fail with `ENOSYS`, because programs probe for new calls that way and fall back.
//!
//! Refused although containers often allow it: `ptrace` and `process_vm_*` (nobody looks into
//! another process), `name_to_handle_at`, `modify_ldt`, all memory-policy calls, netlink but for
//! routes, sockets of rare families (each was a way into the kernel once).

use libc::c_long;

use super::{Action, Check};

/// Files by path or descriptor: permissions decide, and the mount namespace holds nothing that was
/// not granted.
const FILES: &[c_long] = &[
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_lseek,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_fcntl,
    libc::SYS_flock,
    libc::SYS_ftruncate,
    libc::SYS_truncate,
    libc::SYS_fallocate,
    libc::SYS_fadvise64,
    libc::SYS_readahead,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync,
    libc::SYS_syncfs,
    libc::SYS_sync_file_range,
    libc::SYS_sendfile,
    libc::SYS_splice,
    libc::SYS_tee,
    libc::SYS_vmsplice,
    libc::SYS_copy_file_range,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_chdir,
    libc::SYS_fchdir,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    FCHMODAT2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_umask,
    libc::SYS_getxattr,
    libc::SYS_lgetxattr,
    libc::SYS_fgetxattr,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
    libc::SYS_flistxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    SETXATTRAT,
    GETXATTRAT,
    LISTXATTRAT,
    REMOVEXATTRAT,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_rm_watch,
    libc::SYS_io_setup,
    libc::SYS_io_destroy,
    libc::SYS_io_submit,
    libc::SYS_io_cancel,
    libc::SYS_io_getevents,
    CACHESTAT,
];

/// Memory of one's own.
const MEMORY: &[c_long] = &[
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_pkey_alloc,
    libc::SYS_pkey_free,
    libc::SYS_pkey_mprotect,
    libc::SYS_madvise,
    libc::SYS_mincore,
    libc::SYS_msync,
    libc::SYS_mlock,
    libc::SYS_mlock2,
    libc::SYS_mlockall,
    libc::SYS_munlock,
    libc::SYS_munlockall,
    libc::SYS_remap_file_pages,
    libc::SYS_memfd_create,
    libc::SYS_membarrier,
    libc::SYS_get_mempolicy,
    libc::SYS_getcpu,
    MSEAL,
];

/// Processes, threads, identity: the pid namespace holds only the jail's; identity cannot grow, since
/// there is no capability and no set-uid mount. `clone` is below; `ptrace` is missing on purpose.
const PROCESSES: &[c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_tgkill,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getpgid,
    libc::SYS_setpgid,
    libc::SYS_getsid,
    libc::SYS_setsid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_getgroups,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
    libc::SYS_capget,
    libc::SYS_capset,
    libc::SYS_prctl,
    libc::SYS_prlimit64,
    libc::SYS_getrlimit,
    libc::SYS_setrlimit,
    libc::SYS_getrusage,
    libc::SYS_getpriority,
    libc::SYS_setpriority,
    libc::SYS_ioprio_get,
    libc::SYS_ioprio_set,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_getattr,
    libc::SYS_sched_setattr,
    libc::SYS_sched_getparam,
    libc::SYS_sched_setparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min,
    libc::SYS_sched_rr_get_interval,
    libc::SYS_set_tid_address,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_rseq,
    libc::SYS_restart_syscall,
    // A jail may fence itself in further.
    libc::SYS_seccomp,
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_add_rule,
    libc::SYS_landlock_restrict_self,
];

/// Signals, clocks, waiting.
const EVENTS: &[c_long] = &[
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    libc::SYS_signalfd4,
    libc::SYS_eventfd2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_gettime,
    libc::SYS_timerfd_settime,
    libc::SYS_timer_create,
    libc::SYS_timer_delete,
    libc::SYS_timer_getoverrun,
    libc::SYS_timer_gettime,
    libc::SYS_timer_settime,
    libc::SYS_getitimer,
    libc::SYS_setitimer,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_times,
    // Reads the clock's state; changing it takes a capability.
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_futex,
    libc::SYS_futex_waitv,
    FUTEX_WAKE,
    FUTEX_WAIT,
    FUTEX_REQUEUE,
];

/// Talking: pipes, sockets (which ones is below), System V and POSIX queues of the jail's own ipc
/// namespace.
const COMMUNICATION: &[c_long] = &[
    libc::SYS_pipe2,
    libc::SYS_socketpair,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmdt,
    libc::SYS_shmctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semctl,
    libc::SYS_semtimedop,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_msgctl,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    libc::SYS_mq_timedsend,
    libc::SYS_mq_timedreceive,
    libc::SYS_mq_notify,
    libc::SYS_mq_getsetattr,
];

/// Facts.
const FACTS: &[c_long] = &[libc::SYS_uname, libc::SYS_sysinfo, libc::SYS_getrandom];

/// Calls that newer architectures no longer have; libc and older programs use them.
#[cfg(target_arch = "x86_64")]
const LEGACY: &[c_long] = &[
    libc::SYS_open,
    libc::SYS_creat,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_dup2,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd,
    libc::SYS_signalfd,
    libc::SYS_inotify_init,
    libc::SYS_getdents,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_link,
    libc::SYS_symlink,
    libc::SYS_readlink,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_getpgrp,
    libc::SYS_pause,
    libc::SYS_alarm,
    libc::SYS_time,
    libc::SYS_arch_prctl,
    MAP_SHADOW_STACK,
];
#[cfg(target_arch = "aarch64")]
const LEGACY: &[c_long] = &[];

const ALLOWED: &[&[c_long]] = &[FILES, MEMORY, PROCESSES, EVENTS, COMMUNICATION, FACTS, LEGACY];

/// New processes and threads, but no namespaces. These are all `CLONE_NEW*` flags that `clone` knows.
const CLONE: Check = Check {
    argument: 0,
    mask: (libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET) as u32,
    values: &[0],
    then: Action::Allow,
    otherwise: Action::Errno(libc::EPERM),
};

/// Local and internet sockets; raw ones are refused by the kernel, since there is no capability.
const SOCKET: Check = Check {
    argument: 0,
    mask: u32::MAX,
    values: &[libc::AF_UNIX as u32, libc::AF_INET as u32, libc::AF_INET6 as u32],
    then: Action::Allow,
    otherwise: Action::Check(&Check {
        argument: 0,
        mask: u32::MAX,
        values: &[libc::AF_NETLINK as u32],
        then: Action::Check(&ROUTE),
        otherwise: Action::Errno(libc::EAFNOSUPPORT),
    }),
};

/// libc and Go list interfaces and routes this way.
const ROUTE: Check = Check {
    argument: 2,
    mask: u32::MAX,
    values: &[libc::NETLINK_ROUTE as u32],
    then: Action::Allow,
    otherwise: Action::Errno(libc::EPROTONOSUPPORT),
};

/// Typing into a terminal that somebody else reads.
const IOCTL: Check = Check {
    argument: 1,
    mask: u32::MAX,
    values: &[libc::TIOCSTI as u32, libc::TIOCLINUX as u32],
    then: Action::Errno(libc::EPERM),
    otherwise: Action::Allow,
};

/// Linux, with or without `UNAME26`, and 32-bit reports; or only a question. Not: no address
/// randomization, executable data.
const PERSONALITY: Check = Check {
    argument: 0,
    mask: u32::MAX,
    values: &[0x0000_0000, 0x0000_0008, 0x0002_0000, 0x0002_0008, 0xffff_ffff],
    then: Action::Allow,
    otherwise: Action::Errno(libc::EPERM),
};

/// Pipes and sockets, no devices.
#[cfg(target_arch = "x86_64")]
const MKNOD: Check = no_devices(1);
const MKNODAT: Check = no_devices(2);

const fn no_devices(argument: u8) -> Check {
    Check {
        argument,
        mask: libc::S_IFMT,
        values: &[libc::S_IFCHR, libc::S_IFBLK],
        then: Action::Errno(libc::EPERM),
        otherwise: Action::Allow,
    }
}

const SPECIAL: &[(c_long, Action)] = &[
    (libc::SYS_clone, Action::Check(&CLONE)),
    // Its flags lie in memory, where a filter cannot look. libc falls back to clone.
    (libc::SYS_clone3, Action::Errno(libc::ENOSYS)),
    (libc::SYS_socket, Action::Check(&SOCKET)),
    (libc::SYS_ioctl, Action::Check(&IOCTL)),
    (libc::SYS_personality, Action::Check(&PERSONALITY)),
    (libc::SYS_mknodat, Action::Check(&MKNODAT)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mknod, Action::Check(&MKNOD)),
];

// Younger than the libc crate's lists; numbers from 424 on are the same on every architecture.
const CACHESTAT: c_long = 451;
const FCHMODAT2: c_long = 452;
#[cfg(target_arch = "x86_64")]
const MAP_SHADOW_STACK: c_long = 453;
const FUTEX_WAKE: c_long = 454;
const FUTEX_WAIT: c_long = 455;
const FUTEX_REQUEUE: c_long = 456;
const MSEAL: c_long = 462;
const SETXATTRAT: c_long = 463;
const GETXATTRAT: c_long = 464;
const LISTXATTRAT: c_long = 465;
const REMOVEXATTRAT: c_long = 466;

/// What happens to each number, ascending; the last answer holds for all above.
pub(super) fn actions() -> impl Iterator<Item = (u32, Action)> {
    let newest = ALLOWED.iter().copied().flatten().max().copied().unwrap_or_default() as usize;
    let mut actions = vec![Action::Errno(libc::EPERM); newest + 1];
    for number in ALLOWED.iter().copied().flatten() {
        actions[*number as usize] = Action::Allow;
    }
    for (number, action) in SPECIAL {
        actions[*number as usize] = *action;
    }
    actions.push(Action::Errno(libc::ENOSYS));
    actions.into_iter().zip(0..).map(|(action, number)| (number, action))
}
