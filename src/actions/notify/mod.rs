//! Who is told of changes of state.
//!
//! That a run came into a state is a row ([`Notice`]), written by the transaction in which it did: a crash
//! behind it loses nothing. Notification policies are asked about it later, by themselves; the run never
//! waits for them and never hears of them. What they want said becomes rows again, deliveries and
//! messages, in the transaction that takes the notice away: a change is told once, however often it was
//! asked about.
//!
//! | file | what |
//! | --- | --- |
//! | `say` | what a policy wants said, as deliveries and messages |
//! | `deliver` | deliveries: what is due, what came of it, when a webhook is switched off |
//! | `inbox` | messages, and what people do with them |

use crate::{
    domain::{PolicyKind, run_task::ORGANIZATION},
    policy::Trouble,
    store::{
        Error, Fault, Find, Flow, Order, Rows, Tx,
        record::{Notice, Run, Stack, Webhook},
        tables as t,
    },
};

use super::{
    Actions, Moment,
    life::Why,
    policy::{Evaluated, Evaluation, input},
    ring,
};

mod deliver;
mod inbox;
mod say;

pub(super) use deliver::{Draft, give_up_waiting, put_delivery};
pub use deliver::{DueDelivery, DuePost, Post};
pub(super) use inbox::put as tell;

/// Notes that notification policies are to be asked about the state that a run has just come into.
pub(super) fn remember(tx: &Tx<'_>, moment: &Moment, run: &Run, why: &Why) -> Result<(), Fault> {
    if tx.policies_of_kind(PolicyKind::Notification)?.is_empty() {
        return Ok(());
    }
    let notice = Notice {
        run: run.id,
        stack: run.stack,
        state: run.state,
        n: run.history,
        at: moment.now,
        by: moment.actor.clone(),
        note: why.note.clone(),
        reason: why.reason.clone(),
    };
    tx.put(t::SEQ_TO_NOTICE, tx.next("notice")?, &notice)
}

/// A change of state with what is known of it.
struct Event {
    notice: Notice,
    run: Run,
    stack: Stack,
    /// The run's page.
    url: String,
    /// What a webhook of the form `json` gets when the policy gives nothing.
    payload: serde_json::Value,
}

impl Actions {
    /// Asks notification policies about every change of state that is due. What cannot be done stays due.
    pub async fn tell(&self) -> Result<(), Error> {
        // Nobody else waits for these evaluations, nor they for others.
        let apart = Self { evaluator: self.evaluator.apart(), ..self.clone() };
        loop {
            let due = self.notices()?;
            if due.is_empty() {
                return Ok(());
            }
            for (seq, notice) in due {
                apart.tell_one(seq, notice).await?;
            }
        }
    }

    fn notices(&self) -> Result<Vec<(u64, Notice)>, Fault> {
        let mut due = Vec::new();
        self.store.read()?.walk(t::SEQ_TO_NOTICE, 0..=u64::MAX, Order::Up, |seq, notice: Notice| {
            due.push((seq, notice));
            Ok(if due.len() < crate::domain::limits::NOTICES_AT_ONCE { Flow::Continue(()) } else { Flow::Break(()) })
        })?;
        Ok(due)
    }

    async fn tell_one(&self, seq: u64, notice: Notice) -> Result<(), Error> {
        let Some(event) = self.event(notice)? else {
            let forget = move |tx: &Tx<'_>, _: &Moment| {
                tx.remove(t::SEQ_TO_NOTICE, seq)?;
                Ok(())
            };
            return self.system(forget).await;
        };
        let document = || {
            let view = self.store.read()?;
            let endpoints = endpoints(&view)?;
            Ok(input::notification(&view, &event.stack, &event.run, &event.notice, &endpoints, &event.url)?)
        };
        let asked =
            self.evaluate_policies(PolicyKind::Notification, &event.stack, Some(event.run.id), document).await?;
        self.system(move |tx, moment| {
            // Somebody else may have told it meanwhile.
            if tx.remove(t::SEQ_TO_NOTICE, seq)? {
                say_all(tx, moment, &event, &asked)?;
                ring(tx, moment);
            }
            Ok(())
        })
        .await
    }

    /// None when its run or stack is gone.
    fn event(&self, notice: Notice) -> Result<Option<Event>, Error> {
        let view = self.store.read()?;
        let (Some(run), Some(stack)) = (view.run(notice.run)?, view.stack(notice.stack)?) else { return Ok(None) };
        let url = format!("{}/runs/{}", self.setup.public_url, run.id);
        let payload = say::payload(&view, ORGANIZATION, &stack, &run, &notice)?;
        Ok(Some(Event { notice, run, stack, url, payload }))
    }
}

fn say_all(tx: &Tx<'_>, moment: &Moment, event: &Event, asked: &Evaluation) -> Result<(), Error> {
    for one in &asked.policies {
        match &one.outcome {
            Ok(decision) => {
                let mut mistakes = Vec::new();
                for notification in &decision.notifications {
                    mistakes.extend(say::one(tx, moment, event, &one.name, notification)?.err());
                }
                if !mistakes.is_empty() {
                    inbox::put(tx, moment, say::wrong(event, one, &mistakes))?;
                }
            }
            Err(trouble) => inbox::put(tx, moment, broken(event, one, trouble))?,
        }
    }
    Ok(())
}

fn broken(event: &Event, one: &Evaluated, trouble: &Trouble) -> crate::store::record::Message {
    let text = format!("{trouble}. Nobody was told that {}.", say::sentence(event));
    say::about_policy(event, one, "broken", format!("The policy {} cannot be evaluated", one.name), text)
}

/// The webhooks that can be called.
fn endpoints(view: &impl Rows) -> Result<Vec<Webhook>, Fault> {
    let mut all: Vec<Webhook> = view.all(t::ID_TO_WEBHOOK, ""..="\u{10ffff}")?;
    all.retain(|webhook| webhook.enabled);
    Ok(all)
}
