//! The log of one phase, as the runner writes it.
//!
//! A log that can no longer be written (a full disk) does not end a phase: an apply that is cut off
//! is worse than one without a log. What happened is said in the phase's warnings.

use std::{sync::Arc, time::Instant};

use crate::{
    domain::{Phase, verdict::bytes},
    log::{LogFault, LogWriter, Stream},
    mask::MaskSet,
    protocol::file,
};

use super::{bells::Bells, dir::ChainDir, fault::Fault};

/// An open log.
pub struct PhaseLog {
    writer: LogWriter,
    began: Instant,
    bells: Bells,
    broken: Option<String>,
}

impl std::fmt::Debug for PhaseLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PhaseLog").field("broken", &self.broken).finish_non_exhaustive()
    }
}

/// What a finished log came to.
#[derive(Debug, Default)]
pub struct LogEnd {
    pub bytes: u64,
    pub error_line: Option<String>,
    pub warnings: Vec<String>,
}

impl PhaseLog {
    pub fn create(
        dir: &ChainDir,
        (number, phase): (u32, Phase),
        masks: Arc<MaskSet>,
        bells: Bells,
        limit_bytes: u64,
    ) -> Result<Self, Fault> {
        let (text, index) = (dir.file_path(&file::log(number, phase)), dir.file_path(&file::index(number, phase)));
        let writer = LogWriter::create(&text, &index, masks, limit_bytes).map_err(Fault::of)?;
        Ok(Self { writer, began: Instant::now(), bells, broken: None })
    }

    /// Output of the phase.
    pub fn write(&mut self, stream: Stream, output: &[u8]) {
        let at = self.began.elapsed();
        self.guard(|writer| writer.write(at, stream, output));
    }

    /// A line of Airlock's own.
    pub fn note(&mut self, text: &str) {
        let at = self.began.elapsed();
        self.guard(|writer| writer.note(at, text));
    }

    /// When [`Self::flush`] is due, if anything waits.
    pub fn due(&self) -> Option<Instant> {
        self.writer.due().filter(|_| self.broken.is_none()).map(|due| self.began + due)
    }

    pub fn flush(&mut self) {
        let at = self.began.elapsed();
        self.guard(|writer| writer.flush_due(at));
    }

    /// Ends the log; it is on the disk when this returns.
    pub fn finish(self) -> LogEnd {
        let (at, written) = (self.began.elapsed(), self.writer.len());
        let incomplete = |why: &dyn std::fmt::Display| vec![format!("the log is not complete: {why}")];
        match (self.writer.finish(at), self.broken) {
            (Ok(summary), broken) => {
                self.bells.logged(summary.bytes);
                let mut warnings = broken.map_or_else(Vec::new, |why| incomplete(&why));
                if summary.dropped_bytes > 0 {
                    warnings.push(format!("{} of output were dropped", bytes(summary.dropped_bytes)));
                }
                LogEnd { bytes: summary.bytes, error_line: summary.error_line, warnings }
            }
            (Err(_), Some(why)) => LogEnd { bytes: written, warnings: incomplete(&why), ..LogEnd::default() },
            (Err(fault), None) => LogEnd { bytes: written, warnings: incomplete(&fault), ..LogEnd::default() },
        }
    }

    fn guard(&mut self, write: impl FnOnce(&mut LogWriter) -> Result<(), LogFault>) {
        if self.broken.is_some() {
            return;
        }
        match write(&mut self.writer) {
            Ok(()) => self.bells.logged(self.writer.len()),
            Err(fault) => {
                super::start::complain(&fault);
                self.broken = Some(fault.to_string());
            }
        }
    }
}
