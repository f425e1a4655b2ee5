//! People: inviting, roles, passwords, switching off.

use std::net::IpAddr;

use ulid::Ulid;

use crate::{
    auth::{
        Permit, Who,
        password::{self, Caller, Checked},
        token,
    },
    crypt::Secret,
    domain::{Refused, Timestamp, UserId, UserName},
    store::{
        Error, Fault, Find, Rows, Tx,
        record::{Holder, Outcome, RoleOnStack, User},
        tables::{self as t, TokenHash},
    },
};

use super::{
    Actions, Deed, Moment, Once, audit, invitation, missing, ring,
    sign_in::{self, unhashed},
};

/// A person who is invited.
#[derive(Clone, Debug)]
pub struct NewUser {
    pub name: UserName,
    pub admin: bool,
    pub roles: Vec<RoleOnStack>,
}

/// The invitation's token is shown this once.
#[derive(Debug)]
pub struct Invited {
    pub user: User,
    pub token: Secret<String>,
    pub expires_at: Timestamp,
}

impl Actions {
    /// Invites a person: they choose their password themselves.
    pub async fn invite(&self, permit: &Permit, new: NewUser, once: Option<Once>) -> Result<Invited, Error> {
        let minted = token::invitation();
        let hash = minted.hash;
        let id = UserId::new(Ulid::generate());
        let deed = Deed::new("user.invite", format_args!("user:{}", new.name));
        let (user, expires_at) = self
            .change(permit, deed, move |tx, moment| {
                if let Some(once) = &once {
                    once.only_once(tx, &format!("user:{}", new.name), moment.now)?;
                }
                let user = User {
                    id,
                    name: new.name.clone(),
                    password: None,
                    admin: new.admin,
                    enabled: true,
                    roles: new.roles.clone(),
                    created_at: moment.now,
                    last_seen: None,
                };
                invitation::add_user(tx, &user)?;
                let expires_at = invitation::invite(tx, moment, id, hash)?;
                Ok(((user, expires_at), Some(rights(new.admin, &new.roles))))
            })
            .await?;
        Ok(Invited { user, token: minted.token, expires_at })
    }

    /// A new link for a person who lost theirs, or who forgot their password.
    pub async fn invite_again(&self, permit: &Permit, id: UserId, once: Option<Once>) -> Result<Invited, Error> {
        let minted = token::invitation();
        let hash = minted.hash;
        let deed = self.on_user("user.invite", id)?;
        let (user, expires_at) = self
            .change(permit, deed, move |tx, moment| {
                let user = tx.user(id)?.ok_or_else(|| missing(id))?;
                if let Some(once) = &once {
                    once.only_once(tx, &format!("a link for user:{}", user.name), moment.now)?;
                }
                let expires_at = invitation::invite(tx, moment, id, hash)?;
                Ok(((user, expires_at), Some("again".to_owned())))
            })
            .await?;
        Ok(Invited { user, token: minted.token, expires_at })
    }

    /// Withdraws the invitation of a person who never came in: nothing of them stays but the record.
    pub async fn withdraw_invitation(&self, permit: &Permit, id: UserId) -> Result<(), Error> {
        let deed = self.on_user("user.withdraw_invitation", id)?;
        self.change(permit, deed, move |tx, _| {
            let user = tx.user(id)?.ok_or_else(|| missing(id))?;
            if user.password.is_some() {
                let why = format!("{} has come in already; disable them instead", user.name);
                return Err(Refused::conflict(why).into());
            }
            invitation::withdraw(tx, id)?;
            tx.remove(t::USER_ID_TO_USER, id.number())?;
            tx.remove_number(t::USER_NAME_TO_ID, user.name.as_str().to_lowercase().as_str())?;
            Ok(((), None))
        })
        .await
    }

    /// Changes what a person may do. Their sessions end.
    pub async fn set_rights(
        &self,
        permit: &Permit,
        id: UserId,
        admin: bool,
        roles: Vec<RoleOnStack>,
    ) -> Result<User, Error> {
        let deed = self.on_user("user.set_rights", id)?;
        self.change(permit, deed, move |tx, moment| {
            sign_in::ring(tx, &moment.live);
            let mut user = tx.user(id)?.ok_or_else(|| missing(id))?;
            if user.admin && !admin {
                leave_an_admin(tx, id)?;
            }
            if user.admin != admin || user.roles != roles {
                sign_in::forget_sessions(tx, Holder::User(id), None)?;
            }
            user.admin = admin;
            user.roles.clone_from(&roles);
            tx.put(t::USER_ID_TO_USER, id.number(), &user)?;
            ring(tx, moment);
            Ok((user, Some(rights(admin, &roles))))
        })
        .await
    }

    /// Switches a person off, or on again. Their sessions end.
    pub async fn enable_user(&self, permit: &Permit, id: UserId, enabled: bool) -> Result<User, Error> {
        let verb = if enabled { "user.enable" } else { "user.disable" };
        let deed = self.on_user(verb, id)?;
        self.change(permit, deed, move |tx, moment| {
            sign_in::ring(tx, &moment.live);
            let mut user = tx.user(id)?.ok_or_else(|| missing(id))?;
            if user.enabled && !enabled && user.admin {
                leave_an_admin(tx, id)?;
            }
            user.enabled = enabled;
            sign_in::forget_sessions(tx, Holder::User(id), None)?;
            tx.put(t::USER_ID_TO_USER, id.number(), &user)?;
            ring(tx, moment);
            Ok((user, None))
        })
        .await
    }

    /// A person changes their own password, showing the present one. Other sessions end.
    pub async fn change_password(&self, who: &Who, present: Secret<String>, new: Secret<String>) -> Result<(), Error> {
        let deed = Deed::new("user.change_password", format_args!("user:{}", who.actor.name()));
        let changed = self.changed_password(who, present, new).await;
        let (id, hash) = self.attempted(who, &deed, changed).await?;
        self.store_password(who, deed, id, hash).await
    }

    /// The hash of the new password, once the present one was shown.
    async fn changed_password(
        &self,
        who: &Who,
        present: Secret<String>,
        new: Secret<String>,
    ) -> Result<(UserId, String), Error> {
        let id = who.user().ok_or_else(|| Refused::forbidden("only people have passwords"))?;
        let user = self.store.read()?.user(id)?.ok_or_else(|| missing(id))?;
        if let Some(problem) = password::problem(&new, user.name.as_str()) {
            return Err(Refused::fields(vec![problem]).into());
        }
        let place = self.line_up(Caller::Known, who.address)?;
        if self.try_password(&place, user.name.as_str(), user.password, present).await? == Checked::Wrong {
            return Err(Refused::field("present", "is not your present password").into());
        }
        Ok((id, place.hash(new).await.map_err(unhashed)?))
    }

    async fn store_password(&self, who: &Who, deed: Deed, id: UserId, hash: String) -> Result<(), Error> {
        let moment = self.moment(who.actor.public());
        let entry = audit::Draft::new(who, &deed, moment.now);
        let session = who.session.map(|session| session.hash);
        self.store
            .write(move |tx| {
                let user = tx.user(id)?.ok_or_else(|| missing(id))?;
                give_password(tx, &moment, user, hash.clone(), session)?;
                Ok(audit::append(tx, entry.clone().with(Outcome::Done, None))?)
            })
            .await
    }

    /// Sets a password from the command line on the data directory.
    pub async fn set_password(&self, permit: &Permit, id: UserId, new: Secret<String>) -> Result<(), Error> {
        let user = self.store.read()?.user(id)?.ok_or_else(|| missing(id))?;
        let deed = self.on_user("user.set_password", id)?;
        let hashed = self.hashed(new, user.name.as_str(), None).await;
        let hash = self.attempted(permit.who(), &deed, hashed).await?;
        self.change(permit, deed, move |tx, moment| {
            let user = User { enabled: true, ..tx.user(id)?.ok_or_else(|| missing(id))? };
            give_password(tx, moment, user, hash.clone(), None)?;
            Ok(((), None))
        })
        .await
    }

    /// The hash of a password that is good enough, chosen by somebody who may choose one.
    pub(super) async fn hashed(
        &self,
        password: Secret<String>,
        user: &str,
        address: Option<IpAddr>,
    ) -> Result<String, Error> {
        if let Some(problem) = password::problem(&password, user) {
            return Err(Refused::fields(vec![problem]).into());
        }
        Ok(self.line_up(Caller::Known, address)?.hash(password).await.map_err(unhashed)?)
    }

    /// Shows the password once more, so that something dangerous is allowed for a while.
    pub async fn reauthenticate(&self, who: &Who, shown: Secret<String>) -> Result<(), Error> {
        let deed = Deed::new("session.reauthenticate", format_args!("user:{}", who.actor.name()));
        let session = self.attempted(who, &deed, self.shown_again(who, shown).await).await?;
        let now = self.now();
        self.system(move |tx, _| {
            if let Some(mut row) = tx.get(t::HASH_TO_SESSION, session)? {
                row.signed_in_at = now;
                row.used_at = now;
                tx.put(t::HASH_TO_SESSION, session, &row)?;
            }
            Ok(())
        })
        .await
    }

    /// The session of somebody whose password this is.
    async fn shown_again(&self, who: &Who, shown: Secret<String>) -> Result<TokenHash, Error> {
        let (Some(id), Some(session)) = (who.user(), who.session) else {
            return Err(Refused::forbidden("only a person's session can be renewed").into());
        };
        let user = self.store.read()?.user(id)?.ok_or_else(|| missing(id))?;
        let place = self.line_up(Caller::Known, who.address)?;
        if self.try_password(&place, user.name.as_str(), user.password, shown).await? == Checked::Wrong {
            return Err(Refused::field("password", "is wrong").into());
        }
        Ok(session.hash)
    }

    fn on_user(&self, verb: &'static str, id: UserId) -> Result<Deed, Error> {
        let user = self.store.read()?.user(id)?.ok_or_else(|| missing(id))?;
        Ok(Deed::new(verb, format_args!("user:{}", user.name)))
    }
}

/// Gives a person a password: their invitations are withdrawn, and their sessions end but for one.
pub(super) fn give_password(
    tx: &Tx<'_>,
    moment: &Moment,
    user: User,
    hash: String,
    but: Option<TokenHash>,
) -> Result<User, Fault> {
    sign_in::ring(tx, &moment.live);
    let user = User { password: Some(hash), ..user };
    tx.put(t::USER_ID_TO_USER, user.id.number(), &user)?;
    invitation::withdraw(tx, user.id)?;
    sign_in::forget_sessions(tx, Holder::User(user.id), but)?;
    Ok(user)
}

/// Somebody must be able to let people in again.
fn leave_an_admin(tx: &Tx<'_>, without: UserId) -> Result<(), Error> {
    let others = tx.all(t::USER_ID_TO_USER, 0..=u128::MAX)?;
    if others.iter().any(|user| user.admin && user.enabled && user.password.is_some() && user.id != without) {
        return Ok(());
    }
    Err(Refused::conflict("this is the last admin; make somebody else one first").into())
}

pub(crate) fn rights(admin: bool, roles: &[RoleOnStack]) -> String {
    let mut text = if admin { "admin".to_owned() } else { "member".to_owned() };
    for role in roles {
        text.push_str(&format!(", {} on {}", role.role, role.stack));
    }
    text
}
