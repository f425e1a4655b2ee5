//! Plan policies: asked when a chain that planned has ended, before anything follows from its plan.
//!
//! They are asked outside the transaction, about the changes that the store keeps; the transaction that
//! takes the end over re-checks that they are the ones that the stack still has. Nothing is remembered in
//! between: after a crash the chain's last records are taken over once more, and the policies are asked
//! once more.

use crate::{
    domain::{Changes, Phase, PolicyKind, PolicyOutcome, Verdict, runtime::Used},
    protocol::{PhaseResult, Record},
    store::{
        Error, Fault, Find, Rows, Tx,
        record::{Chain, Run, Stack},
        tables as t,
    },
};

use super::{
    Actions, approval, life,
    policy::{Evaluation, input::PlanFacts},
    progress::{Report, is_success, take_facts},
};

/// What the plan policies said about the plan that a report ends with.
#[derive(Debug)]
pub(super) struct Plan(Evaluation);

impl Plan {
    /// Whether the stack still has the policies that were asked.
    pub(super) fn still_holds(&self, tx: &Tx<'_>, stack: &Stack) -> Result<bool, Fault> {
        self.0.still_holds(tx, stack)
    }

    /// Every no; a policy that cannot be evaluated says no.
    pub(super) fn denials(&self) -> Vec<String> {
        self.0.denials()
    }

    /// Keeps what they said with the run, in the place of what was said about an earlier plan.
    pub(super) fn remember(&self, run: &mut Run) {
        run.policies.retain(|old| old.kind != PolicyKind::Plan);
        approval::remember(run, &self.0.receipts());
    }
}

impl Actions {
    /// Asks the plan policies, if the report is the end of a chain that made a plan.
    pub(super) async fn hear_plan(&self, report: &Report, brought: Brought<'_>) -> Result<Option<Plan>, Error> {
        let Some((run, stack)) = self.planned_by(report)? else { return Ok(None) };
        if self.store.read()?.attached_policies(&stack, PolicyKind::Plan)?.is_empty() {
            return Ok(Some(Plan(Evaluation { kind: PolicyKind::Plan, policies: Vec::new() })));
        }
        let changes = match brought.changes {
            Some(changes) => changes.clone(),
            None => self.stored_changes(&run)?,
        };
        let plan = PlanFacts { changes: &changes, used: brought.used };
        Ok(Some(Plan(self.ask_plan_policies(&stack, &run, &plan).await?)))
    }

    fn stored_changes(&self, run: &Run) -> Result<Changes, Error> {
        let stored = self.store.read()?.get(t::RUN_TO_CHANGES, run.seq)?;
        Ok(stored.map(|changes| changes.read()).transpose()?.unwrap_or_default())
    }

    /// The run of a report that ends a chain with a plan, as it will be when that is taken over.
    fn planned_by(&self, report: &Report) -> Result<Option<(Run, Stack)>, Error> {
        let ends = |record: &Record| matches!(record, Record::Ended { stopped: false, fault: None, .. });
        if !report.records.iter().any(ends) {
            return Ok(None);
        }
        let view = self.store.read()?;
        let Some(mut run) = view.run(report.run)? else { return Ok(None) };
        let (Some(chain), Some(stack)) = (view.chain(&run)?, view.stack(run.stack)?) else { return Ok(None) };
        let present = chain.number == report.chain && chain.records == report.from;
        if !present || !life::chain_of(&chain.kind)?.plans() || !has_planned(&chain, report) {
            return Ok(None);
        }
        for record in &report.records {
            if let Record::PhaseEnded { produced, .. } = record {
                take_facts(&mut run, produced);
            }
        }
        Ok(Some((run, stack)))
    }
}

/// Whether its planning phase succeeded. What comes after it does not matter here.
fn has_planned(chain: &Chain, report: &Report) -> bool {
    let in_report = report.records.iter().find_map(|record| match record {
        Record::PhaseEnded { phase: Phase::Planning, verdict, .. } => Some(verdict),
        _ => None,
    });
    let verdict: Option<&Verdict> = in_report.or(chain.last_verdict.as_ref());
    let planned = in_report.is_some() || chain.last_phase == Some(Phase::Planning) || chain.changes.is_some();
    planned && verdict.is_some_and(|verdict| is_success(Phase::Planning, verdict))
}

/// Whether a plan policy warned about the present plan: somebody has to look at it.
pub(super) fn warned(run: &Run) -> bool {
    run.policies.iter().any(|one| one.kind == PolicyKind::Plan && one.decision == PolicyOutcome::Warn)
}

/// The reason of a run that was denied.
pub(super) fn denied(denials: &[String]) -> String {
    format!("denied by policy: {}", denials.join("; "))
}

/// What a report itself brings, and the store does not have yet.
#[derive(Clone, Copy, Default)]
pub(super) struct Brought<'r> {
    changes: Option<&'r Changes>,
    used: Option<&'r Used>,
}

pub(super) fn brought<'r>(results: impl Iterator<Item = &'r PhaseResult>) -> Brought<'r> {
    results.fold(Brought::default(), |before, result| Brought {
        changes: result.changes.as_ref().or(before.changes),
        used: result.runtime.as_ref().map(|found| &found.used).or(before.used),
    })
}
