//! Run tasks, where they are attached, what they said about runs, and how calling them went.

use std::collections::BTreeMap;

use crate::{
    auth::Who,
    domain::{
        AttachmentId, RunTaskId, RunTaskName, Slug, StackId, StackName, TaskResultId, TaskStageId, limits,
        run_task::Outcome,
    },
    store::{
        Find as _, Flow, Order, Rows, Snapshot,
        record::{Attachment, Delivery, Run, RunTask, StageRow, TaskResult},
        tables as t,
    },
};

use super::{Cursor, Page, Queries, Result, not_found, sees};

/// A run task with the stacks that it is on.
#[derive(Clone, Debug)]
pub struct RunTaskRow {
    pub task: RunTask,
    pub attachments: Vec<AttachmentId>,
    pub stacks: Vec<OnStack>,
}

/// A stack, to link to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnStack {
    pub id: StackId,
    pub slug: Slug,
    pub name: StackName,
}

/// A run task on a stack.
#[derive(Clone, Debug)]
pub struct AttachmentRow {
    pub attachment: Attachment,
    pub task: RunTask,
}

/// A stage of a run with what its run tasks said.
#[derive(Clone, Debug)]
pub struct StageDetail {
    pub row: StageRow,
    pub results: Vec<TaskResult>,
}

/// One request that was sent, with what it was about.
#[derive(Clone, Debug)]
pub struct DeliveryRow {
    pub result: TaskResult,
    /// The n-th request for this result.
    pub n: u32,
    pub delivery: Delivery,
}

impl Queries {
    /// Every run task by name. For admins.
    pub fn run_tasks(&self) -> Result<Vec<RunTaskRow>> {
        let view = self.view()?;
        let mut attachments: BTreeMap<RunTaskId, Vec<AttachmentId>> = BTreeMap::new();
        let mut stacks: BTreeMap<RunTaskId, Vec<OnStack>> = BTreeMap::new();
        for attachment in view.all::<_, Attachment, (u128, u128)>(t::STACK_ID_TO_ATTACHMENT, ..)? {
            attachments.entry(attachment.run_task).or_default().push(attachment.id);
            if let Some(stack) = view.stack(attachment.stack)? {
                let row = OnStack { id: stack.id, slug: stack.slug, name: stack.settings.name };
                stacks.entry(attachment.run_task).or_default().push(row);
            }
        }
        let mut rows: Vec<RunTaskRow> = all_tasks(&view)?
            .into_iter()
            .map(|task| RunTaskRow {
                attachments: attachments.remove(&task.id).unwrap_or_default(),
                stacks: stacks.remove(&task.id).unwrap_or_default(),
                task,
            })
            .collect();
        for row in &mut rows {
            row.stacks.sort_by(|one, other| one.slug.cmp(&other.slug));
        }
        Ok(rows)
    }

    /// One run task. For admins.
    pub fn run_task(&self, name: &RunTaskName) -> Result<RunTaskRow> {
        let found = self.run_tasks()?.into_iter().find(|row| row.task.name == *name);
        found.ok_or_else(|| not_found(format_args!("the run task `{name}`")))
    }

    /// The same by its id.
    pub fn run_task_by_id(&self, id: RunTaskId) -> Result<RunTaskRow> {
        let found = self.run_tasks()?.into_iter().find(|row| row.task.id == id);
        found.ok_or_else(|| not_found(format_args!("the run task {id}")))
    }

    /// The run tasks of a stack that the actor may see, in the order in which they were attached.
    pub fn attachments(&self, who: &Who, slug: &Slug) -> Result<Vec<AttachmentRow>> {
        let stack = self.stack(who, slug)?.id.number();
        let view = self.view()?;
        let mut rows = Vec::new();
        for attachment in view.all(t::STACK_ID_TO_ATTACHMENT, (stack, 0)..=(stack, u128::MAX))? {
            let task = view.get(t::RUN_TASK_ID_TO_RUN_TASK, attachment.run_task.number())?;
            rows.extend(task.map(|task| AttachmentRow { attachment, task }));
        }
        Ok(rows)
    }

    pub fn attachment(&self, who: &Who, slug: &Slug, id: AttachmentId) -> Result<AttachmentRow> {
        let found = self.attachments(who, slug)?.into_iter().find(|row| row.attachment.id == id);
        found.ok_or_else(|| not_found(format_args!("the attached run task {id}")))
    }

    /// Those that could be attached to a stack. For its admins.
    pub fn unattached(&self, who: &Who, slug: &Slug) -> Result<Vec<RunTask>> {
        let attached = self.attachments(who, slug)?;
        let mut tasks = all_tasks(&self.view()?)?;
        tasks.retain(|task| attached.iter().all(|row| row.task.id != task.id));
        Ok(tasks)
    }

    /// The stages of a run in the order in which they were begun.
    pub fn stages(&self, run: &Run) -> Result<Vec<StageDetail>> {
        Ok(stages_of(&self.view()?, run)?)
    }

    /// A stage of a run that the actor may see.
    pub fn stage(&self, who: &Who, id: TaskStageId) -> Result<(Run, StageDetail)> {
        let missing = || not_found(format_args!("the task stage {id}"));
        let view = self.view()?;
        let seq = view.number(t::STAGE_ID_TO_RUN, id.number())?.ok_or_else(missing)?;
        let run = view.get(t::SEQ_TO_RUN, seq)?.filter(|run| sees(who, run.stack)).ok_or_else(missing)?;
        let stage = stages_of(&view, &run)?.into_iter().find(|stage| stage.row.id == id);
        Ok((run, stage.ok_or_else(missing)?))
    }

    /// What one run task said about a run that the actor may see.
    pub fn task_result(&self, who: &Who, id: TaskResultId) -> Result<TaskResult> {
        let found = self.view()?.get(t::RESULT_ID_TO_RESULT, id.number())?.filter(|result| sees(who, result.stack));
        found.ok_or_else(|| not_found(format_args!("the task result {id}")))
    }

    /// What it found, in detail.
    pub fn outcomes(&self, result: &TaskResult) -> Result<Vec<Outcome>> {
        let found = self.view()?.get(t::RESULT_TO_OUTCOMES, result.id.number())?;
        Ok(found.map(|outcomes| outcomes.read()).transpose()?.unwrap_or_default())
    }

    /// How calling a run task went, the newest first. For admins.
    pub fn deliveries(&self, task: RunTaskId, cursor: Option<&Cursor>, limit: usize) -> Result<Page<DeliveryRow>> {
        let view = self.view()?;
        let skip = cursor.map(|cursor| cursor.below(&task)).transpose()?.unwrap_or(0) as usize;
        let (mut found, mut scanned) = (Vec::new(), 0);
        view.walk(t::RESULT_ID_TO_RESULT, 0.., Order::Down, |_, result: TaskResult| {
            scanned += 1;
            if result.run_task == task {
                found.push(result);
            }
            Ok(if scanned < limits::SCAN_ROWS { Flow::Continue(()) } else { Flow::Break(()) })
        })?;
        let mut rows = Vec::new();
        for result in found {
            let id = result.id.number();
            view.walk(t::RESULT_N_TO_DELIVERY, (id, 0)..=(id, u32::MAX), Order::Down, |(_, n), delivery: Delivery| {
                rows.push(DeliveryRow { result: result.clone(), n, delivery });
                Ok(Flow::Continue(()))
            })?;
            if rows.len() > skip + limit {
                break;
            }
        }
        rows.sort_by_key(|row| std::cmp::Reverse(row.delivery.at));
        let more = rows.len() > skip + limit;
        let items: Vec<DeliveryRow> = rows.into_iter().skip(skip).take(limit).collect();
        Ok(Page { next: more.then(|| Cursor::new((skip + items.len()) as u64, &task)), items })
    }
}

fn all_tasks(view: &Snapshot) -> Result<Vec<RunTask>> {
    let mut tasks = view.all::<_, RunTask, u128>(t::RUN_TASK_ID_TO_RUN_TASK, ..)?;
    tasks.sort_by_cached_key(|task| task.name.as_str().to_lowercase());
    Ok(tasks)
}

pub(super) fn stages_of(view: &Snapshot, run: &Run) -> std::result::Result<Vec<StageDetail>, crate::store::Fault> {
    let mut stages = Vec::new();
    for row in view.all::<_, StageRow, (u64, u32)>(t::RUN_N_TO_STAGE, (run.seq, 0)..=(run.seq, u32::MAX))? {
        let mut results = Vec::new();
        for id in &row.results {
            results.extend(view.get(t::RESULT_ID_TO_RESULT, id.number())?);
        }
        stages.push(StageDetail { row, results });
    }
    Ok(stages)
}
