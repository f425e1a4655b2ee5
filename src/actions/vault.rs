//! Where each secret of the store stands: what it is bound to, so that none opens in another's place.

use crate::{
    crypt::{AssociatedData, Key, Keyring, Purpose, Sealed, Secret},
    domain::{EnvName, RelativePath, RunId, RunTaskId, ServiceName, Slug, StackId, TaskResultId},
    store::Error,
};

use super::sealed_fault;

/// One secret's place.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    kind: Purpose,
    owner: String,
    field: String,
}

impl Place {
    fn new(kind: Purpose, owner: impl std::fmt::Display, field: impl std::fmt::Display) -> Self {
        Self { kind, owner: owner.to_string(), field: field.to_string() }
    }

    pub(crate) fn data(&self) -> AssociatedData<'_> {
        AssociatedData { kind: self.kind, owner: &self.owner, field: &self.field }
    }

    pub(crate) fn seal(&self, keys: &Keyring, plaintext: &[u8]) -> Sealed {
        keys.seal(self.data(), plaintext)
    }

    /// The same under the present master key; none where it is already.
    pub(crate) fn renew(&self, keys: &Keyring, sealed: &Sealed) -> Result<Option<Sealed>, Error> {
        if !keys.needs_rewrap(sealed) {
            return Ok(None);
        }
        keys.rewrap(self.data(), sealed).map(Some).map_err(sealed_fault)
    }

    pub(crate) fn open(&self, keys: &Keyring, sealed: &Sealed) -> Result<Secret<Vec<u8>>, Error> {
        keys.open(self.data(), sealed).map_err(sealed_fault)
    }

    pub(crate) fn open_key(&self, keys: &Keyring, sealed: &Sealed) -> Result<Key, Error> {
        keys.unwrap_key(self.data(), sealed).map_err(sealed_fault)
    }

    pub(crate) fn open_text(&self, keys: &Keyring, sealed: &Sealed) -> Result<Secret<String>, Error> {
        let bytes = self.open(keys, sealed)?;
        String::from_utf8(bytes.expose().clone())
            .map(Secret::new)
            .map_err(|_| sealed_fault(format!("{} is not text", self.data())))
    }
}

pub(crate) fn variable(stack: StackId, name: &EnvName) -> Place {
    Place::new(Purpose::Variable, stack, name)
}

pub(crate) fn file(stack: StackId, path: &RelativePath) -> Place {
    Place::new(Purpose::File, stack, path)
}

pub(crate) fn context_variable(context: &Slug, name: &EnvName) -> Place {
    Place::new(Purpose::Variable, format_args!("context {context}"), name)
}

pub(crate) fn context_file(context: &Slug, path: &RelativePath) -> Place {
    Place::new(Purpose::File, format_args!("context {context}"), path)
}

pub(crate) fn credential(name: &Slug) -> Place {
    Place::new(Purpose::Credential, name, "secret")
}

/// Half of what a sealed workspace is encrypted with.
pub(crate) fn seal_key(run: RunId) -> Place {
    Place::new(Purpose::DataKey, run, "seal")
}

/// What results and states of one chain are encrypted under.
pub(crate) fn chain_key(run: RunId, chain: u32) -> Place {
    Place::new(Purpose::DataKey, run, format_args!("chain {chain}"))
}

pub(crate) fn masks(run: RunId) -> Place {
    Place::new(Purpose::Masks, run, "added")
}

/// What sensitive values of one run's plan are hashed under.
pub(crate) fn run_redaction(run: RunId) -> Place {
    Place::new(Purpose::DataKey, run, "redaction")
}

/// What the runner of a declared task shows to get tokens.
pub(crate) fn workload(run: RunId) -> Place {
    Place::new(Purpose::DataKey, run, "workload")
}

/// The variables that the trigger of a declared task brought.
pub(crate) fn demand(run: RunId) -> Place {
    Place::new(Purpose::Variable, run, "demand")
}

/// What a call of others held.
pub(crate) fn call(seq: u64) -> Place {
    Place::new(Purpose::Variable, format_args!("call {seq}"), "payload")
}

/// The plan that a call of others is about.
pub(crate) fn call_plan(seq: u64) -> Place {
    Place::new(Purpose::Variable, format_args!("call {seq}"), "plan")
}

/// A variable that only declared tasks get, by level and name.
pub(crate) fn setting(stack: StackId, key: &str) -> Place {
    Place::new(Purpose::Variable, stack, format_args!("setting {key}"))
}

/// A key that stays what it is when the master key changes.
pub(crate) fn lasting_key(name: &str) -> Place {
    Place::new(Purpose::DataKey, "installation", name)
}

pub(crate) fn service(name: &ServiceName) -> Place {
    Place::new(Purpose::Credential, name, "service")
}

/// What requests to a run task are signed with.
pub(crate) fn run_task(task: RunTaskId) -> Place {
    Place::new(Purpose::Credential, task, "hmac")
}

/// What deliveries to a webhook are signed with.
pub(crate) fn webhook_secret(webhook: &Slug) -> Place {
    Place::new(Purpose::SigningKey, format_args!("webhook {webhook}"), "secret")
}

/// The values of a webhook's headers.
pub(crate) fn webhook_headers(webhook: &Slug) -> Place {
    Place::new(Purpose::Token, format_args!("webhook {webhook}"), "headers")
}

/// The one-off token of one call of a run task.
pub(crate) fn task_token(result: TaskResultId) -> Place {
    Place::new(Purpose::Credential, result, "token")
}

/// The key of one file with a version of a managed state.
pub(crate) fn state_key(stack: StackId, file: &str) -> Place {
    Place::new(Purpose::State, stack, file)
}

/// Keys the hashes that stand for sensitive values of a context.
pub(crate) fn context_redaction_key(keys: &Keyring, context: &Slug) -> Key {
    keys.derive(Purpose::Redaction, format!("context {context}").as_bytes())
}

/// Keys the hashes that stand for sensitive values of a stack.
pub(crate) fn redaction_key(keys: &Keyring, stack: StackId) -> Key {
    keys.derive(Purpose::Redaction, stack.to_string().as_bytes())
}
