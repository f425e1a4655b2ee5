//! Bounds of declared tasks that the operator sets in place of what the source asks for. They hold
//! from the next run on, whatever the source says by then.

use crate::{
    auth::Permit,
    domain::{Refused, StackId, TaskName, limits, resources::Resources},
    store::{Error, Fault, Rows, record::TaskResources, tables as t},
};

use super::{Actions, missing};

impl Actions {
    /// Sets the bounds of a task, whether the present source declares it or not.
    pub async fn put_resources(
        &self,
        permit: &Permit,
        id: StackId,
        task: TaskName,
        resources: Resources,
    ) -> Result<(), Error> {
        let deed = self.on_stack("task.resources", id)?;
        self.change(permit, deed, move |tx, moment| {
            let wrong = resources.check();
            if !wrong.is_empty() {
                return Err(Refused::fields(wrong).into());
            }
            let known = all(tx, id)?;
            if known.len() >= limits::TASKS_PER_SOURCE && known.iter().all(|row| row.task != task) {
                let most = limits::TASKS_PER_SOURCE;
                return Err(
                    Refused::conflict(format!("{most} tasks of this stack have bounds of their own already")).into()
                );
            }
            let row = TaskResources {
                task: task.clone(),
                resources,
                updated_at: moment.now,
                updated_by: moment.actor.clone(),
            };
            tx.put(t::STACK_TASK_TO_RESOURCES, (id.number(), task.as_str()), &row)?;
            super::ring(tx, moment);
            Ok(((), Some(format!("{task}: {}", resources.told().join(", ")))))
        })
        .await
    }

    /// Goes back to what the source asks for.
    pub async fn delete_resources(&self, permit: &Permit, id: StackId, task: TaskName) -> Result<(), Error> {
        let deed = self.on_stack("task.resources", id)?;
        self.change(permit, deed, move |tx, moment| {
            if !tx.remove(t::STACK_TASK_TO_RESOURCES, (id.number(), task.as_str()))? {
                return Err(missing(format_args!("bounds of the task `{task}`")));
            }
            super::ring(tx, moment);
            Ok(((), Some(format!("{task}: as declared"))))
        })
        .await
    }
}

/// Every one of a stack, by task.
pub(crate) fn all(view: &impl Rows, id: StackId) -> Result<Vec<TaskResources>, Fault> {
    let id = id.number();
    view.all(t::STACK_TASK_TO_RESOURCES, (id, "")..(id + 1, ""))
}
