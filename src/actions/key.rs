//! API keys: made once, shown once, revoked.

use ulid::Ulid;

use crate::{
    auth::{Permit, token},
    crypt::Secret,
    domain::{KeyId, Refused, Timestamp, UserName},
    store::{
        Error, Rows,
        record::{ApiKey, Holder, RoleOnStack},
        tables as t,
    },
};

use super::{Actions, Deed, Once, missing, ring, sign_in, user::rights};

/// A key that somebody asks for.
#[derive(Clone, Debug)]
pub struct NewKey {
    pub name: UserName,
    pub admin: bool,
    pub roles: Vec<RoleOnStack>,
    pub expires_at: Option<Timestamp>,
}

/// The secret is shown this once.
#[derive(Debug)]
pub struct MintedKey {
    pub key: ApiKey,
    pub secret: Secret<String>,
}

impl Actions {
    pub async fn create_key(&self, permit: &Permit, new: NewKey, once: Option<Once>) -> Result<MintedKey, Error> {
        let id = KeyId::new(Ulid::generate());
        let minted = token::api_key(id);
        let hash = minted.hash;
        let deed = Deed::new("api_key.create", format_args!("api_key:{}", new.name));
        let person = permit.who().person();
        let key = self
            .change(permit, deed, move |tx, moment| {
                if new.expires_at.is_some_and(|end| end <= moment.now) {
                    return Err(Refused::field("expires_at", "is in the past").into());
                }
                if let Some(once) = &once {
                    once.only_once(tx, &id.to_string(), moment.now)?;
                }
                let key = ApiKey {
                    id,
                    name: new.name.clone(),
                    secret_hash: hash.to_vec(),
                    admin: new.admin,
                    roles: new.roles.clone(),
                    created_at: moment.now,
                    created_by: moment.actor.clone(),
                    person: person.clone(),
                    expires_at: new.expires_at,
                    used_at: None,
                    revoked: false,
                };
                tx.put(t::KEY_ID_TO_API_KEY, id.number(), &key)?;
                Ok((key, Some(format!("{id}: {}", rights(new.admin, &new.roles)))))
            })
            .await?;
        Ok(MintedKey { key, secret: minted.token })
    }

    /// Ends a key at once, with every token made from it.
    pub async fn revoke_key(&self, permit: &Permit, id: KeyId) -> Result<(), Error> {
        let key = self.store.read()?.get(t::KEY_ID_TO_API_KEY, id.number())?.ok_or_else(|| missing(id))?;
        let deed = Deed::new("api_key.revoke", format_args!("api_key:{}", key.name));
        self.change(permit, deed, move |tx, moment| {
            let mut key = tx.get(t::KEY_ID_TO_API_KEY, id.number())?.ok_or_else(|| missing(id))?;
            if key.revoked {
                return Err(Refused::conflict("the key is revoked already").into());
            }
            key.revoked = true;
            tx.put(t::KEY_ID_TO_API_KEY, id.number(), &key)?;
            sign_in::forget_sessions(tx, Holder::ApiKey(id), None)?;
            ring(tx, moment);
            Ok(((), Some(id.to_string())))
        })
        .await
    }
}
