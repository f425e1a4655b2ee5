//! Stacks and what belongs to them.

use serde::{Deserialize, Serialize};

use crate::{
    crypt::Sealed,
    domain::{
        Digest, EnvName, RelativePath, RunId, Slug, StackId, Timestamp,
        actor::{ActorId, ActorName},
        stack::{Lock, StackSettings},
    },
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stack {
    pub id: StackId,
    pub slug: Slug,
    pub settings: StackSettings,
    pub created_at: Timestamp,
    pub lock: Option<Lock>,
    /// The newest upload, which runs of an upload stack are pinned to.
    pub upload: Option<Digest>,
    /// Number of the newest run.
    pub runs: u64,
    /// The newest tracked run: the stack's state is its state, unless another still has the stack to itself.
    pub latest_tracked: Option<RunId>,
    /// Of the terraform or tofu that changes were applied with last.
    #[serde(default)]
    pub terraform_version: Option<String>,
    /// Changed with every write, so that forms can tell what they were filled from.
    pub version: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Variable {
    pub name: EnvName,
    pub value: VariableValue,
    pub description: String,
    pub updated_at: Timestamp,
    pub updated_by: ActorName,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VariableValue {
    Plain(String),
    /// The keyed hash lets people compare.
    Sensitive {
        sealed: Sealed,
        hash: String,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct File {
    pub path: RelativePath,
    pub sensitive: bool,
    pub size: u64,
    /// Content, encrypted whether sensitive or not.
    pub sealed: Sealed,
    /// A keyed hash of the content when it is sensitive, else its SHA-256.
    pub hash: String,
    pub updated_at: Timestamp,
    pub updated_by: ActorName,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Upload {
    pub digest: Digest,
    pub size: u64,
    pub entries: u64,
    pub at: Timestamp,
    pub by: ActorName,
    /// The person who made the key that it was uploaded with.
    #[serde(default)]
    pub key_of: Option<ActorName>,
}

/// One version of a managed state. The bytes are in a file, encrypted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StateVersion {
    /// Number of this version on its stack, from 1.
    pub version: u64,
    /// Terraform's own serial.
    pub serial: u64,
    pub lineage: String,
    pub size: u64,
    pub resources: u32,
    pub at: Timestamp,
    /// The run that wrote it; none: a person.
    pub run: Option<RunId>,
    pub by: ActorName,
    /// The name of its file; says which write of which phase it is, so that importing it twice
    /// changes nothing.
    pub file: String,
    /// The random key of the file, wrapped by the master key.
    pub key: Sealed,
}

/// Who holds the lock of a managed state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StateLock {
    pub run: Option<RunId>,
    pub by: ActorName,
    #[serde(default)]
    pub by_id: Option<ActorId>,
    pub since: Timestamp,
    /// The lock document of a laptop's Terraform.
    pub info: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Credential {
    pub name: Slug,
    pub kind: CredentialKind,
    /// User name (https), or public facts about the key (ssh).
    pub user: String,
    /// ssh only.
    pub known_hosts: String,
    /// The token or the private key.
    pub sealed: Sealed,
    pub stacks: Vec<StackId>,
    pub created_at: Timestamp,
    pub created_by: ActorName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    Https,
    Ssh,
}
