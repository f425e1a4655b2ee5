//! A chain: its phases in order, and what becomes of the workspace.
//!
//! Owns the flow, nothing else: a phase's work is in [`prepare`], [`shell`], [`seal`]; when the chain
//! ends the run is the machine's rule, [`ends_as`]. What goes wrong inside of a phase is its verdict;
//! what goes wrong outside breaks the chain off. As long as records can be written there is a last
//! one, and it tells the truth about the workspace.

mod build;
mod compile;
mod desk;
mod guest;
mod kept;
mod output;
mod plan;
mod prepare;
mod receipt;
mod runtime;
mod seal;
mod settings;
mod shell;

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    crypt::Key,
    domain::{Clock, CommitSha, Digest, EnvName, Kind, Phase, State, Verdict, stack::ExecutorKind},
    mask::MaskSet,
    protocol::{AtEnd, ChainSpec, JailSpec, Planned, Record, Step, VERSION, WorkspaceLeft, ends_as, file},
    vendor::Places,
};

use self::desk::Desk;
use super::{
    asked::Asked, bells::Bells, dir::ChainDir, fault::Fault, journal::Journal, native::Jailer, state::States,
    talk::Talk, tree::Tree,
};

/// What a chain works with.
#[derive(Debug)]
pub struct Tools {
    pub dir: Arc<ChainDir>,
    pub jailer: Jailer,
    pub journal: Journal,
    pub bells: Bells,
    pub asked: Arc<Asked>,
    pub talk: Talk,
    pub states: Option<Arc<States>>,
    pub masks: Arc<MaskSet>,
    pub key: Key,
    pub clock: Arc<dyn Clock>,
}

/// A chain under way.
pub struct Chain {
    jail: JailSpec,
    spec: ChainSpec,
    tools: Tools,
    places: Places,
    /// Number of the next phase.
    next: u32,
    /// The phase that has begun and not ended.
    open: Option<(u32, Phase)>,
    tree: Option<Tree>,
    commit: Option<CommitSha>,
    planned: Option<Planned>,
    /// What the workspace's plan is known by.
    plan_digest: Option<Digest>,
    carried: BTreeMap<EnvName, String>,
    /// Requests to stop that are settled.
    stops_before: u32,
    stopped: bool,
    /// Whether the run got as far as initializing.
    initialized: bool,
    sealed: Option<WorkspaceLeft>,
    /// What is laid over the spec, once the source says it.
    settled: Option<runtime::Settled>,
}

impl Chain {
    pub fn new(jail: JailSpec, spec: ChainSpec, tools: Tools) -> Self {
        let places = match jail.kind {
            ExecutorKind::Jail => Places::inside(),
            ExecutorKind::Unconfined => prepare::places_on_the_host(&tools.dir),
        };
        Self {
            places,
            next: spec.first_phase,
            open: None,
            tree: None,
            commit: spec.run.commit.clone(),
            planned: None,
            plan_digest: None,
            carried: BTreeMap::new(),
            stops_before: 0,
            stopped: false,
            initialized: !matches!(spec.steps.first(), Some(Step::Prepare(_))),
            sealed: None,
            settled: None,
            jail,
            spec,
            tools,
        }
    }

    /// Carries everything out, up to the last record.
    pub fn run(&mut self) -> Result<(), Fault> {
        self.tools.journal.add(Record::Started { version: VERSION, at: self.tools.clock.now() });
        self.find_kept_workspace()?;
        self.take_runtime()?;
        let end = self.steps()?;
        let workspace = self.settle(end)?;
        self.finish(workspace, None)
    }

    /// After a fault or a panic outside of every rule: says so, leaves nothing in clear.
    pub fn break_off(&mut self, reason: &str) -> Result<(), Fault> {
        let reason = self.tools.masks.mask_text(reason);
        if let Some((number, phase)) = self.open.take() {
            let verdict = Verdict::Refused { reason: reason.clone() };
            let at = self.tools.clock.now();
            self.tools.journal.add(Record::PhaseEnded { number, phase, at, verdict, produced: Box::default() });
        }
        // How phases ended does not wait for the workspace to be gone. The last record tries once more.
        if let Err(fault) = self.tools.journal.commit() {
            super::start::complain(&fault);
        }
        let workspace = match self.remove_workspace() {
            Ok(left) => left,
            Err(fault) => {
                super::start::complain(&fault);
                WorkspaceLeft::Kept
            }
        };
        self.finish(workspace, Some(reason))
    }

    fn finish(&mut self, workspace: WorkspaceLeft, fault: Option<String>) -> Result<(), Fault> {
        let (at, stopped) = (self.tools.clock.now(), self.stopped);
        self.tools.journal.add(Record::Ended { at, workspace, stopped, fault });
        self.tools.journal.commit()
    }

    /// Gives the tools back, so that their threads can be ended.
    pub fn into_tools(self) -> Tools {
        self.tools
    }

    /// A chain that neither prepares nor opens goes on with what an earlier one kept.
    fn find_kept_workspace(&mut self) -> Result<(), Fault> {
        if self.spec.steps.is_empty() && !self.tools.dir.file_path(file::TREE).exists() {
            return Ok(());
        }
        if self.spec.steps.is_empty()
            || matches!(self.spec.steps.first(), Some(Step::Shell(_) | Step::Build(_) | Step::Guest(_) | Step::Seal(_)))
        {
            self.use_tree(Tree::find(&self.tools.dir, self.jail.user)?)?;
            self.read_carried()?;
        }
        Ok(())
    }

    /// The steps, as long as they succeed, nobody wants the end, and the run has not come to its own.
    fn steps(&mut self) -> Result<Option<(Phase, Verdict)>, Fault> {
        let mut last = None;
        for step in std::mem::take(&mut self.spec.steps) {
            if self.asked_to_end() {
                self.stopped = true;
                break;
            }
            let phase = step.phase();
            let verdict = self.phase(phase, |chain, desk| chain.carry_out(&step, desk))?;
            self.stopped = verdict == Verdict::Stopped;
            last = Some((phase, verdict));
            if self.final_state(last.as_ref()).is_some() {
                break;
            }
        }
        // Asked too late for a phase, but in time for not letting the run wait for anybody.
        if self.final_state(last.as_ref()).is_none() && self.sealed.is_none() && self.asked_to_end() {
            self.stopped = true;
        }
        Ok(last)
    }

    fn carry_out(&mut self, step: &Step, desk: &mut Desk) -> Result<Verdict, Fault> {
        match step {
            Step::Prepare(prepare) => self.prepare(prepare, desk),
            Step::Open(open) => self.unseal(open, desk),
            Step::Shell(shell) => {
                self.initialized = true;
                self.shell(&self.settled(shell), None, desk)
            }
            Step::Build(build) => self.build(build, desk),
            Step::Guest(guest) => {
                self.initialized = true;
                self.guest(&self.settled_guest(guest), desk)
            }
            Step::Compile(wanted) => self.compile_only(wanted, desk),
            Step::LookUp(wanted) => self.look_up(wanted, desk),
            Step::Seal(kept) => {
                self.verify_plan(kept.plan_digest.as_ref())?;
                self.sealed = Some(self.seal()?);
                Ok(Verdict::SUCCESS)
            }
        }
    }

    fn asked_to_end(&self) -> bool {
        self.tools.asked.kill() || self.tools.asked.stops() > self.stops_before
    }

    /// What the run ends as here and now; none while it goes on, or while others have a say.
    fn final_state(&self, last: Option<&(Phase, Verdict)>) -> Option<State> {
        let own = || self.own_end(last).filter(|end| !self.spec.decided_later || *end != State::Finished);
        self.spec.ends_as.or_else(own)
    }

    /// What it would end as if nobody else were asked.
    fn own_end(&self, last: Option<&(Phase, Verdict)>) -> Option<State> {
        let kind = self.spec.run.kind;
        match last {
            Some((phase, verdict)) => ends_as(kind, *phase, verdict, self.planned.as_ref(), self.stopped),
            None if self.stopped => ends_as(kind, Phase::Preparing, &Verdict::Stopped, None, true),
            None => None,
        }
    }

    /// What becomes of the workspace.
    fn settle(&mut self, last: Option<(Phase, Verdict)>) -> Result<WorkspaceLeft, Fault> {
        if let Some(state) = self.final_state(last.as_ref()) {
            return self.end_run(state);
        }
        if let Some(sealed) = self.sealed {
            return Ok(sealed);
        }
        // A plan that is all there is to the run: only the hooks of its end may want the workspace.
        let at_end = if self.own_end(last.as_ref()).is_some() { AtEnd::Remove } else { self.spec.at_end };
        match at_end {
            AtEnd::Keep => Ok(WorkspaceLeft::Kept),
            AtEnd::Remove if self.spec.decided_later && self.has_after_run() => self.seal_for_hooks(),
            AtEnd::Remove => self.remove_while_waiting(),
            AtEnd::Seal => match self.seal() {
                Ok(sealed) => Ok(sealed),
                Err(fault) => {
                    self.phase(Phase::Sealing, |_, _| Err(fault))?;
                    self.end_run(State::Failed)
                }
            },
        }
    }

    fn end_run(&mut self, state: State) -> Result<WorkspaceLeft, Fault> {
        self.ending(state)?;
        self.remove_while_waiting()
    }

    fn remove_while_waiting(&mut self) -> Result<WorkspaceLeft, Fault> {
        let (tree, dir) = (self.tree.take(), Arc::clone(&self.tools.dir));
        self.tools.journal.while_waiting(|| seal::remove(tree, &dir))?
    }

    fn has_after_run(&self) -> bool {
        self.spec.ending.as_ref().is_some_and(|shell| !self.settled(shell).before.is_empty())
    }

    /// Hooks run without a workspace rather than a plan comes to nothing for their sake.
    fn seal_for_hooks(&mut self) -> Result<WorkspaceLeft, Fault> {
        self.seal().or_else(|fault| {
            super::start::complain(&fault);
            self.remove_while_waiting()
        })
    }

    /// The `after_run` hooks. Their verdict changes nothing.
    fn ending(&mut self, state: State) -> Result<(), Fault> {
        let lost = self.tools.asked.kill();
        let canceled = state == State::Canceled || (self.stopped && self.spec.run.kind == Kind::OnDemand);
        let Some(shell) = self.spec.ending.take().filter(|_| self.initialized && !lost && !canceled) else {
            return Ok(());
        };
        let shell = self.settled(&shell);
        if shell.before.is_empty() {
            return Ok(());
        }
        self.stops_before = self.tools.asked.stops();
        self.phase(Phase::Ending, |chain, desk| {
            if chain.tree.is_none() {
                desk.log.note("nothing could be opened or is left of the workspace: the hooks run in an empty one");
                chain.make_empty_workspace()?;
            }
            chain.shell(&shell, Some(state), desk)
        })?;
        Ok(())
    }
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chain").field("run", &self.spec.run.id).field("next", &self.next).finish_non_exhaustive()
    }
}
