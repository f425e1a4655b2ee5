//! Making runs: tracked, proposed, destroy, tasks, retries, promotions.

use ulid::Ulid;

use crate::{
    auth::{On, Permission, Permit},
    domain::{
        CommitSha, Note, PolicyReceipt, Refused, RunId, StackId, State,
        actor::ActorName,
        run::{CommitFacts, Kind, Signature, SourceVersion},
        runtime::RuntimeConfig,
        stack::{ExecutorKind, Source, command_problem},
    },
    store::{
        Error, Fault, Find, Flow, Order, Rows, Tx,
        record::{Birth, GuestTask, Patched, Run, Stack, Upload},
        tables as t,
    },
};

use super::{
    Actions, Deed, Evaluation, Moment, NewDemand, declared, guest, life, missing,
    once::Once,
    policy::{self, input::TaskFacts},
    runtime,
};

/// A run that somebody asks for.
#[derive(Clone, Debug)]
pub struct NewRun {
    pub kind: Kind,
    /// A commit of the source other than the branch's head.
    pub commit: Option<CommitSha>,
    pub message: Option<Note>,
    /// Its own runtime configuration, as YAML or JSON.
    pub runtime_config: Option<String>,
}

/// A task that somebody asks for.
#[derive(Clone, Debug)]
pub struct NewTask {
    pub command: String,
    pub skip_initialization: bool,
}

/// What a new run is made of.
#[derive(Clone, Debug)]
pub(super) struct Blank {
    id: RunId,
    kind: Kind,
    commit: Option<CommitSha>,
    message: Option<Note>,
    command: Option<String>,
    skip_initialization: bool,
    retry_of: Option<RunId>,
    triggered_by: Option<ActorName>,
    /// What exactly a retry works on again.
    source: Option<SourceVersion>,
    demand: Option<NewDemand>,
    guest: Option<GuestTask>,
    patched: Option<Patched>,
    followed: u32,
    policies: Vec<PolicyReceipt>,
    runtime: Option<RuntimeConfig>,
}

impl Blank {
    fn new(id: RunId, kind: Kind) -> Self {
        Self {
            id,
            kind,
            commit: None,
            message: None,
            command: None,
            skip_initialization: false,
            retry_of: None,
            triggered_by: None,
            source: None,
            demand: None,
            guest: None,
            patched: None,
            followed: 0,
            policies: Vec::new(),
            runtime: None,
        }
    }

    /// A task that runs a guest.
    pub(super) fn of_guest(task: GuestTask) -> Self {
        Self { guest: Some(task), skip_initialization: true, ..Self::new(new_run_id(), Kind::OnDemand) }
    }

    /// A proposed run of another run's source, with a patch.
    pub(super) fn of_patch(base: &Run, patched: Patched, message: Option<Note>) -> Self {
        Self {
            message,
            source: Some(base.source.clone()),
            patched: Some(patched),
            ..Self::new(new_run_id(), Kind::Proposed)
        }
    }

    /// A tracked run that a policy wants after another run has ended.
    pub(super) fn following(ended: &Run, by: ActorName) -> Self {
        let message = Note::new(format!("after {} run #{}", ended.slug, ended.number)).ok();
        let followed = ended.followed + 1;
        Self { message, triggered_by: Some(by), followed, ..Self::new(new_run_id(), Kind::Tracked) }
    }

    /// What task policies are asked about; none for what is no task.
    fn task(&self) -> Option<TaskFacts> {
        if !matches!(self.kind, Kind::Task | Kind::OnDemand) {
            return None;
        }
        let guest = self.guest.as_ref().map(|guest| guest.call.line());
        Some(TaskFacts {
            command: self.command.clone().or(guest).unwrap_or_default(),
            skip_initialization: self.skip_initialization,
            guest: self.guest.as_ref().map(|guest| guest.call.guest.to_string()),
            declared_task: self.demand.as_ref().map(|demand| demand.task.to_string()),
        })
    }

    /// A run of a declared task.
    pub(super) fn of_demand(demand: NewDemand) -> Self {
        Self { demand: Some(demand), ..Self::new(new_run_id(), Kind::OnDemand) }
    }

    /// The same for somebody outside.
    pub(super) fn of_call(demand: NewDemand, by: ActorName) -> Self {
        Self { triggered_by: Some(by), ..Self::of_demand(demand) }
    }
}

impl Actions {
    /// A tracked, proposed or destroy run.
    pub async fn trigger(
        &self,
        permit: &Permit,
        stack: StackId,
        new: NewRun,
        once: Option<Once>,
    ) -> Result<Run, Error> {
        self.make_run(permit, "run.trigger", stack, triggered(new), once).await
    }

    /// A task: one command on the stack.
    pub async fn perform(
        &self,
        permit: &Permit,
        stack: StackId,
        new: NewTask,
        once: Option<Once>,
    ) -> Result<Run, Error> {
        self.make_run(permit, "task.perform", stack, performed(new), once).await
    }

    /// The same again: a new run that links back.
    pub async fn retry(&self, permit: &Permit, run: RunId, once: Option<Once>) -> Result<Run, Error> {
        let stack = permit.stack()?;
        self.make_run(permit, "run.retry", stack, self.retried(stack, run), once).await
    }

    fn retried(&self, stack: StackId, run: RunId) -> Result<Blank, Error> {
        let old = self.ended_run(stack, run, "retried")?;
        let demand = declared::again(self, &old)?;
        Ok(Blank {
            message: old.message.clone(),
            command: old.command.clone(),
            skip_initialization: old.skip_initialization,
            retry_of: Some(old.id),
            source: Some(old.source.clone()),
            demand,
            guest: guest::task_of(&self.store.read()?, &old)?,
            patched: old.patched.clone(),
            runtime: runtime::of_run(&self.store.read()?, &old)?,
            ..Blank::new(new_run_id(), old.kind)
        })
    }

    /// A tracked run of what a proposed run showed.
    pub async fn promote(&self, permit: &Permit, run: RunId, once: Option<Once>) -> Result<Run, Error> {
        let stack = permit.stack()?;
        self.make_run(permit, "run.promote", stack, self.promoted(stack, run), once).await
    }

    fn promoted(&self, stack: StackId, run: RunId) -> Result<Blank, Error> {
        let old = self.ended_run(stack, run, "promoted")?;
        if old.kind != Kind::Proposed || old.state != State::Finished {
            let why = format!("only a finished proposed run can be promoted; this {} run is {}", old.kind, old.state);
            return Err(Refused::conflict(why).in_state(old.state.word()).into());
        }
        let stack = self.store.read()?.stack(old.stack)?.ok_or_else(|| missing("the stack"))?;
        if !stack.settings.allow_promotion {
            let why = "the stack does not allow promotion; switch `allow_promotion` on";
            return Err(Refused::conflict(why).in_state(old.state.word()).into());
        }
        Ok(Blank {
            message: old.message.clone(),
            retry_of: Some(old.id),
            source: Some(old.source.clone()),
            patched: old.patched.clone(),
            runtime: runtime::of_run(&self.store.read()?, &old)?,
            ..Blank::new(new_run_id(), Kind::Tracked)
        })
    }

    /// A run of the stack that is over.
    pub(super) fn ended_run(&self, stack: StackId, run: RunId, verb: &str) -> Result<Run, Error> {
        let old = self.store.read()?.run(run)?.filter(|old| old.stack == stack).ok_or_else(|| missing(run))?;
        if !old.state.is_terminal() {
            let why = format!("a run that is {} cannot be {verb} yet", old.state);
            return Err(Refused::conflict(why).in_state(old.state.word()).into());
        }
        Ok(old)
    }

    /// Makes a run of what was asked for, or writes down why that is nothing to make a run of.
    pub(super) async fn make_run(
        &self,
        permit: &Permit,
        verb: &'static str,
        stack: StackId,
        blank: Result<Blank, Error>,
        once: Option<Once>,
    ) -> Result<Run, Error> {
        permit.covers(stack)?;
        let seen = self.store.read()?.stack(stack)?.ok_or_else(|| missing("the stack"))?;
        let allow_unconfined = self.setup.allow_unconfined;
        let deed = Deed::new(verb, format_args!("stack:{}", seen.slug));
        let blank = self.attempted(permit.who(), &deed, blank).await?;
        let asked = self.ask_before(permit, &deed, &seen, &blank, once.as_ref()).await?;
        self.change(permit, deed, move |tx, moment| {
            if let Some(once) = &once
                && let Some(created) = once.seen(tx, moment.now)?
            {
                let run = created.parse().ok().map(|id| tx.run(id)).transpose()?.flatten();
                return Ok((run.ok_or_else(|| missing(created))?, Some("repeated".to_owned())));
            }
            let present = tx.stack(stack)?.ok_or_else(|| missing("the stack"))?;
            if let Some(asked) = &asked
                && !asked.still_holds(tx, &present)?
            {
                return Err(policy::changed_meanwhile().into());
            }
            let policies = asked.as_ref().map(Evaluation::receipts).unwrap_or_default();
            let blank = Blank { policies, ..blank.clone() };
            let run = make(tx, moment, stack, &blank, allow_unconfined)?;
            if let Some(once) = &once {
                once.remember(tx, &run.id.to_string(), moment.now)?;
            }
            let detail = format!("{} {} run #{}", run.id, run.kind, run.number);
            Ok((run, Some(detail)))
        })
        .await
    }

    /// Asks the policies that decide whether a run is made at all. What was made before under the same
    /// idempotency key is not asked about again.
    async fn ask_before(
        &self,
        permit: &Permit,
        deed: &Deed,
        stack: &Stack,
        blank: &Blank,
        once: Option<&Once>,
    ) -> Result<Option<Evaluation>, Error> {
        let view = self.store.read()?;
        let seen = once.map(|once| once.seen(&view, self.now())).transpose();
        drop(view);
        let repeated = self.attempted(permit.who(), deed, seen).await?.flatten().is_some();
        match blank.task() {
            Some(task) if !repeated => self.ask_task_policies(permit, deed, stack, &task).await.map(Some),
            Some(_) | None => Ok(None),
        }
    }

    /// The permit of the system to trigger runs on a stack.
    pub fn system_permit(&self, stack: StackId) -> Permit {
        Permit::of_system(Permission::Trigger, On::Stack(stack))
    }
}

fn triggered(new: NewRun) -> Result<Blank, Error> {
    if !matches!(new.kind, Kind::Tracked | Kind::Proposed | Kind::Destroy) {
        return Err(Refused::field("kind", "must be tracked, proposed or destroy").into());
    }
    let runtime = new.runtime_config.as_deref().map(runtime::read).transpose()?.flatten();
    Ok(Blank { commit: new.commit, message: new.message, runtime, ..Blank::new(new_run_id(), new.kind) })
}

fn performed(new: NewTask) -> Result<Blank, Error> {
    if new.command.trim().is_empty() {
        return Err(Refused::field("command", "must not be empty").into());
    }
    if let Some(problem) = command_problem(&new.command) {
        return Err(Refused::field("command", problem).into());
    }
    Ok(Blank {
        command: Some(new.command),
        skip_initialization: new.skip_initialization,
        ..Blank::new(new_run_id(), Kind::Task)
    })
}

/// Makes a run on a stack, and puts it into the queue.
pub(super) fn make(
    tx: &Tx<'_>,
    moment: &Moment,
    stack: StackId,
    blank: &Blank,
    allow_unconfined: bool,
) -> Result<Run, Error> {
    let mut stack = tx.stack(stack)?.ok_or_else(|| missing("the stack"))?;
    check_stack(&stack, allow_unconfined)?;
    let source = source_of(&stack, blank)?;
    let mut run = fresh(tx, moment, &mut stack, blank, source)?;
    if let Some(demand) = &blank.demand {
        declared::remember(tx, moment, &stack, &mut run, demand)?;
    }
    if let Some(config) = &blank.runtime {
        runtime::remember(tx, moment, &stack, &run, config)?;
    }
    guest::pin(tx, &stack, &mut run, blank.guest.as_ref())?;
    life::enter(tx, moment, run, life::Why::note(blank.message.as_ref().map(ToString::to_string)))
}

fn new_run_id() -> RunId {
    RunId::new(Ulid::generate())
}

fn check_stack(stack: &Stack, allow_unconfined: bool) -> Result<(), Refused> {
    if !stack.settings.enabled {
        return Err(Refused::conflict("the stack is disabled; enable it in its settings first"));
    }
    if stack.settings.executor.kind == ExecutorKind::Unconfined && !allow_unconfined {
        return Err(Refused::conflict(
            "the stack asks for an unconfined executor, which the operator does not allow (`allow_unconfined`)",
        ));
    }
    Ok(())
}

/// The version of the source that a new run is pinned to.
fn source_of(stack: &Stack, blank: &Blank) -> Result<SourceVersion, Refused> {
    if let Some(source) = &blank.source {
        return Ok(source.clone());
    }
    match (&stack.settings.source, &stack.upload) {
        (None, _) => Err(Refused::conflict("the stack has no source yet; set one in its settings")),
        (Some(Source::Git { branch, .. }), _) => {
            Ok(SourceVersion::Git { branch: branch.clone(), commit: blank.commit.clone() })
        }
        (Some(Source::Upload { .. }), None) => {
            Err(Refused::conflict("nothing was uploaded to this stack yet; upload a tar.gz first"))
        }
        (Some(Source::Upload { .. }), Some(_)) if blank.commit.is_some() => {
            Err(Refused::field("commit", "an upload has no commits"))
        }
        (Some(Source::Upload { .. }), Some(digest)) => Ok(SourceVersion::Upload { digest: digest.clone() }),
    }
}

fn fresh(tx: &Tx<'_>, moment: &Moment, stack: &mut Stack, blank: &Blank, source: SourceVersion) -> Result<Run, Error> {
    stack.runs += 1;
    if matches!(blank.kind, Kind::Tracked | Kind::Destroy) {
        stack.latest_tracked = Some(blank.id);
    }
    tx.put(t::STACK_ID_TO_STACK, stack.id.number(), stack)?;
    let commit_facts = uploaded(tx, stack, &source)?;
    let birth = Birth {
        id: blank.id,
        seq: tx.next("run")?,
        kind: blank.kind,
        by: blank.triggered_by.clone().unwrap_or_else(|| moment.actor.clone()),
        by_id: moment.actor_id.clone().filter(|_| blank.triggered_by.is_none()),
        source,
        at: moment.now,
    };
    let run = Run {
        message: blank.message.clone(),
        command: blank.command.clone(),
        skip_initialization: blank.skip_initialization,
        retry_of: blank.retry_of,
        patched: blank.patched.clone(),
        policies: blank.policies.clone(),
        followed: blank.followed,
        key_of: moment.key_of.clone().filter(|_| blank.triggered_by.is_none()),
        commit_facts,
        ..Run::new(stack, birth)
    };
    Ok(run)
}

/// Who uploaded a source: its author, as far as anybody knows.
fn uploaded(view: &impl Rows, stack: &Stack, source: &SourceVersion) -> Result<Option<Box<CommitFacts>>, Fault> {
    let SourceVersion::Upload { digest } = source else { return Ok(None) };
    let mut found = None;
    let id = stack.id.number();
    view.walk(t::STACK_SEQ_TO_UPLOAD, (id, 0)..=(id, u64::MAX), Order::Down, |_, upload: Upload| {
        if upload.digest == *digest {
            let by = Signature::new(&upload.key_of.unwrap_or(upload.by).name, "");
            let message = String::new();
            found = Some(Box::new(CommitFacts { author: by.clone(), committer: by, at: upload.at, message }));
        }
        Ok(if found.is_some() { Flow::Break(()) } else { Flow::Continue(()) })
    })?;
    Ok(found)
}
