//! The server's side of runners: start, adopt, listen, stop; and the chores that runs leave behind.
//!
//! One task attends to each living chain. It starts from what lies in the chain's directory and from
//! who holds its lock, never from a pid, so that a server that was killed and started again does the
//! same as one that was not:
//!
//! | lock | records | means |
//! | --- | --- | --- |
//! | held by somebody | | a runner is alive: listen to it |
//! | free | end in `ended` | it is done: take the records over |
//! | free | begin with `started` | it is gone and was not done: lost |
//! | free | none | it never ran: start it |
//!
//! Knows what a chain is; knows nothing of what it does. Executes nothing itself.

mod alone;
mod apart;
mod attend;
mod chores;
mod compile;
mod dir;
mod judge;
mod offline;
mod pin;
mod spawn;

use std::{
    collections::{HashMap, VecDeque},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{sync::watch, task::JoinSet};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use alone::{Alone, start_alone};
pub use offline::{clear_strays, living, stop};

use crate::{
    actions::{Actions, ChainAsk, LiveChain},
    domain::{RunId, TaskResultId},
};

type Attended = HashMap<(RunId, u32), watch::Sender<Option<ChainAsk>>>;

/// What dispatch works with.
#[derive(Clone, Debug)]
pub struct Dispatch {
    actions: Actions,
    /// What runners are started from: this server's own binary.
    binary: PathBuf,
    /// Living chains by run and number, each with what was asked of it.
    attended: Arc<Mutex<Attended>>,
    tasks: TaskTracker,
    /// Nothing new is begun any more.
    stop: CancellationToken,
    /// Nobody is attended to any more.
    leave: CancellationToken,
}

impl Dispatch {
    pub fn new(actions: Actions, binary: impl Into<PathBuf>, tasks: TaskTracker, stop: CancellationToken) -> Self {
        let leave = stop.clone();
        Self { actions, binary: binary.into(), attended: Arc::default(), tasks, stop, leave }
    }

    /// Goes on attending to what lives, when nothing new is begun any more, until it is told to leave.
    pub fn until(self, leave: CancellationToken) -> Self {
        Self { leave, ..self }
    }

    /// Looks after chains and chores until the server stops. Runners go on without it.
    pub async fn run(self) {
        // Filing a long log away takes seconds, and no chain waits for it.
        tokio::join!(self.chains(), self.chores(), self.guests(), self.judges(), self.pins(), self.approvals());
    }

    async fn chains(&self) {
        let mut bell = self.actions.bells().hear_work();
        loop {
            bell.mark_unchanged();
            if let Err(error) = self.look() {
                tracing::error!(%error, "chains cannot be looked up");
            }
            if self.rests(&mut bell).await {
                return;
            }
        }
    }

    async fn chores(&self) {
        let mut bell = self.actions.bells().hear_work();
        loop {
            bell.mark_unchanged();
            chores::perform(&self.actions, |run| self.is_attended(run)).await;
            if self.rests(&mut bell).await {
                return;
            }
        }
    }

    async fn guests(&self) {
        let mut bell = self.actions.bells().hear_work();
        loop {
            bell.mark_unchanged();
            compile::perform(&self.actions, &self.binary).await;
            if self.rests(&mut bell).await {
                return;
            }
        }
    }

    /// Run tasks that are guests, as many at once as the pools of their stacks have places.
    async fn judges(&self) {
        let mut bell = self.actions.bells().hear();
        let mut under_way = JoinSet::new();
        let mut ids = Vec::new();
        loop {
            bell.mark_unchanged();
            match self.may_judge(&ids).await {
                Err(error) => tracing::error!(%error, "guests that are run tasks cannot be looked up"),
                Ok(next) => {
                    for id in next {
                        ids.push(id);
                        let dispatch = self.clone();
                        under_way.spawn(async move {
                            judge::one(&dispatch.actions, &dispatch.binary, id).await;
                            id
                        });
                    }
                }
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                changed = bell.changed() => if changed.is_err() { return },
                Some(done) = under_way.join_next() => match done {
                    Ok(id) => ids.retain(|other| *other != id),
                    Err(error) => tracing::error!(%error, "a guest's judgement ended in a panic"),
                },
            }
        }
    }

    /// Waiting runs whose commits have to be looked up, and sources that are tested.
    async fn pins(&self) {
        let mut bell = self.actions.bells().hear_work();
        let mut under_way = JoinSet::new();
        let mut waiting = VecDeque::new();
        let mut cursor = self.actions.pin_from().unwrap_or_else(|error| {
            tracing::error!(%error, "runs that wait cannot be looked up");
            0
        });
        loop {
            bell.mark_unchanged();
            match self.actions.runs_to_pin(&mut cursor) {
                Err(error) => tracing::error!(%error, "runs that wait cannot be looked up"),
                Ok(more) => waiting.extend(more),
            }
            for asked in self.actions.take_asked(pin::AT_ONCE.saturating_sub(under_way.len())) {
                let dispatch = self.clone();
                under_way.spawn(async move { pin::asked(&dispatch.binary, asked).await });
            }
            while under_way.len() < pin::AT_ONCE
                && let Some(run) = waiting.pop_front()
            {
                let dispatch = self.clone();
                under_way.spawn(async move { pin::one(&dispatch.actions, &dispatch.binary, run).await });
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                changed = bell.changed() => if changed.is_err() { return },
                Some(done) = under_way.join_next() => if let Err(error) = done {
                    tracing::error!(%error, "looking a commit up ended in a panic");
                },
            }
        }
    }

    /// Gives guests that wait the free places of their stacks' pools.
    async fn may_judge(&self, under_way: &[TaskResultId]) -> Result<Vec<TaskResultId>, crate::actions::Error> {
        let mut next = Vec::new();
        for id in self.actions.guests_to_judge(under_way)? {
            if self.actions.guest_judges(id).await? {
                next.push(id);
            }
        }
        Ok(next)
    }

    /// Runs whose approval policies have to be asked.
    async fn approvals(&self) {
        let mut bell = self.actions.bells().hear_work();
        loop {
            bell.mark_unchanged();
            if let Err(error) = self.actions.judge_due().await {
                tracing::error!(%error, "runs that wait for an approval cannot be looked up");
            }
            if self.rests(&mut bell).await {
                return;
            }
        }
    }

    /// Waits for something to do. True when the server stops.
    async fn rests(&self, bell: &mut watch::Receiver<u64>) -> bool {
        tokio::select! {
            () = self.stop.cancelled() => true,
            changed = bell.changed() => changed.is_err(),
        }
    }

    /// How many chains are attended to.
    pub fn living(&self) -> usize {
        self.attended().len()
    }

    /// Attends to every chain that nobody attends to, and passes on what was asked of the others.
    fn look(&self) -> Result<(), crate::actions::Error> {
        for chain in self.actions.live_chains()? {
            let key = (chain.run, chain.number);
            if let Some(ask) = self.attended().get(&key) {
                ask.send_if_modified(|asked| {
                    let more = chain.ask > *asked;
                    *asked = chain.ask.max(*asked);
                    more
                });
                continue;
            }
            self.attend_to(chain);
        }
        Ok(())
    }

    fn attend_to(&self, chain: LiveChain) {
        let key = (chain.run, chain.number);
        let (asks, asked) = watch::channel(chain.ask);
        self.attended().insert(key, asks);
        let dispatch = self.clone();
        self.tasks.spawn(async move {
            let attending = attend::attend(&dispatch.actions, &dispatch.binary, chain, asked);
            tokio::select! {
                () = dispatch.leave.cancelled() => {}
                () = attending => {}
            }
            dispatch.attended().remove(&key);
            // Something may have been written for this key while it was being attended to.
            dispatch.actions.bells().ring_work();
        });
    }

    /// Whether somebody still looks into the directory of one of the run's chains. The record that ends
    /// a chain is taken before its runner is gone.
    fn is_attended(&self, run: RunId) -> bool {
        self.attended().keys().any(|(attended, _)| *attended == run)
    }

    fn attended(&self) -> MutexGuard<'_, Attended> {
        self.attended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
