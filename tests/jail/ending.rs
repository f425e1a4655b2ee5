//! The end of a jail.

use std::{fs::File, io::Read, os::unix::fs::OpenOptionsExt};

use airlock::domain::{
    Verdict,
    stack::{ExecutorKind, NetworkMode},
};

use crate::{
    host::{Host, Server, phase, servers},
    runner::{Phase, WhenReady},
    tests,
};

tests![
    daemons_do_not_outlive_the_phase,
    a_stop_signal_reaches_everybody_and_leaves_them_their_time,
    who_ignores_a_stop_is_killed,
    a_jail_dies_with_its_runner,
    an_unconfined_phase_leaves_nobody_behind,
    what_a_killed_runner_left_is_swept,
];

/// A daemon by the book: its own session, forked twice, deaf to signals, outputs closed. Prints
/// `ready` when it is there.
fn daemon(marker: &str) -> String {
    format!(
        "perl -MPOSIX -e 'exit if fork; POSIX::setsid(); exit if fork; $SIG{{$_}} = \"IGNORE\" for qw(TERM INT HUP); \
         $0 = \"{marker}\"; $| = 1; print \"ready\\n\"; open STDOUT, \">/dev/null\"; open STDERR, \">/dev/null\"; \
         POSIX::close(3); sleep 1000'"
    )
}

/// Unique, so that nothing else on the host is counted.
fn marker(name: &str, server: Server) -> String {
    format!("airlock-{name}-{server:?}-{}", std::process::id())
}

fn daemons_do_not_outlive_the_phase() {
    for server in servers() {
        let marker = marker("daemon", *server);
        let host = Host::new(*server);
        // The shell stays until the daemon has been looked at.
        let when_ready = WhenReady::GoOn(host.pipe("go"));
        let script = format!("{}; read go < go", daemon(&marker));
        let report = host.run(Phase { when_ready, marker: Some(marker), ..phase(&script) });
        assert_eq!(report.verdict, Verdict::SUCCESS);
        assert!(report.marked_when_ready >= 1, "the control: it was there: {report:?}");
        assert_eq!(report.marked_after, 0, "{server:?} {report:?}");
    }
}

fn a_stop_signal_reaches_everybody_and_leaves_them_their_time() {
    for (stop, name) in [(WhenReady::Interrupt, "INT"), (WhenReady::Terminate, "TERM")] {
        for server in servers() {
            // The shell dies of the signal at once; its child tidies up first, as terraform does.
            let script = format!(
                "perl -e '$SIG{{{name}}} = sub {{ select undef, undef, undef, 0.1; print \"tidied up\\n\"; exit 0 }}; \
                 $| = 1; print \"ready\\n\"; sleep 1 while 1'; echo not reached"
            );
            let report = Host::new(*server).run(Phase { when_ready: stop.clone(), ..phase(&script) });
            assert_eq!(report.stdout, "ready\ntidied up\n", "{server:?} {report:?}");
            assert!(matches!(report.verdict, Verdict::Signalled { .. }), "{report:?}");
        }
    }
}

fn who_ignores_a_stop_is_killed() {
    for server in servers() {
        let marker = marker("deaf", *server);
        let script = format!("trap '' TERM INT; perl -e '$0 = \"{marker}\"; $| = 1; print \"ready\\n\"; sleep 1000'");
        let report =
            Host::new(*server).run(Phase { when_ready: WhenReady::Kill, marker: Some(marker), ..phase(&script) });
        assert_eq!(report.verdict, Verdict::Signalled { signal: 9 });
        assert!(report.marked_when_ready >= 1);
        assert_eq!(report.marked_after, 0);
    }
}

fn a_jail_dies_with_its_runner() {
    for (server, kind) in
        servers().iter().flat_map(|server| [(*server, ExecutorKind::Jail), (*server, ExecutorKind::Unconfined)])
    {
        let mut host = Host::new(server);
        host.spec.kind = kind;
        let fifo = host.pipe("alive");
        let (inside, cwd) = match kind {
            ExecutorKind::Jail => ("/workspace/alive".to_owned(), "/workspace".into()),
            ExecutorKind::Unconfined => {
                host.open_the_way();
                (fifo.display().to_string(), "/".into())
            }
        };
        let script =
            format!("trap '' TERM; exec 9> {inside}; echo up >&9; echo ready; perl -e 'sleep 1000' & wait; wait");
        let phase = Phase { when_ready: WhenReady::Die, network: NetworkMode::Host, cwd, ..phase(&script) };
        // Opened before there is anybody to write, so that nobody waits for anybody.
        let reader = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&fifo).unwrap();
        let runner = host.spawn(vec![phase]).wait_with_output().unwrap();
        assert!(!runner.status.success(), "{}", String::from_utf8_lossy(&runner.stdout));
        rustix::fs::fcntl_setfl(&reader, rustix::fs::OFlags::empty()).unwrap();
        // The end of the file comes when the last process that holds it is dead.
        let mut said = String::new();
        (&reader).read_to_string(&mut said).unwrap();
        assert_eq!(said, "up\n", "the control: it was alive");
    }
}

fn an_unconfined_phase_leaves_nobody_behind() {
    for server in servers() {
        for killed in [false, true] {
            let mut host = Host::new(*server);
            host.spec.kind = ExecutorKind::Unconfined;
            host.open_the_way();
            let pipe = host.pipe("go");
            let marker = marker("unconfined", *server);
            let script = format!("{}; read go < {}", daemon(&marker), pipe.display());
            let report = host.run(Phase {
                when_ready: if killed { WhenReady::Kill } else { WhenReady::GoOn(pipe) },
                network: NetworkMode::Host,
                cwd: "/".into(),
                marker: Some(marker),
                ..phase(&script)
            });
            assert!(report.marked_when_ready >= 1, "{server:?} {report:?}");
            assert_eq!(report.marked_after, 0, "{server:?} {report:?}");
        }
    }
}

fn what_a_killed_runner_left_is_swept() {
    let host = Host::new(servers()[0]);
    let cgroup = host.groups();
    let runs = host.data.path().join("runs");
    let mut runner = host.spawn(vec![Phase { when_ready: WhenReady::Die, ..phase("echo ready; sleep 1000") }]);
    runner.wait().unwrap();
    let alive = [host.spec.dir.clone()];
    assert_eq!(airlock::runner::native::sweep_cgroups(cgroup, &runs, &alive).unwrap(), 0, "not while it lives");
    assert!(airlock::runner::native::sweep_cgroups(cgroup, &runs, &[]).unwrap() > 0);
}
