//! How phases are made to end.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
};

use airlock::{
    domain::{Kind, Phase, Verdict},
    protocol::{Bind, Command, Request, Step, WorkspaceLeft, file},
};
use rustix::{
    fs::{CWD, FileType, Mode},
    process::Signal,
};

use super::trial::{Trial, plan_step, shell};

const OBEDIENT: &str = "trap 'echo cleaning up; exit 0' TERM; echo waiting; while :; do sleep 0.01; done";
const STUBBORN: &str = "trap '' TERM INT; echo waiting; while :; do sleep 0.01; done";

#[test]
fn a_phase_that_is_asked_to_stop_may_clean_up() {
    let mut trial = Trial::task(OBEDIENT);
    let mut runner = trial.start();
    runner.until_log(2, Phase::Performing, "waiting");
    runner.ask(Request::Stop);
    let outcome = runner.wait();
    assert_eq!(*outcome.verdict(Phase::Performing), Verdict::Stopped);
    let log = outcome.log(Phase::Performing);
    assert!(log.contains("cleaning up") && log.contains("SIGTERM") && !log.contains(": SIGKILL"), "{log}");
    assert_eq!(outcome.end(), (WorkspaceLeft::Removed, true));
}

#[test]
fn a_signal_to_the_runner_asks_for_the_same() {
    let mut trial = Trial::task(OBEDIENT);
    let mut runner = trial.start();
    runner.until_log(2, Phase::Performing, "waiting");
    runner.signal(Signal::TERM);
    let outcome = runner.wait();
    assert_eq!(*outcome.verdict(Phase::Performing), Verdict::Stopped);
    assert!(outcome.log(Phase::Performing).contains("cleaning up"));
    assert_eq!(outcome.end(), (WorkspaceLeft::Removed, true));
}

#[test]
fn a_phase_that_does_not_stop_is_killed_after_its_grace() {
    let mut trial = Trial::task(STUBBORN);
    trial.grace = 1;
    let mut runner = trial.start();
    runner.until_log(2, Phase::Performing, "waiting");
    runner.ask(Request::Stop);
    let outcome = runner.wait();
    assert_eq!(*outcome.verdict(Phase::Performing), Verdict::Stopped);
    let log = outcome.log(Phase::Performing);
    let (asked, killed) = (log.find("SIGTERM now").unwrap(), log.find(": SIGKILL").unwrap());
    assert!(asked < killed, "{log}");
}

#[test]
fn a_kill_waits_for_nothing_and_runs_no_hooks() {
    let mut trial = Trial::task(STUBBORN).with_ending("echo never");
    trial.grace = 3_600;
    let mut runner = trial.start();
    runner.until_log(2, Phase::Performing, "waiting");
    runner.ask(Request::Kill);
    let outcome = runner.wait();
    assert_eq!(outcome.phases(), [Phase::Preparing, Phase::Performing]);
    assert_eq!(*outcome.verdict(Phase::Performing), Verdict::Stopped);
    assert_eq!(outcome.end(), (WorkspaceLeft::Removed, true));
}

#[test]
fn a_stopped_run_has_its_hooks_at_the_end_and_a_canceled_one_has_none() {
    for (kind, phases) in [(Kind::Proposed, 3), (Kind::OnDemand, 2)] {
        let mut trial = Trial::task(OBEDIENT).with_ending("echo final=$AIRLOCK_FINAL_RUN_STATE");
        trial.kind = kind;
        let mut runner = trial.start();
        runner.until_log(2, Phase::Performing, "waiting");
        runner.ask(Request::Stop);
        let outcome = runner.wait();
        assert_eq!(outcome.phases().len(), phases, "{kind}");
        if kind == Kind::Proposed {
            assert!(outcome.log(Phase::Ending).contains("final=stopped"));
        }
    }
}

#[test]
fn hooks_at_the_end_can_be_stopped_too() {
    let mut trial = Trial::task("true").with_ending(OBEDIENT);
    let mut runner = trial.start();
    runner.until_log(3, Phase::Ending, "waiting");
    runner.ask(Request::Stop);
    let outcome = runner.wait();
    assert_eq!(*outcome.verdict(Phase::Ending), Verdict::Stopped);
    assert_eq!(outcome.end(), (WorkspaceLeft::Removed, false));
}

#[test]
fn a_stop_ends_the_chain_between_its_phases() {
    let mut trial = Trial::planning(OBEDIENT, "true");
    trial.steps.push(plan_step());
    let mut runner = trial.start();
    runner.until_log(3, Phase::Planning, "waiting");
    runner.ask(Request::Stop);
    let outcome = runner.wait();
    assert_eq!(outcome.phases().len(), 3);
    assert_eq!(outcome.end(), (WorkspaceLeft::Removed, true));
    assert!(!trial.sealed_file().exists());
}

#[test]
fn a_phase_has_so_much_time_and_no_more() {
    let mut trial = Trial::task("echo waiting; exec sleep 3600");
    let Step::Shell(shell) = &mut trial.steps[1] else { panic!() };
    shell.wall_seconds = 1;
    let outcome = trial.run();
    assert_eq!(*outcome.verdict(Phase::Performing), Verdict::TimedOut { seconds: 1 });
    assert_eq!(outcome.end(), (WorkspaceLeft::Removed, false));
}

#[test]
fn a_phase_that_has_gone_silent_is_ended() {
    let mut trial = Trial::task("echo waiting; exec sleep 3600");
    trial.jail.limits.silence_seconds = 1;
    let outcome = trial.run();
    assert_eq!(*outcome.verdict(Phase::Performing), Verdict::Silent { seconds: 1 });
}

#[test]
fn a_workspace_that_has_grown_too_large_fails_the_phase() {
    let mut trial = Trial::task("head -c 3000000 /dev/zero > big");
    trial.jail.limits.workspace_bytes = 2 << 20;
    let outcome = trial.run();
    let verdict = outcome.verdict(Phase::Performing);
    assert!(matches!(verdict, Verdict::FileLimit { what, .. } if what == "workspace"), "{verdict:?}");
}

#[test]
fn output_beyond_its_limit_is_dropped_and_the_phase_goes_on() {
    let mut trial =
        Trial::task("head -c 300000 /dev/zero | tr '\\0' 'x' | fold -w 99; echo still here > proof; exit 4");
    trial.jail.limits.output_bytes = 100_000;
    let outcome = trial.run();
    let ended = outcome.phase(Phase::Performing);
    assert_eq!(ended.verdict, Verdict::Exited { code: 4 });
    assert!(ended.produced.log_bytes < 110_000, "{}", ended.produced.log_bytes);
    assert!(ended.produced.warnings.iter().any(|warning| warning.contains("dropped")), "{ended:?}");
}

#[test]
fn a_hundred_megabytes_of_output_arrive_whole() {
    let line = "y".repeat(99);
    let outcome = Trial::task(&format!("yes {line} | head -n 1000000")).run();
    let ended = outcome.phase(Phase::Performing);
    assert_eq!(ended.verdict, Verdict::SUCCESS);
    assert_eq!(ended.produced.log_bytes, 100_000_000);
    let length = fs::metadata(outcome.dir.join(file::log(2, Phase::Performing))).unwrap().len();
    assert_eq!(length, 100_000_000);
}

#[test]
fn the_server_s_death_changes_nothing() {
    let mut trial = Trial::task("echo before; while [ ! -e /run/shared/gone ]; do sleep 0.01; done; echo after");
    let shared = share(&mut trial);
    let mut runner = trial.start();
    runner.until_log(2, Phase::Performing, "before");
    let outcome = runner.hang_up(|| fs::write(shared.join("gone"), "").unwrap());
    assert_eq!(outcome.log(Phase::Performing), "before\nafter\n");
    assert_eq!(outcome.end(), (WorkspaceLeft::Removed, false));
}

#[test]
fn the_jail_dies_with_its_runner() {
    let mut trial =
        Trial::task("echo begun; exec 9>/run/shared/fifo; echo alive >&9; trap '' TERM; while :; do sleep 0.01; done");
    let shared = share(&mut trial);
    let fifo = shared.join("fifo");
    rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    fs::set_permissions(&fifo, fs::Permissions::from_mode(0o666)).unwrap();
    let mut runner = trial.start();
    runner.until_log(2, Phase::Performing, "begun");
    let mut held = File::open(&fifo).unwrap();
    let mut word = [0; 6];
    held.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"alive\n");
    runner.signal(Signal::KILL);
    let mut rest = Vec::new();
    held.read_to_end(&mut rest).unwrap();
    let outcome = runner.wait();
    assert!(outcome.ended.iter().all(|ended| ended.phase == Phase::Preparing), "the last phase is lost");
    let lock = File::open(outcome.dir.join(file::LOCK)).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
}

#[test]
fn a_cache_that_is_too_full_is_emptied_before_a_run_fills_it_anew_and_never_fails_one() {
    let mut trial = Trial::new();
    trial.kind = Kind::Task;
    let cache = trial.root.path().join("caches/stack");
    fs::create_dir_all(&cache).unwrap();
    trial.jail.limits.workspace_bytes = 2 << 20;
    let phases = |trial: &Trial, init: &str, then: &str| {
        let showing = |phase, command: &str| {
            let mut shell = shell(phase, Command::Perform { command: command.to_owned() });
            shell.binds = vec![Bind::cache(cache.clone(), "/run/cache".into())];
            Step::Shell(shell)
        };
        vec![trial.prepare(&[]), showing(Phase::Initializing, init), showing(Phase::Performing, then)]
    };
    // Together more than a workspace; each phase may add as much as one.
    let fill = |name: &str| format!("head -c 1500000 /dev/zero > /run/cache/{name}");
    trial.steps = phases(&trial, &fill("one"), &format!("{}; ls /run/cache", fill("two")));
    let first = trial.run();
    assert_eq!(*first.verdict(Phase::Performing), Verdict::SUCCESS);
    assert_eq!(first.log(Phase::Performing), "one\ntwo\n", "a phase finds what the one before left");
    trial.steps = phases(&trial, "ls /run/cache", &fill("three"));
    let second = trial.run();
    let log = second.log(Phase::Initializing);
    assert!(log.contains("it was emptied") && !log.contains("one"), "{log}");
    assert_eq!(*second.verdict(Phase::Performing), Verdict::SUCCESS);
    trial.steps = phases(&trial, "ls /run/cache", "head -c 3000000 /dev/zero > /run/cache/four");
    let third = trial.run();
    assert_eq!(third.log(Phase::Initializing), "three\n");
    let verdict = third.verdict(Phase::Performing);
    assert!(matches!(verdict, Verdict::FileLimit { what, .. } if what.contains("cache")), "{verdict:?}");
}

/// A directory of the host that the task sees as `/run/shared`.
fn share(trial: &mut Trial) -> PathBuf {
    let shared = trial.root.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o755)).unwrap();
    let Step::Shell(shell) = &mut trial.steps[1] else { panic!() };
    shell.binds = vec![Bind { writable: true, ..Bind::read_only(shared.clone(), "/run/shared".into()) }];
    shared
}
