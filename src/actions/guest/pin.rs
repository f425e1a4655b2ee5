//! Tasks that run guests, and which guests a run goes on with whatever is imported meanwhile.

use crate::{
    auth::Permit,
    domain::{
        Note, Refused, RunId, StackId,
        guest::{GuestCall, WorkspaceGrant},
        limits,
        stack::{ExecutorKind, command_problem},
    },
    store::{
        Error, Find, Rows, Tx,
        record::{GuestTask, Left, Patched, PinnedGuest, Run, RunGuests, Stack},
        tables as t,
    },
};

use super::code;
use crate::actions::{Actions, missing, once::Once, trigger::Blank};

/// A task that runs a guest.
#[derive(Clone, Debug)]
pub struct NewGuestTask {
    pub call: GuestCall,
    /// A script for an interpreter: its first argument.
    pub script: Option<String>,
}

impl Actions {
    /// A task: one guest on a copy of the stack's source.
    pub async fn perform_guest(
        &self,
        permit: &Permit,
        stack: StackId,
        new: NewGuestTask,
        once: Option<Once>,
    ) -> Result<Run, Error> {
        let fits = check(&new).map_err(Error::from);
        let blank = fits.map(|()| Blank::of_guest(GuestTask { call: new.call, script: new.script }));
        self.make_run(permit, "task.perform", stack, blank, once).await
    }

    /// A proposed run of a run's source with the changes that its guest made.
    pub async fn propose(
        &self,
        permit: &Permit,
        run: RunId,
        message: Option<Note>,
        once: Option<Once>,
    ) -> Result<Run, Error> {
        let stack = permit.stack()?;
        self.make_run(permit, "run.propose", stack, self.proposed(stack, run, message), once).await
    }

    fn proposed(&self, stack: StackId, run: RunId, message: Option<Note>) -> Result<Blank, Error> {
        let old = self.ended_run(stack, run, "proposed")?;
        let left = newest_patch(&self.store.read()?, &old)?;
        let text = std::fs::read(self.patch_path(old.id, left.number))
            .map_err(|error| crate::store::Fault::Io(format!("the patch of {}: {error}", old.id)))?;
        let patched =
            Patched { run: old.id, run_number: old.number, phase: left.number, digest: crate::crypt::digest(&text) };
        let message = match message {
            Some(message) => Some(message),
            None => Note::optional(Some(&format!("The changes of run #{}", old.number))).ok().flatten(),
        };
        Ok(Blank::of_patch(&old, patched, message))
    }
}

fn check(new: &NewGuestTask) -> Result<(), Refused> {
    let errors = new.call.check("");
    if !errors.is_empty() {
        return Err(Refused::fields(errors));
    }
    let Some(script) = &new.script else { return Ok(()) };
    if let Some(problem) = command_problem(script) {
        return Err(Refused::field("script", problem));
    }
    if new.call.may.workspace == Some(WorkspaceGrant::None) {
        return Err(Refused::field("script", "lies in the workspace, which `workspace: none` keeps away"));
    }
    Ok(())
}

/// What can be proposed of a run, or why nothing can.
fn newest_patch(view: &impl Rows, run: &Run) -> Result<Left, Error> {
    let no = |why: &str| Error::from(Refused::conflict(why));
    let left = view.all(t::RUN_N_TO_LEFT, (run.seq, 0)..=(run.seq, u32::MAX))?;
    let Some(left) = left.into_iter().rev().find(|left| left.patch.is_some()) else {
        return Err(no("the run left no patch; only a guest that may write to the workspace leaves one"));
    };
    let patch = left.patch.unwrap_or_default();
    if left.expired {
        return Err(no("the patch was removed because its time was up; run the guest again"));
    }
    if let Some(objection) = patch.objection() {
        return Err(no(&objection));
    }
    if run.source.commit().is_none() && matches!(run.source, crate::domain::run::SourceVersion::Git { .. }) {
        return Err(no("it is not known which commit the run worked on"));
    }
    Ok(left)
}

/// Writes down which guests a new run uses.
pub(crate) fn pin(tx: &Tx<'_>, stack: &Stack, run: &mut Run, task: Option<&GuestTask>) -> Result<(), Error> {
    let mut pinned: Vec<PinnedGuest> = Vec::new();
    if let Some(task) = task {
        if stack.settings.executor.kind == ExecutorKind::Unconfined {
            return Err(
                Refused::conflict("guests run only in a jail, and this stack's executor is `unconfined`").into()
            );
        }
        check_secrets(tx, stack, &task.call)?;
        pinned.push(code::wanted(tx, &task.call.guest, "guest")?);
        run.guest = Some(task.call.line().chars().take(limits::NOTE_CHARS).collect());
    } else {
        for (field, call) in stack.settings.vendor.guests() {
            if !run.kind.plans() || pinned.iter().any(|pinned| pinned.name == call.guest) {
                continue;
            }
            pinned.push(code::wanted(tx, &call.guest, &format!("vendor.{field}.guest"))?);
        }
    }
    if !pinned.is_empty() {
        tx.put(t::RUN_TO_GUESTS, run.seq, &RunGuests { pinned, task: task.cloned() })?;
    }
    Ok(())
}

/// Variables that a guest is to get, or that are bound to its requests, must be there.
fn check_secrets(tx: &Tx<'_>, stack: &Stack, call: &GuestCall) -> Result<(), Error> {
    let bound = call.may.headers.values().flat_map(|headers| headers.values().map(|bound| &bound.secret));
    for name in call.may.env.iter().chain(bound) {
        if tx.get(t::STACK_NAME_TO_VARIABLE, (stack.id.number(), name.as_str()))?.is_none() {
            let why = format!("the stack has no variable `{name}`");
            return Err(Refused::field("caps", why).into());
        }
    }
    Ok(())
}

/// What a run performed, to do the same again.
pub(crate) fn task_of(view: &impl Find, run: &Run) -> Result<Option<GuestTask>, Error> {
    let guests = view.get(t::RUN_TO_GUESTS, run.seq)?;
    match (&run.guest, guests.and_then(|guests| guests.task)) {
        (Some(_), None) => Err(missing("what the guest was asked")),
        (_, task) => Ok(task),
    }
}
