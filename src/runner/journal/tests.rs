//! What is in the file, and who is told, whatever comes in between.

use tokio::sync::watch;

use super::*;
use crate::{
    domain::{Phase, Timestamp},
    protocol::Bell,
};

struct Place {
    journal: Journal,
    heard: watch::Receiver<Bell>,
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (bells, heard) = Bells::new();
        let journal = Journal::open(&ChainDir::open(dir.path()).unwrap(), bells).unwrap();
        Self { journal, heard, dir }
    }

    /// The numbers of the phases whose beginning is in the file, which holds nothing else.
    fn phases(&self) -> Vec<u32> {
        let bytes = std::fs::read(self.dir.path().join(file::RECORDS)).unwrap();
        let (records, consumed) = read_records(&bytes);
        assert_eq!(consumed, bytes.len(), "no torn line");
        records.iter().filter_map(begun).collect()
    }

    /// Whether somebody was told since this was asked before.
    fn was_told(&mut self) -> bool {
        let told = self.heard.has_changed().unwrap();
        self.heard.mark_unchanged();
        told
    }
}

fn phase(number: u32) -> Record {
    Record::PhaseStarted { number, phase: Phase::Planning, at: Timestamp::from_millis(1) }
}

fn fails() -> Result<(), Fault> {
    Err(Fault::Other("no".to_owned()))
}

#[test]
fn what_could_not_be_made_durable_is_taken_back_and_nothing_else() {
    let mut place = Place::new();
    place.journal.add(phase(1));
    place.journal.commit().unwrap();
    place.journal.add(phase(2));
    assert!(place.journal.commit_beside(fails).is_err());
    assert_eq!(place.phases(), [1]);
    // What was written while something else was done stays where it is.
    assert_eq!(place.journal.while_waiting(|| "worked").unwrap(), "worked");
    assert_eq!(place.phases(), [1, 2]);
    place.journal.add(phase(3));
    assert!(place.journal.commit_beside(fails).is_err());
    assert_eq!(place.phases(), [1, 2]);
    place.journal.commit().unwrap();
    assert_eq!(place.phases(), [1, 2, 3]);
}

#[test]
fn no_record_is_written_twice() {
    let mut place = Place::new();
    place.journal.add(phase(1));
    place.journal.while_waiting(|| ()).unwrap();
    place.journal.while_waiting(|| ()).unwrap();
    place.journal.add(phase(2));
    place.journal.commit().unwrap();
    place.journal.commit().unwrap();
    place.journal.commit_beside(|| Ok(())).unwrap();
    assert_eq!(place.phases(), [1, 2]);

    // A file that takes everything and makes nothing durable: a pipe.
    let (_reader, pipe) = std::io::pipe().unwrap();
    let whole = std::mem::replace(&mut place.journal.file, std::os::fd::OwnedFd::from(pipe).into());
    place.journal.add(phase(3));
    assert!(place.journal.commit().is_err());
    assert!(place.journal.while_waiting(|| ()).is_err());
    place.journal.file = whole;
    place.journal.commit().unwrap();
    assert_eq!(place.phases(), [1, 2, 3]);
}

#[test]
fn nobody_is_told_before_both_are_durable() {
    let mut place = Place::new();
    place.journal.add(phase(1));
    let heard = place.heard.clone();
    place
        .journal
        .commit_beside(|| {
            assert!(!heard.has_changed().unwrap());
            Ok(())
        })
        .unwrap();
    assert!(place.was_told());
    let bytes = std::fs::metadata(place.dir.path().join(file::RECORDS)).unwrap().len();
    assert_eq!(*place.heard.borrow(), Bell { records: bytes, phase: 1, log: 0 });

    place.journal.add(phase(2));
    assert!(place.journal.commit_beside(fails).is_err());
    assert!(!place.was_told());
    place.journal.commit().unwrap();
    assert!(place.was_told());
    assert_eq!(place.heard.borrow().phase, 2);
}
