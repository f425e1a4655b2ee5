//! What must be done outside the store for runs, at least once: kept as rows until it was done.

use std::path::PathBuf;

use crate::{
    domain::{RunId, StackId, limits},
    store::{
        Error, Fault, Find, Flow, Order, Rows,
        record::{Chain, ChainAsk, Chore, Run},
        tables as t,
    },
    workspace::{self, SealPaths},
};

use super::{Actions, claim::chain_dir, life};

/// Everything to be done for one run.
#[derive(Clone, Debug)]
pub struct Chores {
    pub run: RunId,
    pub what: Chore,
    /// `sealed/<run>.sealed` and `sealed/<run>.key`.
    pub sealed: PathBuf,
    pub erase: PathBuf,
    /// `runs/<run>`: live directories.
    pub live: PathBuf,
    /// `logs/<run>`: finished logs.
    pub logs: PathBuf,
    /// The directories of the run's chains, by number, with the phases logged there.
    pub chains: Vec<(u32, PathBuf)>,
    /// Phases with a log: chain, number, phase.
    pub phases: Vec<(u32, u32, crate::domain::Phase)>,
    pub ended: bool,
}

/// A chain that should have a runner.
#[derive(Clone, Debug)]
pub struct LiveChain {
    pub run: RunId,
    pub number: u32,
    pub dir: PathBuf,
    /// Bytes of records already taken over.
    pub records: u64,
    pub ask: Option<ChainAsk>,
}

impl Actions {
    /// Every chain that should have a runner. One that changes the stack gets its own when the declared
    /// tasks that it ended are gone, one that ends a run that rested when a slot is free.
    pub fn live_chains(&self) -> Result<Vec<LiveChain>, Error> {
        let mut found = Vec::new();
        let view = self.store.read()?;
        view.walk(t::RUN_TO_CHAIN, 0..=u64::MAX, Order::Up, |seq, chain: Chain| {
            if let Some(run) = view.get(t::SEQ_TO_RUN, seq)?
                && (run.waits_to_end || life::waits_for_tasks(&view, &run, &chain)?)
            {
                return Ok(Flow::Continue(()));
            }
            found.push(LiveChain {
                run: chain.run,
                number: chain.number,
                dir: chain_dir(&self.setup.data, chain.run, chain.number),
                records: chain.records,
                ask: chain.ask,
            });
            Ok(Flow::Continue(()))
        })?;
        Ok(found)
    }

    /// Where the directories of living runs are.
    pub fn live_runs(&self) -> PathBuf {
        self.setup.data.join("runs")
    }

    pub fn is_run(&self, id: RunId) -> Result<bool, Error> {
        Ok(self.store.read()?.run(id)?.is_some())
    }

    /// Whether the run still has this chain.
    pub fn is_present_chain(&self, run: RunId, number: u32) -> Result<bool, Error> {
        let view = self.store.read()?;
        let Some(run) = view.run(run)? else { return Ok(false) };
        Ok(view.chain(&run)?.is_some_and(|chain| chain.number == number))
    }

    /// Everything that waits to be done.
    pub fn chores(&self) -> Result<Vec<Chores>, Error> {
        let view = self.store.read()?;
        let mut rows = Vec::new();
        view.walk(t::RUN_TO_CHORE, 0..=u64::MAX, Order::Up, |seq, chore| {
            rows.push((seq, chore));
            Ok(if rows.len() < limits::LIST_MAX { Flow::Continue(()) } else { Flow::Break(()) })
        })?;
        let mut chores = Vec::new();
        for (seq, what) in rows {
            if let Some(run) = view.get(t::SEQ_TO_RUN, seq)? {
                chores.push(self.chores_of(&run, what));
            }
        }
        Ok(chores)
    }

    fn chores_of(&self, run: &Run, what: Chore) -> Chores {
        let mut numbers: Vec<u32> = run.phases.iter().map(|phase| phase.chain).collect();
        numbers.dedup();
        Chores {
            run: run.id,
            what,
            sealed: self.sealed_path(run.id),
            erase: self.erase_path(run.id),
            live: self.setup.data.join("runs").join(run.id.to_string()),
            logs: self.setup.data.join("logs").join(run.id.to_string()),
            chains: numbers.into_iter().map(|n| (n, chain_dir(&self.setup.data, run.id, n))).collect(),
            phases: run.phases.iter().map(|phase| (phase.chain, phase.number, phase.phase)).collect(),
            ended: run.state.is_terminal(),
        }
    }

    /// Destroys the seal of a run that somebody has just ended, before they hear of it. What fails stays
    /// a chore.
    pub(super) async fn destroy_seal_now(&self, run: &Run) {
        let seal = SealPaths { sealed: self.sealed_path(run.id), erase: self.erase_path(run.id) };
        let erased = tokio::task::spawn_blocking(move || workspace::erase(&seal)).await;
        let crossed_off = match erased {
            Ok(Ok(())) => self.chores_done(run.id, Chore { destroy_seal: true, ..Chore::default() }).await,
            Ok(Err(error)) => Err(Fault::Io(error.to_string()).into()),
            Err(panic) => Err(Fault::Panicked(panic.to_string()).into()),
        };
        if let Err(error) = crossed_off {
            tracing::error!(run = %run.id, %error, "cannot destroy a seal yet");
        }
    }

    /// These were done. What was added meanwhile stays.
    pub async fn chores_done(&self, run: RunId, done: Chore) -> Result<(), Error> {
        self.system(move |tx, moment| {
            let Some(run) = tx.run(run)? else { return Ok(()) };
            let Some(now) = tx.get(t::RUN_TO_CHORE, run.seq)? else { return Ok(()) };
            let left = Chore {
                destroy_seal: now.destroy_seal && !done.destroy_seal,
                remove_workspace: now.remove_workspace && !done.remove_workspace,
                file_away: now.file_away && !done.file_away,
            };
            if left == Chore::default() {
                tx.remove(t::RUN_TO_CHORE, run.seq)?;
            } else {
                tx.put(t::RUN_TO_CHORE, run.seq, &left)?;
            }
            // Its logs lie elsewhere now.
            super::ring(tx, moment);
            Ok(())
        })
        .await
    }
}

impl Actions {
    /// Looks at every waiting run again: after a start, and when room on the disk came back.
    pub async fn look_again(&self) -> Result<(), Error> {
        let waiting = self.store.read()?.all_active_runs()?;
        let mut stacks: Vec<_> = waiting
            .iter()
            .filter(|run| run.state.look() == crate::domain::Look::Waiting)
            .map(|run| run.stack)
            .collect();
        stacks.sort_unstable();
        stacks.dedup();
        if stacks.is_empty() {
            return Ok(());
        }
        self.system(move |tx, moment| {
            for stack in &stacks {
                life::settle(tx, moment, *stack)?;
            }
            life::schedule(tx, moment)
        })
        .await
    }

    /// Removes what a crash left beside sealed workspaces.
    pub fn sweep_sealed(&self) -> Result<(), Error> {
        let view = self.store.read()?;
        let live = |run: RunId| matches!(view.run(run), Ok(Some(run)) if !run.state.is_terminal());
        workspace::recover(&self.setup.data.join("sealed"), live)
            .map(drop)
            .map_err(|error| Fault::Io(error.to_string()).into())
    }

    /// Removes what deleted stacks left on the disk: what their tasks stored, and providers that they
    /// downloaded. Says how many directories. Their managed states stay: nothing else knows what they made.
    pub fn sweep_stacks(&self) -> Result<usize, Error> {
        let view = self.store.read()?;
        let mut removed = 0;
        for below in [self.stored_for_tasks(), self.setup.plugin_cache.clone()] {
            for entry in std::fs::read_dir(&below).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let Some(id) = name.to_str().and_then(stack_of) else { continue };
                if view.stack(id)?.is_none() {
                    workspace::remove_tree(&entry.path()).map_err(|error| Fault::Io(error.to_string()))?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    /// What declared tasks store, by stack.
    pub(crate) fn stored_for_tasks(&self) -> PathBuf {
        self.setup.data.join("mounts")
    }

    /// Removes finished logs whose time is up, and says so in their runs. Says how many.
    pub async fn sweep_logs(&self) -> Result<usize, Error> {
        let days = i64::from(self.setup.log_retention_days);
        let before = self.now().millis() - days * 86_400_000;
        let mut removed = 0;
        let logs = self.setup.data.join("logs");
        for entry in std::fs::read_dir(&logs).into_iter().flatten().flatten() {
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<RunId>().ok()) else { continue };
            let run = self.store.read()?.run(id)?;
            if run.is_some_and(|run| run.updated_at.millis() < before) && std::fs::remove_dir_all(entry.path()).is_ok()
            {
                removed += 1;
                self.system(move |tx, _| {
                    if let Some(run) = tx.run(id)? {
                        let after = Run { logs_expired: true, ..run.clone() };
                        tx.put_run(Some(&run), &after)?;
                    }
                    Ok(())
                })
                .await?;
            }
        }
        Ok(removed)
    }
}

/// Whose a directory of stacks' is, or what lies beside it and begins with a dot.
fn stack_of(name: &str) -> Option<StackId> {
    name.strip_prefix('.').and_then(|name| name.split('.').next()).unwrap_or(name).parse().ok()
}
