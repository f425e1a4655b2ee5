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

/// When an unconfirmed run is discarded.
#[derive(Clone, Copy)]
struct Waiting {
    /// When people are reminded of it.
    half: Timestamp,
    end: Timestamp,
}

impl Waiting {
    /// None for a run that does not wait for a person, or that may wait for ever.
    fn of(view: &impl Rows, run: &Run) -> Result<Option<Self>, Fault> {
        let stack = if run.state == State::Unconfirmed { view.stack(run.stack)? } else { None };
        let Some(days) = stack.and_then(|stack| stack.settings.unconfirmed_expiry_days) else { return Ok(None) };
        let span = Duration::from_hours(24).saturating_mul(days);
        Ok(Some(Self { half: run.state_since.plus(span / 2), end: run.state_since.plus(span) }))
    }

    /// Whether people are to be reminded, and were not.
    fn reminds(self, run: &Run, now: Timestamp) -> bool {
        self.half <= now && now < self.end && run.reminded_for != Some(self.end)
    }
}

impl Actions {
    /// Discards unconfirmed runs whose time is up, and reminds of those whose time is half over; forgets
    /// sessions and idempotency keys whose time is up. Says how many runs it discarded.
    pub async fn expire(&self) -> Result<usize, Error> {
        let now = self.now();
        let (over, waiting): (Vec<_>, Vec<_>) =
            self.waiting_runs()?.into_iter().partition(|(_, waiting)| waiting.end <= now);
        for (run, _) in &over {
            self.discard_old(run.id).await?;
        }
        for (run, _) in waiting.iter().filter(|(run, waiting)| waiting.reminds(run, now)) {
            self.remind(run.id).await?;
        }
        if self.anything_stale(now)? {
            self.system(move |tx, _| Ok(forget_stale(tx, now)?)).await?;
        }
        Ok(over.len())
    }

    fn waiting_runs(&self) -> Result<Vec<(Run, Waiting)>, Error> {
        let view = self.store.read()?;
        let mut found = Vec::new();
        for run in view.all_active_runs()? {
            if let Some(waiting) = Waiting::of(&view, &run)? {
                found.push((run, waiting));
            }
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

    async fn remind(&self, run: RunId) -> Result<(), Error> {
        self.system(move |tx, moment| {
            let Some(run) = tx.run(run)? else { return Ok(()) };
            let Some(waiting) = Waiting::of(tx, &run)?.filter(|waiting| waiting.reminds(&run, moment.now)) else {
                return Ok(());
            };
            let end = waiting.end;
            tx.put_run(Some(&run), &Run { reminded_for: Some(end), ..run.clone() })?;
            let message = Message {
                at: moment.now,
                severity: Severity::Warning,
                title: format!("Run #{} of {} waits for somebody", run.number, run.slug),
                text: format!("Nobody has confirmed or discarded it yet. It is discarded by itself at {end}."),
                audience: Audience::Stack(run.stack),
                run: Some(run.id),
                policy: None,
                topic: Some(format!("run {} is discarded at {end}", run.id)),
            };
            notify::tell(tx, moment, message)
        })
        .await
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
