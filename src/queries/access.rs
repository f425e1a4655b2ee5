//! People and machines, and what they hold.

use crate::{
    auth::Who,
    domain::{Slug, StackId, Timestamp, UserId},
    store::{
        Find, Rows,
        record::{ApiKey, Credential, CredentialKind, Holder, Session, User},
        tables as t,
    },
};

use super::{Queries, Result};

/// Users and keys.
#[derive(Clone, Debug)]
pub struct Access {
    pub users: Vec<User>,
    pub keys: Vec<ApiKey>,
}

/// One session of a person.
#[derive(Clone, Debug)]
pub struct SessionRow {
    pub session: Session,
    /// The one that asks.
    pub present: bool,
}

/// A credential without its secret.
#[derive(Clone, Debug)]
pub struct CredentialRow {
    pub name: Slug,
    pub kind: CredentialKind,
    pub user: String,
    pub known_hosts: String,
    /// Stacks that may use it, with their slugs where they still exist.
    pub stacks: Vec<(StackId, Option<Slug>)>,
    pub created_at: Timestamp,
    pub created_by: String,
}

impl Queries {
    /// Every user, by name. For admins.
    pub fn users(&self) -> Result<Vec<User>> {
        let mut users: Vec<User> = self.view()?.all(t::USER_ID_TO_USER, 0..=u128::MAX)?;
        users.sort_by_cached_key(|user| user.name.as_str().to_lowercase());
        Ok(users)
    }

    pub fn user(&self, id: UserId) -> Result<Option<User>> {
        Ok(self.view()?.user(id)?)
    }

    pub fn user_by_name(&self, name: &str) -> Result<Option<User>> {
        Ok(self.view()?.user_by_name(name)?)
    }

    /// Every key, the newest first. For admins.
    pub fn keys(&self) -> Result<Vec<ApiKey>> {
        let mut keys: Vec<ApiKey> = self.view()?.all(t::KEY_ID_TO_API_KEY, 0..=u128::MAX)?;
        keys.reverse();
        Ok(keys)
    }

    /// The sessions of the person who asks, the last used first.
    pub fn sessions(&self, who: &Who) -> Result<Vec<SessionRow>> {
        let Some(user) = who.user() else { return Ok(Vec::new()) };
        self.sessions_of(who, user)
    }

    /// The sessions of anybody, the last used first. For admins.
    pub fn sessions_of(&self, who: &Who, user: UserId) -> Result<Vec<SessionRow>> {
        let now = self.now();
        let present = who.session.map(|session| session.id);
        let all = self.view()?.sessions_of(Holder::User(user))?;
        let mut rows: Vec<SessionRow> = all
            .into_iter()
            .map(|(_, session)| session)
            .filter(|session| !crate::auth::who::is_over(session, now))
            .map(|session| SessionRow { present: Some(session.id) == present, session })
            .collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.session.used_at));
        Ok(rows)
    }

    /// Every credential, without its secret. For admins.
    pub fn credentials(&self) -> Result<Vec<CredentialRow>> {
        let view = self.view()?;
        let rows: Vec<Credential> = view.all(t::NAME_TO_CREDENTIAL, ""..="\u{10ffff}")?;
        rows.into_iter()
            .map(|row| {
                let stacks = row.stacks.iter().map(|id| Ok((*id, view.stack(*id)?.map(|stack| stack.slug))));
                Ok(CredentialRow {
                    stacks: stacks.collect::<Result<Vec<_>>>()?,
                    name: row.name,
                    kind: row.kind,
                    user: row.user,
                    known_hosts: row.known_hosts,
                    created_at: row.created_at,
                    created_by: row.created_by.name,
                })
            })
            .collect()
    }
}
