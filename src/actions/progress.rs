//! What runners report: records become transitions, results and states are taken over.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    crypt::{self, Key, Secret},
    domain::{Kind, Phase, RunId, StackId, Timestamp, Verdict, limits, run::SourceVersion},
    machine::{self, ChainEnd, Event},
    protocol::{self, FoundImage, PhaseResult, Produced, Record, WorkspaceLeft},
    store::{
        Error, Fault, Find, Rows, Tx,
        record::{Chain, Changes, Left, PhaseRow, PinnedImage, Run, RunSecrets, SealedFacts},
        tables as t,
    },
};

use super::{
    Actions, Moment,
    claim::chain_dir,
    declaration, declared, gate,
    life::{self, Why},
    missing,
    plan::{self, Plan},
    runtime,
    state::{self, StoredState},
    vault,
};

/// Records of a chain, as they lie in its directory.
#[derive(Clone, Debug)]
pub struct Report {
    pub run: RunId,
    pub chain: u32,
    /// Where in the file the records begin and end, in bytes.
    pub from: u64,
    pub to: u64,
    pub records: Vec<Record>,
}

/// What lies beside the records of a chain, already decrypted or encrypted anew.
#[derive(Debug, Default)]
struct Beside {
    results: Vec<(u32, PhaseResult)>,
    states: Vec<StoredState>,
    left: Vec<Left>,
}

impl Actions {
    /// Takes records over. Taking the same ones again changes nothing.
    pub async fn report(&self, report: Report) -> Result<Run, Error> {
        let report = Arc::new(report);
        let beside = Arc::new(self.read_beside(&report)?);
        for _ in 0..limits::POLICY_ATTEMPTS {
            let brought = plan::brought(beside.results.iter().map(|(_, result)| result));
            let asked = self.hear_plan(&report, brought).await?;
            if let Some(run) = self.take_over(&report, &beside, asked).await? {
                return Ok(run);
            }
        }
        Err(Fault::Io("the plan policies change faster than they can be asked".to_owned()).into())
    }

    /// Takes over what was read; nothing, when the plan policies are others than were asked.
    async fn take_over(
        &self,
        report: &Arc<Report>,
        beside: &Arc<Beside>,
        asked: Option<Plan>,
    ) -> Result<Option<Run>, Error> {
        let (report, beside) = (Arc::clone(report), Arc::clone(beside));
        self.system(move |tx, moment| {
            let run = tx.run(report.run)?.ok_or_else(|| missing(report.run))?;
            let Some(chain) = tx.chain(&run)? else { return Ok(Some(run)) };
            if chain.number != report.chain || chain.records != report.from {
                return Ok(Some(run));
            }
            if let (Some(asked), Some(stack)) = (&asked, tx.stack(run.stack)?)
                && !asked.still_holds(tx, &stack)?
            {
                return Ok(None);
            }
            take_states(tx, moment, &run, &beside.states)?;
            Ok(Some(Taking { tx, moment, beside: &beside, asked: asked.as_ref(), run, chain }.all(&report)?))
        })
        .await
    }

    /// The runner of a chain is gone and left no last record.
    pub async fn chain_lost(&self, run: RunId, chain: u32) -> Result<Run, Error> {
        let report = Report { run, chain, from: 0, to: 0, records: Vec::new() };
        let beside = self.read_beside(&report)?;
        self.system(move |tx, moment| {
            let run = tx.run(report.run)?.ok_or_else(|| missing(report.run))?;
            let Some(row) = tx.chain(&run)? else { return Ok(run) };
            if row.number != chain {
                return Ok(run);
            }
            take_states(tx, moment, &run, &beside.states)?;
            let before = run.clone();
            let mut run = run;
            close_phase(&mut run, moment);
            run.verdict = Some(Verdict::Lost);
            tx.put_run(Some(&before), &run)?;
            life::advance(tx, moment, run, Event::ChainLost { last_phase: row.last_phase }, Why::default())
        })
        .await
    }

    /// A chain cannot go on, and why: it could not even be started, or, where it had `begun` a phase,
    /// what it left cannot be taken over.
    pub async fn chain_failed(
        &self,
        run: RunId,
        chain: u32,
        reason: String,
        begun: Option<Phase>,
    ) -> Result<Run, Error> {
        self.system(move |tx, moment| {
            let run = tx.run(run)?.ok_or_else(|| missing(run))?;
            let Some(row) = tx.chain(&run)? else { return Ok(run) };
            if row.number != chain {
                return Ok(run);
            }
            let before = run.clone();
            let mut run = run;
            run.verdict = Some(Verdict::Refused { reason: reason.clone() });
            if begun.is_some() {
                run.error_line = Some(reason.clone());
                close_phase(&mut run, moment);
                tx.put_run(Some(&before), &run)?;
                return life::advance(tx, moment, run, Event::ChainLost { last_phase: begun }, Why::default());
            }
            tx.put_run(Some(&before), &run)?;
            let end = ChainEnd {
                last_phase: None,
                success: false,
                stopped: false,
                changes: None,
                workspace: machine::Workspace::Kept,
                may_go_on: false,
                needs_review: false,
                denied: false,
            };
            life::advance(tx, moment, run, Event::ChainEnded(end), Why::reason(reason.clone()))
        })
        .await
    }

    /// Decrypts what lies beside the records. Disk work, so outside the transaction.
    fn read_beside(&self, report: &Report) -> Result<Beside, Error> {
        let view = self.store.read()?;
        let run = view.run(report.run)?.ok_or_else(|| missing(report.run))?;
        let Some(chain) = view.chain(&run)? else { return Ok(Beside::default()) };
        if chain.number != report.chain {
            return Ok(Beside::default());
        }
        let dir = chain_dir(&self.setup.data, run.id, chain.number);
        let key = vault::chain_key(run.id, chain.number).open_key(&self.keys.get(), &chain.key)?;
        let mut beside = Beside { states: self.import_states(&run, &dir, &key)?, ..Beside::default() };
        for record in &report.records {
            let Record::PhaseEnded { number, phase, produced, .. } = record else { continue };
            let result = produced.result.then(|| read_result(&dir, run.id, *number, &key)).transpose()?;
            beside.left.extend(self.keep_left(run.id, &dir, (*number, *phase), produced, result.as_ref())?);
            beside.results.extend(result.map(|result| (*number, result)));
        }
        Ok(beside)
    }

    /// Puts every state that the chain wrote into its place, encrypted under a key of its own. What is
    /// a version already stays under the key that its row holds.
    fn import_states(&self, run: &Run, dir: &Path, key: &Key) -> Result<Vec<StoredState>, Error> {
        let mut found = state_files(dir);
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let known = versions_by_file(&self.store.read()?, run.stack)?;
        found.retain(|(number, n, _)| !known.contains(&state_name(run.id, *number, *n)));
        found.sort_unstable_by_key(|(number, n, _)| (*number, *n));
        found.into_iter().map(|(number, n, path)| self.import_state(run, key, number, n, &path)).collect()
    }

    fn import_state(&self, run: &Run, key: &Key, number: u32, n: u32, path: &Path) -> Result<StoredState, Error> {
        let label = protocol::state_label(run.id, number, n);
        let state =
            crypt::read_file_under(path, key, label.as_bytes(), limits::STATE_BYTES).map_err(super::sealed_fault)?;
        self.store_state(run.stack, state_name(run.id, number, n), &state)
    }
}

/// What a phase says about its source and its plan.
pub(super) fn take_facts(run: &mut Run, produced: &Produced) {
    // A branch stands for one commit from the first time it was fetched.
    if let (SourceVersion::Git { commit, .. }, Some(found)) = (&mut run.source, &produced.commit) {
        commit.get_or_insert_with(|| found.clone());
    }
    if let Some(facts) = &produced.commit_facts {
        run.commit_facts.get_or_insert_with(|| facts.clone());
    }
    if let Some(plan) = &produced.plan {
        run.changes = Some(plan.changes);
        run.delta = Some(plan.delta);
        run.plan_digest = Some(plan.digest.clone());
        run.terraform_version.clone_from(&plan.terraform_version);
    }
}

/// Nothing more comes of a phase whose runner is gone.
fn close_phase(run: &mut Run, moment: &Moment) {
    if let Some(open) = run.phases.last_mut().filter(|phase| phase.finished_at.is_none()) {
        open.finished_at = Some(moment.now);
        open.verdict = Some(Verdict::Lost);
    }
}

fn read_result(dir: &Path, run: RunId, number: u32, key: &Key) -> Result<PhaseResult, Error> {
    let path = dir.join(protocol::file::result(number));
    let label = protocol::result_label(run, number);
    let most = 2 * limits::PLAN_JSON_BYTES;
    let bytes = crypt::read_file_under(&path, key, label.as_bytes(), most).map_err(super::sealed_fault)?;
    serde_json::from_slice(bytes.expose()).map_err(super::sealed_fault)
}

/// Files named `<NN>-<n>.state`.
fn state_files(dir: &Path) -> Vec<(u32, u32, PathBuf)> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let (number, n) = name.to_str()?.strip_suffix(".state")?.split_once('-')?;
            Some((number.parse().ok()?, n.parse().ok()?, entry.path()))
        })
        .collect()
}

fn take_states(tx: &Tx<'_>, moment: &Moment, run: &Run, states: &[StoredState]) -> Result<(), Error> {
    let known = versions_by_file(tx, run.stack)?;
    for state in states.iter().filter(|state| !known.contains(&state.file)) {
        let writer = state::Writer { run: Some(run.id), by: run.triggered_by.clone() };
        state::append(tx, moment, run.stack, state, writer)?;
    }
    Ok(())
}

/// The file that the n-th write of a phase is kept in.
fn state_name(run: RunId, number: u32, n: u32) -> String {
    format!("{run}-{number:02}-{n}.state")
}

fn versions_by_file(view: &impl Rows, stack: StackId) -> Result<BTreeSet<String>, Fault> {
    Ok(view.all(t::STACK_SERIAL_TO_STATE, of_stack(stack))?.into_iter().map(|version| version.file).collect())
}

/// Every version of a stack's state.
pub(crate) fn of_stack(stack: StackId) -> std::ops::RangeInclusive<(u128, u64)> {
    (stack.number(), 0)..=(stack.number(), u64::MAX)
}

/// Records being taken over, inside the transaction.
struct Taking<'a> {
    tx: &'a Tx<'a>,
    moment: &'a Moment,
    beside: &'a Beside,
    /// What the plan policies said, where the report ends a chain that planned.
    asked: Option<&'a Plan>,
    run: Run,
    chain: Chain,
}

impl Taking<'_> {
    fn all(mut self, report: &Report) -> Result<Run, Error> {
        self.chain.records = report.to;
        for record in &report.records {
            match record {
                Record::Started { .. } => {}
                Record::PhaseStarted { number, phase, at } => self.phase_started(*number, *phase, *at)?,
                Record::PhaseEnded { number, phase, at, verdict, produced } => {
                    self.phase_ended(*number, *phase, *at, verdict, produced)?;
                }
                Record::Ended { workspace, stopped, fault, .. } => {
                    return self.ended(*workspace, *stopped, fault.clone());
                }
            }
        }
        self.tx.put(t::RUN_TO_CHAIN, self.run.seq, &self.chain)?;
        Ok(self.run)
    }

    fn phase_started(&mut self, number: u32, phase: Phase, at: Timestamp) -> Result<(), Error> {
        let before = self.run.clone();
        self.run.phases.push(PhaseRow {
            number,
            chain: self.chain.number,
            phase,
            started_at: at,
            finished_at: None,
            verdict: None,
            skipped: false,
            log_bytes: 0,
            peak_memory_bytes: None,
            cpu_ms: None,
            limited_by: None,
        });
        self.tx.put_run(Some(&before), &self.run)?;
        if phase != Phase::Ending {
            self.chain.last_phase = Some(phase);
            self.chain.last_verdict = None;
        }
        let event = Event::PhaseStarted(phase);
        let moment = Moment { now: at, ..self.moment.of_system() };
        self.run = life::transition(self.tx, &moment, self.run.clone(), event, Why::default())?;
        if phase == Phase::PreparingApply && self.chain.kind == life::word(machine::Chain::Replan) {
            // A plan that is made again is described anew.
            self.run.warnings.clear();
        }
        Ok(())
    }

    fn phase_ended(
        &mut self,
        number: u32,
        phase: Phase,
        at: Timestamp,
        verdict: &Verdict,
        produced: &Produced,
    ) -> Result<(), Error> {
        let before = self.run.clone();
        let verdict = if self.run.forced && *verdict == Verdict::Stopped { &Verdict::Lost } else { verdict };
        if let Some(row) = self.run.phases.iter_mut().find(|row| row.number == number) {
            row.finished_at = Some(at);
            row.verdict = Some(verdict.clone());
            row.skipped = produced.skipped;
            row.log_bytes = produced.log_bytes;
            row.peak_memory_bytes = produced.peak_memory_bytes;
            row.cpu_ms = produced.cpu_ms;
            row.limited_by.clone_from(&produced.limited_by);
        }
        if phase != Phase::Ending && !self.is_end() {
            self.chain.last_verdict = Some(verdict.clone());
            self.run.error_line = if is_success(phase, verdict) { None } else { produced.error_line.clone() };
        }
        for warning in produced.warnings.iter().take(20) {
            gate::warn(&mut self.run, warning.clone());
        }
        take_facts(&mut self.run, produced);
        if let Some(plan) = &produced.plan {
            self.chain.changes = Some(plan.changes);
        }
        if let Some(left) = self.beside.left.iter().find(|left| left.number == number) {
            self.tx.put(t::RUN_N_TO_LEFT, (self.run.seq, number), left)?;
        }
        let result = self.beside.results.iter().find(|(of, _)| *of == number).map(|(_, result)| result);
        if let Some(result) = result {
            self.take_result(result)?;
            self.keep_plan(number, phase)?;
        }
        if produced.source {
            self.keep_source(number)?;
        }
        if phase == Phase::PreparingApply && !self.is_end() {
            self.note_warnings(&produced.warnings)?;
        }
        self.tx.put_run(Some(&before), &self.run)?;
        if phase == Phase::Preparing && verdict.is_success() && self.begins() {
            declaration::take(self.tx, self.moment, &self.run, result.map_or(&[], |result| &result.files))?;
        }
        life::ring(self.tx, self.moment, &self.run);
        Ok(())
    }

    /// Whether this chain is the one that fetched the source.
    fn begins(&self) -> bool {
        self.chain.kind != life::word(machine::Chain::GoOn)
    }

    /// Whether all that this chain does comes after the run's own end.
    fn is_end(&self) -> bool {
        self.chain.kind == life::word(machine::Chain::End)
    }

    /// Why a source that was fetched is of no use to the declared task.
    fn undeclared(&self) -> Result<Option<String>, Error> {
        if self.chain.kind != life::word(machine::Chain::Prepare) || self.run.guest.is_some() {
            return Ok(None);
        }
        let demand = declared::demand_of(self.tx, &self.run)?;
        let unread = || "the source was not read".to_owned();
        Ok(if demand.declared.is_some() { None } else { Some(demand.fault.unwrap_or_else(unread)) })
    }

    fn take_result(&mut self, result: &PhaseResult) -> Result<(), Error> {
        if let Some(changes) = &result.changes {
            self.tx.put(t::RUN_TO_CHANGES, self.run.seq, &Changes::new(changes)?)?;
        }
        if let Some(found) = &result.runtime {
            runtime::take(self.tx, &self.run, found)?;
            if let Some(FoundImage { name, digest }) = found.image.clone() {
                self.run.image = Some(PinnedImage { name, digest });
            }
        }
        if !result.masks.is_empty() {
            self.add_masks(&result.masks)?;
        }
        Ok(())
    }

    /// Outside checks may ask for the vendor's own plan as long as the run lives.
    fn keep_plan(&self, number: u32, phase: Phase) -> Result<(), Error> {
        if let Some(plan) = gate::plan_file(&self.chain, number, phase) {
            let mut secrets: RunSecrets = self.tx.get(t::RUN_TO_SECRETS, self.run.seq)?.unwrap_or_default();
            secrets.plan = Some(plan);
            self.tx.put(t::RUN_TO_SECRETS, self.run.seq, &secrets)?;
        }
        Ok(())
    }

    /// They may ask for the fetched source, too.
    fn keep_source(&self, number: u32) -> Result<(), Error> {
        let mut secrets: RunSecrets = self.tx.get(t::RUN_TO_SECRETS, self.run.seq)?.unwrap_or_default();
        secrets.source = Some(gate::left_by(&self.chain, number));
        Ok(self.tx.put(t::RUN_TO_SECRETS, self.run.seq, &secrets)?)
    }

    /// What was found when the workspace was opened stands in the timeline.
    fn note_warnings(&mut self, warnings: &[String]) -> Result<(), Error> {
        for warning in warnings {
            let moment = self.moment.of_system();
            life::remark(self.tx, &moment, &mut self.run, warning.clone(), None)?;
        }
        Ok(())
    }

    fn add_masks(&self, added: &[Secret<String>]) -> Result<(), Error> {
        let mut secrets: RunSecrets = self.tx.get(t::RUN_TO_SECRETS, self.run.seq)?.unwrap_or_default();
        let (keys, place) = (self.moment.keys.get(), vault::masks(self.run.id));
        let mut masks: Vec<Secret<String>> = match &secrets.masks {
            Some(sealed) => serde_json::from_slice(place.open(&keys, sealed)?.expose()).map_err(super::sealed_fault)?,
            None => Vec::new(),
        };
        masks.extend(added.iter().cloned());
        masks.truncate(limits::ADDED_MASKS);
        let json = Secret::new(serde_json::to_vec(&masks).map_err(super::sealed_fault)?);
        secrets.masks = Some(place.seal(&keys, json.expose()));
        Ok(self.tx.put(t::RUN_TO_SECRETS, self.run.seq, &secrets)?)
    }

    fn ended(mut self, left: WorkspaceLeft, stopped: bool, fault: Option<String>) -> Result<Run, Error> {
        let stack = self.tx.stack(self.run.stack)?.ok_or_else(|| missing("the stack of the run"))?;
        let last = self.chain.last_phase;
        let fault = if fault.is_none() && !stopped { self.undeclared()? } else { fault };
        let verdict = match &fault {
            // What it changed is unknown, whatever its last words were.
            _ if self.run.forced => Some(Verdict::Lost),
            Some(fault) => Some(Verdict::Refused { reason: fault.clone() }),
            None => self.chain.last_verdict.clone(),
        };
        let success = match (last, &verdict) {
            (Some(phase), Some(verdict)) => is_success(phase, verdict),
            (None, _) | (_, None) => false,
        };
        let before = self.run.clone();
        if let WorkspaceLeft::Sealed { tree_bytes, sealed_bytes } = left {
            self.run.sealed = Some(SealedFacts { tree_bytes, sealed_bytes });
            self.take_seal_key()?;
        }
        let denials = self.asked.filter(|_| success && !stopped).map(Plan::denials).unwrap_or_default();
        if let Some(asked) = self.asked {
            asked.remember(&mut self.run);
        }
        self.tx.put_run(Some(&before), &self.run)?;
        self.tx.put(t::RUN_TO_CHAIN, self.run.seq, &self.chain)?;
        let end = ChainEnd {
            last_phase: last,
            success,
            stopped,
            changes: self.changes(),
            workspace: match left {
                WorkspaceLeft::Removed => machine::Workspace::Removed,
                WorkspaceLeft::Kept => machine::Workspace::Kept,
                WorkspaceLeft::Sealed { .. } => machine::Workspace::Sealed,
            },
            may_go_on: gate::may_go_on(self.tx, &self.run, &stack)?,
            needs_review: gate::needs_review(&self.run),
            denied: !denials.is_empty(),
        };
        let reason = match denials.is_empty() {
            true if self.run.forced => None,
            true => reason_of(last, verdict.as_ref(), success, stopped),
            false => Some(plan::denied(&denials)),
        };
        let why = Why { note: None, reason };
        self.settle_verdict(verdict, end)?;
        life::advance(self.tx, self.moment, self.run, Event::ChainEnded(end), why)
    }

    /// What the plan found that the chain leaves: its own, or the one that it only seals.
    fn changes(&self) -> Option<bool> {
        let seals = self.chain.kind == life::word(machine::Chain::Seal);
        if seals { self.run.changes } else { self.chain.changes }
    }

    /// What a replan sealed is from now on what the run waits with.
    fn take_seal_key(&self) -> Result<(), Error> {
        let Some(mut secrets) = self.tx.get(t::RUN_TO_SECRETS, self.run.seq)? else { return Ok(()) };
        if let Some(next) = secrets.next_seal_key.take() {
            secrets.seal_key = Some(next);
            self.tx.put(t::RUN_TO_SECRETS, self.run.seq, &secrets)?;
        }
        Ok(())
    }

    /// A run has a verdict once nothing but a person can come after it.
    fn settle_verdict(&mut self, verdict: Option<Verdict>, end: ChainEnd) -> Result<(), Error> {
        let only_plans = match self.run.kind {
            Kind::Proposed | Kind::Drift => end.last_phase == Some(Phase::Planning),
            Kind::Tracked => end.last_phase == Some(Phase::Planning) && end.changes == Some(false),
            Kind::Destroy | Kind::Task | Kind::OnDemand => false,
        };
        let waits = end.success && !end.denied && end.workspace != machine::Workspace::Removed && !only_plans;
        if waits || self.is_end() {
            return Ok(());
        }
        let before = self.run.clone();
        self.run.exit_code = verdict.as_ref().and_then(Verdict::exit_code);
        self.run.verdict = verdict;
        Ok(self.tx.put_run(Some(&before), &self.run)?)
    }
}

/// Exit code 2 of a plan means changes.
pub(super) fn is_success(phase: Phase, verdict: &Verdict) -> bool {
    verdict.is_success() || (phase == Phase::Planning && *verdict == Verdict::Exited { code: 2 })
}

fn reason_of(last: Option<Phase>, verdict: Option<&Verdict>, success: bool, stopped: bool) -> Option<String> {
    match (last, verdict) {
        _ if success || stopped => None,
        (Some(phase), Some(verdict)) => Some(format!("{phase}: {verdict}")),
        (None, Some(verdict)) => Some(verdict.to_string()),
        (_, None) => Some("the runner never began".to_owned()),
    }
}
