//! Sign-in, sessions, exchanged tokens, set-up and invitations.

use std::{net::IpAddr, sync::Arc, time::Duration};

use ulid::Ulid;

use crate::{
    auth::{
        Who,
        password::{self, Checked},
        token, who,
    },
    crypt::Secret,
    domain::{ActorKind, Refused, RefusedKind, SessionId, Timestamp, UserId, UserName, actor::ActorName, limits},
    live::Bells,
    store::{
        Error, Fault, Find, Flow, Order, Rows, Tx,
        record::{Holder, Invitation, Outcome, Session, SessionKind, User},
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
    /// Signs a person in. The same answer, after the same work, for an unknown user and a wrong
    /// password.
    pub async fn sign_in(&self, shown: SignIn) -> Result<SignedIn, Error> {
        let now = self.now();
        if let Some(wait) = self.access.throttle.wait(&shown.user, shown.address, now) {
            self.count_stranger(shown.address, "session.create");
            let seconds = wait.as_secs().max(1);
            let why = format!("too many wrong passwords; try again in {seconds} s");
            return Err(Refused::new(RefusedKind::TooMany, why).into());
        }
        let user = self.store.read()?.user_by_name(&shown.user)?;
        let usable = user.filter(|user| user.enabled && user.password.is_some());
        let stored = usable.as_ref().and_then(|user| user.password.clone());
        let too_long = shown.password.expose().len() > limits::PASSWORD_MAX_BYTES;
        let offered = if too_long { Secret::default() } else { shown.password.clone() };
        let checked =
            self.access.passwords.check(stored, offered).await.map_err(|error| Fault::Open(error.to_string()))?;
        let (Some(user), Checked::Right | Checked::RightButOld) = (usable, checked) else {
            self.access.throttle.wrong(&shown.user, shown.address, now);
            self.count_stranger(shown.address, "session.create");
            return Err(Refused::new(RefusedKind::Unauthenticated, "user name or password is wrong").into());
        };
        self.access.throttle.right(&shown.user, shown.address);
        if checked == Checked::RightButOld {
            self.rehash(user.id, shown.password.clone()).await?;
        }
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

    async fn rehash(&self, id: UserId, password: Secret<String>) -> Result<(), Error> {
        let hash = self.access.passwords.hash(password).await.map_err(|error| Fault::Open(error.to_string()))?;
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
                make_room(tx, new.holder)?;
                tx.put(t::HASH_TO_SESSION, hash, &session)?;
                tx.mark(t::USER_SESSION, (holder_number(new.holder), hash), true)?;
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
        let entry = audit::Draft::of(who, "session.revoke", &id.to_string(), self.now());
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

    /// Whether nobody can sign in yet.
    pub fn needs_set_up(&self) -> Result<bool, Error> {
        Ok(self.store.read()?.count(t::USER_NAME_TO_ID)? == 0)
    }

    /// A one-time token that makes the first admin; earlier ones stop working.
    pub async fn set_up_token(&self) -> Result<Secret<String>, Error> {
        let minted = token::invitation();
        let hash = minted.hash;
        self.system(move |tx, moment| {
            let mut old = Vec::new();
            tx.walk(t::HASH_TO_INVITATION, [0; 32]..=[255; 32], Order::Up, |hash, invitation| {
                if invitation.setup {
                    old.push(hash);
                }
                Ok(Flow::Continue(()))
            })?;
            for hash in old {
                tx.remove(t::HASH_TO_INVITATION, hash)?;
            }
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

    /// Whom an invitation is for: none when it is unknown, used or too old.
    pub fn invitation(&self, token: &str) -> Result<Option<InvitationFor>, Error> {
        let view = self.store.read()?;
        let found = view.get(t::HASH_TO_INVITATION, token::hash(token))?;
        let Some(invitation) = found.filter(|found| self.now() < found.expires_at) else { return Ok(None) };
        if invitation.setup {
            return Ok(Some(InvitationFor::FirstAdmin));
        }
        Ok(view.user(invitation.user)?.map(|user| InvitationFor::User(user.name)))
    }

    /// Who invited, and how long the link works.
    pub fn invited_by(&self, token: &str) -> Result<Option<(ActorName, Timestamp)>, Error> {
        let found = self.store.read()?.get(t::HASH_TO_INVITATION, token::hash(token))?;
        Ok(found.map(|found| (found.by, found.expires_at)))
    }

    /// Uses an invitation: the person chooses a password (the first admin a name, too).
    pub async fn accept_invitation(
        &self,
        invitation: &str,
        name: Option<UserName>,
        password: Secret<String>,
    ) -> Result<UserName, Error> {
        let spent = || Refused::invalid("this link was used already or is too old; ask for a new one");
        let chosen = match (self.invitation(invitation)?.ok_or_else(spent)?, name) {
            (InvitationFor::FirstAdmin, Some(name)) | (InvitationFor::User(name), _) => name,
            (InvitationFor::FirstAdmin, None) => return Err(Refused::field("name", "is needed").into()),
        };
        if let Some(problem) = password::problem(&password, chosen.as_str()) {
            return Err(Refused::fields(vec![problem]).into());
        }
        let password = self.access.passwords.hash(password).await.map_err(|error| Fault::Open(error.to_string()))?;
        let hash = token::hash(invitation);
        let fresh = UserId::new(Ulid::generate());
        let actor = ActorName { kind: ActorKind::User, name: chosen.to_string() };
        let moment = self.moment(actor);
        self.store
            .write(move |tx| {
                let found = tx.get(t::HASH_TO_INVITATION, hash)?.filter(|found| moment.now < found.expires_at);
                let found = found.ok_or_else(spent)?;
                let user = if found.setup {
                    new_admin(tx, fresh, chosen.clone(), password.clone(), moment.now)?
                } else {
                    let mut user = tx.user(found.user)?.ok_or_else(spent)?;
                    user.password = Some(password.clone());
                    tx.put(t::USER_ID_TO_USER, user.id.number(), &user)?;
                    user
                };
                tx.remove(t::HASH_TO_INVITATION, hash)?;
                let who = who::of_user(user.clone()).ok_or_else(spent)?;
                let object = format!("user:{}", user.name);
                let entry = audit::Draft::new(&who, &Deed::new("user.accept_invitation", object), moment.now);
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
        if let Some(problem) = password::problem(&password, name.as_str()) {
            return Err(Refused::fields(vec![problem]).into());
        }
        let hash = self.access.passwords.hash(password).await.map_err(|error| Fault::Open(error.to_string()))?;
        let id = UserId::new(Ulid::generate());
        let who = Who::system();
        self.system(move |tx, moment| {
            if tx.count(t::USER_NAME_TO_ID)? > 0 {
                return Ok(false);
            }
            let user = new_admin(tx, id, name.clone(), hash.clone(), moment.now)?;
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

/// Whom an invitation is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvitationFor {
    FirstAdmin,
    User(UserName),
}

fn new_admin(tx: &Tx<'_>, id: UserId, name: UserName, password: String, now: Timestamp) -> Result<User, Error> {
    if tx.user_by_name(name.as_str())?.is_some() {
        return Err(Refused::taken("name", format!("`{name}` is taken")).into());
    }
    let user = User {
        id,
        name,
        password: Some(password),
        admin: true,
        enabled: true,
        roles: Vec::new(),
        created_at: now,
        last_seen: None,
    };
    tx.put(t::USER_ID_TO_USER, id.number(), &user)?;
    tx.set_number(t::USER_NAME_TO_ID, user.name.as_str().to_lowercase().as_str(), id.number())?;
    Ok(user)
}

const fn holder_number(holder: Holder) -> u128 {
    match holder {
        Holder::User(id) => id.number(),
        Holder::ApiKey(id) => id.number(),
        Holder::Run(id) => id.number(),
    }
}

/// The oldest sessions make room for a new one.
fn make_room(tx: &Tx<'_>, holder: Holder) -> Result<(), Fault> {
    let mut sessions = sessions_of(tx, holder)?;
    sessions.sort_by_key(|(_, session)| session.used_at);
    let surplus = (sessions.len() + 1).saturating_sub(limits::SESSIONS_PER_USER);
    for (hash, _) in sessions.into_iter().take(surplus) {
        forget_session(tx, hash, holder)?;
    }
    Ok(())
}

pub(crate) fn sessions_of(view: &impl Rows, holder: Holder) -> Result<Vec<(TokenHash, Session)>, Fault> {
    let number = holder_number(holder);
    let mut hashes = Vec::new();
    view.walk_index(t::USER_SESSION, (number, [0; 32])..=(number, [255; 32]), Order::Up, |(_, hash)| {
        hashes.push(hash);
        Ok(Flow::Continue(()))
    })?;
    let mut sessions = Vec::new();
    for hash in hashes {
        sessions.extend(view.get(t::HASH_TO_SESSION, hash)?.map(|session| (hash, session)));
    }
    Ok(sessions)
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
    tx.mark(t::USER_SESSION, (holder_number(holder), hash), false)
}

/// Open pages look again, and find that their session is over.
pub(crate) fn ring(tx: &Tx<'_>, live: &Arc<Bells>) {
    let live = Arc::clone(live);
    tx.after_commit(move || live.ring());
}

/// Ends every session of a holder: their rights changed, or their password did.
pub(crate) fn forget_sessions(tx: &Tx<'_>, holder: Holder, but: Option<TokenHash>) -> Result<(), Fault> {
    for (hash, _) in sessions_of(tx, holder)? {
        if Some(hash) != but {
            forget_session(tx, hash, holder)?;
        }
    }
    Ok(())
}
