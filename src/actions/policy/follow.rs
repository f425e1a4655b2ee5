//! What follows when a run has ended: trigger policies are asked, and the stacks that they name get
//! tracked runs.
//!
//! Whether anything is due is a row, written by the transaction in which the run ended; so a crash
//! between that and the answer loses nothing. The answer becomes a row again, and each run that
//! comes of it is made in the transaction that takes it off that row: none is made twice.
//!
//! Two stacks that trigger each other would go on for ever: a run knows how many before it were
//! triggered by policies one after the other, and the last one that may be triggers nothing.

use std::collections::BTreeSet;

use crate::{
    auth::Who,
    domain::{ActorKind, PolicyKind, PolicyName, PolicyReceipt, Refused, Slug, actor::ActorName, limits, run::Kind},
    store::{
        Error, Fault, Find, Flow, Order, Rows, Tx,
        record::{Follow, Follower, Outcome, Run},
        tables as t,
    },
};

use super::{Evaluation, input};
use crate::actions::{Actions, Moment, audit, life, trigger};

/// Notes that trigger policies are to be asked about a run that has just ended.
pub(in crate::actions) fn remember(tx: &Tx<'_>, run: &Run) -> Result<(), Fault> {
    if !matches!(run.kind, Kind::Tracked | Kind::Task | Kind::Destroy) {
        return Ok(());
    }
    let Some(stack) = tx.stack(run.stack)? else { return Ok(()) };
    if tx.attached_policies(&stack, PolicyKind::Trigger)?.is_empty() {
        return Ok(());
    }
    tx.put(t::RUN_TO_FOLLOW, run.seq, &Follow { asked: false, stacks: Vec::new() })
}

impl Actions {
    /// Does everything that is due after runs that have ended. What cannot be done stays due.
    pub async fn follow_up(&self) -> Result<(), Error> {
        for (seq, follow) in self.followed()? {
            if !follow.asked {
                self.ask_trigger_policies(seq).await?;
            }
            self.trigger_followers(seq).await?;
        }
        Ok(())
    }

    fn followed(&self) -> Result<Vec<(u64, Follow)>, Fault> {
        let mut due = Vec::new();
        self.store.read()?.walk(t::RUN_TO_FOLLOW, 0..=u64::MAX, Order::Up, |seq, row: Follow| {
            due.push((seq, row));
            Ok(if due.len() < limits::FOLLOWED_AT_ONCE { Flow::Continue(()) } else { Flow::Break(()) })
        })?;
        Ok(due)
    }

    async fn ask_trigger_policies(&self, seq: u64) -> Result<(), Error> {
        let view = self.store.read()?;
        let run: Option<Run> = view.get(t::SEQ_TO_RUN, seq)?;
        let stack = run.as_ref().map(|run| view.stack(run.stack)).transpose()?.flatten();
        drop(view);
        let (Some(run), Some(stack)) = (run, stack) else {
            return self.write_answer(seq, Vec::new(), Vec::new()).await;
        };
        let document = || Ok(input::trigger(&self.store.read()?, &stack, &run)?);
        // No re-check of versions: the run has ended, and the policies of that moment are asked.
        let evaluation = self.evaluate_policies(PolicyKind::Trigger, &stack, Some(run.id), document).await?;
        let mut receipts = evaluation.receipts();
        let mut stacks = named(&evaluation, &mut receipts);
        if run.followed >= limits::FOLLOWED_DEPTH && !stacks.is_empty() {
            let why = format!("nothing was triggered: {} runs in a row were triggered by policies", run.followed);
            self.refused(&Who::system(), "run.trigger", &format!("stack:{}", stack.slug), &Refused::conflict(&why))
                .await;
            for receipt in &mut receipts {
                receipt.messages.push(why.clone());
            }
            stacks.clear();
        }
        self.write_answer(seq, receipts, stacks).await
    }

    /// Writes down what the policies said, and which stacks follow.
    async fn write_answer(&self, seq: u64, receipts: Vec<PolicyReceipt>, stacks: Vec<Follower>) -> Result<(), Error> {
        self.system(move |tx, moment| {
            let Some(before) = tx.get(t::SEQ_TO_RUN, seq)? else {
                tx.remove(t::RUN_TO_FOLLOW, seq)?;
                return Ok(());
            };
            let mut run: Run = before.clone();
            run.policies.extend(receipts.iter().cloned());
            tx.put_run(Some(&before), &run)?;
            life::ring(tx, moment, &run);
            keep(tx, seq, stacks.clone())
        })
        .await
    }

    /// Makes the runs that are left to be made, each in a transaction of its own.
    async fn trigger_followers(&self, seq: u64) -> Result<(), Error> {
        for _ in 0..=limits::FOLLOWERS {
            let allow_unconfined = self.setup.allow_unconfined;
            let made = self
                .system(move |tx, moment| {
                    let Some((run, follower)) = next(tx, seq)? else { return Ok(false) };
                    trigger_one(tx, moment, &run, &follower, allow_unconfined)?;
                    Ok(true)
                })
                .await;
            match made {
                Ok(false) => return Ok(()),
                Ok(true) => {}
                Err(Error::Refused(why)) => self.give_up(seq, &why).await?,
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    /// Takes a stack off the row whose run was refused, and says so where people look.
    async fn give_up(&self, seq: u64, why: &Refused) -> Result<(), Error> {
        let why = why.to_string();
        self.system(move |tx, moment| {
            let Some((before, follower)) = next(tx, seq)? else { return Ok(()) };
            let mut run = before.clone();
            let message = format!("{} was not triggered: {why}", follower.stack);
            let receipt =
                run.policies.iter_mut().find(|one| one.name == follower.policy && one.kind == PolicyKind::Trigger);
            if let Some(receipt) = receipt {
                receipt.messages.push(message);
            }
            tx.put_run(Some(&before), &run)?;
            write_entry(tx, moment, &follower, Outcome::Refused, why.clone())?;
            life::ring(tx, moment, &run);
            take_off(tx, seq)
        })
        .await
    }
}

/// The stacks that policies name, each once, as many as may be.
fn named(evaluation: &Evaluation, receipts: &mut [PolicyReceipt]) -> Vec<Follower> {
    let mut seen = BTreeSet::new();
    let mut followers = Vec::new();
    for (one, receipt) in evaluation.policies.iter().zip(receipts) {
        let Ok(decision) = &one.outcome else { continue };
        for stack in &decision.trigger {
            let Ok(slug) = Slug::new(stack.as_str()) else {
                receipt.messages.push(format!("`{stack}` is not a stack"));
                continue;
            };
            if followers.len() == limits::FOLLOWERS {
                receipt
                    .messages
                    .push(format!("{slug} was not triggered: one run triggers at most {}", limits::FOLLOWERS));
            } else if seen.insert(slug.clone()) {
                followers.push(Follower { policy: one.name.clone(), stack: slug });
            }
        }
    }
    followers
}

fn next(tx: &Tx<'_>, seq: u64) -> Result<Option<(Run, Follower)>, Fault> {
    let follower = tx.get(t::RUN_TO_FOLLOW, seq)?.and_then(|follow: Follow| follow.stacks.first().cloned());
    let run = tx.get(t::SEQ_TO_RUN, seq)?;
    Ok(run.zip(follower))
}

fn take_off(tx: &Tx<'_>, seq: u64) -> Result<(), Error> {
    let rest = tx.get(t::RUN_TO_FOLLOW, seq)?.map(|follow: Follow| follow.stacks.into_iter().skip(1).collect());
    keep(tx, seq, rest.unwrap_or_default())
}

fn keep(tx: &Tx<'_>, seq: u64, stacks: Vec<Follower>) -> Result<(), Error> {
    if stacks.is_empty() {
        tx.remove(t::RUN_TO_FOLLOW, seq)?;
    } else {
        tx.put(t::RUN_TO_FOLLOW, seq, &Follow { asked: true, stacks })?;
    }
    Ok(())
}

fn trigger_one(
    tx: &Tx<'_>,
    moment: &Moment,
    ended: &Run,
    follower: &Follower,
    allow_unconfined: bool,
) -> Result<(), Error> {
    let missing = || Refused::conflict(format!("there is no stack `{}`", follower.stack));
    let stack = tx.stack_by_slug(&follower.stack)?.ok_or_else(missing)?;
    let by = triggered_by(&follower.policy);
    let blank = trigger::Blank::following(ended, by.clone());
    let moment = moment.of(by);
    let run = trigger::make(tx, &moment, stack.id, &blank, allow_unconfined)?;
    let detail = format!("{} {} run #{}, after {} run #{}", run.id, run.kind, run.number, ended.slug, ended.number);
    write_entry(tx, &moment, follower, Outcome::Done, detail)?;
    take_off(tx, ended.seq)
}

fn triggered_by(policy: &PolicyName) -> ActorName {
    ActorName { kind: ActorKind::Policy, name: policy.to_string() }
}

fn write_entry(
    tx: &Tx<'_>,
    moment: &Moment,
    follower: &Follower,
    outcome: Outcome,
    detail: String,
) -> Result<(), Fault> {
    let object = format!("stack:{}", follower.stack);
    let draft = audit::Draft::by(triggered_by(&follower.policy), "run.trigger", &object, moment.now);
    audit::append(tx, draft.with(outcome, Some(detail)))
}
