//! Where a phase's log lies, and how it is read.

use std::path::PathBuf;

use crate::{
    auth::Who,
    domain::{Phase, RunId},
    log::{LogFault, LogReader},
    store::record::{PhaseRow, Run},
};

use super::{Queries, Result};

/// A phase's log: live in its chain's directory, or filed away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPlace {
    Live {
        text: PathBuf,
        index: PathBuf,
    },
    Finished {
        file: PathBuf,
    },
    /// It was removed because its time was up, or the phase never wrote one.
    Nowhere,
}

/// A phase with its log.
#[derive(Clone, Debug)]
pub struct PhaseLog {
    pub phase: PhaseRow,
    pub place: LogPlace,
}

impl PhaseLog {
    /// A reader, where there is something to read.
    pub fn open(&self) -> Result<Option<LogReader>> {
        let opened = match &self.place {
            LogPlace::Live { text, index } => LogReader::live(text, index),
            LogPlace::Finished { file } => LogReader::finished(file),
            LogPlace::Nowhere => return Ok(None),
        };
        opened.map(Some).map_err(unreadable)
    }
}

/// A log that is there and cannot be read.
pub(super) fn unreadable(error: LogFault) -> crate::store::Error {
    crate::store::Fault::Io(error.to_string()).into()
}

impl Queries {
    /// Every phase of a run with its log, in order.
    pub fn logs(&self, who: &Who, run: RunId) -> Result<Vec<PhaseLog>> {
        let run = self.run(who, run)?;
        Ok(run.phases.iter().map(|phase| PhaseLog { phase: phase.clone(), place: self.place(&run, phase) }).collect())
    }

    /// The newest log of one phase of a run.
    pub fn log(&self, who: &Who, run: RunId, phase: Phase) -> Result<Option<PhaseLog>> {
        Ok(self.logs(who, run)?.into_iter().rev().find(|log| log.phase.phase == phase))
    }

    /// A phase's log, where there is something to read. A log that is filed away meanwhile is found at
    /// its new place.
    pub(super) fn open_log(&self, run: &Run, phase: &PhaseRow) -> Result<Option<LogReader>> {
        let open = || PhaseLog { phase: phase.clone(), place: self.place(run, phase) }.open();
        open().or_else(|_| open())
    }

    /// Bytes of a phase's log, now.
    pub(super) fn log_bytes(&self, run: &Run, phase: &PhaseRow) -> Result<u64> {
        if phase.log_bytes > 0 || run.logs_expired {
            return Ok(phase.log_bytes);
        }
        match self.open_log(run, phase)? {
            Some(log) => log.len().map_err(unreadable),
            None => Ok(0),
        }
    }

    fn place(&self, run: &Run, phase: &PhaseRow) -> LogPlace {
        let file = self.data.join("logs").join(run.id.to_string()).join(format!("{:02}.log.zst", phase.number));
        if file.exists() {
            return LogPlace::Finished { file };
        }
        let dir = self.data.join("runs").join(run.id.to_string()).join(phase.chain.to_string());
        let text = dir.join(format!("{:02}-{}.log", phase.number, phase.phase));
        let index = dir.join(format!("{:02}-{}.idx", phase.number, phase.phase));
        if text.exists() { LogPlace::Live { text, index } } else { LogPlace::Nowhere }
    }
}
