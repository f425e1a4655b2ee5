//! Bells: watch channels that carry numbers, never data. Rung after a commit; whoever hears one reads
//! again from the store or from a file, so a slow listener misses nothing and queues nothing.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use tokio::sync::watch;

use crate::domain::RunId;

/// All bells of a server.
#[derive(Debug)]
pub struct Bells {
    /// Something changed: the scheduler looks at the queue, lists look again.
    anything: watch::Sender<u64>,
    /// Something must be done outside the store: start, stop, erase, file away.
    work: watch::Sender<u64>,
    runs: Mutex<HashMap<RunId, watch::Sender<Heard>>>,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Counts changes of the run's record.
    pub changes: u64,
    /// Number of the phase that is being logged.
    pub phase: u32,
    /// Bytes of its log.
    pub log: u64,
}

impl Default for Bells {
    fn default() -> Self {
        Self { anything: watch::Sender::new(0), work: watch::Sender::new(0), runs: Mutex::default() }
    }
}

impl Bells {
    /// A run changed.
    pub fn ring_run(&self, run: RunId) {
        if let Some(bell) = self.bells().get(&run) {
            bell.send_modify(|heard| heard.changes += 1);
        }
        self.ring();
    }

    /// Something changed that lists and the scheduler care about.
    pub fn ring(&self) {
        self.anything.send_modify(|count| *count += 1);
    }

    /// Something is to be done outside the store.
    pub fn ring_work(&self) {
        self.work.send_modify(|count| *count += 1);
    }

    /// The log of a run grew.
    pub fn ring_log(&self, run: RunId, phase: u32, log: u64) {
        if let Some(bell) = self.bells().get(&run) {
            bell.send_if_modified(|heard| {
                let grew = (heard.phase, heard.log) != (phase, log);
                heard.phase = phase;
                heard.log = log;
                grew
            });
        }
    }

    pub fn hear(&self) -> watch::Receiver<u64> {
        self.anything.subscribe()
    }

    pub fn hear_work(&self) -> watch::Receiver<u64> {
        self.work.subscribe()
    }

    /// Listens to one run. Subscribe first, then read: nothing falls between.
    pub fn hear_run(&self, run: RunId) -> watch::Receiver<Heard> {
        let mut bells = self.bells();
        bells.retain(|id, bell| *id == run || bell.receiver_count() > 0);
        bells.entry(run).or_insert_with(|| watch::Sender::new(Heard::default())).subscribe()
    }

    fn bells(&self) -> std::sync::MutexGuard<'_, HashMap<RunId, watch::Sender<Heard>>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_listener_hears_the_newest_number_once() {
        let bells = Bells::default();
        let run = RunId::from_number(1);
        let mut listener = bells.hear_run(run);
        for log in 1..100 {
            bells.ring_log(run, 1, log);
        }
        assert!(listener.has_changed().unwrap());
        assert_eq!(listener.borrow_and_update().log, 99);
        assert!(!listener.has_changed().unwrap());
    }
}
