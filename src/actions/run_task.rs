//! Run tasks of the installation: made, changed, deleted by admins.
//!
//! A new address or key is called once before it is kept: what does not answer 200 to the verification
//! request is refused with what came back. The key goes one way only. An address may itself be a
//! credential, so the audit log has its host alone.

use ulid::Ulid;

use crate::{
    auth::Permit,
    crypt::Secret,
    domain::{GuestName, Refused, RunTaskId, RunTaskName, Slug, limits, run_task::check_url},
    store::{
        Error, Find as _, Rows, Tx,
        record::{Attachment, RunTask, RunTaskKind, Verification},
        tables as t,
    },
};

use super::{Actions, Deed, Moment, guest::code, missing, once::Once, ring, vault};

/// A run task that somebody makes, or what it becomes.
#[derive(Clone, Debug)]
pub struct NewRunTask {
    pub name: RunTaskName,
    pub description: String,
    pub kind: NewRunTaskKind,
    pub enabled: bool,
    pub trusted: bool,
}

#[derive(Clone, Debug)]
pub enum NewRunTaskKind {
    Http {
        url: String,
        /// None keeps the stored one; an empty one removes it.
        hmac_key: Option<Secret<String>>,
    },
    Wasi {
        guest: GuestName,
    },
}

/// What is verified, and for what.
struct Asked<'a> {
    verb: &'static str,
    name: &'a RunTaskName,
    /// Of a run task that is there already.
    id: Option<RunTaskId>,
    url: &'a str,
}

impl Actions {
    /// Makes a run task, once its address has answered.
    pub async fn create_run_task(
        &self,
        permit: &Permit,
        new: NewRunTask,
        once: Option<Once>,
    ) -> Result<RunTask, Error> {
        let deed = Deed::new("run_task.create", format_args!("run_task:{}", new.name));
        self.attempted(permit.who(), &deed, self.check_run_task(&new)).await?;
        if let Some(known) = self.attempted(permit.who(), &deed, self.made_before(once.as_ref())).await? {
            return Ok(known);
        }
        let verification = match &new.kind {
            NewRunTaskKind::Http { url, hmac_key } => {
                let asked = Asked { verb: "run_task.create", name: &new.name, id: None, url };
                Some(self.verified(permit, asked, given(hmac_key.as_ref())).await?)
            }
            NewRunTaskKind::Wasi { .. } => None,
        };
        let id = RunTaskId::new(Ulid::generate());
        self.change(permit, deed, move |tx, moment| {
            if tx.count(t::RUN_TASK_NAME_TO_ID)? >= limits::RUN_TASKS as u64 {
                return Err(Refused::conflict(format!("there are {} run tasks already", limits::RUN_TASKS)).into());
            }
            refuse_taken(tx, None, &new.name)?;
            let row = RunTask {
                id,
                name: new.name.clone(),
                description: new.description.clone(),
                kind: kind_of(moment, id, &new.kind, None),
                enabled: new.enabled,
                trusted: new.trusted,
                created_at: moment.now,
                created_by: moment.actor.clone(),
                updated_at: moment.now,
                updated_by: moment.actor.clone(),
                verifications: verification.iter().cloned().collect(),
            };
            put(tx, &row)?;
            if let Some(once) = &once {
                once.remember(tx, &id.to_string(), moment.now)?;
            }
            ring(tx, moment);
            let detail = said(&row);
            Ok((row, Some(detail)))
        })
        .await
    }

    /// What this key made before, so that nothing is called again for it.
    fn made_before(&self, once: Option<&Once>) -> Result<Option<RunTask>, Error> {
        let view = self.store.read()?;
        let created = once.map(|once| once.seen(&view, self.now())).transpose()?.flatten();
        let id = created.and_then(|created| created.parse::<RunTaskId>().ok());
        Ok(id.map(|id| view.get(t::RUN_TASK_ID_TO_RUN_TASK, id.number())).transpose()?.flatten())
    }

    /// Changes a run task. Another address or key must answer first.
    pub async fn edit_run_task(&self, permit: &Permit, id: RunTaskId, new: NewRunTask) -> Result<RunTask, Error> {
        let old = self.run_task(id)?;
        let deed = Deed::new("run_task.edit", format_args!("run_task:{}", old.name));
        self.attempted(permit.who(), &deed, self.check_run_task(&new)).await?;
        let verification = self.verify_change(permit, &old, &new).await?;
        self.change(permit, deed, move |tx, moment| {
            let old = tx.get(t::RUN_TASK_ID_TO_RUN_TASK, id.number())?.ok_or_else(|| missing("the run task"))?;
            refuse_taken(tx, Some(id), &new.name)?;
            let mut row = RunTask {
                name: new.name.clone(),
                description: new.description.clone(),
                kind: kind_of(moment, id, &new.kind, Some(&old.kind)),
                enabled: new.enabled,
                trusted: new.trusted,
                updated_at: moment.now,
                updated_by: moment.actor.clone(),
                ..old.clone()
            };
            if let Some(verification) = &verification {
                row.note(verification.clone());
            }
            if old.name != row.name {
                tx.remove_number(t::RUN_TASK_NAME_TO_ID, old.name.as_str())?;
            }
            put(tx, &row)?;
            ring(tx, moment);
            let detail = changed(&old, &row);
            Ok((row, Some(detail)))
        })
        .await
    }

    /// Calls an address that is new, or is to be called with another key.
    async fn verify_change(
        &self,
        permit: &Permit,
        old: &RunTask,
        new: &NewRunTask,
    ) -> Result<Option<Verification>, Error> {
        let NewRunTaskKind::Http { url, hmac_key } = &new.kind else { return Ok(None) };
        let (old_url, stored) = match &old.kind {
            RunTaskKind::Http { url, hmac_key } => (url.as_str(), hmac_key.as_ref()),
            RunTaskKind::Wasi { .. } => ("", None),
        };
        if old_url == url && hmac_key.is_none() {
            return Ok(None);
        }
        let stored = match (hmac_key, stored) {
            (None, Some(sealed)) => Some(vault::run_task(old.id).open_text(&self.keys.get(), sealed)?),
            (Some(_), _) | (None, None) => None,
        };
        let key = hmac_key.as_ref().or(stored.as_ref());
        let asked = Asked { verb: "run_task.edit", name: &old.name, id: Some(old.id), url };
        self.verified(permit, asked, given(key)).await.map(Some)
    }

    /// Calls an address; a refusal is an attempt that the audit log keeps, with the host alone, and a run
    /// task that is there with what came back.
    async fn verified(
        &self,
        permit: &Permit,
        asked: Asked<'_>,
        key: Option<&Secret<String>>,
    ) -> Result<Verification, Error> {
        let Asked { verb, name, id, url } = asked;
        let (verification, done) = self.verify_run_task(url, key).await.map_err(unverified)?;
        let Err(refused) = done else { return Ok(verification) };
        let why = Refused::field("url", format!("{} did not answer the verification with 200", host_of(url)));
        self.refused(permit.who(), verb, &format!("run_task:{name}"), &why).await;
        if let Some(id) = id {
            self.note_verification(id, verification).await?;
        }
        Err(refused.into())
    }

    async fn note_verification(&self, id: RunTaskId, verification: Verification) -> Result<(), Error> {
        self.system(move |tx, _| {
            let Some(mut row) = tx.get(t::RUN_TASK_ID_TO_RUN_TASK, id.number())? else { return Ok(()) };
            row.note(verification.clone());
            Ok(tx.put(t::RUN_TASK_ID_TO_RUN_TASK, id.number(), &row)?)
        })
        .await
    }

    fn run_task(&self, id: RunTaskId) -> Result<RunTask, Error> {
        let found = self.store.read()?.get(t::RUN_TASK_ID_TO_RUN_TASK, id.number())?;
        found.ok_or_else(|| missing("the run task"))
    }

    /// Deletes a run task that is on no stack any more. What it said about runs stays with them.
    pub async fn delete_run_task(&self, permit: &Permit, id: RunTaskId) -> Result<(), Error> {
        let deed = Deed::new("run_task.delete", format_args!("run_task:{}", self.run_task(id)?.name));
        self.change(permit, deed, move |tx, moment| {
            let row = tx.get(t::RUN_TASK_ID_TO_RUN_TASK, id.number())?.ok_or_else(|| missing("the run task"))?;
            let users = users(tx, id)?;
            if !users.is_empty() {
                let users: Vec<&str> = users.iter().map(Slug::as_str).collect();
                let why = format!("the run task {} is on {}; remove it there first", row.name, users.join(", "));
                return Err(Refused::conflict(why).into());
            }
            tx.remove(t::RUN_TASK_ID_TO_RUN_TASK, id.number())?;
            tx.remove_number(t::RUN_TASK_NAME_TO_ID, row.name.as_str())?;
            ring(tx, moment);
            Ok(((), None))
        })
        .await
    }

    /// Every rule that needs nobody outside.
    fn check_run_task(&self, new: &NewRunTask) -> Result<(), Error> {
        if new.description.chars().count() > limits::RUN_TASK_DESCRIPTION_CHARS {
            let why = format!("has more than {} characters", limits::RUN_TASK_DESCRIPTION_CHARS);
            return Err(Refused::field("description", why).into());
        }
        match &new.kind {
            NewRunTaskKind::Http { url, hmac_key } => {
                check_url(url).map_err(|why| Refused::field("url", why))?;
                let length = hmac_key.as_ref().map_or(0, |key| key.expose().len());
                if length > limits::HMAC_KEY_BYTES {
                    let why = format!("has more than {} bytes", limits::HMAC_KEY_BYTES);
                    return Err(Refused::field("hmac_key", why).into());
                }
                Ok(())
            }
            NewRunTaskKind::Wasi { guest } => code::wanted(&self.store.read()?, guest, "guest").map(drop),
        }
    }
}

/// A key that is one.
fn given(key: Option<&Secret<String>>) -> Option<&Secret<String>> {
    key.filter(|key| !key.expose().is_empty())
}

/// What came back belongs to the field with the address.
fn unverified(error: Error) -> Error {
    match error {
        Error::Refused(refused) if refused.fields.is_empty() => Refused::field("url", refused.detail).into(),
        other => other,
    }
}

fn kind_of(moment: &Moment, id: RunTaskId, new: &NewRunTaskKind, old: Option<&RunTaskKind>) -> RunTaskKind {
    match new {
        NewRunTaskKind::Wasi { guest } => RunTaskKind::Wasi { guest: guest.clone() },
        NewRunTaskKind::Http { url, hmac_key } => {
            let stored = match old {
                Some(RunTaskKind::Http { hmac_key, .. }) => hmac_key.clone(),
                Some(RunTaskKind::Wasi { .. }) | None => None,
            };
            let hmac_key = match hmac_key {
                None => stored,
                Some(key) if key.expose().is_empty() => None,
                Some(key) => Some(vault::run_task(id).seal(&moment.keys.get(), key.expose().as_bytes())),
            };
            RunTaskKind::Http { url: url.clone(), hmac_key }
        }
    }
}

fn put(tx: &Tx<'_>, row: &RunTask) -> Result<(), Error> {
    tx.put(t::RUN_TASK_ID_TO_RUN_TASK, row.id.number(), row)?;
    Ok(tx.set_number(t::RUN_TASK_NAME_TO_ID, row.name.as_str(), row.id.number())?)
}

fn refuse_taken(tx: &Tx<'_>, own: Option<RunTaskId>, name: &RunTaskName) -> Result<(), Error> {
    match tx.number(t::RUN_TASK_NAME_TO_ID, name.as_str())? {
        Some(id) if own.map(RunTaskId::number) != Some(id) => {
            Err(Refused::taken("name", format!("there is a run task `{name}` already")).into())
        }
        Some(_) | None => Ok(()),
    }
}

/// Where a run task is attached.
fn users(tx: &Tx<'_>, id: RunTaskId) -> Result<Vec<Slug>, Error> {
    let mut slugs = Vec::new();
    for attachment in tx.all::<_, Attachment, (u128, u128)>(t::STACK_ID_TO_ATTACHMENT, ..)? {
        if attachment.run_task == id {
            slugs.extend(tx.stack(attachment.stack)?.map(|stack| stack.slug));
        }
    }
    slugs.sort_unstable();
    Ok(slugs)
}

/// Refuses to take a guest away that run tasks are.
pub(super) fn refuse_used_guest(tx: &Tx<'_>, name: &GuestName) -> Result<(), Error> {
    let uses = |row: &RunTask| matches!(&row.kind, RunTaskKind::Wasi { guest } if guest == name);
    let rows = tx.all::<_, RunTask, u128>(t::RUN_TASK_ID_TO_RUN_TASK, ..)?;
    match rows.iter().find(|row| uses(row)) {
        Some(row) => Err(Refused::conflict(format!("still used by the run task {}", row.name)).into()),
        None => Ok(()),
    }
}

/// For the audit log.
fn said(row: &RunTask) -> String {
    match &row.kind {
        RunTaskKind::Http { url, hmac_key } => {
            format!("{}{}", host_of(url), if hmac_key.is_some() { ", signed" } else { "" })
        }
        RunTaskKind::Wasi { guest } => format!("the guest {guest}"),
    }
}

/// An address without what may be secret about it.
pub(crate) fn host_of(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(url) => url[url::Position::BeforeScheme..url::Position::BeforePath].to_owned(),
        Err(_) => "an address".to_owned(),
    }
}

fn changed(old: &RunTask, new: &RunTask) -> String {
    let mut changed = Vec::new();
    let mut note = |any: bool, what: String| changed.extend(any.then_some(what));
    note(old.name != new.name, format!("name {}", new.name));
    note(old.description != new.description, "description".to_owned());
    note(old.kind != new.kind, said(new));
    note(old.enabled != new.enabled, if new.enabled { "enabled" } else { "disabled" }.to_owned());
    note(old.trusted != new.trusted, if new.trusted { "trusted" } else { "not trusted" }.to_owned());
    if changed.is_empty() { "nothing".to_owned() } else { changed.join(", ") }
}
