//! What does not work in a jail, each with the control that it works outside.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    process::Command,
};

use crate::{
    host::{Host, Server, as_root, call, phase, servers, succeeds},
    tests,
};

tests![
    files_of_the_host_are_not_there,
    nothing_can_be_mounted,
    no_namespace_can_be_made,
    nobody_can_be_traced,
    dangerous_calls_are_refused,
    processes_of_the_host_are_neither_seen_nor_killed,
    init_cannot_be_looked_into,
    no_descriptor_leaks_in,
    set_uid_programs_do_not_elevate,
    no_device_can_be_made,
    the_workspace_is_no_way_out,
    no_mount_of_the_host_is_left,
    foreign_terminals_cannot_be_typed_into,
];

fn files_of_the_host_are_not_there() {
    for server in servers() {
        let host = Host::new(*server);
        let key = host.key();
        assert_eq!(succeeds(server.outside("cat").arg(&key)), "the key\n");
        let script = format!(
            "for f in {} {} /etc/shadow /etc/ssl/private /root /home /var/lib /boot /sys /old_root /mnt /srv; do \
             if [ -e $f ]; then echo $f is there; fi; done",
            key.display(),
            host.spec.dir.display()
        );
        assert_eq!(host.says(&script), "", "{server:?}");
        let top = host.says("ls -A / | tr '\\n' ' '");
        for entry in top.split_whitespace() {
            let known = [
                "bin",
                "dev",
                "etc",
                "lib",
                "lib32",
                "lib64",
                "libx32",
                "proc",
                "run",
                "sbin",
                "tmp",
                "usr",
                "var",
                "workspace",
            ];
            assert!(known.contains(&entry), "/{entry} should not be there: {top}");
        }
    }
    assert!(fs::metadata("/etc/shadow").is_ok(), "the control: the host has it");
}

fn nothing_can_be_mounted() {
    for server in servers() {
        let host = Host::new(*server);
        let control = "mount -t tmpfs none /mnt && echo mounted";
        assert_eq!(succeeds(server.outside("unshare").args(["-Urm", "sh", "-c", control])), "mounted\n");
        let tries = [
            "mount -t tmpfs none /tmp".to_owned(),
            "umount /workspace".to_owned(),
            "mount -o remount,rw /usr".to_owned(),
            "mount --bind /tmp /workspace".to_owned(),
        ];
        for script in tries {
            assert_ne!(host.sh(&script).verdict, airlock::domain::Verdict::SUCCESS, "{server:?} {script}");
        }
        for number in [
            libc::SYS_mount,
            libc::SYS_fsopen,
            libc::SYS_move_mount,
            libc::SYS_open_tree,
            libc::SYS_pivot_root,
            libc::SYS_chroot,
        ] {
            assert_eq!(host.says(&call(number, "0, 0, 0, 0, 0")), libc::EPERM.to_string(), "{server:?} call {number}");
        }
    }
}

fn no_namespace_can_be_made() {
    for server in servers() {
        let host = Host::new(*server);
        assert_eq!(succeeds(server.outside("unshare").args(["-Ur", "id", "-u"])), "0\n");
        assert_ne!(host.sh("unshare -Ur true").verdict, airlock::domain::Verdict::SUCCESS);
        let clone = call(libc::SYS_clone, &format!("{}, 0, 0, 0, 0", libc::CLONE_NEWUSER | libc::SIGCHLD));
        assert_eq!(host.says(&clone), libc::EPERM.to_string());
        assert_eq!(host.says(&call(libc::SYS_clone3, "0, 0")), libc::ENOSYS.to_string());
        assert_eq!(host.says(&call(libc::SYS_setns, "0, 0")), libc::EPERM.to_string());
    }
}

fn nobody_can_be_traced() {
    for server in servers() {
        let host = Host::new(*server);
        let trace_me = call(libc::SYS_ptrace, "0, 0, 0, 0");
        assert_eq!(succeeds(server.outside("sh").args(["-c", &trace_me])), "ok");
        assert_eq!(host.says(&trace_me), libc::EPERM.to_string());
        // A child's memory, by the other door.
        let peek = call(libc::SYS_process_vm_readv, "$$, 0, 0, 0, 0, 0");
        assert_eq!(succeeds(server.outside("sh").args(["-c", &peek])), "ok");
        assert_eq!(host.says(&peek), libc::EPERM.to_string());
    }
}

fn dangerous_calls_are_refused() {
    // The controls differ by kernel; what matters is that the filter answers before the kernel looks
    // at the arguments, which would be EINVAL, EFAULT, EBADF or ENOSYS.
    let calls = [
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_io_uring_setup,
        libc::SYS_open_by_handle_at,
        libc::SYS_pidfd_getfd,
        libc::SYS_kcmp,
        libc::SYS_init_module,
        libc::SYS_kexec_load,
        libc::SYS_mount_setattr,
    ];
    for server in servers() {
        let host = Host::new(*server);
        for number in calls {
            let script = call(number, "-1, 0, 0, 0, 0");
            assert_eq!(host.says(&script), libc::EPERM.to_string(), "{server:?} call {number}");
            if *server == Server::Root {
                let outside = succeeds(server.outside("sh").args(["-c", &script]));
                assert_ne!(outside, libc::EPERM.to_string(), "control of call {number}");
            }
        }
    }
}

fn processes_of_the_host_are_neither_seen_nor_killed() {
    for server in servers() {
        let host = Host::new(*server);
        let mut victim = server.outside_as_jail("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let pid = victim.id();
        let script = format!(
            "kill -9 {pid} 2>/dev/null && echo killed; kill -9 -1 2>/dev/null; [ -e /proc/{pid} ] && echo seen; true"
        );
        // `kill -9 -1` takes the jail's own along; init survives it.
        let report = host.sh(&script);
        assert_eq!(report.stdout, "", "{server:?} {report:?}");
        let numbers = host.says("cd /proc; ls -d [0-9]* | wc -l");
        assert!(numbers.trim().parse::<u32>().unwrap() <= 4, "{numbers}");
        assert!(victim.try_wait().unwrap().is_none(), "the victim lives");
        succeeds(server.outside_as_jail("kill").args(["-9", &pid.to_string()]));
        assert!(!victim.wait().unwrap().success());
    }
}

fn init_cannot_be_looked_into() {
    for server in servers() {
        let host = Host::new(*server);
        let script = "for f in environ mem fd/3 root cwd exe; do (cat /proc/1/$f) 2>/dev/null && echo read $f; done; \
                      ls /proc/1/fd 2>/dev/null; kill -9 1 2>/dev/null; kill -TERM 1 2>/dev/null; echo alive";
        assert_eq!(host.says(script), "alive\n", "{server:?}");
    }
    // The control: a process of one's own uid can be looked into where it is dumpable.
    assert!(!succeeds(Command::new("sh").args(["-c", "A=1 sh -c 'cat /proc/$$/environ'"])).is_empty());
}

fn no_descriptor_leaks_in() {
    for server in servers() {
        let mut host = Host::new(*server);
        host.leak = Some(host.key());
        // 3 is the report; ls itself opens the directory as the next one.
        assert_eq!(host.says("ls /proc/self/fd | tr '\\n' ' '"), "0 1 2 3 4 ", "{server:?}");
        assert_eq!(host.says("readlink /proc/self/fd/0"), "/dev/null\n");
    }
    // The control: what is not closed on exec is there.
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f"), "x").unwrap();
    let script = format!("exec 9< {}; ls /proc/self/fd", dir.path().join("f").display());
    assert!(succeeds(Command::new("sh").args(["-c", &script])).contains('9'));
}

fn set_uid_programs_do_not_elevate() {
    as_root("it makes a set-uid program of root's");
    for server in servers() {
        let host = Host::new(*server);
        let program = host.workspace().join("id");
        fs::copy("/usr/bin/id", &program).unwrap();
        chown(&program, Some(0), Some(0)).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o6755)).unwrap();
        // The way there is opened for the control.
        host.open_the_way();
        assert_eq!(succeeds(server.outside_as_jail(program.to_str().unwrap()).arg("-u")), "0\n");
        assert_ne!(host.says("./id -u"), "0\n", "{server:?}");
        assert_ne!(host.says("./id -g"), "0\n", "{server:?}");
    }
}

fn no_device_can_be_made() {
    for server in servers() {
        let host = Host::new(*server);
        let script = "for d in /workspace /tmp /dev/shm; do mknod $d/null c 1 3 2>/dev/null && echo made $d; \
                      mkfifo $d/pipe || exit 1; done; true";
        assert_eq!(host.says(script), "", "{server:?}");
        if *server == Server::Root {
            let node = host.workspace().join("node");
            succeeds(Command::new("mknod").arg(&node).args(["c", "1", "5"]));
            fs::set_permissions(&node, fs::Permissions::from_mode(0o666)).unwrap();
            succeeds(Command::new("head").args(["-c", "1"]).arg(&node));
            assert_ne!(host.sh("head -c 1 node").verdict, airlock::domain::Verdict::SUCCESS, "one left there is dead");
        }
    }
}

fn the_workspace_is_no_way_out() {
    for server in servers() {
        let host = Host::new(*server);
        std::os::unix::fs::symlink(host.key(), host.workspace().join("key")).unwrap();
        assert_eq!(succeeds(server.outside("cat").arg(host.workspace().join("key"))), "the key\n");
        assert_ne!(host.sh("cat key").verdict, airlock::domain::Verdict::SUCCESS);
        assert_eq!(host.says("cd ..; pwd; ls -A .. | grep -c master || true"), "/\n0\n");
        // A workspace that was exchanged for a link is not followed by who builds the jail.
        let link = Host::new(*server);
        fs::remove_dir(link.workspace()).unwrap();
        std::os::unix::fs::symlink("/etc", link.workspace()).unwrap();
        assert!(link.try_run(vec![phase("true")]).is_err(), "{server:?}");
    }
}

fn no_mount_of_the_host_is_left() {
    for (server, image) in servers().iter().flat_map(|server| [(*server, false), (*server, true)]) {
        let mut host = Host::new(server);
        let tiny = image.then(crate::life::tiny_image);
        if let Some(tiny) = &tiny {
            host.spec.root = airlock::protocol::Root::Image { path: tiny.path().to_owned() };
        }
        let parents = host.says("for d in / /.. /proc/self/root/.. /proc/self/cwd/../..; do ls -A $d; echo; done");
        let lists: Vec<_> = parents.split("\n\n").filter(|list| !list.is_empty()).collect();
        assert_eq!(lists.len(), 4);
        assert!(lists.iter().all(|list| *list == lists[0]), "{server:?} {parents}");
        let own = ["/", "/dev", "/proc", "/tmp", "/usr", "/workspace", "/run/airlock"];
        let mounts = host.says("cat /proc/self/mountinfo");
        for place in mounts.lines().map(|line| line.split(' ').nth(4).unwrap()) {
            let below = ["/dev/", "/etc/", "/usr/", "/lib", "/bin", "/sbin"];
            let known = own.contains(&place) || below.iter().any(|prefix| place.starts_with(prefix));
            assert!(known, "{server:?} {place} in\n{mounts}");
        }
        assert_eq!(mounts.lines().filter(|line| line.split(' ').nth(4) == Some("/")).count(), 1, "{mounts}");
    }
}

fn foreign_terminals_cannot_be_typed_into() {
    for server in servers() {
        let host = Host::new(*server);
        let script = format!(
            "perl -e 'open(my $t, \"+<\", \"/dev/ptmx\") or die; my $c = \"x\"; ioctl($t, {}, $c); print $!+0'",
            libc::TIOCSTI
        );
        assert_eq!(host.says(&script), libc::EPERM.to_string());
        assert_ne!(host.sh("exec < /dev/tty").verdict, airlock::domain::Verdict::SUCCESS, "there is no terminal");
    }
}
