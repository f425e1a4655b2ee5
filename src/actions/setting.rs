//! Variables that only declared tasks get, as the compatible API names them: on the level of the
//! project, and on that of the environment. What is called `env:NAME` on the environment is the
//! stack's own variable NAME, kept with the others of the stack.

use crate::{
    auth::Permit,
    crypt::Secret,
    domain::{Refused, StackId, limits},
    store::{
        Error, Fault, Find, Rows,
        record::{Setting, SettingLevel, VariableValue},
        tables as t,
    },
};

use super::{Actions, declared, environment::hash_of_secret, missing, vault};

/// A variable that somebody sets.
#[derive(Clone, Debug)]
pub struct NewSetting {
    pub level: SettingLevel,
    pub name: String,
    /// None keeps the stored one.
    pub value: Option<Secret<String>>,
    pub is_sensitive: bool,
    pub is_json: bool,
    pub is_enabled: bool,
    pub visible_build: bool,
    pub visible_runtime: bool,
}

/// The key of a row: level and name.
pub(crate) fn key_of(level: SettingLevel, name: &str) -> String {
    match level {
        SettingLevel::Project => format!("p {name}"),
        SettingLevel::Environment => format!("e {name}"),
    }
}

/// Every one of a stack, by level and name.
pub(crate) fn all(view: &impl Rows, stack: StackId) -> Result<Vec<Setting>, Fault> {
    let id = stack.number();
    view.all(t::STACK_NAME_TO_SETTING, (id, "")..(id + 1, ""))
}

impl Actions {
    /// Sets such a variable; says whether it is new.
    pub async fn set_setting(&self, permit: &Permit, id: StackId, new: NewSetting) -> Result<bool, Error> {
        permit.covers(id)?;
        let deed = self.on_stack("environment.set", id)?;
        self.change(permit, deed, move |tx, moment| {
            declared::check_name(&new.name).map_err(|why| Refused::field("name", why))?;
            tx.stack(id)?.ok_or_else(|| missing("the stack"))?;
            let key = key_of(new.level, &new.name);
            let old = tx.get(t::STACK_NAME_TO_SETTING, (id.number(), key.as_str()))?;
            if old.is_none() && all(tx, id)?.len() >= limits::VARIABLES_PER_STACK {
                let why = format!("a project has at most {} variables", limits::VARIABLES_PER_STACK);
                return Err(Refused::conflict(why).into());
            }
            let keys = moment.keys.get();
            let told = told(&new, old.as_ref());
            if let Some(value) = &told {
                check(&new, value.expose())?;
            }
            let value = match (told, &old) {
                (Some(value), _) if new.is_sensitive => VariableValue::Sensitive {
                    sealed: vault::setting(id, &key).seal(&keys, value.expose().as_bytes()),
                    hash: hash_of_secret(&keys, id, value.expose().as_bytes()),
                },
                (Some(value), _) => VariableValue::Plain(value.expose().clone()),
                (None, Some(_)) if !new.is_sensitive => {
                    let why = "a sensitive variable stays sensitive; delete it instead";
                    return Err(Refused::field("is_sensitive", why).into());
                }
                (None, Some(old)) => old.value.clone(),
                (None, None) => return Err(Refused::field("value", "is needed").into()),
            };
            let row = Setting {
                name: new.name.clone(),
                level: new.level,
                value,
                is_json: new.is_json,
                is_enabled: new.is_enabled,
                visible_build: new.visible_build,
                visible_runtime: new.visible_runtime,
                created_at: old.as_ref().map_or(moment.now, |old| old.created_at),
                updated_at: moment.now,
            };
            tx.put(t::STACK_NAME_TO_SETTING, (id.number(), key.as_str()), &row)?;
            let detail = format!("{}{}", new.name, if new.is_sensitive { " (sensitive)" } else { "" });
            Ok((old.is_none(), Some(detail)))
        })
        .await
    }

    pub async fn delete_setting(
        &self,
        permit: &Permit,
        id: StackId,
        level: SettingLevel,
        name: String,
    ) -> Result<(), Error> {
        permit.covers(id)?;
        let deed = self.on_stack("environment.delete", id)?;
        self.change(permit, deed, move |tx, _| {
            if tx.remove(t::STACK_NAME_TO_SETTING, (id.number(), key_of(level, &name).as_str()))? {
                Ok(((), Some(name.clone())))
            } else {
                Err(missing(format_args!("the variable {name}")))
            }
        })
        .await
    }
}

/// The value in clear: what is said now, else what stands there in clear.
fn told(new: &NewSetting, old: Option<&Setting>) -> Option<Secret<String>> {
    new.value.clone().or_else(|| match &old?.value {
        VariableValue::Plain(value) => Some(Secret::new(value.clone())),
        VariableValue::Sensitive { .. } => None,
    })
}

fn check(new: &NewSetting, text: &str) -> Result<(), Refused> {
    let most = limits::VARIABLE_BYTES;
    if text.len() > most || text.contains('\0') {
        return Err(Refused::field("value", format!("must have at most {most} bytes without NUL")));
    }
    if new.is_sensitive && text.chars().count() < limits::SECRET_MIN_CHARS {
        let least = limits::SECRET_MIN_CHARS;
        return Err(Refused::field("value", format!("a sensitive value has at least {least} characters")));
    }
    if new.is_json && serde_json::from_str::<serde_json::Value>(text).is_err() {
        return Err(Refused::field("value", "is not JSON"));
    }
    Ok(())
}
