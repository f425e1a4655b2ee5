//! One phase from its first record to its last: number, log, result.

use crate::{
    crypt::write_file_under,
    domain::{Phase, Verdict},
    protocol::{PhaseResult, Produced, Record, file, result_label},
};

use super::Chain;
use crate::runner::{
    fault::Fault,
    phase_log::{LogEnd, PhaseLog},
};

/// What a phase in progress writes to.
#[derive(Debug)]
pub struct Desk {
    pub number: u32,
    pub log: PhaseLog,
    pub produced: Produced,
    pub result: PhaseResult,
}

impl Chain {
    /// Carries out one phase. A fault inside of it is its verdict; a fault of the records is the
    /// chain's.
    pub(super) fn phase(
        &mut self,
        phase: Phase,
        work: impl FnOnce(&mut Self, &mut Desk) -> Result<Verdict, Fault>,
    ) -> Result<Verdict, Fault> {
        let number = self.next;
        self.next += 1;
        let mut desk = self.desk(number, phase)?;
        self.tools.journal.add(Record::PhaseStarted { number, phase, at: self.tools.clock.now() });
        // With the names of all files so far, the records' own included.
        self.tools.journal.commit_beside(|| self.tools.dir.sync())?;
        self.open = Some((number, phase));
        let verdict = match work(self, &mut desk) {
            Ok(verdict) => verdict,
            Err(fault) => {
                crate::runner::start::complain(&fault);
                Verdict::Refused { reason: self.tools.masks.mask_text(&fault.to_string()) }
            }
        };
        let (verdict, produced) = self.clear(desk, phase, verdict);
        let at = self.tools.clock.now();
        let record = Record::PhaseEnded { number, phase, at, verdict: verdict.clone(), produced: Box::new(produced) };
        self.tools.journal.add(record);
        self.open = None;
        Ok(verdict)
    }

    fn desk(&self, number: u32, phase: Phase) -> Result<Desk, Fault> {
        let (masks, bells) = (self.tools.masks.clone(), self.tools.bells.clone());
        let log = PhaseLog::create(&self.tools.dir, (number, phase), masks, bells, self.jail.limits.output_bytes)?;
        Ok(Desk { number, log, produced: Produced::default(), result: PhaseResult::default() })
    }

    /// Makes everything that the phase leaves durable.
    fn clear(&self, desk: Desk, phase: Phase, mut verdict: Verdict) -> (Verdict, Produced) {
        let Desk { number, mut log, mut produced, mut result } = desk;
        // A log is what was printed; only what no exit code tells is added to it.
        if verdict.exit_code().is_none() {
            log.note(&verdict.to_string());
        }
        let LogEnd { bytes, error_line, warnings } = log.finish();
        produced.log_bytes = bytes;
        produced.warnings.extend(warnings);
        produced.warnings.iter_mut().for_each(|warning| *warning = self.tools.masks.mask_text(warning));
        self.mask_traffic(&mut produced);
        result.masks = self.tools.masks.added();
        match self.store_result(number, &result) {
            Ok(stored) => produced.result = stored,
            // Nobody could be shown what a plan without its result would change.
            Err(fault) if phase == Phase::Planning && verdict.is_success() => {
                verdict = Verdict::Refused { reason: fault.to_string() };
            }
            Err(fault) => produced.warnings.push(format!("what the phase produced is lost: {fault}")),
        }
        if verdict.is_success() {
            produced.error_line = None;
        } else {
            let complaint = produced.error_line.take().map(|line| self.tools.masks.mask_text(&line));
            produced.error_line = complaint.or(error_line);
        }
        (verdict, produced)
    }

    /// Whatever a phase asked for is its own text: a secret may be part of a host's name.
    fn mask_traffic(&self, produced: &mut Produced) {
        let mask = |text: &mut String| *text = self.tools.masks.mask_text(text);
        produced.hosts.iter_mut().for_each(|reached| mask(&mut reached.host));
        for denial in &mut produced.denials {
            mask(&mut denial.tried);
            mask(&mut denial.reason);
        }
    }

    /// Writes `<NN>.result` durably, if there is anything to write.
    fn store_result(&self, number: u32, result: &PhaseResult) -> Result<bool, Fault> {
        if result.changes.is_none()
            && result.plan_json.is_none()
            && result.masks.is_empty()
            && result.files.is_empty()
            && result.patch.is_none()
            && result.runtime.is_none()
        {
            return Ok(false);
        }
        let json = zeroize::Zeroizing::new(serde_json::to_vec(result).map_err(Fault::of)?);
        let (path, label) = (self.tools.dir.file_path(&file::result(number)), result_label(self.spec.run.id, number));
        write_file_under(&path, &self.tools.key, label.as_bytes(), &mut json.as_slice())
            .map_err(Fault::io("write the phase's result"))?;
        Ok(true)
    }
}
