//! Webhooks: made, changed, deleted, tried by admins.
//!
//! Secret and header values go one way only. An address may itself be a credential (those of Slack are),
//! so the audit log has its host alone.

use std::collections::BTreeMap;

use crate::{
    auth::Permit,
    crypt::{Keyring, Secret},
    domain::{
        Label, Refused, Slug, WebhookForm, limits,
        run_task::{ORGANIZATION, check_url},
        webhook::check_header,
    },
    store::{
        Error, Flow, Order, Rows,
        record::{About, Webhook, WebhookDelivery},
        tables as t,
    },
};

use super::{
    Actions, Deed, Moment, missing, notify,
    once::Once,
    ring,
    run_task::host_of,
    vault::{self, webhook_headers, webhook_secret},
};

/// A webhook that somebody makes, or what it becomes.
#[derive(Clone, Debug)]
pub struct NewWebhook {
    pub name: String,
    pub url: String,
    pub form: WebhookForm,
    /// None keeps the stored one; an empty one removes it.
    pub secret: Option<Secret<String>>,
    /// Set, or with none removed; those that are not named stay.
    pub headers: BTreeMap<String, Option<Secret<String>>>,
    pub labels: Vec<Label>,
    pub enabled: bool,
}

/// Headers by name.
type Headers = BTreeMap<String, Secret<String>>;

impl Actions {
    /// Makes a webhook. Without an id it gets the one that its name suggests.
    pub async fn create_webhook(
        &self,
        permit: &Permit,
        id: Option<Slug>,
        new: NewWebhook,
        once: Option<Once>,
    ) -> Result<Webhook, Error> {
        let unnamed = || Refused::field("id", "cannot be derived from this name; give one");
        let named = id.or_else(|| Slug::derive(&new.name)).ok_or_else(unnamed);
        let id = self.attempted(permit.who(), &Deed::new("webhook.create", "installation"), named).await?;
        let deed = Deed::new("webhook.create", format_args!("webhook:{id}"));
        self.change(permit, deed, move |tx, moment| {
            check(&new)?;
            if let Some(once) = &once
                && let Some(created) = once.seen(tx, moment.now)?
            {
                let row = tx.get(t::ID_TO_WEBHOOK, created.as_str())?;
                return Ok((row.ok_or_else(|| missing(created))?, Some("repeated".to_owned())));
            }
            if tx.get(t::ID_TO_WEBHOOK, id.as_str())?.is_some() {
                return Err(Refused::taken("id", format!("`{id}` is taken; choose another")).into());
            }
            let all: Vec<Webhook> = tx.all(t::ID_TO_WEBHOOK, ""..="\u{10ffff}")?;
            if all.len() >= limits::WEBHOOKS {
                return Err(
                    Refused::conflict(format!("there are {} webhooks; delete one first", limits::WEBHOOKS)).into()
                );
            }
            let blank = Webhook {
                id: id.clone(),
                name: String::new(),
                url: String::new(),
                form: new.form,
                secret: None,
                header_names: Vec::new(),
                headers: None,
                labels: Vec::new(),
                enabled: true,
                disabled_because: None,
                failures: 0,
                created_at: moment.now,
                created_by: moment.actor.clone(),
                updated_at: moment.now,
                updated_by: moment.actor.clone(),
            };
            let row = with(moment, blank, &new)?;
            tx.put(t::ID_TO_WEBHOOK, row.id.as_str(), &row)?;
            if let Some(once) = &once {
                once.remember(tx, row.id.as_str(), moment.now)?;
            }
            ring(tx, moment);
            let detail = said(&row);
            Ok((row, Some(detail)))
        })
        .await
    }

    /// Changes a webhook. One that is switched on again begins without failures.
    pub async fn edit_webhook(&self, permit: &Permit, id: Slug, new: NewWebhook) -> Result<Webhook, Error> {
        let deed = Deed::new("webhook.edit", format_args!("webhook:{id}"));
        self.change(permit, deed, move |tx, moment| {
            check(&new)?;
            let old = wanted(tx, &id)?;
            let row = with(moment, old.clone(), &new)?;
            tx.put(t::ID_TO_WEBHOOK, id.as_str(), &row)?;
            if old.enabled && !row.enabled {
                notify::give_up_waiting(tx, &id, "the webhook was switched off")?;
            }
            ring(tx, moment);
            let detail = changed(&old, &row);
            Ok((row, Some(detail)))
        })
        .await
    }

    /// Forgets a webhook with its deliveries. Policies that name it are told so from now on.
    pub async fn delete_webhook(&self, permit: &Permit, id: Slug) -> Result<(), Error> {
        let deed = Deed::new("webhook.delete", format_args!("webhook:{id}"));
        self.change(permit, deed, move |tx, moment| {
            wanted(tx, &id)?;
            tx.remove(t::ID_TO_WEBHOOK, id.as_str())?;
            let mut seqs = Vec::new();
            tx.walk(t::WEBHOOK_SEQ_TO_DELIVERY, of(&id), Order::Up, |(_, seq), _: WebhookDelivery| {
                seqs.push(seq);
                Ok(Flow::Continue(()))
            })?;
            for seq in seqs {
                tx.remove(t::WEBHOOK_SEQ_TO_DELIVERY, (id.as_str(), seq))?;
                tx.mark(t::OPEN_DELIVERY, (id.as_str(), seq), false)?;
            }
            ring(tx, moment);
            Ok(((), None))
        })
        .await
    }

    /// Sends something harmless, so that somebody sees whether it arrives. Answers with its number.
    pub async fn test_webhook(&self, permit: &Permit, id: Slug, once: Option<Once>) -> Result<u64, Error> {
        let deed = Deed::new("webhook.test", format_args!("webhook:{id}"));
        self.change(permit, deed, move |tx, moment| {
            if let Some(once) = &once
                && let Some(made) = once.seen(tx, moment.now)?
            {
                let seq = made.parse().map_err(|_| missing(format_args!("the delivery {made}")))?;
                return Ok((seq, Some("repeated".to_owned())));
            }
            let webhook = wanted(tx, &id)?;
            let text = format!("A test of the webhook {} by {}", webhook.name, moment.actor.name);
            let body = match webhook.form {
                WebhookForm::Slack => serde_json::json!({"text": text}),
                WebhookForm::Json => serde_json::json!({
                    "account": ORGANIZATION, "title": "Test", "body": text, "severity": "INFO", "error": "",
                }),
            };
            let about = About::Test { by: moment.actor.clone() };
            let draft = notify::Draft { about, method: "POST".to_owned(), headers: Vec::new(), body: body.to_string() };
            let seq = notify::put_delivery(tx, moment, &webhook, draft)?.map_err(Refused::conflict)?;
            if let Some(once) = &once {
                once.remember(tx, &seq.to_string(), moment.now)?;
            }
            Ok((seq, None))
        })
        .await
    }

    /// Sends a delivery that is done once more, because somebody asked for it.
    pub async fn redeliver_webhook(&self, permit: &Permit, id: Slug, seq: u64) -> Result<(), Error> {
        let deed = Deed::new("webhook.redeliver", format_args!("webhook:{id}"));
        self.change(permit, deed, move |tx, moment| {
            let webhook = wanted(tx, &id)?;
            let found = tx.get(t::WEBHOOK_SEQ_TO_DELIVERY, (id.as_str(), seq))?;
            let mut delivery = found.ok_or_else(|| missing(format_args!("the delivery {seq}")))?;
            if delivery.due_at.is_some() {
                return Err(Refused::conflict("it is under way still").into());
            }
            if !webhook.enabled {
                return Err(Refused::conflict("the webhook is switched off; switch it on first").into());
            }
            delivery.due_at = Some(moment.now);
            delivery.tries = 0;
            delivery.given_up = None;
            delivery.again = Some(moment.actor.clone());
            tx.put(t::WEBHOOK_SEQ_TO_DELIVERY, (id.as_str(), seq), &delivery)?;
            tx.mark(t::OPEN_DELIVERY, (id.as_str(), seq), true)?;
            ring(tx, moment);
            Ok(((), Some(format!("delivery {seq}"))))
        })
        .await
    }
}

/// Every delivery of a webhook.
pub(super) fn of(id: &Slug) -> std::ops::RangeInclusive<(&str, u64)> {
    (id.as_str(), 0)..=(id.as_str(), u64::MAX)
}

fn wanted(view: &impl Rows, id: &Slug) -> Result<Webhook, Error> {
    view.get(t::ID_TO_WEBHOOK, id.as_str())?.ok_or_else(|| missing(format_args!("the webhook {id}")))
}

fn check(new: &NewWebhook) -> Result<(), Refused> {
    let name = new.name.trim();
    if name.is_empty() || name.chars().count() > limits::WEBHOOK_NAME_CHARS || name.chars().any(char::is_control) {
        return Err(Refused::field("name", format!("must have 1 to {} characters", limits::WEBHOOK_NAME_CHARS)));
    }
    check_url(&new.url).map_err(|why| Refused::field("url", why))?;
    let length = new.secret.as_ref().map_or(0, |secret| secret.expose().len());
    if length > limits::HMAC_KEY_BYTES {
        return Err(Refused::field("secret", format!("has more than {} bytes", limits::HMAC_KEY_BYTES)));
    }
    for (name, value) in &new.headers {
        let value = value.as_ref().map_or("", |value| value.expose().as_str());
        check_header(name, value).map_err(|why| Refused::field("headers", why))?;
    }
    if new.labels.len() > limits::LABELS {
        return Err(Refused::field("labels", format!("at most {} are allowed", limits::LABELS)));
    }
    Ok(())
}

/// The row with what somebody wants of it.
fn with(moment: &Moment, old: Webhook, new: &NewWebhook) -> Result<Webhook, Error> {
    let keys = moment.keys.get();
    let secret = match &new.secret {
        None => old.secret.clone(),
        Some(secret) if secret.expose().is_empty() => None,
        Some(secret) => Some(webhook_secret(&old.id).seal(&keys, secret.expose().as_bytes())),
    };
    let mut headers = headers_of(&keys, &old)?;
    for (name, value) in &new.headers {
        headers.retain(|known, _| !known.eq_ignore_ascii_case(name));
        headers.extend(value.clone().map(|value| (name.clone(), value)));
    }
    if headers.len() > limits::WEBHOOK_HEADERS {
        let why = format!("at most {} are allowed", limits::WEBHOOK_HEADERS);
        return Err(Refused::field("headers", why).into());
    }
    let begins = new.enabled && !old.enabled;
    Ok(Webhook {
        name: new.name.trim().to_owned(),
        url: new.url.clone(),
        form: new.form,
        secret,
        header_names: headers.keys().cloned().collect(),
        headers: seal_headers(&keys, &old.id, &headers)?,
        labels: new.labels.clone(),
        enabled: new.enabled,
        disabled_because: if new.enabled { None } else { old.disabled_because.clone() },
        failures: if begins { 0 } else { old.failures },
        updated_at: moment.now,
        updated_by: moment.actor.clone(),
        ..old
    })
}

fn seal_headers(keys: &Keyring, id: &Slug, headers: &Headers) -> Result<Option<crate::crypt::Sealed>, Error> {
    if headers.is_empty() {
        return Ok(None);
    }
    let plain: BTreeMap<&str, &str> =
        headers.iter().map(|(name, value)| (name.as_str(), value.expose().as_str())).collect();
    let json = Secret::new(serde_json::to_vec(&plain).map_err(super::sealed_fault)?);
    Ok(Some(webhook_headers(id).seal(keys, json.expose())))
}

/// The headers of a webhook, opened.
pub(super) fn headers_of(keys: &Keyring, webhook: &Webhook) -> Result<Headers, Error> {
    let Some(sealed) = &webhook.headers else { return Ok(Headers::new()) };
    let json = vault::webhook_headers(&webhook.id).open(keys, sealed)?;
    serde_json::from_slice(json.expose()).map_err(super::sealed_fault)
}

/// For the audit log.
fn said(row: &Webhook) -> String {
    let signed = if row.secret.is_some() { ", signed" } else { "" };
    format!("{}, {}{signed}", host_of(&row.url), row.form.word())
}

fn changed(old: &Webhook, new: &Webhook) -> String {
    let mut changed = Vec::new();
    let mut note = |any: bool, what: String| changed.extend(any.then_some(what));
    note(old.name != new.name, format!("name {}", new.name));
    note(old.url != new.url, host_of(&new.url));
    note(old.form != new.form, new.form.word().to_owned());
    note(old.secret != new.secret, "secret".to_owned());
    note(old.headers.is_some() != new.headers.is_some() || old.header_names != new.header_names, "headers".to_owned());
    note(old.labels != new.labels, "labels".to_owned());
    note(old.enabled != new.enabled, if new.enabled { "enabled" } else { "disabled" }.to_owned());
    if changed.is_empty() { "nothing".to_owned() } else { changed.join(", ") }
}
