//! A new master key, while everything goes on.
//!
//! The order is the argument. (1) The new key is put into the file, the old one beside it
//! ([`crate::crypt::begin_rotation`]). (2) From here on everything is sealed with the new one, because
//! whoever seals asks for the keyring inside the transaction. (3) What the old one sealed is sealed
//! anew, some rows at a time. (4) A fresh database file takes the place of the present one: no page
//! with an old wrapping is left. (5) Once nobody reads the old file any more, the old key is erased.
//!
//! A crash at any point leaves both keys at hand, and the next start goes on from (3): what is sealed
//! anew already is left alone.
//!
//! What changes beside: the short hashes that stand for sensitive values, because their key is derived
//! from the master key. Those of variables and files are made anew; those in the changes of earlier
//! runs stay what they were. Backups made before need the old key.

use std::{ops::Bound, time::Duration};

use crate::{
    auth::{On, Permission, Permit, Who},
    crypt::{self, Key, Keyring, Sealed, begin_rotation, finish_rotation},
    domain::{Refused, Slug, StackId, limits},
    store::{
        Error, Fault, Flow, Order, Rows, Tx,
        record::{
            Call, Chain, Credential, Demand, File, LastingKey, Outcome, RunSecrets, RunTask, RunTaskKind, Service,
            Setting, StateVersion, TaskResult, Variable, VariableValue, Webhook,
        },
        tables as t,
    },
};

use super::{
    Actions, Deed, audit, sealed_fault,
    vault::{self, Place},
};

/// Between two looks at whether somebody still reads the old file.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Readers hold a file for the length of a request; one that holds it longer gets an error.
const READERS_LEAVE: Duration = Duration::from_secs(30);

/// A rotation that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// The key that everything is sealed with now, by its id.
    pub key: String,
    /// How many records were sealed anew.
    pub records: u64,
    /// It was begun earlier and had been broken off.
    pub resumed: bool,
}

impl Actions {
    /// Makes a new master key and erases the old one. Finishes a rotation that was broken off instead,
    /// where there is one. Goes on when the caller is dropped.
    pub async fn rotate_master_key(&self, permit: &Permit) -> Result<Rotated, Error> {
        if (permit.permission(), permit.on()) != (Permission::ManageSystem, On::Installation) {
            return Err(Refused::forbidden("this permit is about something else").into());
        }
        self.change(permit, Deed::new("master_key.rotate", "installation"), |_, moment| {
            if moment.setup.master_key.is_none() {
                let why = "the master key is given to the server by the service manager; replace it there";
                return Err(Refused::conflict(why).into());
            }
            Ok(((), Some(format!("begun with {}", moment.keys.get().present()))))
        })
        .await?;
        let (actions, who) = (self.clone(), permit.who().clone());
        let rotating = tokio::spawn(async move { actions.rotate(&who).await });
        rotating.await.map_err(|error| Fault::Panicked(error.to_string()))?
    }

    /// Goes on with a rotation that was broken off; none when there is none, or when somebody is at it.
    pub async fn resume_rotation(&self) -> Result<Option<Rotated>, Error> {
        if !self.keys.get().is_rotating() || self.access.rotation.try_lock().is_err() {
            return Ok(None);
        }
        self.rotate(&Who::system()).await.map(Some)
    }

    async fn rotate(&self, who: &Who) -> Result<Rotated, Error> {
        let Ok(_alone) = self.access.rotation.try_lock() else {
            return Err(Refused::conflict("somebody is rotating the master key already").into());
        };
        let file = self.setup.master_key.clone().ok_or_else(|| sealed_fault("the master key has no file"))?;
        let resumed = self.keys.get().is_rotating();
        if !resumed {
            self.store.check_renewal()?;
            self.keys.replace(begin_rotation(&file).map_err(sealed_fault)?);
        }
        let records = self.seal_anew().await?;
        self.store.renew().await?;
        self.readers_leave().await;
        finish_rotation(&file).map_err(sealed_fault)?;
        self.keys.replace(self.keys.get().without_previous());
        let rotated = Rotated { key: self.keys.get().present().to_string(), records, resumed };
        self.note_rotated(who, &rotated).await?;
        Ok(rotated)
    }

    /// Seals anew whatever an earlier key sealed; says how many records.
    async fn seal_anew(&self) -> Result<u64, Error> {
        Ok(self.table(variables).await?
            + self.table(files).await?
            + self.table(context_variables).await?
            + self.table(context_files).await?
            + self.table(states).await?
            + self.table(credentials).await?
            + self.table(services).await?
            + self.table(settings).await?
            + self.table(demands).await?
            + self.table(run_tasks).await?
            + self.table(task_tokens).await?
            + self.table(webhooks).await?
            + self.table(calls).await?
            + self.table(run_secrets).await?
            + self.table(chains).await?
            + self.table(lasting_keys).await?)
    }

    /// Does one table, some rows in each transaction.
    async fn table<K: Clone + Send + 'static>(
        &self,
        step: fn(&Tx<'_>, &Keyring, Option<&K>) -> Result<Step<K>, Error>,
    ) -> Result<u64, Error> {
        let (mut after, mut records) = (None, 0);
        loop {
            let from = after.clone();
            let done = self.system(move |tx, moment| step(tx, &moment.keys.get(), from.as_ref())).await?;
            records += done.renewed;
            after = done.last;
            if after.is_none() {
                return Ok(records);
            }
        }
    }

    async fn readers_leave(&self) {
        let all = async {
            while !self.store.forget_old() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        if tokio::time::timeout(READERS_LEAVE, all).await.is_err() {
            tracing::warn!("somebody still reads the store's old file; what they read may not open any more");
        }
    }

    async fn note_rotated(&self, who: &Who, rotated: &Rotated) -> Result<(), Error> {
        let deed = Deed::new("master_key.rotate", "installation");
        let detail = format!("done: {} records are sealed with {} now", rotated.records, rotated.key);
        let entry = audit::Draft::new(who, &deed, self.now()).with(Outcome::Done, Some(detail));
        self.store.write(move |tx| Ok(audit::append(tx, entry.clone())?)).await
    }
}

/// What one transaction did.
#[derive(Debug)]
struct Step<K> {
    renewed: u64,
    /// The last row that was looked at; none at the end of the table.
    last: Option<K>,
}

/// Rows that one transaction looks at.
struct Batch<K, R>(Vec<(K, R)>);

impl<K, R> Batch<K, R> {
    const fn new() -> Self {
        Self(Vec::new())
    }

    fn take(&mut self, key: K, row: R) -> Flow {
        self.0.push((key, row));
        if self.0.len() < limits::ROTATION_ROWS { Flow::Continue(()) } else { Flow::Break(()) }
    }

    /// Puts back what `renew` changes.
    fn renew(
        self,
        mut renew: impl FnMut(&K, &mut R) -> Result<bool, Error>,
        put: impl Fn(&K, &R) -> Result<(), Fault>,
    ) -> Result<Step<K>, Error> {
        let full = self.0.len() == limits::ROTATION_ROWS;
        let mut step = Step { renewed: 0, last: None };
        for (key, mut row) in self.0 {
            if renew(&key, &mut row)? {
                put(&key, &row)?;
                step.renewed += 1;
            }
            step.last = full.then_some(key);
        }
        Ok(step)
    }
}

/// Everything behind a row.
fn behind<K>(after: Option<K>) -> (Bound<K>, Bound<K>) {
    (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)
}

/// A row of a stack, by a text.
type Named = (u128, String);

fn named(after: Option<&Named>) -> (Bound<(u128, &str)>, Bound<(u128, &str)>) {
    behind(after.map(|(stack, name)| (*stack, name.as_str())))
}

fn variables(tx: &Tx<'_>, keys: &Keyring, after: Option<&Named>) -> Result<Step<Named>, Error> {
    let mut batch = Batch::new();
    tx.walk(t::STACK_NAME_TO_VARIABLE, named(after), Order::Up, |(stack, name), row: Variable| {
        Ok(batch.take((stack, name.to_owned()), row))
    })?;
    batch.renew(
        |(stack, _), row| {
            let stack = StackId::from_number(*stack);
            let VariableValue::Sensitive { sealed, hash } = &mut row.value else { return Ok(false) };
            let key = vault::redaction_key(keys, stack);
            renew_hashed(keys, &key, &vault::variable(stack, &row.name), sealed, Some(hash))
        },
        |(stack, name), row| tx.put(t::STACK_NAME_TO_VARIABLE, (*stack, name.as_str()), row),
    )
}

fn files(tx: &Tx<'_>, keys: &Keyring, after: Option<&Named>) -> Result<Step<Named>, Error> {
    let mut batch = Batch::new();
    tx.walk(t::STACK_PATH_TO_FILE, named(after), Order::Up, |(stack, path), row: File| {
        Ok(batch.take((stack, path.to_owned()), row))
    })?;
    batch.renew(
        |(stack, _), row| {
            let stack = StackId::from_number(*stack);
            let hash = row.sensitive.then_some(&mut row.hash);
            let key = vault::redaction_key(keys, stack);
            renew_hashed(keys, &key, &vault::file(stack, &row.path), &mut row.sealed, hash)
        },
        |(stack, path), row| tx.put(t::STACK_PATH_TO_FILE, (*stack, path.as_str()), row),
    )
}

/// A row of a context, by a text.
type InContext = (String, String);

fn in_context(after: Option<&InContext>) -> (Bound<(&str, &str)>, Bound<(&str, &str)>) {
    behind(after.map(|(context, name)| (context.as_str(), name.as_str())))
}

/// The context that a row belongs to.
fn context_of(name: &str) -> Result<Slug, Error> {
    Slug::new(name).map_err(sealed_fault)
}

fn context_variables(tx: &Tx<'_>, keys: &Keyring, after: Option<&InContext>) -> Result<Step<InContext>, Error> {
    let mut batch = Batch::new();
    tx.walk(t::CONTEXT_NAME_TO_VARIABLE, in_context(after), Order::Up, |(context, name), row: Variable| {
        Ok(batch.take((context.to_owned(), name.to_owned()), row))
    })?;
    batch.renew(
        |(context, _), row| {
            let context = context_of(context)?;
            let VariableValue::Sensitive { sealed, hash } = &mut row.value else { return Ok(false) };
            let key = vault::context_redaction_key(keys, &context);
            renew_hashed(keys, &key, &vault::context_variable(&context, &row.name), sealed, Some(hash))
        },
        |(context, name), row| tx.put(t::CONTEXT_NAME_TO_VARIABLE, (context.as_str(), name.as_str()), row),
    )
}

fn context_files(tx: &Tx<'_>, keys: &Keyring, after: Option<&InContext>) -> Result<Step<InContext>, Error> {
    let mut batch = Batch::new();
    tx.walk(t::CONTEXT_PATH_TO_FILE, in_context(after), Order::Up, |(context, path), row: File| {
        Ok(batch.take((context.to_owned(), path.to_owned()), row))
    })?;
    batch.renew(
        |(context, _), row| {
            let context = context_of(context)?;
            let hash = row.sensitive.then_some(&mut row.hash);
            let key = vault::context_redaction_key(keys, &context);
            renew_hashed(keys, &key, &vault::context_file(&context, &row.path), &mut row.sealed, hash)
        },
        |(context, path), row| tx.put(t::CONTEXT_PATH_TO_FILE, (context.as_str(), path.as_str()), row),
    )
}

fn states(tx: &Tx<'_>, keys: &Keyring, after: Option<&(u128, u64)>) -> Result<Step<(u128, u64)>, Error> {
    let mut batch = Batch::new();
    tx.walk(t::STACK_SERIAL_TO_STATE, behind(after.copied()), Order::Up, |key, row: StateVersion| {
        Ok(batch.take(key, row))
    })?;
    batch.renew(
        |(stack, _), row| renew(keys, &vault::state_key(StackId::from_number(*stack), &row.file), &mut row.key),
        |key, row| tx.put(t::STACK_SERIAL_TO_STATE, *key, row),
    )
}

fn credentials(tx: &Tx<'_>, keys: &Keyring, after: Option<&String>) -> Result<Step<String>, Error> {
    let mut batch = Batch::new();
    tx.walk::<&str, Credential, &str>(
        t::NAME_TO_CREDENTIAL,
        behind(after.map(String::as_str)),
        Order::Up,
        |name, row: Credential| Ok(batch.take(name.to_owned(), row)),
    )?;
    batch.renew(
        |_, row| renew(keys, &vault::credential(&row.name), &mut row.sealed),
        |name, row| tx.put(t::NAME_TO_CREDENTIAL, name.as_str(), row),
    )
}

fn services(tx: &Tx<'_>, keys: &Keyring, after: Option<&String>) -> Result<Step<String>, Error> {
    let mut batch = Batch::new();
    tx.walk::<&str, Service, &str>(
        t::NAME_TO_SERVICE,
        behind(after.map(String::as_str)),
        Order::Up,
        |name, row: Service| Ok(batch.take(name.to_owned(), row)),
    )?;
    batch.renew(
        |_, row| match &mut row.password {
            Some(sealed) => renew(keys, &vault::service(&row.name), sealed),
            None => Ok(false),
        },
        |name, row| tx.put(t::NAME_TO_SERVICE, name.as_str(), row),
    )
}

fn settings(tx: &Tx<'_>, keys: &Keyring, after: Option<&Named>) -> Result<Step<Named>, Error> {
    let mut batch = Batch::new();
    tx.walk(t::STACK_NAME_TO_SETTING, named(after), Order::Up, |(stack, key), row: Setting| {
        Ok(batch.take((stack, key.to_owned()), row))
    })?;
    batch.renew(
        |(stack, key), row| {
            let stack = StackId::from_number(*stack);
            let VariableValue::Sensitive { sealed, hash } = &mut row.value else { return Ok(false) };
            let redaction = vault::redaction_key(keys, stack);
            renew_hashed(keys, &redaction, &vault::setting(stack, key), sealed, Some(hash))
        },
        |(stack, key), row| tx.put(t::STACK_NAME_TO_SETTING, (*stack, key.as_str()), row),
    )
}

fn lasting_keys(tx: &Tx<'_>, keys: &Keyring, after: Option<&String>) -> Result<Step<String>, Error> {
    let mut batch = Batch::new();
    tx.walk::<&str, LastingKey, &str>(
        t::NAME_TO_KEY,
        behind(after.map(String::as_str)),
        Order::Up,
        |name, row: LastingKey| Ok(batch.take(name.to_owned(), row)),
    )?;
    batch.renew(
        |name, row| renew(keys, &vault::lasting_key(name), &mut row.sealed),
        |name, row| tx.put(t::NAME_TO_KEY, name.as_str(), row),
    )
}

fn demands(tx: &Tx<'_>, keys: &Keyring, after: Option<&u64>) -> Result<Step<u64>, Error> {
    let mut batch = Batch::new();
    tx.walk(t::RUN_TO_DEMAND, behind(after.copied()), Order::Up, |seq, row: Demand| Ok(batch.take(seq, row)))?;
    batch.renew(
        |seq, row| {
            let Some(run) = tx.get(t::SEQ_TO_RUN, *seq)? else { return Ok(false) };
            renew(keys, &vault::demand(run.id), &mut row.input)
        },
        |seq, row| tx.put(t::RUN_TO_DEMAND, *seq, row),
    )
}

fn run_tasks(tx: &Tx<'_>, keys: &Keyring, after: Option<&u128>) -> Result<Step<u128>, Error> {
    let mut batch = Batch::new();
    tx.walk(t::RUN_TASK_ID_TO_RUN_TASK, behind(after.copied()), Order::Up, |id, row: RunTask| Ok(batch.take(id, row)))?;
    batch.renew(
        |_, row| match &mut row.kind {
            RunTaskKind::Http { hmac_key: Some(sealed), .. } => renew(keys, &vault::run_task(row.id), sealed),
            RunTaskKind::Http { hmac_key: None, .. } | RunTaskKind::Wasi { .. } => Ok(false),
        },
        |id, row| tx.put(t::RUN_TASK_ID_TO_RUN_TASK, *id, row),
    )
}

fn webhooks(tx: &Tx<'_>, keys: &Keyring, after: Option<&String>) -> Result<Step<String>, Error> {
    let mut batch = Batch::new();
    tx.walk::<&str, Webhook, &str>(
        t::ID_TO_WEBHOOK,
        behind(after.map(String::as_str)),
        Order::Up,
        |id, row: Webhook| Ok(batch.take(id.to_owned(), row)),
    )?;
    batch.renew(
        |_, row| {
            let mut any = false;
            for (place, sealed) in
                [(vault::webhook_secret(&row.id), &mut row.secret), (vault::webhook_headers(&row.id), &mut row.headers)]
            {
                if let Some(sealed) = sealed {
                    any |= renew(keys, &place, sealed)?;
                }
            }
            Ok(any)
        },
        |id, row| tx.put(t::ID_TO_WEBHOOK, id.as_str(), row),
    )
}

fn task_tokens(tx: &Tx<'_>, keys: &Keyring, after: Option<&u128>) -> Result<Step<u128>, Error> {
    let mut batch = Batch::new();
    tx.walk(t::RESULT_ID_TO_RESULT, behind(after.copied()), Order::Up, |id, row: TaskResult| Ok(batch.take(id, row)))?;
    batch.renew(
        |_, row| match &mut row.token.sealed {
            Some(sealed) => renew(keys, &vault::task_token(row.id), sealed),
            None => Ok(false),
        },
        |id, row| tx.put(t::RESULT_ID_TO_RESULT, *id, row),
    )
}

fn calls(tx: &Tx<'_>, keys: &Keyring, after: Option<&u64>) -> Result<Step<u64>, Error> {
    let mut batch = Batch::new();
    tx.walk(t::SEQ_TO_CALL, behind(after.copied()), Order::Up, |seq, row: Call| Ok(batch.take(seq, row)))?;
    batch.renew(
        |seq, row| {
            let mut any = renew(keys, &vault::call(*seq), &mut row.payload)?;
            if let Some(plan) = &mut row.plan {
                any |= renew(keys, &vault::call_plan(*seq), plan)?;
            }
            Ok(any)
        },
        |seq, row| tx.put(t::SEQ_TO_CALL, *seq, row),
    )
}

fn run_secrets(tx: &Tx<'_>, keys: &Keyring, after: Option<&u64>) -> Result<Step<u64>, Error> {
    let mut batch = Batch::new();
    tx.walk(t::RUN_TO_SECRETS, behind(after.copied()), Order::Up, |seq, row: RunSecrets| Ok(batch.take(seq, row)))?;
    batch.renew(
        |seq, row| {
            let Some(run) = tx.get(t::SEQ_TO_RUN, *seq)? else { return Ok(false) };
            let seal = vault::seal_key(run.id);
            let mut any = false;
            for (place, sealed) in [
                (&seal, &mut row.seal_key),
                (&seal, &mut row.next_seal_key),
                (&vault::masks(run.id), &mut row.masks),
                (&vault::run_redaction(run.id), &mut row.redaction_key),
                (&vault::workload(run.id), &mut row.workload),
            ] {
                if let Some(sealed) = sealed {
                    any |= renew(keys, place, sealed)?;
                }
            }
            for left in [&mut row.plan, &mut row.source].into_iter().flatten() {
                any |= renew(keys, &vault::chain_key(run.id, left.chain), &mut left.key)?;
            }
            Ok(any)
        },
        |seq, row| tx.put(t::RUN_TO_SECRETS, *seq, row),
    )
}

fn chains(tx: &Tx<'_>, keys: &Keyring, after: Option<&u64>) -> Result<Step<u64>, Error> {
    let mut batch = Batch::new();
    tx.walk(t::RUN_TO_CHAIN, behind(after.copied()), Order::Up, |seq, row: Chain| Ok(batch.take(seq, row)))?;
    batch.renew(
        |_, row| renew(keys, &vault::chain_key(row.run, row.number), &mut row.key),
        |seq, row| tx.put(t::RUN_TO_CHAIN, *seq, row),
    )
}

/// Seals one thing anew; says whether it had to be.
fn renew(keys: &Keyring, place: &Place, sealed: &mut Sealed) -> Result<bool, Error> {
    let renewed = place.renew(keys, sealed)?;
    let any = renewed.is_some();
    if let Some(renewed) = renewed {
        *sealed = renewed;
    }
    Ok(any)
}

/// The same for something that people see a short hash of.
fn renew_hashed(
    keys: &Keyring,
    redaction: &Key,
    place: &Place,
    sealed: &mut Sealed,
    hash: Option<&mut String>,
) -> Result<bool, Error> {
    if !renew(keys, place, sealed)? {
        return Ok(false);
    }
    if let Some(hash) = hash {
        *hash = crypt::redact(redaction, place.open(keys, sealed)?.expose());
    }
    Ok(true)
}
