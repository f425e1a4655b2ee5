//! The managed state of a stack, as people's own machines and admins use it: Terraform's HTTP backend,
//! import, rollback.
//!
//! Every write is a version, encrypted and durable before it is answered; none is ever changed. The
//! lock is one row that a run takes when it is claimed ([`super::life`]) and a laptop by itself;
//! whoever holds neither cannot write.

use std::{collections::BTreeMap, fs, sync::Arc};

use serde_json::value::RawValue;
use ulid::Ulid;

use crate::{
    auth::{On, Permission, Permit, permit},
    crypt::{self, Keyring, Sealed, Secret},
    domain::{
        Refused, RunId, StackId,
        actor::{ActorName, Recorded},
        limits,
    },
    store::{
        Error, Fault, Find, Rows, Tx,
        record::{Stack, StateLock, StateVersion},
        tables as t,
    },
};

use super::{Actions, Moment, Once, claim::newest_state, life, missing, ring, vault};

/// What [`Refused::state`] says when somebody else holds the lock.
pub const LOCKED: &str = "locked";

/// A state in its place on the disk, not yet a version.
#[derive(Clone, Debug)]
pub(crate) struct StoredState {
    pub file: String,
    pub serial: u64,
    pub lineage: String,
    pub size: u64,
    pub resources: u32,
    pub key: Sealed,
}

/// Who writes a version.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    pub run: Option<RunId>,
    pub by: ActorName,
}

/// What a new version must fit.
#[derive(Clone, Debug)]
enum Rule {
    /// It follows the newest one, and is written under this lock, if any.
    Follows { lock: Option<String> },
    /// The stack is locked by the actor; the state may be any. Written once under the key.
    Replaces { once: Option<Once> },
}

impl Actions {
    /// The newest state; none when there is none yet or it was deleted.
    pub async fn current_state(&self, permit: &Permit, id: StackId) -> Result<Option<Secret<Vec<u8>>>, Error> {
        permit.covers(id)?;
        self.keeps_state(id)?;
        let (newest, keys) = self.newest_with_keys(id)?;
        match newest.filter(|version| version.size > 0) {
            Some(version) => self.read_state_aside(keys, id, version).await.map(Some),
            None => Ok(None),
        }
    }

    /// Takes the lock for a laptop. `info` is Terraform's lock document.
    pub async fn lock_state(&self, permit: &Permit, id: StackId, info: String) -> Result<(), Error> {
        permit.covers(id)?;
        let deed = self.on_stack("state.lock", id)?;
        self.change(permit, deed, move |tx, moment| {
            if lock_id(&info).is_none() {
                return Err(Refused::invalid("the lock document must be JSON with an `ID`").into());
            }
            let stack = tx.stack(id)?.ok_or_else(|| missing("the stack"))?;
            check_keeps_state(&stack)?;
            check_stack_lock(&stack, moment)?;
            if let Some(held) = tx.get(t::STACK_TO_STATE_LOCK, id.number())?
                && !is_held_by(&held, lock_id(&info).as_deref())
            {
                return Err(held_by(&held).into());
            }
            let lock = StateLock {
                run: None,
                by: moment.actor.clone(),
                by_id: moment.actor_id.clone(),
                since: moment.now,
                info: Some(info.clone()),
            };
            tx.put(t::STACK_TO_STATE_LOCK, id.number(), &lock)?;
            look_again(tx, moment, id)?;
            Ok(((), lock_id(&info)))
        })
        .await
    }

    /// Releases a laptop's lock: with its id, or by force as the one who took it or as an admin.
    pub async fn unlock_state(&self, permit: &Permit, id: StackId, lock: Option<String>) -> Result<(), Error> {
        permit.covers(id)?;
        let deed = self.on_stack("state.unlock", id)?;
        let who = permit.who().clone();
        self.change(permit, deed, move |tx, moment| {
            let Some(held) = tx.get(t::STACK_TO_STATE_LOCK, id.number())? else {
                return Err(Refused::conflict("the state is not locked").into());
            };
            if held.run.is_some() || (lock.is_some() && !is_held_by(&held, lock.as_deref())) {
                return Err(held_by(&held).into());
            }
            let taken_by = Recorded { name: &held.by, id: held.by_id.as_ref() };
            if lock.is_none() && !moment.who().is(taken_by) {
                self::permit(&who, Permission::UnlockAnother, On::Stack(id), moment.now)?;
            }
            tx.remove(t::STACK_TO_STATE_LOCK, id.number())?;
            look_again(tx, moment, id)?;
            Ok(((), Some(format!("held by {} since {}", held.by.name, held.since))))
        })
        .await
    }

    /// Writes the next version. `lock` is the id of the writer's lock. The newest version once more
    /// changes nothing.
    pub async fn write_state(
        &self,
        permit: &Permit,
        id: StackId,
        state: Secret<Vec<u8>>,
        lock: Option<String>,
    ) -> Result<StateVersion, Error> {
        let deed = self.on_stack("state.write", id)?;
        let facts = self.attempted(permit.who(), &deed, parse(&state)).await?;
        let (newest, keys) = self.newest_with_keys(id)?;
        if let Some(newest) = newest.filter(|newest| newest.size > 0 && newest.serial == facts.serial)
            && *self.read_state_aside(keys, id, newest.clone()).await?.expose() == *state.expose()
        {
            permit.covers(id)?;
            return Ok(newest);
        }
        self.put_state(permit, "state.write", id, state, Rule::Follows { lock }).await
    }

    /// Writes an empty version: the earlier ones stay.
    pub async fn delete_state(&self, permit: &Permit, id: StackId, lock: Option<String>) -> Result<(), Error> {
        let nothing = Secret::default();
        self.put_state(permit, "state.delete", id, nothing, Rule::Follows { lock }).await.map(drop)
    }

    /// Puts an existing state in, whatever was there, while the actor holds the stack's lock.
    pub async fn import_state_file(
        &self,
        permit: &Permit,
        id: StackId,
        state: Secret<Vec<u8>>,
    ) -> Result<StateVersion, Error> {
        self.attempted(permit.who(), &self.on_stack("state.import", id)?, parse(&state)).await?;
        self.put_state(permit, "state.import", id, state, Rule::Replaces { once: None }).await
    }

    /// Makes an earlier version the newest again, as a version of its own with a higher serial, so that
    /// no plan of the versions between fits it. The actor holds the stack's lock.
    pub async fn roll_back_state(
        &self,
        permit: &Permit,
        id: StackId,
        version: u64,
        once: Option<Once>,
    ) -> Result<StateVersion, Error> {
        permit.covers(id)?;
        let deed = self.on_stack("state.rollback", id)?;
        if let Some(made) = self.attempted(permit.who(), &deed, self.rolled_back(id, once.as_ref())).await? {
            return Ok(made);
        }
        let state = self.attempted(permit.who(), &deed, self.again_newest(id, version).await).await?;
        self.put_state(permit, "state.rollback", id, state, Rule::Replaces { once }).await
    }

    /// What the same request made before.
    fn rolled_back(&self, id: StackId, once: Option<&Once>) -> Result<Option<StateVersion>, Error> {
        let view = self.store.read()?;
        let Some(once) = once else { return Ok(None) };
        let Some(made) = once.seen(&view, self.now())? else { return Ok(None) };
        let row = made.parse().ok().map(|made| view.get(t::STACK_SERIAL_TO_STATE, (id.number(), made)));
        let gone = || Refused::conflict(format!("this Idempotency-Key made version {made}, which was removed since"));
        row.transpose()?.flatten().map(Some).ok_or_else(|| gone().into())
    }

    /// An earlier version with the serial of the next one.
    async fn again_newest(&self, id: StackId, version: u64) -> Result<Secret<Vec<u8>>, Error> {
        let view = self.store.read()?;
        let old = view.get(t::STACK_SERIAL_TO_STATE, (id.number(), version))?.filter(|old| old.size > 0);
        let old = old.ok_or_else(|| missing(format_args!("version {version} of the state")))?;
        let newest = newest_state(&view, id)?.map_or(0, |newest| newest.serial);
        let keys = self.keys.get();
        drop(view);
        let state = self.read_state_aside(keys, id, old).await?;
        with_serial(&state, newest + 1)
    }

    /// The newest version, with the keys that open it.
    fn newest_with_keys(&self, id: StackId) -> Result<(Option<StateVersion>, Arc<Keyring>), Error> {
        let view = self.store.read()?;
        let newest = newest_state(&view, id)?;
        Ok((newest, self.keys.get()))
    }

    /// Reads and decrypts a version away from the async threads.
    async fn read_state_aside(
        &self,
        keys: Arc<Keyring>,
        id: StackId,
        version: StateVersion,
    ) -> Result<Secret<Vec<u8>>, Error> {
        let actions = self.clone();
        let read = tokio::task::spawn_blocking(move || actions.read_state(&keys, id, &version));
        read.await.map_err(|error| Fault::Panicked(error.to_string()))?
    }

    async fn put_state(
        &self,
        permit: &Permit,
        verb: &'static str,
        id: StackId,
        state: Secret<Vec<u8>>,
        rule: Rule,
    ) -> Result<StateVersion, Error> {
        permit.covers(id)?;
        let deed = self.on_stack(verb, id)?;
        self.attempted(permit.who(), &deed, self.keeps_state(id)).await?;
        let actions = self.clone();
        let stored =
            tokio::task::spawn_blocking(move || actions.store_state(id, format!("{}.state", Ulid::generate()), &state));
        let stored = stored.await.map_err(|error| Fault::Panicked(error.to_string()))??;
        let place = self.state_path(id, &stored.file);
        let written = self
            .change(permit, deed, move |tx, moment| {
                let stack = tx.stack(id)?.ok_or_else(|| missing("the stack"))?;
                check_rule(tx, moment, &stack, &rule, &stored)?;
                let writer = Writer { run: None, by: moment.actor.clone() };
                let version = append(tx, moment, id, &stored, writer)?;
                if let Rule::Replaces { once: Some(once) } = &rule {
                    once.remember_first(tx, &version.version.to_string(), moment.now)?;
                }
                let detail = format!("version {}, serial {}, {} bytes", version.version, version.serial, version.size);
                Ok((version, Some(detail)))
            })
            .await;
        if written.is_err()
            && let Err(error) = fs::remove_file(&place)
        {
            tracing::warn!(%error, "a state that was refused could not be removed");
        }
        written
    }

    /// Encrypts a state under a key of its own and puts it where versions lie. Blocks.
    pub(crate) fn store_state(
        &self,
        stack: StackId,
        file: String,
        state: &Secret<Vec<u8>>,
    ) -> Result<StoredState, Error> {
        let (own, wrapped) = self.keys.get().new_data_key(vault::state_key(stack, &file).data());
        let place = self.state_path(stack, &file);
        let io = |error: std::io::Error| Fault::Io(format!("{}: {error}", place.display()));
        fs::create_dir_all(place.parent().unwrap_or(&place)).map_err(io)?;
        crypt::write_file_under(&place, &own, file.as_bytes(), &mut state.expose().as_slice()).map_err(io)?;
        let facts: StateFacts = serde_json::from_slice(state.expose()).unwrap_or_default();
        Ok(StoredState {
            file,
            serial: facts.serial,
            lineage: facts.lineage,
            size: state.expose().len() as u64,
            resources: facts.resources,
            key: wrapped,
        })
    }

    fn keeps_state(&self, id: StackId) -> Result<(), Error> {
        let stack = self.store.read()?.stack(id)?.ok_or_else(|| missing("the stack"))?;
        Ok(check_keeps_state(&stack)?)
    }
}

fn check_keeps_state(stack: &Stack) -> Result<(), Refused> {
    if stack.settings.vendor.has_state() {
        return Ok(());
    }
    Err(Refused::conflict(format!("a {} stack keeps no state", stack.settings.vendor.word())))
}

/// Adds a version behind the newest.
pub(crate) fn append(
    tx: &Tx<'_>,
    moment: &Moment,
    stack: StackId,
    state: &StoredState,
    writer: Writer,
) -> Result<StateVersion, Error> {
    // The file was written before the transaction, and the master key may be another since.
    let renewed = vault::state_key(stack, &state.file).renew(&moment.keys.get(), &state.key)?;
    let version = newest_state(tx, stack)?.map_or(0, |version| version.version) + 1;
    let row = StateVersion {
        version,
        serial: state.serial,
        lineage: state.lineage.clone(),
        size: state.size,
        resources: state.resources,
        at: moment.now,
        run: writer.run,
        by: writer.by,
        file: state.file.clone(),
        key: renewed.unwrap_or_else(|| state.key.clone()),
    };
    tx.put(t::STACK_SERIAL_TO_STATE, (stack.number(), version), &row)?;
    Ok(row)
}

fn check_rule(tx: &Tx<'_>, moment: &Moment, stack: &Stack, rule: &Rule, new: &StoredState) -> Result<(), Error> {
    let held = tx.get(t::STACK_TO_STATE_LOCK, stack.id.number())?;
    match (rule, held) {
        (Rule::Follows { lock }, Some(held)) if !is_held_by(&held, lock.as_deref()) => Err(held_by(&held).into()),
        (Rule::Replaces { .. }, Some(held)) => Err(held_by(&held).into()),
        (Rule::Follows { .. }, _) => {
            check_stack_lock(stack, moment)?;
            Ok(check_serial(newest_state(tx, stack.id)?.as_ref(), new)?)
        }
        (Rule::Replaces { .. }, None) if stack.lock.as_ref().is_some_and(|lock| lock.is_held_by(moment.who())) => {
            Ok(())
        }
        (Rule::Replaces { .. }, None) => {
            check_stack_lock(stack, moment)?;
            Err(Refused::conflict("lock the stack first: its state may only be replaced while nobody can use it")
                .into())
        }
    }
}

/// What was made from an older state must not overwrite a newer one.
fn check_serial(newest: Option<&StateVersion>, new: &StoredState) -> Result<(), Refused> {
    let Some(newest) = newest.filter(|newest| newest.size > 0 && new.size > 0) else { return Ok(()) };
    if newest.lineage != new.lineage {
        return Err(Refused::conflict(format!(
            "this is the state of something else: its lineage is `{}`, the stack's is `{}`; an admin can import it while the stack is locked",
            new.lineage, newest.lineage
        )));
    }
    if new.serial <= newest.serial {
        return Err(Refused::conflict(format!(
            "this state is stale: its serial is {}, the newest is {}; begin again from the newest",
            new.serial, newest.serial
        )));
    }
    Ok(())
}

fn check_stack_lock(stack: &Stack, moment: &Moment) -> Result<(), Refused> {
    match &stack.lock {
        Some(lock) if !lock.is_held_by(moment.who()) => {
            Err(Refused::conflict(format!("the stack is locked by {}", lock.by.name)).in_state(LOCKED))
        }
        Some(_) | None => Ok(()),
    }
}

fn is_held_by(held: &StateLock, lock: Option<&str>) -> bool {
    held.run.is_none() && lock.is_some() && held.info.as_deref().and_then(lock_id).as_deref() == lock
}

fn held_by(held: &StateLock) -> Refused {
    let holder = match held.run {
        Some(run) => format!("the run {run}"),
        None => held.by.name.clone(),
    };
    Refused::conflict(format!("the state is locked by {holder} since {}", held.since)).in_state(LOCKED)
}

fn look_again(tx: &Tx<'_>, moment: &Moment, id: StackId) -> Result<(), Error> {
    life::settle(tx, moment, id)?;
    life::schedule(tx, moment)?;
    ring(tx, moment);
    Ok(())
}

/// The `ID` of Terraform's lock document.
fn lock_id(info: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Info {
        #[serde(rename = "ID")]
        id: String,
    }
    serde_json::from_str::<Info>(info).ok().map(|info| info.id).filter(|id| !id.is_empty())
}

/// What is read of a state file.
#[derive(Debug, Default, serde::Deserialize)]
struct StateFacts {
    serial: u64,
    #[serde(default)]
    lineage: String,
    #[serde(default, deserialize_with = "length")]
    resources: u32,
}

fn parse(state: &Secret<Vec<u8>>) -> Result<StateFacts, Refused> {
    let size = state.expose().len() as u64;
    if size > limits::STATE_BYTES {
        let why = format!("the state has {size} bytes; at most {} are allowed", limits::STATE_BYTES);
        return Err(Refused::new(crate::domain::RefusedKind::TooLarge, why));
    }
    // The error would quote the state, which holds secrets.
    serde_json::from_slice(state.expose())
        .map_err(|_| Refused::invalid("this is not a Terraform state: JSON with a `serial`"))
}

/// How many elements a list has, without keeping them.
fn length<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let list: Vec<serde::de::IgnoredAny> = serde::Deserialize::deserialize(deserializer)?;
    Ok(u32::try_from(list.len()).unwrap_or(u32::MAX))
}

/// The same state under another serial; everything else keeps its bytes.
fn with_serial(state: &Secret<Vec<u8>>, serial: u64) -> Result<Secret<Vec<u8>>, Error> {
    let unreadable = |_| Fault::Open("a stored state is not JSON".to_owned());
    let mut fields: BTreeMap<String, &RawValue> = serde_json::from_slice(state.expose()).map_err(unreadable)?;
    let number = RawValue::from_string(serial.to_string()).map_err(unreadable)?;
    fields.insert("serial".to_owned(), &number);
    Ok(Secret::new(serde_json::to_vec(&fields).map_err(unreadable)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollback_changes_the_serial_and_nothing_else() {
        let state = Secret::new(br#"{"version":4,"serial":3,"lineage":"x","n":1.00000000000000000001}"#.to_vec());
        let raised = with_serial(&state, 9).unwrap();
        let text = String::from_utf8(raised.expose().clone()).unwrap();
        assert_eq!(text, r#"{"lineage":"x","n":1.00000000000000000001,"serial":9,"version":4}"#);
        assert_eq!(parse(&raised).unwrap().serial, 9);
    }

    #[test]
    fn a_lock_document_without_an_id_is_none() {
        assert_eq!(lock_id(r#"{"ID":"x","Operation":"OperationTypeApply"}"#).as_deref(), Some("x"));
        for bad in ["", "{}", r#"{"ID":""}"#, "[1]"] {
            assert_eq!(lock_id(bad), None);
        }
    }
}
