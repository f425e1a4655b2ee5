//! Coming in for the first time: the set-up link of an installation, and the invitations of people.
//!
//! A set-up link makes the first user and nobody else. It is withdrawn with whoever is made first, through
//! whatever door, and refused in the same transaction that would make somebody with it.

use std::{net::IpAddr, time::Duration};

use ulid::Ulid;

use crate::{
    auth::{Who, token, who},
    crypt::Secret,
    domain::{ActorKind, Refused, Timestamp, UserId, UserName, actor::ActorName, limits},
    store::{
        Error, Fault, Find, Flow, Order, Rows, Tx,
        record::{Invitation, Outcome, User},
        tables::{self as t, TokenHash},
    },
};

use super::{Actions, Deed, Moment, audit, user::give_password};

/// The verb in the audit log.
const ACCEPT: &str = "user.accept_invitation";

/// Whom an invitation is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvitationFor {
    FirstAdmin,
    User(UserName),
}

impl Actions {
    /// Whether nobody can sign in yet.
    pub fn needs_set_up(&self) -> Result<bool, Error> {
        Ok(!anybody(&self.store.read()?)?)
    }

    /// A one-time token that makes the first admin; earlier ones stop working.
    pub async fn set_up_token(&self) -> Result<Secret<String>, Error> {
        let minted = token::invitation();
        let hash = minted.hash;
        self.system(move |tx, moment| {
            withdraw_set_up(tx)?;
            let invitation = Invitation {
                user: UserId::from_number(0),
                // It stands beside the data as long as nobody used it: whoever reads it owns the host.
                expires_at: moment.now.plus(Duration::from_secs(10 * 365 * 86_400)),
                by: ActorName::system(),
                setup: true,
            };
            Ok(tx.put(t::HASH_TO_INVITATION, hash, &invitation)?)
        })
        .await?;
        Ok(minted.token)
    }

    /// Withdraws every set-up link: somebody exists.
    pub async fn end_set_up(&self) -> Result<(), Error> {
        self.system(|tx, _| Ok(withdraw_set_up(tx)?)).await
    }

    /// Whom an invitation is for: none when it is unknown, used, too old, or for the first user and not
    /// needed any more. Who shows none that works is counted.
    pub fn invitation(&self, token: &str, address: Option<IpAddr>) -> Result<Option<InvitationFor>, Error> {
        let found = self.invited(token)?;
        if found.is_none() {
            self.count_stranger(address, ACCEPT);
        }
        Ok(found)
    }

    fn invited(&self, token: &str) -> Result<Option<InvitationFor>, Error> {
        let Some(invitation) = self.open_invitation(token)? else { return Ok(None) };
        let view = self.store.read()?;
        if invitation.setup {
            return Ok((!anybody(&view)?).then_some(InvitationFor::FirstAdmin));
        }
        Ok(view.user(invitation.user)?.map(|user| InvitationFor::User(user.name)))
    }

    fn open_invitation(&self, token: &str) -> Result<Option<Invitation>, Error> {
        let found = self.store.read()?.get(t::HASH_TO_INVITATION, token::hash(token))?;
        Ok(found.filter(|found: &Invitation| self.now() < found.expires_at))
    }

    /// Who invited, and how long the link works.
    pub fn invited_by(&self, token: &str) -> Result<Option<(ActorName, Timestamp)>, Error> {
        Ok(self.open_invitation(token)?.map(|found| (found.by, found.expires_at)))
    }

    /// Uses an invitation: the person chooses a password (the first admin a name, too).
    pub async fn accept_invitation(
        &self,
        invitation: &str,
        name: Option<UserName>,
        password: Secret<String>,
        address: Option<IpAddr>,
    ) -> Result<UserName, Error> {
        let accepted = self.accept(invitation, name, password, address).await;
        // Whoever has an invitation may choose another password; whoever has none knocked in vain.
        if matches!(&accepted, Err(Error::Refused(why)) if why.fields.is_empty()) {
            self.count_stranger(address, ACCEPT);
        }
        accepted
    }

    async fn accept(
        &self,
        invitation: &str,
        name: Option<UserName>,
        password: Secret<String>,
        address: Option<IpAddr>,
    ) -> Result<UserName, Error> {
        let found = self.open_invitation(invitation)?.ok_or_else(spent)?;
        let chosen = match (found.setup, name) {
            (true, Some(name)) => name,
            (true, None) => return Err(Refused::field("name", "is needed").into()),
            (false, _) => self.store.read()?.user(found.user)?.ok_or_else(spent)?.name,
        };
        let password = self.hashed(password, chosen.as_str(), address).await?;
        let hash = token::hash(invitation);
        let fresh = UserId::new(Ulid::generate());
        let moment = self.moment(ActorName { kind: ActorKind::User, name: chosen.to_string() });
        self.store
            .write(move |tx| {
                let found = tx.get(t::HASH_TO_INVITATION, hash)?.filter(|found| moment.now < found.expires_at);
                let found = found.ok_or_else(spent)?;
                let user = if found.setup {
                    first_admin(tx, &moment, fresh, chosen.clone(), password.clone())?
                } else {
                    let user = tx.user(found.user)?.ok_or_else(spent)?;
                    give_password(tx, &moment, user, password.clone(), None)?
                };
                let who = who::of_user(user.clone()).ok_or_else(spent)?;
                let object = format!("user:{}", user.name);
                let entry = audit::Draft::new(&who, &Deed::new(ACCEPT, object), moment.now);
                audit::append(tx, entry.with(Outcome::Done, None))?;
                Ok(user.name)
            })
            .await
    }

    /// Makes the first admin without a browser; does nothing when a user exists.
    pub async fn bootstrap_admin(&self, name: UserName, password: Secret<String>) -> Result<bool, Error> {
        if !self.needs_set_up()? {
            return Ok(false);
        }
        let hash = self.hashed(password, name.as_str(), None).await?;
        let id = UserId::new(Ulid::generate());
        let who = Who::system();
        self.system(move |tx, moment| {
            if anybody(tx)? {
                return Ok(false);
            }
            let user = first_admin(tx, moment, id, name.clone(), hash.clone())?;
            let deed = Deed::new("user.create", format_args!("user:{}", user.name));
            audit::append(
                tx,
                audit::Draft::new(&who, &deed, moment.now).with(Outcome::Done, Some("first admin".to_owned())),
            )?;
            Ok(true)
        })
        .await
    }
}

fn spent() -> Refused {
    Refused::invalid("this link was used already or is too old; ask for a new one")
}

fn anybody(view: &impl Rows) -> Result<bool, Fault> {
    Ok(view.count(t::USER_NAME_TO_ID)? > 0)
}

fn first_admin(tx: &Tx<'_>, moment: &Moment, id: UserId, name: UserName, password: String) -> Result<User, Error> {
    if anybody(tx)? {
        let why = "somebody exists already, and this link is for the first user only; ask an admin for an invitation";
        return Err(Refused::conflict(why).into());
    }
    let user = User {
        id,
        name,
        password: Some(password),
        admin: true,
        enabled: true,
        roles: Vec::new(),
        created_at: moment.now,
        last_seen: None,
    };
    add_user(tx, &user)?;
    Ok(user)
}

/// Stores somebody new. Nobody is the first one any more.
pub(super) fn add_user(tx: &Tx<'_>, user: &User) -> Result<(), Error> {
    if tx.user_by_name(user.name.as_str())?.is_some() {
        return Err(Refused::taken("name", format!("`{}` is taken", user.name)).into());
    }
    tx.put(t::USER_ID_TO_USER, user.id.number(), user)?;
    tx.set_number(t::USER_NAME_TO_ID, user.name.as_str().to_lowercase().as_str(), user.id.number())?;
    Ok(withdraw_set_up(tx)?)
}

/// Stores an invitation of a person, who has no other one from then on; says until when it works.
pub(super) fn invite(tx: &Tx<'_>, moment: &Moment, user: UserId, hash: TokenHash) -> Result<Timestamp, Fault> {
    withdraw(tx, user)?;
    let expires_at = moment.now.plus(limits::INVITATION);
    let invitation = Invitation { user, expires_at, by: moment.actor.clone(), setup: false };
    tx.put(t::HASH_TO_INVITATION, hash, &invitation)?;
    Ok(expires_at)
}

/// Ends every invitation of a person.
pub(super) fn withdraw(tx: &Tx<'_>, user: UserId) -> Result<(), Fault> {
    withdraw_all(tx, |invitation| !invitation.setup && invitation.user == user)
}

fn withdraw_set_up(tx: &Tx<'_>) -> Result<(), Fault> {
    withdraw_all(tx, |invitation| invitation.setup)
}

fn withdraw_all(tx: &Tx<'_>, is_meant: impl Fn(&Invitation) -> bool) -> Result<(), Fault> {
    let mut meant = Vec::new();
    tx.walk(t::HASH_TO_INVITATION, [0; 32]..=[255; 32], Order::Up, |hash, invitation| {
        if is_meant(&invitation) {
            meant.push(hash);
        }
        Ok(Flow::Continue(()))
    })?;
    for hash in meant {
        tx.remove(t::HASH_TO_INVITATION, hash)?;
    }
    Ok(())
}
