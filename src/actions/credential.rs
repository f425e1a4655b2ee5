//! Credentials for sources: stored encrypted, usable by the stacks they are bound to, never shown.

use crate::{
    auth::Permit,
    crypt::Secret,
    domain::{Refused, Slug, StackId, limits, stack::Source},
    store::{
        Error, Rows,
        record::{Credential, CredentialKind},
        tables as t,
    },
};

use super::{Actions, Deed, missing, vault};

/// A credential that somebody stores.
#[derive(Clone, Debug)]
pub struct NewCredential {
    pub name: Slug,
    pub kind: CredentialKind,
    pub user: String,
    pub known_hosts: String,
    /// None keeps the stored one.
    pub secret: Option<Secret<String>>,
    pub stacks: Vec<StackId>,
}

impl Actions {
    /// Stores a credential, new or in place of the one of that name.
    pub async fn put_credential(&self, permit: &Permit, new: NewCredential) -> Result<(), Error> {
        let deed = Deed::new("credential.put", format_args!("credential:{}", new.name));
        self.change(permit, deed, move |tx, moment| {
            check(&new)?;
            let old = tx.get(t::NAME_TO_CREDENTIAL, new.name.as_str())?;
            let sealed = match (&new.secret, &old) {
                (Some(secret), _) => vault::credential(&new.name).seal(&moment.keys.get(), secret.expose().as_bytes()),
                (None, Some(old)) if old.kind == new.kind => old.sealed.clone(),
                (None, _) => return Err(Refused::field("secret", "is needed").into()),
            };
            let row = Credential {
                name: new.name.clone(),
                kind: new.kind,
                user: new.user.clone(),
                known_hosts: new.known_hosts.clone(),
                sealed,
                stacks: new.stacks.clone(),
                created_at: old.as_ref().map_or(moment.now, |old| old.created_at),
                created_by: old.map_or_else(|| moment.actor.clone(), |old| old.created_by),
            };
            tx.put(t::NAME_TO_CREDENTIAL, new.name.as_str(), &row)?;
            Ok(((), Some(format!("bound to {} stacks", new.stacks.len()))))
        })
        .await
    }

    /// Deletes a credential that no stack names any more.
    pub async fn delete_credential(&self, permit: &Permit, name: Slug) -> Result<(), Error> {
        let deed = Deed::new("credential.delete", format_args!("credential:{name}"));
        self.change(permit, deed, move |tx, _| {
            if tx.get(t::NAME_TO_CREDENTIAL, name.as_str())?.is_none() {
                return Err(missing(format_args!("the credential {name}")));
            }
            let users: Vec<String> = tx
                .all(t::STACK_ID_TO_STACK, 0..=u128::MAX)?
                .into_iter()
                .filter(|stack| {
                    matches!(&stack.settings.source, Some(Source::Git { credential: Some(used), .. }) if used == name.as_str())
                })
                .map(|stack| stack.slug.to_string())
                .collect();
            if !users.is_empty() {
                return Err(Refused::conflict(format!("still used by {}", users.join(", "))).into());
            }
            tx.remove(t::NAME_TO_CREDENTIAL, name.as_str())?;
            Ok(((), None))
        })
        .await
    }
}

fn check(new: &NewCredential) -> Result<(), Refused> {
    if new.user.chars().count() > limits::USER_NAME_CHARS * 4 || new.user.contains(|c: char| c.is_control()) {
        return Err(Refused::field("user", "must be a name of at most 256 characters"));
    }
    if let Some(secret) = &new.secret {
        let length = secret.expose().len();
        if !(limits::SECRET_MIN_CHARS..=limits::VARIABLE_BYTES).contains(&length) {
            return Err(Refused::field(
                "secret",
                format!("must have {} to {} bytes", limits::SECRET_MIN_CHARS, limits::VARIABLE_BYTES),
            ));
        }
    }
    match new.kind {
        CredentialKind::Https if new.user.is_empty() => Err(Refused::field("user", "is needed for https")),
        CredentialKind::Ssh if new.known_hosts.trim().is_empty() => Err(Refused::field(
            "known_hosts",
            "is needed for ssh: without it nobody could tell the host from an impostor (`ssh-keyscan HOST` prints it)",
        )),
        CredentialKind::Https | CredentialKind::Ssh => Ok(()),
    }
}
