//! What the tables hold, and how it is written: one version byte, then MessagePack with field names.
//!
//! Names make records able to gain fields: a new field is optional or has a default, and the version
//! stays. A change that an older reader would misread gets a new version and a step in
//! [`super::migrate`]. Golden bytes of every version are in the tests.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::Fault;
use crate::crypt::Sealed;
use crate::domain::{
    BlockedBy, CommitSha, Delta, Digest, EnvName, KeyId, Kind, Note, Phase, PolicyReceipt, RelativePath, Role, RunId,
    ServiceName, Slug, StackId, Stage, State, TaskName, Timestamp, UserId, UserName, Verdict,
    actor::ActorName,
    authorization::Authorization,
    change,
    run::SourceVersion,
    stack::{Lock, StackSettings},
};

mod call;
mod context;
mod guest;
mod image;
mod key;
mod policy;
mod resources;
mod review;
mod run_task;

pub use call::{Call, Told};
pub use context::{AUTOMATIC, Context, ContextAttachment, RunRuntime};
pub use guest::{Draft, Guest, GuestDraft, GuestTask, Left, Patched, PinnedGuest, RunGuests};
pub use image::Image;
pub use key::LastingKey;
pub use policy::{Follow, Follower, Policy, Sample, SampleFacts};
pub use resources::TaskResources;
pub use review::{Basis, Lacks, Review, Standing, current_reviews};
pub use run_task::{
    Attachment, Delivery, DeliveryReason, GUEST, Outcomes, Override, RunTask, RunTaskKind, StageRow, TaskResult,
    TaskToken,
};

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

// ── Stacks ──────────────────────────────────────────────────────────────────────────────────

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
    /// The newest tracked run: the stack's state is its state.
    pub latest_tracked: Option<RunId>,
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

// ── Runs ────────────────────────────────────────────────────────────────────────────────────

/// The summary of a run: what lists and headers need.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub id: RunId,
    pub seq: u64,
    pub number: u64,
    pub stack: StackId,
    pub slug: Slug,
    pub kind: Kind,
    pub state: State,
    pub reason: Option<String>,
    pub triggered_by: ActorName,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// When the present state was entered.
    pub state_since: Timestamp,
    pub source: SourceVersion,
    pub message: Option<Note>,
    pub command: Option<String>,
    pub skip_initialization: bool,
    /// The declared task that it runs.
    #[serde(default)]
    pub declared_task: Option<TaskName>,
    /// Why somebody or something wants it to end early; its reason once it has.
    #[serde(default)]
    pub stop_reason: Option<String>,
    pub targets: Vec<String>,
    pub exit_code: Option<i32>,
    pub verdict: Option<Verdict>,
    pub delta: Option<Delta>,
    pub changes: Option<bool>,
    pub plan_digest: Option<Digest>,
    pub blocked_by: Option<BlockedBy>,
    pub prioritized: bool,
    pub retry_of: Option<RunId>,
    pub warnings: Vec<String>,
    pub phases: Vec<PhaseRow>,
    pub history: u32,
    pub comments: u32,
    #[serde(default)]
    pub reviews: u32,
    /// How many times the run has come to wait for a person with a plan: 0 before its first plan. A
    /// review counts for the round that it was given in.
    #[serde(default)]
    pub round: u32,
    /// The run ended with a question that nobody has answered yet.
    pub unacknowledged: bool,
    /// An error line out of the log of the phase that failed.
    pub error_line: Option<String>,
    /// What the life cycle knows beside kind and state.
    pub chain: Option<ChainKind>,
    pub stopping: bool,
    pub forced: bool,
    pub sealed: Option<SealedFacts>,
    /// Logs were removed because their time was up.
    pub logs_expired: bool,
    /// The uid that its phases run as.
    pub uid: Option<u32>,
    /// The guest that it runs, as it would be typed; the rest is in its own row.
    #[serde(default)]
    pub guest: Option<String>,
    /// The changes of another run that its source is patched with.
    #[serde(default)]
    pub patched: Option<Patched>,
    /// What policies said about it, in the order in which they were asked.
    #[serde(default)]
    pub policies: Vec<PolicyReceipt>,
    /// How many runs before it were triggered by policies, one after the other.
    #[serde(default)]
    pub followed: u32,
    /// The stage whose run tasks are being called.
    #[serde(default)]
    pub checking: Option<Stage>,
    /// How many stages were begun.
    #[serde(default)]
    pub stages: u32,
}

/// What a run has from its first moment on.
#[derive(Clone, Debug)]
pub struct Birth {
    pub id: RunId,
    pub seq: u64,
    pub kind: Kind,
    pub by: ActorName,
    pub source: SourceVersion,
    pub at: Timestamp,
}

impl Run {
    /// A run that was just asked for, as the newest of its stack.
    pub fn new(stack: &Stack, birth: Birth) -> Self {
        Self {
            id: birth.id,
            seq: birth.seq,
            number: stack.runs,
            stack: stack.id,
            slug: stack.slug.clone(),
            kind: birth.kind,
            state: State::Queued,
            reason: None,
            triggered_by: birth.by,
            created_at: birth.at,
            updated_at: birth.at,
            state_since: birth.at,
            source: birth.source,
            message: None,
            command: None,
            skip_initialization: false,
            declared_task: None,
            stop_reason: None,
            targets: Vec::new(),
            exit_code: None,
            verdict: None,
            delta: None,
            changes: None,
            plan_digest: None,
            blocked_by: None,
            prioritized: false,
            retry_of: None,
            warnings: Vec::new(),
            phases: Vec::new(),
            history: 0,
            comments: 0,
            reviews: 0,
            round: 0,
            unacknowledged: false,
            error_line: None,
            chain: None,
            stopping: false,
            forced: false,
            sealed: None,
            logs_expired: false,
            uid: None,
            guest: None,
            patched: None,
            policies: Vec::new(),
            followed: 0,
            checking: None,
            stages: 0,
        }
    }
}

/// A chain's kind, as a word; the machine's own type maps to it.
pub type ChainKind = String;

/// Sizes of a sealed workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedFacts {
    pub tree_bytes: u64,
    pub sealed_bytes: u64,
}

/// One phase of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseRow {
    pub number: u32,
    /// The chain that carried it out: its log lies in that chain's directory while the run lives.
    pub chain: u32,
    pub phase: Phase,
    pub started_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    pub verdict: Option<Verdict>,
    pub log_bytes: u64,
    pub peak_memory_bytes: Option<u64>,
    pub cpu_ms: Option<u64>,
    pub limited_by: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryEntry {
    pub state: State,
    pub at: Timestamp,
    pub actor: ActorName,
    pub note: Option<String>,
    pub reason: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comment {
    pub at: Timestamp,
    pub actor: ActorName,
    pub text: Note,
}

/// What a plan would change, as compressed JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Changes {
    #[serde(with = "serde_bytes_compat")]
    zstd: Vec<u8>,
}

impl Changes {
    pub fn new(changes: &change::Changes) -> Result<Self, Fault> {
        let why = |why: String| Fault::Record { table: "RUN_TO_CHANGES", why };
        let json = serde_json::to_vec(changes).map_err(|error| why(error.to_string()))?;
        let zstd = zstd::bulk::compress(&json, 3).map_err(|error| why(error.to_string()))?;
        Ok(Self { zstd })
    }

    pub fn read(&self) -> Result<change::Changes, Fault> {
        let why = |why: String| Fault::Record { table: "RUN_TO_CHANGES", why };
        let json = zstd::stream::decode_all(self.zstd.as_slice()).map_err(|error| why(error.to_string()))?;
        serde_json::from_slice(&json).map_err(|error| why(error.to_string()))
    }
}

/// Secrets of one run, each encrypted under the master key and bound to the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunSecrets {
    /// 32 random bytes: half of what the sealed workspace is encrypted with.
    pub seal_key: Option<Sealed>,
    /// The same for what a replan will seal: a key seals once.
    pub next_seal_key: Option<Sealed>,
    /// Masks that phases added, as a JSON list.
    pub masks: Option<Sealed>,
    /// What sensitive values were hashed under when the run planned.
    #[serde(default)]
    pub redaction_key: Option<Sealed>,
    /// What the runner of a declared task shows to get workload tokens.
    #[serde(default)]
    pub workload: Option<Sealed>,
    /// Where the vendor's own plan lies, for outside checks.
    #[serde(default)]
    pub plan: Option<PlanResult>,
}

/// The result of a planning phase, in the directory of its chain for as long as the run lives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanResult {
    pub chain: u32,
    pub phase: u32,
    /// The chain's key, wrapped as in its row; `vault::chain_key`.
    pub key: Sealed,
}

/// What a run of a declared task was asked for, and what its source says about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Demand {
    pub task: TaskName,
    /// Names of the variables that the trigger brought: `prefix:name`.
    pub names: Vec<String>,
    /// Those variables with their values, and what else it brought, as JSON.
    pub input: Sealed,
    /// The declaration as JSON, once the source was read.
    pub declared: Option<String>,
    /// Why the source cannot be used for it.
    pub fault: Option<String>,
    /// What the run's token may do; out of the declaration.
    pub authorizations: Vec<Authorization>,
}

/// The configuration files of a source, as they were read last. Empty: it has none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Declaration {
    pub source: SourceVersion,
    pub read_at: Timestamp,
    /// The run that fetched it; a later one does not give way to an earlier one.
    pub run: Option<u64>,
    pub files: Vec<DeclarationFile>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeclarationFile {
    pub path: String,
    #[serde(with = "serde_bytes_compat")]
    pub content: Vec<u8>,
}

/// A variable that only declared tasks get.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// `prefix:name`, or a name.
    pub name: String,
    pub level: SettingLevel,
    pub value: VariableValue,
    /// The value is JSON, not text.
    pub is_json: bool,
    pub is_enabled: bool,
    pub visible_build: bool,
    pub visible_runtime: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettingLevel {
    Project,
    Environment,
}

/// Something outside that relationships of declared tasks point to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    pub name: ServiceName,
    pub scheme: String,
    pub host: String,
    pub port: u16,
    pub path: String,
    pub username: String,
    pub password: Option<Sealed>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub updated_by: ActorName,
}

/// A chain that is to be started or is alive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chain {
    pub run: RunId,
    pub kind: ChainKind,
    /// Number within the run, from 1.
    pub number: u32,
    pub first_phase: u32,
    /// Bytes of `records` that were taken over.
    pub records: u64,
    /// The key that results and states are encrypted under, wrapped.
    pub key: Sealed,
    /// What the people or the machine asked of the living chain.
    pub ask: Option<ChainAsk>,
    pub last_phase: Option<Phase>,
    pub last_verdict: Option<Verdict>,
    pub changes: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChainAsk {
    Stop,
    Kill,
}

/// What must be done outside the store for a run, at least once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chore {
    /// Overwrite the erase secret, remove the sealed workspace.
    pub destroy_seal: bool,
    /// Remove open workspaces.
    pub remove_workspace: bool,
    /// Compress the logs and remove the run's live directory.
    pub file_away: bool,
}

// ── People and machines ─────────────────────────────────────────────────────────────────────

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
    #[serde(with = "serde_bytes_compat")]
    pub secret_hash: Vec<u8>,
    pub admin: bool,
    pub roles: Vec<RoleOnStack>,
    pub created_at: Timestamp,
    pub created_by: ActorName,
    pub expires_at: Option<Timestamp>,
    pub used_at: Option<Timestamp>,
    pub revoked: bool,
}

/// The answer to a request that may be repeated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Idempotent {
    /// SHA-256 of method, path and body.
    #[serde(with = "serde_bytes_compat")]
    pub request: Vec<u8>,
    /// What was created.
    pub created: String,
    pub expires_at: Timestamp,
}

// ── Audit ───────────────────────────────────────────────────────────────────────────────────

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

/// The commit of a run, where its source has one.
pub fn commit(run: &Run) -> Option<&CommitSha> {
    run.source.commit()
}
