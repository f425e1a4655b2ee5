//! Everything secret that a chain is given.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::encoded;
use crate::{
    crypt::Secret,
    domain::{EnvName, RelativePath},
};

/// Everything secret. Travels only through the pipe.
#[derive(Debug, Serialize, Deserialize)]
pub struct ChainSecrets {
    /// Encrypts results and states of this chain (AES-256-GCM, 32 bytes).
    #[serde(with = "encoded::secret")]
    pub chain_key: Secret<Vec<u8>>,
    /// Keys the short hashes that stand for sensitive values in changes (32 bytes).
    #[serde(with = "encoded::secret")]
    pub redaction_key: Secret<Vec<u8>>,
    /// What the sealed workspace is encrypted with, and where it lies; for chains that open one.
    pub open: Option<SealKeys>,
    /// The same for chains that may seal. A key seals once: after [`Self::open`] it is a new one.
    pub seal: Option<SealKeys>,
    pub variables: Vec<Variable>,
    pub files: Vec<MountedFile>,
    /// Values to mask beside the sensitive variables and files: masks added by earlier phases.
    pub masks: Vec<Secret<String>>,
    pub git: Option<GitCredential>,
    /// The managed state that the chain begins with.
    pub state: Option<ManagedState>,
    /// Authenticates compiled guests (32 bytes); for chains with guests.
    #[serde(default, with = "encoded::optional")]
    pub guest_key: Option<Secret<Vec<u8>>>,
    /// Encrypts what build hooks leave (32 bytes); for chains with one.
    #[serde(default, with = "encoded::optional")]
    pub slug_key: Option<Secret<Vec<u8>>>,
    /// The variables of a build hook: what it leaves serves runs that other variables are asked for with.
    #[serde(default)]
    pub build_variables: Vec<Variable>,
    /// What the runner shows at [`super::Workload::socket`].
    #[serde(default)]
    pub workload: Option<Secret<String>>,
    /// The plan that the chain's guest is to judge: its `/plan.json`.
    #[serde(default, with = "encoded::optional")]
    pub plan: Option<Secret<Vec<u8>>>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct SealKeys {
    /// 32 bytes out of the run's record.
    #[serde(with = "encoded::secret")]
    pub data_key: Secret<Vec<u8>>,
    /// `sealed/<run id>.sealed`.
    pub sealed: PathBuf,
    /// `sealed/<run id>.key`: 32 bytes; written by the sealer, erased by a discard.
    pub erase: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Variable {
    pub name: EnvName,
    pub value: Secret<String>,
    pub sensitive: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct MountedFile {
    /// Relative to the workspace.
    pub path: RelativePath,
    #[serde(with = "encoded::secret")]
    pub content: Secret<Vec<u8>>,
    pub sensitive: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum GitCredential {
    Https { user: String, token: Secret<String> },
    Ssh { private_key: Secret<String>, known_hosts: String },
}

/// The state that the chain's endpoint answers with until something newer was written.
#[derive(Debug, Serialize, Deserialize)]
pub struct ManagedState {
    /// The newest version, if there is one; an empty one counts as none.
    #[serde(with = "encoded::secret")]
    pub current: Secret<Vec<u8>>,
    /// Password of the endpoint, made for this chain.
    pub password: Secret<String>,
}
