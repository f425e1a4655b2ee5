//! From a token to an actor with their roles.

use std::net::IpAddr;

use super::token::{self, Presented};
use crate::{
    crypt,
    domain::{
        Actor, Role, RunId, SessionId, StackId, TaskName, Timestamp, UserId, actor::ActorName,
        authorization::Authorization, limits,
    },
    store::{
        Fault, Find, Rows,
        record::{ApiKey, Holder, RoleOnStack, Session, SessionKind, User},
        tables as t,
    },
};

/// Somebody who showed who they are, with what they may do.
#[derive(Clone, Debug)]
pub struct Who {
    pub actor: Actor,
    pub admin: bool,
    /// The person who made the key that it is.
    key_of: Option<ActorName>,
    roles: Vec<RoleOnStack>,
    /// What a running declared task may do; it has no role.
    workload: Option<Workload>,
    /// What access policies leave of the roles.
    ceilings: Vec<Ceiling>,
    pub session: Option<SessionFacts>,
    pub address: Option<IpAddr>,
}

/// The most that an actor may be on a stack, whatever their role there; none: nothing at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceiling {
    pub stack: StackId,
    pub most: Option<Role>,
}

/// What a running declared task may do on its own stack.
#[derive(Clone, Debug)]
pub struct Workload {
    pub stack: StackId,
    pub authorizations: Vec<Authorization>,
}

/// What a request must know of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionFacts {
    pub id: SessionId,
    pub hash: t::TokenHash,
    pub kind: SessionKind,
    pub signed_in_at: Timestamp,
    pub used_at: Timestamp,
}

impl Who {
    /// The system itself: start-up, expiry, retention.
    pub const fn system() -> Self {
        Self {
            actor: Actor::System,
            admin: true,
            key_of: None,
            roles: Vec::new(),
            workload: None,
            ceilings: Vec::new(),
            session: None,
            address: None,
        }
    }

    /// The same, seen from an address.
    #[must_use]
    pub fn at(self, address: Option<IpAddr>) -> Self {
        Self { address, ..self }
    }

    /// The role on a stack, if any.
    pub fn role_on(&self, stack: StackId) -> Option<Role> {
        if self.admin {
            return Some(Role::Admin);
        }
        if let Some(workload) = &self.workload {
            return workload.sees(stack).then_some(Role::Reader);
        }
        let role = self.roles.iter().filter(|role| role.stack == stack).map(|role| role.role).max()?;
        match self.ceilings.iter().find(|ceiling| ceiling.stack == stack) {
            Some(ceiling) => Some(role.min(ceiling.most?)),
            None => Some(role),
        }
    }

    /// The same actor, held down by what access policies say.
    #[must_use]
    pub fn below(self, ceilings: Vec<Ceiling>) -> Self {
        Self { ceilings, ..self }
    }

    /// The stacks that are visible: none means all of them.
    pub fn visible(&self) -> Option<Vec<StackId>> {
        let own = self.workload.iter().filter(|workload| workload.sees(workload.stack)).map(|workload| workload.stack);
        let seen = self.roles.iter().map(|role| role.stack).filter(|stack| self.role_on(*stack).is_some());
        (!self.admin).then(|| seen.chain(own).collect())
    }

    /// What it may do, if it is a running declared task.
    pub const fn workload(&self) -> Option<&Workload> {
        self.workload.as_ref()
    }

    pub const fn user(&self) -> Option<UserId> {
        match &self.actor {
            Actor::User { id, .. } => Some(*id),
            Actor::ApiKey { .. } | Actor::Workload { .. } | Actor::System => None,
        }
    }

    /// The person who made the key that it is.
    pub const fn key_of(&self) -> Option<&ActorName> {
        self.key_of.as_ref()
    }

    /// The person that this is: themselves, or whose key it is.
    pub fn person(&self) -> Option<ActorName> {
        match &self.actor {
            Actor::User { .. } => Some(self.actor.public()),
            Actor::ApiKey { .. } | Actor::Workload { .. } | Actor::System => self.key_of.clone(),
        }
    }

    /// Whether the password was shown lately enough for something dangerous. Keys need not.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        match (&self.actor, &self.session) {
            (Actor::User { .. }, Some(session)) => now - session.signed_in_at <= limits::REAUTHENTICATE,
            (Actor::User { .. }, None) => false,
            (Actor::ApiKey { .. } | Actor::Workload { .. } | Actor::System, _) => true,
        }
    }

    /// The same actor as the store knows them now; none when they are gone or switched off, or when
    /// the session that they came with is over.
    pub fn again(&self, view: &impl Rows, now: Timestamp) -> Result<Option<Self>, Fault> {
        if let Some(facts) = &self.session
            && view.get(t::HASH_TO_SESSION, facts.hash)?.is_none_or(|session| is_over(&session, now))
        {
            return Ok(None);
        }
        let found = match &self.actor {
            Actor::User { id, .. } => view.user(*id)?.and_then(of_user),
            Actor::ApiKey { id, .. } => view.get(t::KEY_ID_TO_API_KEY, id.number())?.and_then(|key| of_key(key, now)),
            Actor::Workload { run, .. } => of_run(view, *run)?,
            Actor::System => Some(self.clone()),
        };
        let same = |who| Self { session: self.session, address: self.address, ceilings: self.ceilings.clone(), ..who };
        Ok(found.map(same))
    }
}

/// Who holds this token, if anybody does.
pub fn authenticate(
    view: &impl Rows,
    token: &str,
    address: Option<IpAddr>,
    now: Timestamp,
) -> Result<Option<Who>, Fault> {
    let found = match token::presented(token) {
        Some(Presented::Session) => by_session(view, token, now)?,
        Some(Presented::ApiKey(id)) => {
            let key = view.get(t::KEY_ID_TO_API_KEY, id.number())?;
            key.filter(|key| crypt::same(&key.secret_hash, &token::hash(token))).and_then(|key| of_key(key, now))
        }
        None => None,
    };
    Ok(found.map(|who| Who { address, ..who }))
}

/// A user by record, as when they sign in.
pub fn of_user(user: User) -> Option<Who> {
    user.enabled.then(|| Who {
        actor: Actor::User { id: user.id, name: user.name.to_string() },
        admin: user.admin,
        key_of: None,
        roles: user.roles,
        workload: None,
        ceilings: Vec::new(),
        session: None,
        address: None,
    })
}

fn of_key(key: ApiKey, now: Timestamp) -> Option<Who> {
    let valid = !key.revoked && key.expires_at.is_none_or(|end| now < end);
    valid.then(|| Who {
        actor: Actor::ApiKey { id: key.id, name: key.name.to_string() },
        admin: key.admin,
        key_of: key.person,
        roles: key.roles,
        workload: None,
        ceilings: Vec::new(),
        session: None,
        address: None,
    })
}

/// A declared task, as long as it runs.
pub fn of_run(view: &impl Rows, id: RunId) -> Result<Option<Who>, Fault> {
    let Some(run) = view.run(id)?.filter(|run| run.state.is_active()) else { return Ok(None) };
    let Some(demand) = view.get(t::RUN_TO_DEMAND, run.seq)? else { return Ok(None) };
    let name = format!("{} of {} (run #{})", demand.task, run.slug, run.number);
    Ok(Some(Who {
        actor: Actor::Workload { run: id, name },
        admin: false,
        key_of: None,
        roles: Vec::new(),
        workload: Some(Workload { stack: run.stack, authorizations: demand.authorizations }),
        ceilings: Vec::new(),
        session: None,
        address: None,
    }))
}

impl Workload {
    fn sees(&self, stack: StackId) -> bool {
        stack == self.stack && !self.authorizations.is_empty()
    }

    /// Whether the declared task may be triggered.
    pub fn operates(&self, task: &TaskName) -> bool {
        self.authorizations.iter().any(|authorization| authorization.operates_task(task))
    }

    pub fn operates_environment(&self) -> bool {
        self.authorizations.iter().any(Authorization::operates_environment)
    }

    pub fn views_environment(&self) -> bool {
        self.authorizations.iter().any(Authorization::views_environment)
    }
}

fn by_session(view: &impl Rows, token: &str, now: Timestamp) -> Result<Option<Who>, Fault> {
    let hash = token::hash(token);
    let Some(session) = view.get(t::HASH_TO_SESSION, hash)? else { return Ok(None) };
    if is_over(&session, now) {
        return Ok(None);
    }
    let holder = match session.holder {
        Holder::User(id) => view.user(id)?.and_then(of_user),
        Holder::ApiKey(id) => view.get(t::KEY_ID_TO_API_KEY, id.number())?.and_then(|key| of_key(key, now)),
        Holder::Run(id) => of_run(view, id)?,
    };
    let facts = SessionFacts {
        id: session.id,
        hash,
        kind: session.kind,
        signed_in_at: session.signed_in_at,
        used_at: session.used_at,
    };
    Ok(holder.map(|who| Who { session: Some(facts), ..who }))
}

/// Whether a session's time is up.
pub fn is_over(session: &Session, now: Timestamp) -> bool {
    let fixed = session.expires_at.is_some_and(|end| now >= end);
    fixed
        || (session.kind != SessionKind::Exchanged
            && (now - session.used_at > limits::SESSION_IDLE || now - session.created_at > limits::SESSION_AGE))
}
