//! The compiled filter, run by a small interpreter, answers as the table says.

use super::{Action, Check, compile, table};

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;

const fn errno(number: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | number as u32
}

#[cfg(target_arch = "x86_64")]
const HERE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const HERE: u32 = 0xc000_00b7;

/// What the kernel would do: `struct seccomp_data` in, verdict out.
fn run(program: &[libc::sock_filter], architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let load = |offset: u32| match offset {
        0 => number,
        4 => architecture,
        at => (arguments[(at as usize - 16) / 8] >> (8 * ((at - 16) % 8))) as u32,
    };
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let step = program[at];
        at += 1;
        let jump = |condition: bool| usize::from(if condition { step.jt } else { step.jf });
        match u32::from(step.code) {
            0x20 => accumulator = load(step.k),
            0x54 => accumulator &= step.k,
            0x15 => at += jump(accumulator == step.k),
            0x35 => at += jump(accumulator >= step.k),
            0x06 => return step.k,
            code => panic!("instruction {code:#x}"),
        }
    }
}

fn here(number: libc::c_long, arguments: [u64; 6]) -> u32 {
    run(&compile(), HERE, number as u32, arguments)
}

fn expected(action: Action, arguments: [u64; 6]) -> u32 {
    match action {
        Action::Allow => ALLOW,
        Action::Errno(number) => errno(number),
        Action::Kill => KILL,
        Action::Check(Check { argument, mask, values, then, otherwise }) => {
            let value = arguments[usize::from(*argument)] as u32 & mask;
            expected(if values.contains(&value) { *then } else { *otherwise }, arguments)
        }
    }
}

#[test]
fn every_number_gets_the_answer_of_the_table() {
    let program = compile();
    for (number, action) in table::actions() {
        for argument in [0, 1, 2, 8, 10, 16, 38, 0x5412, 0x6000, 0x1000_0000, 0x0002_0000, u64::MAX] {
            let arguments = [argument; 6];
            assert_eq!(run(&program, HERE, number, arguments), expected(action, arguments), "call {number}");
        }
    }
}

#[test]
fn calls_that_leave_the_jail_are_refused() {
    let refused = [
        libc::SYS_ptrace,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_fsopen,
        libc::SYS_fsmount,
        libc::SYS_move_mount,
        libc::SYS_open_tree,
        libc::SYS_mount_setattr,
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_open_by_handle_at,
        libc::SYS_kexec_load,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_pidfd_getfd,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_kcmp,
        libc::SYS_reboot,
        libc::SYS_swapon,
        libc::SYS_quotactl,
        libc::SYS_syslog,
    ];
    for number in refused {
        assert_eq!(here(number, [0; 6]), errno(libc::EPERM), "call {number}");
    }
}

#[test]
fn threads_are_made_and_namespaces_are_not() {
    let clone = |flags: i32| here(libc::SYS_clone, [flags as u64, 0, 0, 0, 0, 0]);
    assert_eq!(clone(libc::SIGCHLD), ALLOW);
    assert_eq!(clone(libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND), ALLOW);
    for flag in [libc::CLONE_NEWUSER, libc::CLONE_NEWNS, libc::CLONE_NEWPID, libc::CLONE_NEWNET] {
        assert_eq!(clone(libc::SIGCHLD | flag), errno(libc::EPERM));
    }
    assert_eq!(here(libc::SYS_clone3, [0; 6]), errno(libc::ENOSYS));
}

#[test]
fn high_halves_of_arguments_hide_nothing() {
    let hidden = 0xdead_beef_0000_0000;
    assert_eq!(here(libc::SYS_clone, [hidden | libc::CLONE_NEWUSER as u64; 6]), errno(libc::EPERM));
    assert_eq!(here(libc::SYS_ioctl, [0, hidden | libc::TIOCSTI, 0, 0, 0, 0]), errno(libc::EPERM));
    assert_eq!(here(libc::SYS_socket, [hidden | libc::AF_PACKET as u64; 6]), errno(libc::EAFNOSUPPORT));
}

#[test]
fn only_common_sockets_are_made() {
    let socket = |domain: i32, protocol: i32| here(libc::SYS_socket, [domain as u64, 1, protocol as u64, 0, 0, 0]);
    for domain in [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6] {
        assert_eq!(socket(domain, 6), ALLOW);
    }
    assert_eq!(socket(libc::AF_NETLINK, libc::NETLINK_ROUTE), ALLOW);
    assert_eq!(socket(libc::AF_NETLINK, libc::NETLINK_NETFILTER), errno(libc::EPROTONOSUPPORT));
    for domain in [libc::AF_PACKET, libc::AF_VSOCK, libc::AF_ALG, libc::AF_KEY] {
        assert_eq!(socket(domain, 0), errno(libc::EAFNOSUPPORT));
    }
}

#[test]
fn device_nodes_are_refused_and_pipes_are_not() {
    let node = |kind: u32| here(libc::SYS_mknodat, [0, 0, u64::from(kind | 0o644), 0, 0, 0]);
    assert_eq!(node(libc::S_IFIFO), ALLOW);
    assert_eq!(node(libc::S_IFCHR), errno(libc::EPERM));
    assert_eq!(node(libc::S_IFBLK), errno(libc::EPERM));
}

#[test]
fn calls_of_another_architecture_kill() {
    const I386: u32 = 0x4000_0003;
    assert_eq!(run(&compile(), I386, libc::SYS_getpid as u32, [0; 6]), KILL);
    #[cfg(target_arch = "x86_64")]
    assert_eq!(here(libc::SYS_getpid | 0x4000_0000, [0; 6]), KILL);
}

#[test]
fn calls_newer_than_the_table_do_not_exist() {
    assert_eq!(here(2_000, [0; 6]), errno(libc::ENOSYS));
}

#[test]
fn the_filter_is_small() {
    assert!(compile().len() < 400, "{} instructions", compile().len());
}
