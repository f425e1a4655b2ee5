//! What ends because its time is up: runs that nobody decides about, sessions, keys of repeated requests.

use std::time::Duration;

use crate::{
    auth::who::is_over,
    domain::{RunId, State, Timestamp, webhook::Severity},
    machine::Event,
    store::{
        Error, Fault, Find, Flow, Order, Rows, Tx,
        record::{Audience, Message, Run},
        tables as t,
    },
};

use super::{
    Actions,
    life::{self, Why},
    notify,
};

/// An unconfirmed run that is discarded at some time.
struct Waiting {
    run: Run,
    /// When people are reminded of it.
    half: Timestamp,
    end: Timestamp,
}

impl Actions {
    /// Discards unconfirmed runs whose time is up, and reminds of those whose time is half over; forgets
    /// sessions, invitations and idempotency keys whose time is up. Says how many runs it discarded.
    pub async fn expire(&self) -> Result<usize, Error> {
        let now = self.now();
        let (over, waiting): (Vec<_>, Vec<_>) =
            self.waiting_runs()?.into_iter().partition(|waiting| waiting.end <= now);
        for waiting in &over {
            self.discard_old(waiting.run.id).await?;
        }
        for waiting in waiting.into_iter().filter(|waiting| waiting.half <= now) {
            self.remind(waiting).await?;
        }
        if self.anything_stale(now)? {
            self.system(move |tx, _| Ok(forget_stale(tx, now)?)).await?;
        }
        Ok(over.len())
    }

    fn waiting_runs(&self) -> Result<Vec<Waiting>, Error> {
        let view = self.store.read()?;
        let mut found = Vec::new();
        for run in view.all_active_runs()?.into_iter().filter(|run| run.state == State::Unconfirmed) {
            let days = view.stack(run.stack)?.and_then(|stack| stack.settings.unconfirmed_expiry_days);
            let Some(days) = days else { continue };
            let span = Duration::from_hours(24).saturating_mul(days);
            found.push(Waiting { half: run.state_since.plus(span / 2), end: run.state_since.plus(span), run });
        }
        Ok(found)
    }

    async fn discard_old(&self, run: RunId) -> Result<(), Error> {
        self.system(move |tx, moment| {
            let Some(run) = tx.run(run)? else { return Ok(()) };
            if run.state == State::Unconfirmed {
                life::advance(tx, moment, run, Event::Discard, Why::reason("nobody confirmed it in time"))?;
            }
            Ok(())
        })
        .await
    }

    async fn remind(&self, Waiting { run, end, .. }: Waiting) -> Result<(), Error> {
        let topic = format!("run {} is discarded at {end}", run.id);
        if notify::is_told(&self.store.read()?, &topic)? {
            return Ok(());
        }
        let at = self.now();
        let message = Message {
            at,
            severity: Severity::Warning,
            title: format!("Run #{} of {} waits for somebody", run.number, run.slug),
            text: format!("Nobody has confirmed or discarded it yet. It is discarded by itself at {end}."),
            audience: Audience::Stack(run.stack),
            run: Some(run.id),
            policy: None,
            topic: Some(topic),
        };
        self.system(move |tx, moment| notify::tell(tx, moment, message.clone())).await
    }

    fn anything_stale(&self, now: Timestamp) -> Result<bool, Error> {
        let view = self.store.read()?;
        let mut stale = false;
        view.walk(t::HASH_TO_SESSION, [0; 32]..=[255; 32], Order::Up, |_, session| {
            stale = is_over(&session, now);
            Ok(if stale { Flow::Break(()) } else { Flow::Continue(()) })
        })?;
        view.walk(t::KEY_TO_IDEMPOTENT, ""..="\u{10ffff}", Order::Up, |_, row| {
            stale |= now >= row.expires_at;
            Ok(if stale { Flow::Break(()) } else { Flow::Continue(()) })
        })?;
        Ok(stale)
    }
}

fn forget_stale(tx: &Tx<'_>, now: Timestamp) -> Result<(), Fault> {
    let mut sessions = Vec::new();
    tx.walk(t::HASH_TO_SESSION, [0; 32]..=[255; 32], Order::Up, |hash, session| {
        if is_over(&session, now) {
            sessions.push((hash, session.holder));
        }
        Ok(Flow::Continue(()))
    })?;
    for (hash, holder) in sessions {
        super::sign_in::forget_session(tx, hash, holder)?;
    }
    let mut keys = Vec::new();
    tx.walk(t::KEY_TO_IDEMPOTENT, ""..="\u{10ffff}", Order::Up, |key, row| {
        if now >= row.expires_at {
            keys.push(key.to_owned());
        }
        Ok(Flow::Continue(()))
    })?;
    for key in keys {
        tx.remove(t::KEY_TO_IDEMPOTENT, key.as_str())?;
    }
    Ok(())
}
