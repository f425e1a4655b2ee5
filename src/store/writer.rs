//! Group commit: one thread drains the waiting actions into one durable transaction.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{Receiver, TryRecvError},
    },
};

use tokio::sync::oneshot;

use super::{Error, Fault, Tx, open::Opened};
use crate::domain::{Refused, limits};

/// An action that waits for the writer, whatever it answers.
pub(super) trait Job: Send {
    /// Runs the action. Leaves its answer behind for [`Job::reply`].
    fn run(&mut self, tx: &Tx<'_>) -> Ran;
    /// Tells whoever waits: what the action answered, or why nothing was kept.
    fn reply(self: Box<Self>, fault: Option<Fault>);
}

/// What the writer is asked for.
pub(super) enum Order {
    Act(Box<dyn Job>),
    /// Replace the file by a fresh one.
    Renew(oneshot::Sender<Result<(), Fault>>),
}

/// How an action ran.
pub(super) enum Ran {
    Done,
    Refused,
    Fault(Fault),
}

pub(super) struct Action<F, T> {
    pub run: F,
    pub answer: Option<Result<T, Refused>>,
    pub reply: oneshot::Sender<Result<T, Error>>,
}

impl<F, T> Job for Action<F, T>
where
    F: FnMut(&Tx<'_>) -> Result<T, Error> + Send,
    T: Send,
{
    fn run(&mut self, tx: &Tx<'_>) -> Ran {
        match (self.run)(tx) {
            Ok(answer) => {
                self.answer = Some(Ok(answer));
                Ran::Done
            }
            Err(Error::Refused(refused)) => {
                self.answer = Some(Err(refused));
                Ran::Refused
            }
            Err(Error::Fault(fault)) => Ran::Fault(fault),
        }
    }

    fn reply(self: Box<Self>, fault: Option<Fault>) {
        let answer = match (fault, self.answer) {
            (Some(fault), _) => Err(Error::Fault(fault)),
            (None, Some(answer)) => answer.map_err(Error::Refused),
            (None, None) => Err(Error::Fault(Fault::Closed)),
        };
        // Whoever asked may have gone away; what was committed stays committed.
        let _ = self.reply.send(answer);
    }
}

/// Runs until every [`super::Store`] is gone and the queue is empty.
pub(super) fn run(opened: Arc<Opened>, queue: Receiver<Order>) {
    while let Ok(first) = queue.recv() {
        let mut next = Some(first);
        let mut batch = Vec::new();
        while let Some(Order::Act(job)) = next {
            batch.push(job);
            next = if batch.len() < limits::COMMIT_BATCH { taken(queue.try_recv()) } else { None };
        }
        commit_all(&opened, batch);
        if let Some(Order::Renew(reply)) = next {
            // Whoever asked may have gone away; the file is renewed all the same.
            let _ = reply.send(opened.renew());
        }
    }
}

fn taken(order: Result<Order, TryRecvError>) -> Option<Order> {
    order.ok()
}

fn commit_all(opened: &Opened, mut batch: Vec<Box<dyn Job>>) {
    if batch.is_empty() {
        return;
    }
    match commit(opened, &mut batch) {
        Ok(()) => batch.into_iter().for_each(|job| job.reply(None)),
        Err(_) => batch.into_iter().for_each(|job| commit_alone(opened, job)),
    }
}

/// One action by itself; after a fault of the disk once more on the reopened store.
fn commit_alone(opened: &Opened, job: Box<dyn Job>) {
    let mut alone = vec![job];
    let mut outcome = commit(opened, &mut alone);
    if let Err(fault) = &outcome
        && fault.needs_reopening()
    {
        outcome = opened.reopen().and_then(|()| commit(opened, &mut alone));
    }
    for job in alone {
        match &mut outcome {
            Ok(()) | Err(Fault::Refusing) => job.reply(None),
            Err(fault) => {
                tracing::error!(%fault, "a change was not stored");
                job.reply(Some(std::mem::replace(fault, Fault::Closed)));
            }
        }
    }
}

/// Runs the jobs in one transaction. On an error nothing of any of them is kept.
fn commit(opened: &Opened, batch: &mut [Box<dyn Job>]) -> Result<(), Fault> {
    let database = opened.database()?;
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    let mut wrote = false;
    let mut bells = Vec::new();
    for job in batch.iter_mut() {
        let tx = Tx::new(&transaction);
        let ran = catch_unwind(AssertUnwindSafe(|| job.run(&tx)))
            .map_err(|panic| Fault::Panicked(message_of(panic.as_ref())))?;
        match ran {
            Ran::Fault(fault) => return Err(fault),
            Ran::Refused if tx.has_written() => return Err(Fault::Refusing),
            Ran::Refused | Ran::Done => {}
        }
        wrote |= tx.has_written();
        bells.extend(tx.into_after_commit());
    }
    if wrote {
        opened.check_room()?;
        transaction.commit()?;
    } else {
        transaction.abort()?;
    }
    for ring in bells {
        ring();
    }
    Ok(())
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "no message".to_owned())
}
