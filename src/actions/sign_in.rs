//! Sign-in, sessions, exchanged tokens.

use std::{net::IpAddr, sync::Arc, time::Duration};

use ulid::Ulid;

use crate::{
    auth::{
        Origin, Who,
        password::{Caller, Checked, HashFailed, Place},
        token, who,
    },
    crypt::Secret,
    domain::{Refused, RefusedKind, SessionId, Timestamp, UserId, limits},
    live::Bells,
    store::{
        Error, Fault, Find, Flow, Order, Rows, Tx,
        record::{Holder, Outcome, Session, SessionKind, User},
        tables::{self as t, TokenHash},
    },
};

use super::{Actions, Deed, audit, missing};

/// What somebody shows to sign in.
#[derive(Debug)]
pub struct SignIn {
    pub user: String,
    pub password: Secret<String>,
    pub kind: SessionKind,
    pub address: Option<IpAddr>,
    pub agent: String,
}

/// A session that was just made; the token is shown this once.
#[derive(Debug)]
pub struct SignedIn {
    pub token: Secret<String>,
    pub expires_at: Timestamp,
    pub who: Who,
}

/// A session before it is stored.
#[derive(Clone, Debug)]
struct NewSession {
    holder: Holder,
    kind: SessionKind,
    expires_at: Option<Timestamp>,
    address: String,
    agent: String,
}

impl Actions {
    /// Signs a person in.
    pub async fn sign_in(&self, shown: SignIn) -> Result<SignedIn, Error> {
        let user = match self.recognize(&shown).await {
            Err(Error::Refused(why)) => {
                self.count_stranger(shown.address, "session.create");
                return Err(why.into());
            }
            known => known?,
        };
        let session = NewSession {
            holder: Holder::User(user.id),
            kind: shown.kind,
            expires_at: None,
            address: shown.address.map(|address| address.to_string()).unwrap_or_default(),
            agent: shown.agent.chars().take(200).collect(),
        };
        let who = who::of_user(user).ok_or_else(|| missing("the user"))?;
        self.open_session(who.at(shown.address), session).await
    }

    /// Whose name and password these are. The same answer, after the same work, for an unknown user and
    /// a wrong password.
    async fn recognize(&self, shown: &SignIn) -> Result<User, Error> {
        let place = self.line_up(Caller::Stranger, shown.address)?;
        let user = self.store.read()?.user_by_name(&shown.user)?;
        let usable = user.filter(|user| user.enabled && user.password.is_some());
        let stored = usable.as_ref().and_then(|user| user.password.clone());
        let checked = self.try_password(&place, &shown.user, stored, shown.password.clone()).await?;
        match (usable, checked) {
            (Some(user), Checked::Right) => Ok(user),
            (Some(user), Checked::RightButOld) => {
                self.rehash(&place, user.id, shown.password.clone()).await?;
                Ok(user)
            }
            (Some(_), Checked::Wrong) | (None, _) => {
                Err(Refused::new(RefusedKind::Unauthenticated, "user name or password is wrong").into())
            }
        }
    }

    /// A place in the line for having a password hashed.
    pub(super) fn line_up(&self, caller: Caller, address: Option<IpAddr>) -> Result<Place, Refused> {
        let place = self.access.passwords.line_up(caller, Origin::of(address));
        place.map_err(|crowded| Refused::too_many(crowded, limits::HASH_WAIT))
    }

    /// Checks a password, once the wait that wrong ones cost is over.
    pub(super) async fn try_password(
        &self,
        place: &Place,
        user: &str,
        stored: Option<String>,
        offered: Secret<String>,
    ) -> Result<Checked, Error> {
        let begun = self.access.throttle.begin(user, place.origin(), self.now());
        begun.map_err(|wait| Refused::too_many("too many passwords were tried", wait))?;
        let too_long = offered.expose().len() > limits::PASSWORD_MAX_BYTES;
        let offered = if too_long { Secret::default() } else { offered };
        let checked = place.check(stored, offered).await.map_err(unhashed)?;
        if checked != Checked::Wrong {
            self.access.throttle.right(user, place.origin());
        }
        Ok(checked)
    }

    async fn rehash(&self, place: &Place, id: UserId, password: Secret<String>) -> Result<(), Error> {
        let hash = place.hash(password).await.map_err(unhashed)?;
        self.system(move |tx, _| {
            if let Some(mut user) = tx.user(id)? {
                user.password = Some(hash.clone());
                tx.put(t::USER_ID_TO_USER, id.number(), &user)?;
            }
            Ok(())
        })
        .await
    }

    async fn open_session(&self, who: Who, new: NewSession) -> Result<SignedIn, Error> {
        let minted = token::session();
        let hash = minted.hash;
        let id = SessionId::new(Ulid::generate());
        let moment = self.moment(who.actor.public());
        let now = moment.now;
        let entry =
            audit::Draft::of(&who, "session.create", &format!("{}:{}", who.actor.kind().word(), who.actor.name()), now);
        let expires_at = new.expires_at.unwrap_or_else(|| now.plus(limits::SESSION_AGE));
        self.store
            .write(move |tx| {
                let session = Session {
                    id,
                    holder: new.holder,
                    kind: new.kind,
                    created_at: now,
                    used_at: now,
                    signed_in_at: now,
                    expires_at: new.expires_at,
                    address: new.address.clone(),
                    agent: new.agent.clone(),
                };
                match new.kind {
                    SessionKind::Cookie | SessionKind::Token => make_room(tx, new.holder)?,
                    SessionKind::Exchanged => make_room_for_token(tx, new.holder, now)?,
                }
                tx.put(t::HASH_TO_SESSION, hash, &session)?;
                tx.mark(t::USER_SESSION, (new.holder.number(), hash), true)?;
                if let Holder::User(id) = new.holder
                    && let Some(mut user) = tx.user(id)?
                {
                    user.last_seen = Some(now);
                    tx.put(t::USER_ID_TO_USER, id.number(), &user)?;
                }
                if new.kind != SessionKind::Exchanged {
                    audit::append(tx, entry.clone().with(Outcome::Done, None))?;
                }
                Ok(())
            })
            .await?;
        Ok(SignedIn { token: minted.token, expires_at, who })
    }

    /// Exchanges an API key, or what a task's runner showed, for a short token. `life` is clamped to what is allowed.
    pub async fn exchange(&self, who: Who, life: Duration) -> Result<SignedIn, Error> {
        let deed = Deed::new("session.create", format_args!("{}:{}", who.actor.kind().word(), who.actor.name()));
        let exchanged = self.exchanged(who.clone(), life).await;
        self.attempted(&who, &deed, exchanged).await
    }

    async fn exchanged(&self, who: Who, life: Duration) -> Result<SignedIn, Error> {
        let holder = match &who.actor {
            crate::domain::Actor::ApiKey { id, .. } => Holder::ApiKey(*id),
            crate::domain::Actor::Workload { run, .. } if who.session.is_none() => Holder::Run(*run),
            crate::domain::Actor::User { .. }
            | crate::domain::Actor::Workload { .. }
            | crate::domain::Actor::System => {
                return Err(Refused::forbidden("only an API key can be exchanged for a token").into());
            }
        };
        let life = life.clamp(limits::TOKEN_MIN, limits::TOKEN_MAX);
        let new = NewSession {
            holder,
            kind: SessionKind::Exchanged,
            expires_at: Some(self.now().plus(life)),
            address: who.address.map(|address| address.to_string()).unwrap_or_default(),
            agent: String::new(),
        };
        self.open_session(who, new).await
    }

    /// Ends the session that the actor is using.
    pub async fn sign_out(&self, who: &Who) -> Result<(), Error> {
        let Some(session) = who.session else { return Ok(()) };
        let entry = audit::Draft::of(who, "session.end", &session.id.to_string(), self.now());
        let live = Arc::clone(&self.live);
        self.store
            .write(move |tx| {
                ring(tx, &live);
                if let Some(row) = tx.get(t::HASH_TO_SESSION, session.hash)? {
                    forget_session(tx, session.hash, row.holder)?;
                }
                Ok(audit::append(tx, entry.clone().with(Outcome::Done, None))?)
            })
            .await?;
        self.live.ring();
        Ok(())
    }

    /// Ends one of the actor's own sessions, or, as an admin, anybody's.
    pub async fn revoke_session(&self, who: &Who, id: SessionId) -> Result<(), Error> {
        let deed = Deed::new("session.revoke", id);
        self.attempted(who, &deed, self.end_session(who, &deed, id).await).await
    }

    async fn end_session(&self, who: &Who, deed: &Deed, id: SessionId) -> Result<(), Error> {
        let entry = audit::Draft::new(who, deed, self.now());
        let (admin, own) = (who.admin, who.user());
        let live = Arc::clone(&self.live);
        self.store
            .write(move |tx| {
                ring(tx, &live);
                let Some((hash, session)) = find_session(tx, id)? else { return Err(missing(id)) };
                let is_own = matches!((session.holder, own), (Holder::User(holder), Some(own)) if holder == own);
                if !is_own && !admin {
                    return Err(missing(id));
                }
                forget_session(tx, hash, session.holder)?;
                Ok(audit::append(tx, entry.clone().with(Outcome::Done, None))?)
            })
            .await?;
        self.live.ring();
        Ok(())
    }

    /// Notes that a session or a key was used, at most once a minute.
    pub async fn note_use(&self, who: &Who) -> Result<(), Error> {
        let now = self.now();
        match (&who.session, &who.actor) {
            (Some(session), _) if now - session.used_at >= limits::USE_WRITTEN_EVERY => {
                let hash = session.hash;
                self.system(move |tx, _| {
                    if let Some(mut row) = tx.get(t::HASH_TO_SESSION, hash)? {
                        row.used_at = now;
                        tx.put(t::HASH_TO_SESSION, hash, &row)?;
                    }
                    Ok(())
                })
                .await
            }
            (None, crate::domain::Actor::ApiKey { id, .. }) => self.note_key_use(*id, now).await,
            (Some(_) | None, _) => Ok(()),
        }
    }

    async fn note_key_use(&self, id: crate::domain::KeyId, now: Timestamp) -> Result<(), Error> {
        let key = self.store.read()?.get(t::KEY_ID_TO_API_KEY, id.number())?;
        let stale = key.is_some_and(|key| key.used_at.is_none_or(|used| now - used >= limits::USE_WRITTEN_EVERY));
        if !stale {
            return Ok(());
        }
        self.system(move |tx, _| {
            if let Some(mut key) = tx.get(t::KEY_ID_TO_API_KEY, id.number())? {
                key.used_at = Some(now);
                tx.put(t::KEY_ID_TO_API_KEY, id.number(), &key)?;
            }
            Ok(())
        })
        .await
    }
}

/// No password of somebody's, but a fault of ours.
pub(super) fn unhashed(failed: HashFailed) -> Fault {
    Fault::Open(failed.to_string())
}

/// A person's oldest sessions make room for a new one.
fn make_room(tx: &Tx<'_>, holder: Holder) -> Result<(), Fault> {
    let mut sessions = tx.sessions_of(holder)?;
    sessions.sort_by_key(|(_, session)| session.used_at);
    let surplus = (sessions.len() + 1).saturating_sub(limits::SESSIONS_PER_USER);
    for (hash, _) in sessions.into_iter().take(surplus) {
        forget_session(tx, hash, holder)?;
    }
    Ok(())
}

/// Exchanged tokens make room for a new one: those that are over, then the oldest, whatever life they were
/// given: so each lives for a while. Several go at once, so that few exchanges have to look at all of them.
fn make_room_for_token(tx: &Tx<'_>, holder: Holder, now: Timestamp) -> Result<(), Fault> {
    if tx.tokens_of(holder)?.len() < limits::TOKENS_PER_HOLDER {
        return Ok(());
    }
    let mut sessions = tx.sessions_of(holder)?;
    sessions.sort_by_key(|(_, session)| (!who::is_over(session, now), session.created_at));
    for (hash, _) in sessions.into_iter().take(limits::TOKENS_MAKE_ROOM) {
        forget_session(tx, hash, holder)?;
    }
    Ok(())
}

fn find_session(view: &impl Rows, id: SessionId) -> Result<Option<(TokenHash, Session)>, Fault> {
    let mut found = None;
    view.walk(t::HASH_TO_SESSION, [0; 32]..=[255; 32], Order::Up, |hash, session| {
        if session.id == id {
            found = Some((hash, session));
            return Ok(Flow::Break(()));
        }
        Ok(Flow::Continue(()))
    })?;
    Ok(found)
}

pub(crate) fn forget_session(tx: &Tx<'_>, hash: TokenHash, holder: Holder) -> Result<(), Fault> {
    tx.remove(t::HASH_TO_SESSION, hash)?;
    tx.mark(t::USER_SESSION, (holder.number(), hash), false)
}

/// Open pages look again, and find that their session is over.
pub(crate) fn ring(tx: &Tx<'_>, live: &Arc<Bells>) {
    let live = Arc::clone(live);
    tx.after_commit(move || live.ring());
}

/// Ends every session of a holder: their rights changed, or their password did.
pub(crate) fn forget_sessions(tx: &Tx<'_>, holder: Holder, but: Option<TokenHash>) -> Result<(), Fault> {
    for (hash, _) in tx.sessions_of(holder)? {
        if Some(hash) != but {
            forget_session(tx, hash, holder)?;
        }
    }
    Ok(())
}
