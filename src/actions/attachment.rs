//! Run tasks on stacks: attached, changed, removed by the stack's admins. Runs that have begun a stage
//! keep what they began it with.

use ulid::Ulid;

use crate::{
    auth::Permit,
    domain::{AttachmentId, Enforcement, Refused, RunTaskId, StackId, Stage, limits},
    store::{
        Error, Find as _, Rows, Tx,
        record::{Attachment, RunTask},
        tables as t,
    },
};

use super::{Actions, missing, once::Once, ring};

/// A run task that somebody attaches.
#[derive(Clone, Debug)]
pub struct NewAttachment {
    pub run_task: RunTaskId,
    pub stages: Vec<Stage>,
    pub enforcement: Enforcement,
}

impl Actions {
    /// Has the runs of a stack checked by a run task.
    pub async fn attach_run_task(
        &self,
        permit: &Permit,
        stack: StackId,
        new: NewAttachment,
        once: Option<Once>,
    ) -> Result<Attachment, Error> {
        permit.covers(stack)?;
        let deed = self.on_stack("run_task.attach", stack)?;
        let id = AttachmentId::new(Ulid::generate());
        self.change(permit, deed, move |tx, moment| {
            tx.stack(stack)?.ok_or_else(|| missing("the stack"))?;
            if let Some(known) = once.as_ref().map(|once| once.seen(tx, moment.now)).transpose()?.flatten() {
                let id = known.parse().map_err(|_| missing(&known))?;
                return Ok((find(tx, stack, id)?, Some("repeated".to_owned())));
            }
            let task = task_of(tx, new.run_task)?;
            let all = of_stack(tx, stack)?;
            if all.iter().any(|other| other.run_task == task.id) {
                let why = format!("the run task {} is on this stack already; change it there", task.name);
                return Err(Refused::conflict(why).into());
            }
            if all.len() >= limits::RUN_TASKS_PER_STACK {
                let why = format!("a stack has at most {} run tasks", limits::RUN_TASKS_PER_STACK);
                return Err(Refused::conflict(why).into());
            }
            let row = Attachment {
                id,
                run_task: task.id,
                stack,
                stages: checked(&new.stages)?,
                enforcement: new.enforcement,
                created_at: moment.now,
                created_by: moment.actor.clone(),
            };
            tx.put(t::STACK_ID_TO_ATTACHMENT, (stack.number(), id.number()), &row)?;
            if let Some(once) = &once {
                once.remember(tx, &id.to_string(), moment.now)?;
            }
            ring(tx, moment);
            let detail = said(&task, &row);
            Ok((row, Some(detail)))
        })
        .await
    }

    /// Changes when a run task is called, and what it means that it does not pass.
    pub async fn edit_attachment(
        &self,
        permit: &Permit,
        stack: StackId,
        id: AttachmentId,
        stages: Vec<Stage>,
        enforcement: Enforcement,
    ) -> Result<Attachment, Error> {
        permit.covers(stack)?;
        let deed = self.on_stack("run_task.edit_attachment", stack)?;
        self.change(permit, deed, move |tx, moment| {
            let row = Attachment { stages: checked(&stages)?, enforcement, ..find(tx, stack, id)? };
            tx.put(t::STACK_ID_TO_ATTACHMENT, (stack.number(), id.number()), &row)?;
            ring(tx, moment);
            let detail = said(&task_of(tx, row.run_task)?, &row);
            Ok((row, Some(detail)))
        })
        .await
    }

    /// Later stages of the stack's runs are not checked by it any more.
    pub async fn detach_run_task(&self, permit: &Permit, stack: StackId, id: AttachmentId) -> Result<(), Error> {
        permit.covers(stack)?;
        let deed = self.on_stack("run_task.detach", stack)?;
        self.change(permit, deed, move |tx, moment| {
            let row = find(tx, stack, id)?;
            tx.remove(t::STACK_ID_TO_ATTACHMENT, (stack.number(), id.number()))?;
            ring(tx, moment);
            let name = tx.get(t::RUN_TASK_ID_TO_RUN_TASK, row.run_task.number())?.map(|task| task.name.to_string());
            Ok(((), name))
        })
        .await
    }
}

/// Each stage once, in the order of a run.
fn checked(stages: &[Stage]) -> Result<Vec<Stage>, Refused> {
    let ordered: Vec<Stage> = Stage::ALL.into_iter().filter(|stage| stages.contains(stage)).collect();
    if ordered.is_empty() {
        return Err(Refused::field("stages", "choose at least one"));
    }
    Ok(ordered)
}

fn find(tx: &Tx<'_>, stack: StackId, id: AttachmentId) -> Result<Attachment, Error> {
    let row = tx.get(t::STACK_ID_TO_ATTACHMENT, (stack.number(), id.number()))?;
    row.ok_or_else(|| missing("the attached run task"))
}

fn task_of(tx: &Tx<'_>, id: RunTaskId) -> Result<RunTask, Error> {
    let row = tx.get(t::RUN_TASK_ID_TO_RUN_TASK, id.number())?;
    row.ok_or_else(|| Refused::field("run_task", "there is no such run task").into())
}

/// The run tasks of a stack, in the order in which they were attached.
pub(super) fn of_stack(view: &impl Rows, stack: StackId) -> Result<Vec<Attachment>, Error> {
    let id = stack.number();
    Ok(view.all(t::STACK_ID_TO_ATTACHMENT, (id, 0)..=(id, u128::MAX))?)
}

/// What a deleted stack leaves.
pub(super) fn forget(tx: &Tx<'_>, stack: StackId) -> Result<(), Error> {
    for row in of_stack(tx, stack)? {
        tx.remove(t::STACK_ID_TO_ATTACHMENT, (stack.number(), row.id.number()))?;
    }
    Ok(())
}

/// For the audit log.
fn said(task: &RunTask, row: &Attachment) -> String {
    let stages: Vec<&str> = row.stages.iter().map(|stage| stage.word()).collect();
    format!("{} {} at {}", task.name, row.enforcement, stages.join(", "))
}
