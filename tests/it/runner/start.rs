//! How a runner begins, or refuses to.

use std::{fs::File, io::Write};

use airlock::{
    domain::Phase,
    protocol::{Record, Request, VERSION, WorkspaceLeft, file},
};

use super::{process::spawn, trial::Trial};

#[test]
fn a_specification_that_is_cut_short_runs_nothing() {
    let mut trial = Trial::task("true");
    let lock = trial.next_dir();
    let (jail, chain) = trial.lines();
    let whole = [jail.clone(), chain].concat();
    for cut in [0, jail.len() - 1, jail.len(), jail.len() + 9, whole.len() - 1] {
        let mut raw = spawn(&trial.jail.dir, lock.try_clone().unwrap());
        raw.pipe.write_all(&whole[..cut]).unwrap();
        let (status, records, errors) = raw.end();
        assert!(!status.success());
        assert_eq!(records, []);
        assert!(errors.contains("cut short"), "{errors}");
        assert!(!trial.jail.dir.join(file::TREE).exists());
    }
    drop(lock);
    let lock = File::open(trial.jail.dir.join(file::LOCK)).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    std::fs::write(trial.jail.dir.join(file::RECORDS), b"{\"record\":\"sta").unwrap();
    assert_eq!(trial.start_in(lock).wait().phases(), [Phase::Preparing, Phase::Performing], "it can be started again");
}

#[test]
fn a_server_of_another_version_gets_a_record_that_says_so() {
    let mut trial = Trial::task("true");
    let lock = trial.next_dir();
    let (jail, chain) = trial.lines();
    let chain = String::from_utf8(chain).unwrap().replacen(&format!("\"version\":{VERSION}"), "\"version\":99", 1);
    let mut raw = spawn(&trial.jail.dir, lock);
    raw.pipe.write_all(&jail).unwrap();
    raw.pipe.write_all(chain.as_bytes()).unwrap();
    let (status, records, errors) = raw.end();
    assert!(!status.success());
    let [Record::Ended { workspace: WorkspaceLeft::Kept, fault: Some(fault), .. }] = &records[..] else {
        panic!("{records:?}")
    };
    assert!(fault.contains("version 99"), "{fault}");
    assert!(errors.contains("version 99"), "{errors}");
}

#[test]
fn a_specification_that_is_not_understood_is_not_quoted() {
    let mut trial = Trial::task("true").sensitive("TOKEN", "correct horse battery");
    let lock = trial.next_dir();
    let (jail, chain) = trial.lines();
    let chain =
        String::from_utf8(chain).unwrap().replacen("\"sensitive\":true", "\"sensitive\":\"correct horse battery\"", 1);
    let mut raw = spawn(&trial.jail.dir, lock);
    raw.pipe.write_all(&jail).unwrap();
    raw.pipe.write_all(chain.as_bytes()).unwrap();
    let (_, records, errors) = raw.end();
    assert!(matches!(&records[..], [Record::Ended { fault: Some(_), .. }]), "{records:?}");
    assert!(!format!("{records:?}{errors}").contains("correct"), "{errors}");
}

#[test]
fn a_runner_without_the_chain_s_lock_does_nothing() {
    let mut trial = Trial::task("true");
    let lock = trial.next_dir();
    let other = File::create(trial.root.path().join("other")).unwrap();
    let (jail, chain) = trial.lines();
    let mut raw = spawn(&trial.jail.dir, other);
    // The runner may be gone before it was told everything.
    let _ = raw.pipe.write_all(&jail).and_then(|()| raw.pipe.write_all(&chain));
    let (status, records, errors) = raw.end();
    assert!(!status.success() && records.is_empty());
    assert!(errors.contains(file::LOCK), "{errors}");
    drop(lock);
}

#[test]
fn a_chain_that_has_run_is_not_run_again() {
    let mut trial = Trial::task("true");
    let outcome = trial.run();
    let lock = File::open(outcome.dir.join(file::LOCK)).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    let (jail, chain) = trial.lines();
    let mut raw = spawn(&trial.jail.dir, lock);
    raw.pipe.write_all(&jail).unwrap();
    let _ = raw.pipe.write_all(&chain);
    let (status, records, _) = raw.end();
    assert!(!status.success());
    assert_eq!(records, outcome.records);
}

#[test]
fn everybody_who_listens_hears_how_far_things_are_and_when_they_end() {
    let mut trial = Trial::task("trap 'exit 0' TERM; echo waiting; while :; do sleep 0.01; done");
    let mut runner = trial.start();
    runner.until_log(2, Phase::Performing, "waiting");
    runner.ask(Request::Stop);
    let mut last = None;
    while let Some(bell) = runner.bell() {
        last = Some(bell);
    }
    let outcome = runner.wait();
    let last = last.unwrap();
    let length = |name: &str| std::fs::metadata(outcome.dir.join(name)).unwrap().len();
    assert_eq!(last.records, length(file::RECORDS));
    assert_eq!((last.phase, last.log), (2, length(&file::log(2, Phase::Performing))));
}
