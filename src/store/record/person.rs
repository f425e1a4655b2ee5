//! People, machines, and the log of what they did.

use serde::{Deserialize, Serialize};

use crate::domain::{KeyId, Role, RunId, StackId, Timestamp, UserId, UserName, actor::ActorName};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct User {
    pub id: UserId,
    pub name: UserName,
    /// PHC string; none while the invitation is open.
    pub password: Option<String>,
    pub admin: bool,
    pub enabled: bool,
    pub roles: Vec<RoleOnStack>,
    pub created_at: Timestamp,
    pub last_seen: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleOnStack {
    pub stack: StackId,
    pub role: Role,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    pub id: crate::domain::SessionId,
    pub holder: Holder,
    pub kind: SessionKind,
    pub created_at: Timestamp,
    pub used_at: Timestamp,
    /// When the holder last showed a password.
    pub signed_in_at: Timestamp,
    /// For tokens of a fixed life.
    pub expires_at: Option<Timestamp>,
    pub address: String,
    pub agent: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holder {
    User(UserId),
    ApiKey(KeyId),
    /// A running declared task.
    Run(RunId),
}

impl Holder {
    /// The number of its id, in indexes.
    pub const fn number(self) -> u128 {
        match self {
            Self::User(id) => id.number(),
            Self::ApiKey(id) => id.number(),
            Self::Run(id) => id.number(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionKind {
    /// A browser's cookie.
    Cookie,
    /// A token of `POST /login`.
    Token,
    /// A short token of `/oauth2/token`.
    Exchanged,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Invitation {
    pub user: UserId,
    pub expires_at: Timestamp,
    pub by: ActorName,
    /// Sets up the first admin.
    pub setup: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApiKey {
    pub id: KeyId,
    pub name: UserName,
    #[serde(with = "super::serde_bytes_compat")]
    pub secret_hash: Vec<u8>,
    pub admin: bool,
    pub roles: Vec<RoleOnStack>,
    pub created_at: Timestamp,
    pub created_by: ActorName,
    /// The person who made it, be it by another key: what it says about runs, they say.
    #[serde(default)]
    pub person: Option<ActorName>,
    pub expires_at: Option<Timestamp>,
    pub used_at: Option<Timestamp>,
    pub revoked: bool,
}

/// The answer to a request that may be repeated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Idempotent {
    /// SHA-256 of method, path and body.
    #[serde(with = "super::serde_bytes_compat")]
    pub request: Vec<u8>,
    /// What was created.
    pub created: String,
    pub expires_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    pub seq: u64,
    pub at: Timestamp,
    pub actor: ActorName,
    pub address: Option<String>,
    pub verb: String,
    pub object: String,
    pub outcome: Outcome,
    pub detail: Option<String>,
    /// SHA-256 of the entry before, in hexadecimal digits.
    pub previous: String,
    /// Its own, in the same form.
    pub hash: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Done,
    Refused,
}
