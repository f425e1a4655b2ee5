//! Who does something.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::id::{KeyId, RunId, UserId};

/// Who does something. What they may do is looked up, not carried here.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Actor {
    User {
        id: UserId,
        name: String,
    },
    ApiKey {
        id: KeyId,
        name: String,
    },
    /// A running task that acts by its short-lived token.
    Workload {
        run: RunId,
        name: String,
    },
    System,
}

impl Actor {
    pub fn name(&self) -> &str {
        match self {
            Self::User { name, .. } | Self::ApiKey { name, .. } | Self::Workload { name, .. } => name,
            Self::System => "system",
        }
    }

    pub const fn kind(&self) -> ActorKind {
        match self {
            Self::User { .. } => ActorKind::User,
            Self::ApiKey { .. } => ActorKind::ApiKey,
            Self::Workload { .. } => ActorKind::Run,
            Self::System => ActorKind::System,
        }
    }

    /// Whether it is the same one, whatever it is called by now.
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::User { id, .. }, Self::User { id: other, .. }) => id == other,
            (Self::ApiKey { id, .. }, Self::ApiKey { id: other, .. }) => id == other,
            (Self::Workload { run, .. }, Self::Workload { run: other, .. }) => run == other,
            (Self::System, Self::System) => true,
            (Self::User { .. } | Self::ApiKey { .. } | Self::Workload { .. } | Self::System, _) => false,
        }
    }

    /// Which one it is, whatever it is called; the system is one by its name.
    pub fn id(&self) -> Option<ActorId> {
        match self {
            Self::User { id, .. } => Some(ActorId(id.to_string())),
            Self::ApiKey { id, .. } => Some(ActorId(id.to_string())),
            Self::Workload { run, .. } => Some(ActorId(run.to_string())),
            Self::System => None,
        }
    }

    /// What people and the API see of it.
    pub fn public(&self) -> ActorName {
        ActorName { kind: self.kind(), name: self.name().to_owned() }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What set something off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    User,
    ApiKey,
    Commit,
    Tag,
    Policy,
    Schedule,
    Run,
    Task,
    System,
}

impl ActorKind {
    pub const fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::ApiKey => "api_key",
            Self::Commit => "commit",
            Self::Tag => "tag",
            Self::Policy => "policy",
            Self::Schedule => "schedule",
            Self::Run => "run",
            Self::Task => "task",
            Self::System => "system",
        }
    }
}

/// `{kind, name}`: who, as histories and the API show it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ActorName {
    pub kind: ActorKind,
    pub name: String,
}

impl ActorName {
    pub fn system() -> Self {
        Actor::System.public()
    }
}

/// The id of a user, a key, or a running task.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ActorId(String);

/// An actor as records keep it: two keys may have one name. Records of earlier versions have no ids.
#[derive(Clone, Copy, Debug)]
pub struct Recorded<'a> {
    pub name: &'a ActorName,
    pub id: Option<&'a ActorId>,
}

impl Recorded<'_> {
    /// Whether it is the same one: by the ids, where both have one.
    pub fn is(self, other: Recorded<'_>) -> bool {
        match (self.id, other.id) {
            (Some(id), Some(other)) => id == other,
            (Some(_) | None, _) => self.name == other.name,
        }
    }
}

/// What an actor may do on one stack. Each role includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// See.
    Reader,
    /// Trigger, perform tasks, confirm, discard, lock, edit the environment.
    Writer,
    /// Settings, attachments, delete, unlock others.
    Admin,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Reader, Self::Writer, Self::Admin];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Writer => "writer",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_one_name_are_told_apart_and_records_without_ids_are_not() {
        let key = |n: u128| Actor::ApiKey { id: KeyId::from_number(n), name: "ci".to_owned() };
        let (one, other) = (key(1), key(2));
        let (name, id, other) = (one.public(), one.id(), other.id());
        let recorded = |id| Recorded { name: &name, id };
        assert!(recorded(id.as_ref()).is(recorded(id.as_ref())));
        assert!(!recorded(id.as_ref()).is(recorded(other.as_ref())));
        assert!(recorded(id.as_ref()).is(recorded(None)), "an earlier version wrote it");
        let user = ActorName { kind: ActorKind::User, ..name.clone() };
        assert!(!recorded(None).is(Recorded { name: &user, id: None }));
    }
}
