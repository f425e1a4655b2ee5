//! Variables and mounted files of a stack.

use crate::{
    auth::Permit,
    crypt::{self, Key, Keyring, Secret},
    domain::{EnvName, Refused, RelativePath, StackId, limits},
    store::{
        Error, Find, Rows, Tx,
        record::{File, Variable, VariableValue},
        tables as t,
    },
};

use super::{
    Actions, approval, missing,
    vault::{self, Place},
};

/// A variable that somebody sets.
#[derive(Clone, Debug)]
pub struct NewVariable {
    pub name: EnvName,
    pub value: Secret<String>,
    pub sensitive: bool,
    pub description: String,
}

impl Actions {
    /// Sets a variable; says whether it is new.
    pub async fn set_variable(&self, permit: &Permit, id: StackId, new: NewVariable) -> Result<bool, Error> {
        permit.covers(id)?;
        let deed = self.on_stack("environment.set", id)?;
        self.attempted(permit.who(), &deed, check_variable(&new)).await?;
        let NewVariable { name, value, sensitive, description } = new;
        self.change(permit, deed, move |tx, moment| {
            tx.stack(id)?.ok_or_else(|| missing("the stack"))?;
            let key = (id.number(), name.as_str());
            let is_new = tx.get(t::STACK_NAME_TO_VARIABLE, key)?.is_none();
            if is_new && variables(tx, id)?.len() >= limits::VARIABLES_PER_STACK {
                let why = format!("a stack has at most {} variables", limits::VARIABLES_PER_STACK);
                return Err(Refused::conflict(why).into());
            }
            let row = Variable {
                name: name.clone(),
                value: {
                    let keys = moment.keys.get();
                    stored_value(
                        &keys,
                        &vault::variable(id, &name),
                        &vault::redaction_key(&keys, id),
                        &value,
                        sensitive,
                    )
                },
                description: description.clone(),
                updated_at: moment.now,
                updated_by: moment.actor.clone(),
            };
            tx.put(t::STACK_NAME_TO_VARIABLE, key, &row)?;
            approval::environment_changed(tx, moment, id, &format!("the variable {name} was changed"))?;
            Ok((is_new, Some(format!("{name}{}", if sensitive { " (sensitive)" } else { "" }))))
        })
        .await
    }

    pub async fn delete_variable(&self, permit: &Permit, id: StackId, name: EnvName) -> Result<(), Error> {
        permit.covers(id)?;
        let deed = self.on_stack("environment.delete", id)?;
        self.change(permit, deed, move |tx, moment| {
            if tx.remove(t::STACK_NAME_TO_VARIABLE, (id.number(), name.as_str()))? {
                approval::environment_changed(tx, moment, id, &format!("the variable {name} was deleted"))?;
                Ok(((), Some(name.to_string())))
            } else {
                Err(missing(format_args!("the variable {name}")))
            }
        })
        .await
    }

    /// Sets a mounted file; says whether it is new.
    pub async fn set_file(
        &self,
        permit: &Permit,
        id: StackId,
        path: RelativePath,
        content: Secret<Vec<u8>>,
        sensitive: bool,
    ) -> Result<bool, Error> {
        permit.covers(id)?;
        let deed = self.on_stack("file.set", id)?;
        let size = content.expose().len() as u64;
        self.change(permit, deed, move |tx, moment| {
            check_file(&path, &content, sensitive)?;
            tx.stack(id)?.ok_or_else(|| missing("the stack"))?;
            let key = (id.number(), path.as_str());
            let is_new = tx.get(t::STACK_PATH_TO_FILE, key)?.is_none();
            if is_new && files(tx, id)?.len() >= limits::FILES_PER_STACK {
                return Err(Refused::conflict(format!("a stack has at most {} files", limits::FILES_PER_STACK)).into());
            }
            let keys = moment.keys.get();
            let row = File {
                path: path.clone(),
                sensitive,
                size,
                sealed: vault::file(id, &path).seal(&keys, content.expose()),
                hash: hash_of_file(&vault::redaction_key(&keys, id), &content, sensitive),
                updated_at: moment.now,
                updated_by: moment.actor.clone(),
            };
            tx.put(t::STACK_PATH_TO_FILE, key, &row)?;
            approval::environment_changed(tx, moment, id, &format!("the file {path} was changed"))?;
            Ok((is_new, Some(format!("{path}, {size} bytes"))))
        })
        .await
    }

    pub async fn delete_file(&self, permit: &Permit, id: StackId, path: RelativePath) -> Result<(), Error> {
        permit.covers(id)?;
        let deed = self.on_stack("file.delete", id)?;
        self.change(permit, deed, move |tx, moment| {
            if tx.remove(t::STACK_PATH_TO_FILE, (id.number(), path.as_str()))? {
                approval::environment_changed(tx, moment, id, &format!("the file {path} was deleted"))?;
                Ok(((), Some(path.to_string())))
            } else {
                Err(missing(format_args!("the file {path}")))
            }
        })
        .await
    }
}

/// A value as its row holds it. What people see of a sensitive one is hashed under `redaction`, which
/// a rotation of the master key changes.
pub(super) fn stored_value(
    keys: &Keyring,
    place: &Place,
    redaction: &Key,
    value: &Secret<String>,
    sensitive: bool,
) -> VariableValue {
    if !sensitive {
        return VariableValue::Plain(value.expose().clone());
    }
    let value = value.expose().as_bytes();
    VariableValue::Sensitive { sealed: place.seal(keys, value), hash: crypt::redact(redaction, value) }
}

/// What people see of a sensitive value of a stack.
pub(super) fn hash_of_secret(keys: &Keyring, stack: StackId, value: &[u8]) -> String {
    crypt::redact(&vault::redaction_key(keys, stack), value)
}

pub(super) fn hash_of_file(redaction: &Key, content: &Secret<Vec<u8>>, sensitive: bool) -> String {
    if sensitive { crypt::redact(redaction, content.expose()) } else { crypt::digest(content.expose()).to_string() }
}

fn variables(tx: &Tx<'_>, id: StackId) -> Result<Vec<Variable>, crate::store::Fault> {
    tx.all(t::STACK_NAME_TO_VARIABLE, (id.number(), "")..(id.number() + 1, ""))
}

fn files(tx: &Tx<'_>, id: StackId) -> Result<Vec<File>, crate::store::Fault> {
    tx.all(t::STACK_PATH_TO_FILE, (id.number(), "")..(id.number() + 1, ""))
}

pub(super) fn check_variable(new: &NewVariable) -> Result<(), Refused> {
    let value = new.value.expose();
    if value.contains('\0') {
        return Err(Refused::field("value", "must not hold a NUL character"));
    }
    if value.len() > limits::VARIABLE_BYTES {
        let why =
            format!("has {} bytes; at most {} are allowed; mount a file instead", value.len(), limits::VARIABLE_BYTES);
        return Err(Refused::field("value", why));
    }
    if new.description.chars().count() > limits::NOTE_CHARS {
        return Err(Refused::field("description", format!("at most {} characters are allowed", limits::NOTE_CHARS)));
    }
    if new.sensitive && value.chars().count() < limits::SECRET_MIN_CHARS {
        return Err(Refused::field("value", too_short()));
    }
    if new.name.as_str().starts_with("AIRLOCK_") && !is_setting(new.name.as_str()) {
        return Err(Refused::field("name", "names that begin with AIRLOCK_ are given by Airlock itself"));
    }
    Ok(())
}

/// Variables of ours that people do set.
fn is_setting(name: &str) -> bool {
    matches!(name, "AIRLOCK_SKIP_APPLYING" | "AIRLOCK_SKIP_DESTROYING")
}

fn too_short() -> String {
    format!(
        "a sensitive value needs at least {} characters: a shorter one cannot be masked without blanking half of every log",
        limits::SECRET_MIN_CHARS
    )
}

pub(super) fn check_file(path: &RelativePath, content: &Secret<Vec<u8>>, sensitive: bool) -> Result<(), Refused> {
    if path.as_str().is_empty() {
        return Err(Refused::field("path", "must name a file"));
    }
    let size = content.expose().len() as u64;
    if size > limits::FILE_BYTES {
        return Err(Refused::new(
            crate::domain::RefusedKind::TooLarge,
            format!("the file has {size} bytes; at most {} are allowed", limits::FILE_BYTES),
        ));
    }
    if sensitive && content.expose().len() < limits::SECRET_MIN_CHARS {
        return Err(Refused::field("content", too_short()));
    }
    Ok(())
}
