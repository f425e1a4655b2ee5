//! The stages of a run at which run tasks are called: begun in the transaction that enters them, ended
//! in the one that leaves them.
//!
//! Rows are all there is between: `outbound` sends what is due, services come back with an answer,
//! time runs out, and each asks [`settle`] whether the stage is done. So nothing is lost when the
//! server dies at any point, and nothing is decided twice.
//!
//! | file | what |
//! | --- | --- |
//! | `deliver` | requests, tries, time-outs, overrides |
//! | `payload` | what a request says |
//! | `answer`, `callback` | what services come back with |
//! | `guest` | run tasks that are guests |
//! | `open` | what a service's token opens meanwhile |

mod answer;
mod callback;
mod deliver;
mod guest;
mod open;
mod payload;

use ulid::Ulid;

pub use callback::guest_outcomes;
pub use deliver::{DueRequest, DueWork, Outside, Reply, Request};
pub use guest::{JUDGING, Judged};
pub(crate) use guest::{judging, to_be_judged};
pub use open::{Opened, OpenedRun, OpenedSource};
pub(crate) use open::{left_by, plan_file};

use crate::{
    auth::{
        Who,
        token::{self, Minted},
    },
    domain::{
        Enforcement, Kind, ResultStatus, StackId, Stage, StageStatus, Stages, TaskResultId, TaskStageId, Verdict,
        limits,
    },
    machine::{Event, StageEnd},
    store::{
        Error, Fault, Rows, Tx,
        record::{Attachment, GUEST, Outcome, Run, RunTask, RunTaskKind, Stack, StageRow, TaskResult, TaskToken},
        tables as t,
    },
};

use super::{Moment, approval, audit, life, life::Why, missing, plan, vault};

/// What is attached to a stack and enabled, with the run task itself.
fn attachments(view: &impl Rows, stack: StackId) -> Result<Vec<(Attachment, RunTask)>, Fault> {
    let id = stack.number();
    let rows = view.all(t::STACK_ID_TO_ATTACHMENT, (id, 0)..=(id, u128::MAX))?;
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        let task = view.get(t::RUN_TASK_ID_TO_RUN_TASK, row.run_task.number())?;
        found.extend(task.filter(|task: &RunTask| task.enabled).map(|task| (row, task)));
    }
    Ok(found)
}

/// The stages at which run tasks are attached to a stack at this moment.
pub(crate) fn attached(view: &impl Rows, stack: StackId) -> Result<Stages, Fault> {
    let all = attachments(view, stack)?;
    Ok(all.iter().flat_map(|(row, _)| &row.stages).fold(Stages::NONE, |set, stage| set.with(*stage)))
}

/// Whether a plan may be applied without a person.
pub(crate) fn may_go_on(view: &impl Rows, run: &Run, stack: &Stack) -> Result<bool, Fault> {
    Ok(deploys_by_itself(run, stack) && approval::attached(view, stack.id)?.is_empty())
}

/// Whether nothing but somebody's approval can keep a plan from being applied.
pub(crate) fn deploys_by_itself(run: &Run, stack: &Stack) -> bool {
    let asks = run.targets.is_empty() && !plan::warned(run);
    run.kind == Kind::Tracked && stack.settings.autodeploy && stack.lock.is_none() && asks
}

/// Whether a preview waits for somebody's approval.
pub(crate) fn needs_review(run: &Run) -> bool {
    plan::warned(run)
}

/// Something worth knowing that does not end the run, said once.
pub(crate) fn warn(run: &mut Run, warning: String) {
    if run.warnings.len() < limits::RUN_WARNINGS && !run.warnings.contains(&warning) {
        run.warnings.push(warning);
    }
}

/// Makes the rows of a stage: what is to be called, with tokens of their own.
pub(crate) fn begin(tx: &Tx<'_>, moment: &Moment, run: &mut Run, stage: Stage) -> Result<(), Error> {
    run.stages += 1;
    let mut row = StageRow {
        id: TaskStageId::new(Ulid::generate()),
        run: run.id,
        n: run.stages,
        stage,
        status: StageStatus::Running,
        created_at: moment.now,
        ended_at: None,
        results: Vec::new(),
        overridden: None,
    };
    let mut names = Vec::new();
    for (attachment, task) in attachments(tx, run.stack)? {
        if attachment.stages.contains(&stage) {
            row.results.push(call(tx, moment, run, &row, &attachment, &task)?);
            names.push(task.name.to_string());
        }
    }
    run.reason = Some(format!("{stage}: waits for {}", names.join(", ")));
    tx.set_number(t::STAGE_ID_TO_RUN, row.id.number(), run.seq)?;
    Ok(tx.put(t::RUN_N_TO_STAGE, (run.seq, row.n), &row)?)
}

fn call(
    tx: &Tx<'_>,
    moment: &Moment,
    run: &Run,
    stage: &StageRow,
    attachment: &Attachment,
    task: &RunTask,
) -> Result<TaskResultId, Error> {
    let id = TaskResultId::new(Ulid::generate());
    let Minted { token, hash } = token::task_result();
    let result = TaskResult {
        id,
        run: run.id,
        seq: run.seq,
        stack: run.stack,
        stage_id: stage.id,
        stage_n: stage.n,
        stage: stage.stage,
        run_task: task.id,
        name: task.name.clone(),
        address: match &task.kind {
            RunTaskKind::Http { url, .. } => url.clone(),
            RunTaskKind::Wasi { guest } => format!("{GUEST}{guest}"),
        },
        attachment: attachment.id,
        enforcement: attachment.enforcement,
        status: ResultStatus::Pending,
        message: String::new(),
        url: String::new(),
        outcomes: 0,
        created_at: moment.now,
        updated_at: moment.now,
        running_at: None,
        progress_at: moment.now,
        ended_at: None,
        deliveries: 0,
        tries: 0,
        due_at: Some(moment.now),
        tried_since: None,
        again: None,
        token: TaskToken {
            hash: hash.to_vec(),
            sealed: Some(vault::task_token(id).seal(&moment.keys.get(), token.expose().as_bytes())),
        },
    };
    tx.set_number(t::HASH_TO_RESULT, hash, id.number())?;
    tx.mark(t::OPEN_RESULT, id.number(), true)?;
    tx.put(t::RESULT_ID_TO_RESULT, id.number(), &result)?;
    Ok(id)
}

/// A run leaves its stage: what was not done by then is of no use any more.
pub(crate) fn leave(tx: &Tx<'_>, moment: &Moment, run: &Run) -> Result<(), Fault> {
    let Some(mut row) = tx.get(t::RUN_N_TO_STAGE, (run.seq, run.stages))? else { return Ok(()) };
    for id in &row.results {
        let Some(mut result) = tx.get(t::RESULT_ID_TO_RESULT, id.number())? else { continue };
        if !result.status.is_final() {
            finish(tx, moment, &mut result, ResultStatus::Canceled)?;
        }
    }
    if !row.status.is_final() {
        row.status = StageStatus::Canceled;
        row.ended_at = Some(moment.now);
        tx.put(t::RUN_N_TO_STAGE, (run.seq, row.n), &row)?;
    }
    Ok(())
}

/// Nothing comes after this status: the token opens nothing any more.
fn finish(tx: &Tx<'_>, moment: &Moment, result: &mut TaskResult, status: ResultStatus) -> Result<(), Fault> {
    result.status = status;
    result.ended_at = Some(moment.now);
    result.updated_at = moment.now;
    result.due_at = None;
    result.token.sealed = None;
    if let Ok(hash) = <[u8; 32]>::try_from(result.token.hash.as_slice()) {
        tx.remove_number(t::HASH_TO_RESULT, hash)?;
    }
    tx.mark(t::OPEN_RESULT, result.id.number(), false)?;
    tx.put(t::RESULT_ID_TO_RESULT, result.id.number(), result)
}

/// Every end of a call is in the audit log.
fn note_end(tx: &Tx<'_>, moment: &Moment, result: &TaskResult) -> Result<(), Error> {
    let detail = format!("{} of {} ({}) {}", result.name, result.run, result.stage, result.status);
    let detail = if result.message.is_empty() { detail } else { format!("{detail}: {}", result.message) };
    let entry = audit::Draft::of(&Who::system(), "run_task.answer", &result.id.to_string(), moment.now);
    Ok(audit::append(tx, entry.with(Outcome::Done, Some(detail)))?)
}

/// Whoever watches the run looks again.
fn ring_result(tx: &Tx<'_>, moment: &Moment, result: &TaskResult) -> Result<(), Error> {
    if let Some(run) = tx.get(t::SEQ_TO_RUN, result.seq)? {
        life::ring(tx, moment, &run);
    }
    Ok(())
}

/// Ends the stage of a result that became final, if it was the last one.
fn settle(tx: &Tx<'_>, moment: &Moment, result: &TaskResult) -> Result<(), Error> {
    ring_result(tx, moment, result)?;
    if result.is_guest() {
        // Its place in the pool is free.
        life::settle(tx, moment, result.stack)?;
        life::schedule(tx, moment)?;
    }
    let Some(mut row) = tx.get(t::RUN_N_TO_STAGE, (result.seq, result.stage_n))? else { return Ok(()) };
    let Some(run) = tx.get(t::SEQ_TO_RUN, result.seq)? else { return Ok(()) };
    if row.status.is_final() || run.checking != Some(row.stage) || run.stages != row.n {
        return Ok(());
    }
    let results = results_of(tx, &row)?;
    let Some(status) = StageStatus::of(row.stage, results.iter().map(|result| (result.enforcement, result.status)))
    else {
        return Ok(());
    };
    row.status = status;
    row.ended_at = Some(moment.now);
    tx.put(t::RUN_N_TO_STAGE, (run.seq, row.n), &row)?;
    end_stage(tx, moment, run, &row, None)
}

/// The results of a stage, in the order in which they were made.
pub(crate) fn results_of(view: &impl Rows, stage: &StageRow) -> Result<Vec<TaskResult>, Fault> {
    let mut results = Vec::with_capacity(stage.results.len());
    for id in &stage.results {
        results.extend(view.get(t::RESULT_ID_TO_RESULT, id.number())?);
    }
    Ok(results)
}

/// A stage came to its end: the run goes on with warnings, or fails with a reason.
fn end_stage(tx: &Tx<'_>, moment: &Moment, run: Run, row: &StageRow, note: Option<String>) -> Result<(), Error> {
    let stack = tx.get(t::STACK_ID_TO_STACK, run.stack.number())?.ok_or_else(|| missing("the stack of the run"))?;
    let before = run.clone();
    let mut run = run;
    let results = results_of(tx, row)?;
    let passed = row.status.lets_pass();
    let mut failures = Vec::new();
    for result in results.iter().filter(|result| result.status != ResultStatus::Passed) {
        let restricts = result.enforcement == Enforcement::Mandatory && row.stage.can_stop();
        match restricts && !passed {
            true => failures.push(said(result)),
            false => warn(&mut run, said(result)),
        }
    }
    let reason = match (passed, &row.overridden) {
        (true, Some(over)) => Some(format!("{} was overridden by {}", row.stage, over.by.name)),
        (true, None) => None,
        (false, _) => Some(failures.join("; ")),
    };
    if let Some(reason) = reason.as_ref().filter(|_| !passed) {
        run.verdict = Some(Verdict::Refused { reason: reason.clone() });
    }
    tx.put_run(Some(&before), &run)?;
    let may_go_on = may_go_on(tx, &run, &stack)?;
    let end = StageEnd { passed, changes: run.changes, may_go_on, needs_review: needs_review(&run) };
    let moment = match &row.overridden {
        Some(_) => moment.clone(),
        None => moment.of_system(),
    };
    life::advance(tx, &moment, run, Event::StageEnded(end), Why { note, reason })?;
    Ok(())
}

/// What a run task that did not pass means, in a sentence.
fn said(result: &TaskResult) -> String {
    let what = match result.status {
        ResultStatus::Failed => "failed",
        ResultStatus::Errored => "errored",
        ResultStatus::Unreachable => "is unreachable",
        ResultStatus::Canceled => "was canceled",
        ResultStatus::Pending | ResultStatus::Running => "was not done",
        ResultStatus::Passed => "passed",
    };
    let when = result.stage.title().to_lowercase();
    let name = format!("{} run task {} {what} {when}", payload::adjective(result.enforcement), result.name);
    if result.message.is_empty() { name } else { format!("{name}: {}", result.message) }
}
