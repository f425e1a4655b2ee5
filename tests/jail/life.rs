//! What works in a jail.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

use airlock::{
    domain::{RelativePath, Verdict},
    protocol::{Bind, Root},
};

use crate::{
    host::{Host, Server, as_root, phase, servers, succeeds, this_binary},
    runner::{PROBE, Phase, Probed},
    tests,
};

tests![
    a_command_runs_with_exactly_what_it_was_given,
    the_user_is_never_root,
    its_own_directories_are_writable_and_nothing_else_is,
    what_it_writes_belongs_to_its_user_outside,
    the_exit_code_is_reported_on_its_own_descriptor,
    programs_find_devices_terminals_and_their_outputs_by_name,
    grants_are_seen_as_they_were_granted,
    what_runs_keep_is_found_without_following_a_link,
    what_runs_of_other_users_left_is_a_run_s_own,
    where_owners_cannot_be_mapped_all_of_it_is_given_to_the_run,
    phases_of_one_chain_share_the_workspace_and_not_tmp,
    an_image_is_the_root_where_there_is_one,
    a_program_that_is_not_there_is_refused_by_name,
    requests_that_cannot_be_are_refused,
    a_jailer_starts_only_in_a_process_with_one_thread,
    root_never_lends_its_own_uid,
    an_unconfined_phase_runs_as_the_run_s_user,
    the_host_is_probed_by_really_trying,
];

fn a_command_runs_with_exactly_what_it_was_given() {
    for server in servers() {
        let host = Host::new(*server);
        let mut phase = phase("env | sort; pwd; hostname; cat; echo done; echo oops >&2; exit 3");
        phase.environment = vec![("A".into(), "1 2".into()), ("PATH".into(), "/usr/bin:/bin".into())];
        let report = host.run(phase);
        assert_eq!(report.stdout, "A=1 2\nPATH=/usr/bin:/bin\nPWD=/workspace\n/workspace\njail-test\ndone\n");
        assert_eq!(report.stderr, "oops\n");
        assert_eq!(report.verdict, Verdict::Exited { code: 3 });
        assert!(report.peak_memory_bytes.unwrap() > 0);
        assert!(report.cpu_ms.is_some());
    }
}

fn the_user_is_never_root() {
    for server in servers() {
        let host = Host::new(*server);
        let expected = if *server == Server::Root { server.jail_uid() } else { 1_000 };
        let said = host
            .says("id -u; id -g; id -un; grep -E '^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp):' /proc/self/status");
        let none = "0000000000000000";
        assert_eq!(
            said,
            format!(
                "{expected}\n{expected}\nairlock\nCapInh:\t{none}\nCapPrm:\t{none}\nCapEff:\t{none}\n\
                 CapBnd:\t{none}\nCapAmb:\t{none}\nNoNewPrivs:\t1\nSeccomp:\t2\n"
            )
        );
    }
}

fn its_own_directories_are_writable_and_nothing_else_is() {
    for server in servers() {
        let host = Host::new(*server);
        host.says("for d in /workspace /run/airlock /tmp /tmp/home /dev/shm; do echo x > $d/new || exit 1; done");
        let refused = host.says(
            "for d in / /etc /usr /usr/bin /usr/local /run /dev /proc /bin/ /lib/; do \
             if (echo x > $d/new) 2>/dev/null; then echo wrote $d; fi; done; \
             if (echo x >> /etc/passwd) 2>/dev/null; then echo wrote passwd; fi; \
             if (echo 1 > /proc/sys/kernel/hostname) 2>/dev/null; then echo wrote sysctl; fi",
        );
        assert_eq!(refused, "", "{server:?}");
    }
    // The control: root writes to these places outside.
    let dir = tempfile::tempdir_in("/usr/local").or_else(|_| tempfile::tempdir()).unwrap();
    fs::write(dir.path().join("new"), "x").unwrap();
}

fn what_it_writes_belongs_to_its_user_outside() {
    for server in servers() {
        let host = Host::new(*server);
        host.says("umask; echo x > file; mkdir dir; cp -r dir dir2");
        let file = fs::metadata(host.workspace().join("file")).unwrap();
        assert_eq!((file.uid(), file.gid()), (server.jail_uid(), server.jail_uid()));
        assert_eq!(file.mode() & 0o777, 0o644);
    }
}

fn the_exit_code_is_reported_on_its_own_descriptor() {
    for server in servers() {
        let report = Host::new(*server).sh("(exit 7); echo $? >&3");
        assert_eq!(report.reported, "7\n");
        assert_eq!(report.verdict, Verdict::SUCCESS);
    }
}

fn programs_find_devices_terminals_and_their_outputs_by_name() {
    for server in servers() {
        let host = Host::new(*server);
        let report = host.sh("set -e; echo out > /dev/stdout; echo err > /dev/stderr; head -c 3 /dev/zero | wc -c; \
             head -c 3 /dev/urandom | wc -c; echo gone > /dev/null; \
             perl -e 'open(my $pty, \"+<\", \"/dev/ptmx\") or die \"ptmx: $!\"; print \"pty\\n\"'; \
             ls /dev | tr '\\n' ' '");
        assert_eq!(report.verdict, Verdict::SUCCESS, "{server:?} {report:?}");
        assert_eq!(report.stderr, "err\n");
        assert_eq!(
            report.stdout,
            "out\n3\n3\npty\nfd full null ptmx pts random shm stderr stdin stdout tty urandom zero "
        );
    }
}

fn grants_are_seen_as_they_were_granted() {
    for server in servers() {
        let host = Host::new(*server);
        let own = |name: &str, write: bool| {
            let path = host.data.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::write(path.join("there"), "content\n").unwrap();
            std::os::unix::fs::chown(&path, Some(server.jail_uid()), None).unwrap();
            Bind { writable: write, ..Bind::read_only(path, format!("/run/{name}").into()) }
        };
        let file = Bind::read_only(host.key(), "/opt/one/file".into());
        let binds = vec![own("mirror", false), own("cache", true), file];
        let report = host.run(Phase {
            binds,
            ..phase(
                "cat /run/mirror/there /run/cache/there; wc -l < /opt/one/file; echo x > /run/cache/new; \
                 echo x > /run/mirror/new",
            )
        });
        assert_eq!(report.stdout, "content\ncontent\n1\n", "{report:?}");
        assert!(host.data.path().join("cache/new").exists());
        assert!(!host.data.path().join("mirror/new").exists());
        assert_ne!(report.verdict, Verdict::SUCCESS);
    }
}

/// A directory that runs fill and that stays, as the server makes it.
fn kept(host: &Host) -> PathBuf {
    let path = host.data.path().join("kept/one");
    fs::create_dir_all(&path).unwrap();
    if host.server == Server::Ordinary {
        for path in [path.parent().unwrap(), &path] {
            std::os::unix::fs::chown(path, Some(host.server.jail_uid()), None).unwrap();
        }
    }
    path
}

fn showing(kept: &Path, path: &str, script: &str) -> Phase {
    let path = RelativePath::new(path).unwrap();
    Phase { binds: vec![Bind::kept(kept.to_owned(), path, "/workspace/kept".into())], ..phase(script) }
}

fn what_runs_keep_is_found_without_following_a_link() {
    for server in servers() {
        let host = Host::new(*server);
        let kept = kept(&host);
        let outside = host.data.path().join("outside");
        fs::create_dir(&outside).unwrap();
        let link = format!("ln -s {} kept/absolute; ln -s ../../../outside kept/relative", outside.display());
        assert_eq!(host.run(showing(&kept, "x", &link)).verdict, Verdict::SUCCESS);
        // The control: that is where they lead.
        for name in ["absolute", "relative"] {
            assert_eq!(fs::canonicalize(kept.join("x").join(name)).unwrap(), outside.canonicalize().unwrap());
            for path in [format!("x/{name}"), format!("x/{name}/inner")] {
                let error = host.try_run(vec![showing(&kept, &path, "touch kept/new")]).unwrap_err();
                let start = format!(
                    "cannot show `{path}` of {} as /workspace/kept: open the directory `{name}`: ",
                    kept.display()
                );
                assert!(error.starts_with(&start) && error.contains("no link is followed"), "{error}");
            }
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        let report = host.run(showing(&kept, "x/y/z", "touch kept/new; ls -A kept"));
        assert_eq!((report.stdout.as_str(), kept.join("x/y/z/new").exists()), ("new\n", true), "{report:?}");
    }
}

/// Runs of two users, one after the other; whom things belong to on disk afterwards.
fn two_users(host: &mut Host, kept: &Path) -> u32 {
    let made = "umask 077; mkdir kept/d; echo one > kept/d/f; ln -s f kept/d/l; id -u; stat -c %u kept kept/d/f";
    let first = host.run(showing(kept, "x", made)).stdout;
    host.spec.user = host.spec.user.map(|user| user + 1);
    let changed =
        "echo two >> kept/d/f && chmod 600 kept/d/f && touch kept/d/new; id -u; stat -c %u kept kept/d/f; cat kept/d/f";
    let second = host.run(showing(kept, "x", changed)).stdout;
    let user = |report: &str| report.lines().next().unwrap().to_owned();
    let (one, other) = (user(&first), user(&second));
    assert_eq!(first, format!("{one}\n{one}\n{one}\n"));
    assert_eq!(second, format!("{other}\n{other}\n{other}\none\ntwo\n"));
    assert_eq!(one != other, host.server == Server::Root);
    let owner = |name: &str| fs::symlink_metadata(kept.join("x").join(name)).unwrap().uid();
    let owners = ["", "d", "d/f", "d/l", "d/new"].map(owner);
    assert!(owners.iter().all(|uid| *uid == owners[0]), "{owners:?}");
    owners[0]
}

fn what_runs_of_other_users_left_is_a_run_s_own() {
    for server in servers() {
        let mut host = Host::new(*server);
        let kept = kept(&host);
        // Whoever came first keeps it: on this file system owners can be mapped.
        assert_eq!(two_users(&mut host, &kept), server.jail_uid());
    }
}

fn where_owners_cannot_be_mapped_all_of_it_is_given_to_the_run() {
    as_root("it mounts a file system that maps no owners");
    let mut host = Host::new(Server::Root);
    let kept = kept(&host);
    let part = |name: &str| {
        let path = host.data.path().join(name);
        fs::create_dir(&path).unwrap();
        path.display().to_string()
    };
    let options = format!("lowerdir={},upperdir={},workdir={}", part("lower"), part("upper"), part("work"));
    succeeds(Command::new("mount").args(["-t", "overlay", "none", "-o", &options]).arg(&kept));
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let owner = two_users(&mut host, &kept);
        // With nobody beside it, a run's own is opened to nobody else.
        let mode = |name: &str| fs::symlink_metadata(kept.join("x/d").join(name)).unwrap().mode() & 0o777;
        assert_eq!(["", "f"].map(mode), [0o700, 0o600]);
        owner
    }));
    succeeds(Command::new("umount").arg(&kept));
    assert_eq!(outcome.unwrap(), Server::Root.jail_uid() + 1);
}

fn phases_of_one_chain_share_the_workspace_and_not_tmp() {
    for server in servers() {
        let host = Host::new(*server);
        let reports = host
            .try_run(vec![phase("echo kept > file; echo lost > /tmp/file"), phase("cat file; ls -A /tmp")])
            .unwrap();
        assert_eq!(reports[1].stdout, "kept\nhome\n");
    }
}

/// A root that holds only a shell and what it needs: no /proc, no /tmp, nothing to mount on.
pub fn tiny_image() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let image = tempfile::Builder::new().prefix("airlock:image,").tempdir_in("/tmp").unwrap();
    fs::set_permissions(image.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let libraries = succeeds(std::process::Command::new("ldd").arg("/bin/sh"));
    let libraries = libraries.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from);
    for path in libraries.chain(["/bin/sh".into(), "/bin/cat".into(), "/bin/ls".into()]) {
        let copy = image.path().join(path.strip_prefix("/").unwrap());
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(path, copy).unwrap();
    }
    for library in succeeds(std::process::Command::new("ldd").arg("/bin/ls")).split_whitespace() {
        if library.starts_with('/') {
            fs::copy(library, image.path().join(library.trim_start_matches('/'))).unwrap();
        }
    }
    fs::create_dir(image.path().join("etc")).unwrap();
    fs::write(image.path().join("etc/issue"), "tiny\n").unwrap();
    // Where the jail wants a directory the image has a link that leads out of it.
    std::os::unix::fs::symlink("/etc", image.path().join("workspace")).unwrap();
    image
}

fn an_image_is_the_root_where_there_is_one() {
    for server in servers() {
        let mut host = Host::new(*server);
        let image = tiny_image();
        host.spec.root = Root::Image { path: image.path().to_owned() };
        let report = host.sh("cat /etc/issue; echo x > /workspace/mine; cat /etc/passwd; ls -A /tmp; \
             if (echo x > /etc/issue) 2>/dev/null; then echo wrote; fi; ls /usr/bin 2>/dev/null | cat; \
             read self rest < /proc/self/stat; echo $self");
        let (before, _) = report.stdout.split_once("airlock:x:").unwrap_or_else(|| panic!("{server:?} {report:?}"));
        assert_eq!(before, "tiny\n");
        assert!(report.stdout.contains("\nhome\n"), "{report:?}");
        assert!(!report.stdout.contains("wrote"), "{report:?}");
        assert!(!report.stdout.contains("perl"), "the host's programs are not there");
        assert!(host.workspace().join("mine").exists());
        assert_eq!(fs::read_to_string(image.path().join("etc/issue")).unwrap(), "tiny\n");
    }
}

fn a_program_that_is_not_there_is_refused_by_name() {
    for server in servers() {
        let host = Host::new(*server);
        let mut missing = phase("");
        missing.argv[0] = "/bin/nope".into();
        let reason = "cannot execute /bin/nope: No such file or directory (os error 2)".to_owned();
        assert_eq!(host.run(missing).verdict, Verdict::Refused { reason });
        let nowhere = Phase { cwd: "/workspace/nowhere".into(), ..phase("true") };
        let reason = "cannot enter /workspace/nowhere: No such file or directory (os error 2)".to_owned();
        assert_eq!(host.run(nowhere).verdict, Verdict::Refused { reason });
    }
}

fn requests_that_cannot_be_are_refused() {
    for server in servers() {
        let host = Host::new(*server);
        let mut relative = phase("true");
        relative.argv[0] = "sh".into();
        assert_eq!(host.try_run(vec![relative]).unwrap_err(), "the program `sh` is not an absolute path");
        let missing = Bind::read_only("/nowhere/at/all".into(), "/run/x".into());
        let error = host.try_run(vec![Phase { binds: vec![missing], ..phase("true") }]).unwrap_err();
        assert_eq!(error, "cannot show /nowhere/at/all as /run/x: No such file or directory (os error 2)");
        // A link in the workspace that leads to where something is to be mounted is not followed.
        std::os::unix::fs::symlink("/etc", host.workspace().join("link")).unwrap();
        let through = Bind::read_only("/usr".into(), "/workspace/link/x".into());
        let error = host.try_run(vec![Phase { binds: vec![through], ..phase("true") }]).unwrap_err();
        assert!(error.starts_with("cannot show /usr as /workspace/link/x: "), "{error}");
    }
}

fn a_jailer_starts_only_in_a_process_with_one_thread() {
    for server in servers() {
        let mut host = Host::new(*server);
        host.second_thread = true;
        let error = host.try_run(vec![phase("true")]).unwrap_err();
        assert_eq!(error, "the jail must be forked while the runner has one thread; it has 2");
    }
}

fn root_never_lends_its_own_uid() {
    for server in servers() {
        let mut host = Host::new(*server);
        let wrong: &[Option<u32>] = match server {
            Server::Root => &[None, Some(0)],
            Server::Ordinary => &[Some(0), Some(12_345)],
        };
        for user in wrong {
            host.spec.user = *user;
            let error = host.try_run(vec![phase("true")]).unwrap_err();
            assert!(error.contains("uid"), "{error}");
        }
    }
}

fn an_unconfined_phase_runs_as_the_run_s_user() {
    for server in servers() {
        let mut host = Host::new(*server);
        host.spec.kind = airlock::domain::stack::ExecutorKind::Unconfined;
        let open =
            Phase { network: airlock::domain::stack::NetworkMode::Host, cwd: "/".into(), ..phase("id -u; exit 4") };
        let report = host.run(open.clone());
        assert_eq!(report.stdout, format!("{}\n", server.jail_uid()));
        assert_eq!(report.verdict, Verdict::Exited { code: 4 });
        let error = host.try_run(vec![phase("true")]).unwrap_err();
        assert_eq!(error, "an unconfined phase cannot have a network of its own");
    }
}

fn the_host_is_probed_by_really_trying() {
    for server in servers() {
        let host = Host::new(*server);
        let said = succeeds(server.outside(this_binary()).arg(PROBE).arg(host.data.path()));
        let (items, works): Probed = serde_json::from_str(&said).unwrap();
        let item = |name: &str| items.iter().find(|item| item.0 == name).unwrap();
        assert!(works, "{server:?} {items:#?}");
        assert_eq!(item("jail").1, "ok");
        assert_eq!(item("network namespace").1, "ok");
        assert_eq!(item("server user").1, if *server == Server::Root { "ok" } else { "degraded" });
        assert_eq!(fs::read_dir(host.data.path()).unwrap().count(), 2, "nothing is left of the trial");
        // The control: where no trial can be made, that is what it says.
        let (items, works): Probed =
            serde_json::from_str(&succeeds(server.outside(this_binary()).arg(PROBE).arg("/nowhere"))).unwrap();
        assert!(!works);
        assert!(items[0].2.contains("/nowhere"), "{items:?}");
    }
}
