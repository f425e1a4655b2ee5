//! Deliveries to webhooks: put down, due, tried, given up.
//!
//! A delivery is sent at least once: a server that dies behind the answer and before its row sends it
//! again, under the same number, so that the receiver can tell. The deliveries of one webhook go one after
//! the other, in the order in which things happened.

use std::{collections::HashSet, fmt, time::Duration};

use crate::{
    auth::Who,
    crypt::{self, Keyring, Secret},
    domain::{Severity, Slug, Timestamp, limits},
    store::{
        Error, Fault, Flow, Order, Rows, Tx,
        record::{About, Attempt, Audience, DeliveryReason, Message, Outcome, Webhook, WebhookDelivery},
        tables as t,
    },
};

use super::inbox;
use crate::actions::{Actions, Moment, Reply, audit, ring, vault, webhook};

/// What is to be delivered.
#[derive(Clone, Debug)]
pub(in crate::actions) struct Draft {
    pub about: About,
    pub method: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// A delivery that is due.
#[derive(Debug)]
pub struct DueDelivery {
    pub webhook: Slug,
    pub seq: u64,
    pub what: DuePost,
}

#[derive(Debug)]
pub enum DuePost {
    Send(Post),
    /// It cannot even be made, and why.
    Impossible(String),
}

/// A request, complete.
pub struct Post {
    pub method: String,
    pub url: String,
    pub headers: Vec<(String, Secret<String>)>,
    pub body: String,
}

impl fmt::Debug for Post {
    /// Neither the address nor headers nor body: all of them may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post").field("method", &self.method).finish_non_exhaustive()
    }
}

/// Puts a delivery down; its number, or why it is not even tried.
pub(in crate::actions) fn put_delivery(
    tx: &Tx<'_>,
    moment: &Moment,
    webhook: &Webhook,
    draft: Draft,
) -> Result<Result<u64, String>, Error> {
    let id = webhook.id.as_str();
    if !webhook.enabled {
        return Ok(Err(format!("the webhook `{id}` is switched off")));
    }
    if waiting(tx, &webhook.id)?.len() >= limits::WEBHOOK_WAITING {
        return Ok(Err(format!("{} deliveries wait for the webhook `{id}` already", limits::WEBHOOK_WAITING)));
    }
    make_room(tx, &webhook.id)?;
    let seq = tx.next("delivery")?;
    let delivery = WebhookDelivery {
        seq,
        webhook: webhook.id.clone(),
        about: draft.about,
        made_at: moment.now,
        method: draft.method,
        headers: draft.headers,
        body: draft.body,
        due_at: Some(moment.now),
        delivered: false,
        given_up: None,
        tries: 0,
        again: None,
        attempts: Vec::new(),
    };
    tx.put(t::WEBHOOK_SEQ_TO_DELIVERY, (id, seq), &delivery)?;
    tx.mark(t::OPEN_DELIVERY, (id, seq), true)?;
    ring(tx, moment);
    Ok(Ok(seq))
}

/// Lets go of the oldest deliveries that are done.
fn make_room(tx: &Tx<'_>, id: &Slug) -> Result<(), Fault> {
    let mut kept = 0;
    let mut over = Vec::new();
    tx.walk(t::WEBHOOK_SEQ_TO_DELIVERY, webhook::of(id), Order::Down, |(_, seq), row: WebhookDelivery| {
        kept += 1;
        if kept >= limits::WEBHOOK_DELIVERIES && row.due_at.is_none() {
            over.push(seq);
        }
        Ok(Flow::Continue(()))
    })?;
    for seq in over {
        tx.remove(t::WEBHOOK_SEQ_TO_DELIVERY, (id.as_str(), seq))?;
    }
    Ok(())
}

fn waiting(view: &impl Rows, id: &Slug) -> Result<Vec<u64>, Fault> {
    let mut seqs = Vec::new();
    view.walk_index(t::OPEN_DELIVERY, webhook::of(id), Order::Up, |(_, seq)| {
        seqs.push(seq);
        Ok(Flow::Continue(()))
    })?;
    Ok(seqs)
}

/// Nothing that waits for a webhook is tried any more.
pub(in crate::actions) fn give_up_waiting(tx: &Tx<'_>, id: &Slug, why: &str) -> Result<(), Error> {
    for seq in waiting(tx, id)? {
        if let Some(mut row) = tx.get(t::WEBHOOK_SEQ_TO_DELIVERY, (id.as_str(), seq))? {
            (row.due_at, row.given_up) = (None, Some(why.to_owned()));
            tx.put(t::WEBHOOK_SEQ_TO_DELIVERY, (id.as_str(), seq), &row)?;
        }
        tx.mark(t::OPEN_DELIVERY, (id.as_str(), seq), false)?;
    }
    Ok(())
}

impl Actions {
    /// Deliveries that are due now, one for each webhook that is not `busy`; and when to look again.
    pub fn due_deliveries(&self, busy: &HashSet<Slug>) -> Result<(Vec<DueDelivery>, Option<Timestamp>), Error> {
        let (view, now) = (self.store.read()?, self.now());
        let mut first: Vec<(String, u64)> = Vec::new();
        view.walk_index(t::OPEN_DELIVERY, ("", 0)..=("\u{10ffff}", u64::MAX), Order::Up, |(id, seq)| {
            if first.last().is_none_or(|(known, _)| known != id) {
                first.push((id.to_owned(), seq));
            }
            Ok(Flow::Continue(()))
        })?;
        let (mut due, mut next) = (Vec::new(), None::<Timestamp>);
        for (id, seq) in first {
            let Some(delivery) = view.get(t::WEBHOOK_SEQ_TO_DELIVERY, (id.as_str(), seq))? else { continue };
            if busy.contains(&delivery.webhook) {
                continue;
            }
            match delivery.due_at {
                Some(at) if at > now => next = Some(next.map_or(at, |next| next.min(at))),
                Some(_) | None => {
                    let what = self.post_of(view.get(t::ID_TO_WEBHOOK, id.as_str())?, &delivery);
                    due.push(DueDelivery { webhook: delivery.webhook, seq, what });
                }
            }
        }
        Ok((due, next))
    }

    fn post_of(&self, webhook: Option<Webhook>, delivery: &WebhookDelivery) -> DuePost {
        let Some(webhook) = webhook else { return DuePost::Impossible("the webhook was deleted".to_owned()) };
        match post(&self.keys.get(), &webhook, delivery) {
            Ok(post) => DuePost::Send(post),
            Err(error) => {
                tracing::error!(%error, webhook = %webhook.id, "a webhook's secrets cannot be opened");
                DuePost::Impossible("its secret cannot be opened; set it again".to_owned())
            }
        }
    }

    /// A delivery was tried; this came of it.
    pub async fn delivery_tried(&self, id: Slug, seq: u64, reply: Reply) -> Result<(), Error> {
        self.system(move |tx, moment| {
            let key = (id.as_str(), seq);
            let Some(mut row) = tx.get(t::WEBHOOK_SEQ_TO_DELIVERY, key)?.filter(|row| row.due_at.is_some()) else {
                return Ok(());
            };
            note(&mut row, moment.now, &reply);
            let done = settle(&mut row, moment.now, &reply);
            tx.put(t::WEBHOOK_SEQ_TO_DELIVERY, key, &row)?;
            if done {
                tx.mark(t::OPEN_DELIVERY, key, false)?;
                count(tx, moment, &id, &row)?;
            }
            ring(tx, moment);
            Ok(())
        })
        .await
    }
}

/// The request of a delivery. What the policy adds stands in the place of the webhook's own.
fn post(keys: &Keyring, webhook: &Webhook, delivery: &WebhookDelivery) -> Result<Post, Error> {
    let mut headers: Vec<(String, Secret<String>)> = vec![
        ("Content-Type".to_owned(), Secret::new("application/json".to_owned())),
        ("X-Airlock-Delivery".to_owned(), Secret::new(delivery.seq.to_string())),
    ];
    let own = webhook::headers_of(keys, webhook)?.into_iter();
    let added = delivery.headers.iter().map(|(name, value)| (name.clone(), Secret::new(value.clone())));
    for (name, value) in own.chain(added) {
        headers.retain(|(known, _)| !known.eq_ignore_ascii_case(&name));
        headers.push((name, value));
    }
    if let Some(sealed) = &webhook.secret {
        let secret = vault::webhook_secret(&webhook.id).open_text(keys, sealed)?;
        let (sha1, sha256) = crypt::webhook_signatures(&secret, delivery.body.as_bytes());
        headers.push(("X-Signature".to_owned(), Secret::new(sha1)));
        headers.push(("X-Signature-256".to_owned(), Secret::new(sha256)));
    }
    Ok(Post { method: delivery.method.clone(), url: webhook.url.clone(), headers, body: delivery.body.clone() })
}

/// Writes a try into the log of its delivery.
fn note(row: &mut WebhookDelivery, now: Timestamp, reply: &Reply) {
    let reason = match (row.again.take(), row.tries) {
        (Some(by), _) => DeliveryReason::Again { by },
        (None, 0) => DeliveryReason::First,
        (None, _) => DeliveryReason::Retry,
    };
    row.tries += 1;
    row.attempts.push(Attempt {
        at: now,
        reason,
        status: reply.status,
        duration_ms: u64::try_from(reply.took.as_millis()).unwrap_or(u64::MAX),
        answer: reply.note.iter().flat_map(|note| note.chars()).take(limits::DELIVERY_ANSWER_CHARS).collect(),
    });
    let over = row.attempts.len().saturating_sub(limits::WEBHOOK_ATTEMPTS);
    row.attempts.drain(..over);
}

/// What follows from a try; whether it was the last one.
fn settle(row: &mut WebhookDelivery, now: Timestamp, reply: &Reply) -> bool {
    row.delivered |= is_accepted(reply);
    let may_pass = match reply.status {
        Some(status) => status >= 500,
        None => reply.may_pass,
    };
    if !is_accepted(reply) && may_pass && row.tries < limits::WEBHOOK_TRIES {
        row.due_at = Some(now.plus(pause(row.tries)));
        return false;
    }
    row.due_at = None;
    if !is_accepted(reply) {
        row.given_up = Some(match row.tries {
            1 => "given up after 1 try".to_owned(),
            tries => format!("given up after {tries} tries"),
        });
    }
    true
}

const fn is_accepted(reply: &Reply) -> bool {
    matches!(reply.status, Some(200..=299))
}

/// Between one try and the next.
fn pause(tries: u32) -> Duration {
    limits::WEBHOOK_RETRY.saturating_mul(3_u32.saturating_pow(tries.saturating_sub(1)))
}

/// Counts failures in a row; with too many the webhook is switched off, and admins are told.
fn count(tx: &Tx<'_>, moment: &Moment, id: &Slug, row: &WebhookDelivery) -> Result<(), Error> {
    let Some(mut webhook) = tx.get(t::ID_TO_WEBHOOK, id.as_str())? else { return Ok(()) };
    webhook.failures = if row.given_up.is_none() { 0 } else { webhook.failures + 1 };
    if webhook.enabled && webhook.failures >= limits::WEBHOOK_FAILURES {
        let last = row.attempts.last().map(said).unwrap_or_default();
        let why = format!("{} deliveries in a row failed; the last one: {last}", webhook.failures);
        webhook.enabled = false;
        webhook.disabled_because = Some(why.clone());
        give_up_waiting(tx, id, "the webhook was switched off")?;
        let draft = audit::Draft::of(&Who::system(), "webhook.disable", &format!("webhook:{id}"), moment.now);
        audit::append(tx, draft.with(Outcome::Done, Some(why.clone())))?;
        inbox::put(tx, moment, switched_off(&webhook, moment.now, why))?;
    }
    Ok(tx.put(t::ID_TO_WEBHOOK, id.as_str(), &webhook)?)
}

fn said(attempt: &Attempt) -> String {
    match attempt.status {
        Some(status) => format!("HTTP {status}"),
        None => attempt.answer.clone(),
    }
}

fn switched_off(webhook: &Webhook, at: Timestamp, why: String) -> Message {
    Message {
        at,
        severity: Severity::Error,
        title: format!("The webhook {} was switched off", webhook.name),
        text: format!("{why}. Mend what it calls, then switch it on again under Admin, Webhooks."),
        audience: Audience::Admins,
        run: None,
        policy: None,
        topic: None,
    }
}
