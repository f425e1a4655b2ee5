//! Before a task is created: through whichever door it comes, and again when it is retried.

use crate::{
    auth::Permit,
    domain::{FieldError, PolicyKind, Refused, RefusedKind},
    store::{Error, record::Stack},
};

use super::{Evaluation, input};
use crate::actions::{Actions, Deed};

impl Actions {
    /// Asks the task policies of a stack. One no, and nothing is created: a refusal with what the
    /// policies say, which is in the audit log, too.
    pub(in crate::actions) async fn ask_task_policies(
        &self,
        permit: &Permit,
        deed: &Deed,
        stack: &Stack,
        task: &input::TaskFacts,
    ) -> Result<Evaluation, Error> {
        let who = permit.who();
        let document = || Ok(input::task(&self.store.read()?, who, stack, task, self.now())?);
        let evaluation = self.evaluate_policies(PolicyKind::Task, stack, None, document).await?;
        let denials = evaluation.denials();
        if denials.is_empty() {
            return Ok(evaluation);
        }
        self.attempted(who, deed, Err(denied(task, &denials))).await
    }
}

/// The messages as the answer; on a page they stand at the command.
fn denied(task: &input::TaskFacts, messages: &[String]) -> Refused {
    let said = messages.join("; ");
    let field = if task.declared_task.is_some() { "task" } else { "command" };
    let error = FieldError { field: field.to_owned(), error: said.clone() };
    Refused { fields: vec![error], ..Refused::new(RefusedKind::Forbidden, format!("the task was not created: {said}")) }
}

/// What a transaction says that finds other policies than were asked.
pub(crate) fn changed_meanwhile() -> Refused {
    Refused::conflict("the policies of this stack were changed at this very moment; try again")
}
