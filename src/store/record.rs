//! What the tables hold, and how it is written: one version byte, then MessagePack with field names.
//!
//! Names make records able to gain fields: a new field is optional or has a default, and the version
//! stays. A change that an older reader would misread gets a new version and a step in
//! [`super::migrate`]. Golden bytes of every version are in the tests.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::Fault;

mod call;
mod context;
mod guest;
mod image;
mod key;
mod notice;
mod person;
mod policy;
mod resources;
mod review;
mod run;
mod run_task;
mod stack;
mod webhook;

pub use call::{Call, Told};
pub use context::{AUTOMATIC, Context, ContextAttachment, RunRuntime};
pub use guest::{Draft, Guest, GuestDraft, GuestTask, Left, Patched, PinnedGuest, RunGuests};
pub use image::{Image, PinnedImage};
pub use key::LastingKey;
pub use notice::{Audience, Mark, Message, Notice};
pub use person::{
    ApiKey, AuditEntry, Holder, Idempotent, Invitation, Outcome, RoleOnStack, Session, SessionKind, User,
};
pub use policy::{Follow, Follower, Policy, Sample, SampleFacts};
pub use resources::TaskResources;
pub use review::{Basis, Lacks, Review, Standing, current_reviews};
pub use run::{
    Birth, Chain, ChainAsk, ChainKind, Changes, Chore, Comment, Declaration, DeclarationFile, Demand, EarlyEnd,
    EndingAs, HistoryEntry, PhaseFile, PhaseRow, Remark, Run, RunSecrets, SealedFacts, Service, Setting, SettingLevel,
    commit,
};
pub use run_task::{
    Attachment, Delivery, DeliveryReason, GUEST, Outcomes, Override, RunTask, RunTaskKind, StageRow, TaskResult,
    TaskToken, Verification,
};
pub use stack::{Credential, CredentialKind, File, Stack, StateLock, StateVersion, Upload, Variable, VariableValue};
pub use webhook::{About, Attempt, Webhook, WebhookDelivery};

/// The version of all present records.
const VERSION: u8 = 1;

/// Something that a table holds.
pub trait Record: Serialize + DeserializeOwned {}

impl<T: Serialize + DeserializeOwned> Record for T {}

pub(super) fn encode<R: Record>(table: &'static str, record: &R) -> Result<Vec<u8>, Fault> {
    let mut bytes = vec![VERSION];
    rmp_serde::encode::write_named(&mut bytes, record)
        .map_err(|error| Fault::Record { table, why: error.to_string() })?;
    Ok(bytes)
}

pub(super) fn decode<R: Record>(table: &'static str, bytes: &[u8]) -> Result<R, Fault> {
    match bytes.split_first() {
        Some((&VERSION, body)) => {
            rmp_serde::from_slice(body).map_err(|error| Fault::Record { table, why: error.to_string() })
        }
        Some((version, _)) => Err(Fault::Record { table, why: format!("version {version} is not known") }),
        None => Err(Fault::Record { table, why: "it is empty".to_owned() }),
    }
}

/// A small fact about the installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    #[serde(with = "serde_bytes_compat")]
    pub value: Vec<u8>,
}

/// Bytes as MessagePack bytes, not as a list of numbers.
mod serde_bytes_compat {
    use serde::{Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }

            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
                Ok(bytes)
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u8>, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = seq.next_element()? {
                    bytes.push(byte);
                }
                Ok(bytes)
            }
        }

        deserializer.deserialize_byte_buf(Visitor)
    }
}
