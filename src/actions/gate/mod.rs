//! The stages of a run at which run tasks are called: begun in the transaction that enters them, ended
//! in the one that leaves them.
//!
//! Rows are all there is between: `outbound` delivers what is due, services come back through
//! [`answer`], clocks through [`patrol`], and each asks [`settle`] whether the stage is done. So nothing
//! is lost when the server dies at any point, and nothing is decided twice.

use ulid::Ulid;

use crate::{
    auth::token::{self, Minted},
    domain::{Kind, ResultStatus, StackId, Stage, StageStatus, Stages, TaskResultId, TaskStageId, limits},
    store::{
        Error, Fault, Rows, Tx,
        record::{Attachment, Run, RunTask, RunTaskKind, Stack, StageRow, TaskResult, TaskToken},
        tables as t,
    },
};

use super::{Moment, plan, vault};

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
pub(crate) fn may_go_on(run: &Run, stack: &Stack) -> bool {
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
    for (attachment, task) in attachments(tx, run.stack)? {
        if attachment.stages.contains(&stage) {
            row.results.push(call(tx, moment, run, &row, &attachment, &task)?);
        }
    }
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
            RunTaskKind::Wasi { guest } => format!("wasi:{guest}"),
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
        token: Some(TaskToken {
            hash: hash.to_vec(),
            sealed: vault::task_token(id).seal(&moment.keys.get(), token.expose().as_bytes()),
        }),
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
    if let Some(token) = result.token.take()
        && let Ok(hash) = <[u8; 32]>::try_from(token.hash.as_slice())
    {
        tx.remove_number(t::HASH_TO_RESULT, hash)?;
    }
    tx.mark(t::OPEN_RESULT, result.id.number(), false)?;
    tx.put(t::RESULT_ID_TO_RESULT, result.id.number(), result)
}
