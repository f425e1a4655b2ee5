//! Runs and what they keep.

use serde::{Deserialize, Serialize};

use super::{Patched, PinnedImage, Stack, VariableValue};
use crate::store::Fault;
use crate::{
    crypt::Sealed,
    domain::{
        BlockedBy, CommitSha, Delta, Digest, Kind, Note, Phase, PolicyReceipt, RunId, ServiceName, Slug, StackId,
        Stage, State, TaskName, Timestamp, Verdict,
        actor::{ActorId, ActorName, Recorded},
        authorization::Authorization,
        change,
        resources::Resources,
        run::{CommitFacts, SourceVersion},
    },
};

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
    #[serde(default)]
    pub triggered_by_id: Option<ActorId>,
    /// The person who made the key that triggered it.
    #[serde(default)]
    pub key_of: Option<ActorName>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// When the present state was entered.
    pub state_since: Timestamp,
    pub source: SourceVersion,
    /// What that version says of itself; none until it was fetched.
    #[serde(default)]
    pub commit_facts: Option<Box<CommitFacts>>,
    pub message: Option<Note>,
    pub command: Option<String>,
    pub skip_initialization: bool,
    /// The declared task that it runs.
    #[serde(default)]
    pub declared_task: Option<TaskName>,
    /// Who asked for its early end, and why.
    #[serde(default)]
    pub early_end: Option<EarlyEnd>,
    pub targets: Vec<String>,
    pub exit_code: Option<i32>,
    pub verdict: Option<Verdict>,
    pub delta: Option<Delta>,
    pub changes: Option<bool>,
    pub plan_digest: Option<Digest>,
    /// Of the terraform or tofu that planned.
    #[serde(default)]
    pub terraform_version: Option<String>,
    pub blocked_by: Option<BlockedBy>,
    pub prioritized: bool,
    pub retry_of: Option<RunId>,
    pub warnings: Vec<String>,
    pub phases: Vec<PhaseRow>,
    pub history: u32,
    #[serde(default)]
    pub remarks: u32,
    pub comments: u32,
    #[serde(default)]
    pub reviews: u32,
    /// How many times the run has come to wait for a person with a plan: 0 before its first plan. A
    /// review counts for the round that it was given in.
    #[serde(default)]
    pub round: u32,
    /// It waits for nothing but an approval: the stack deploys by itself.
    #[serde(default)]
    pub deploys_when_approved: bool,
    /// The end of its waiting that people were reminded of.
    #[serde(default)]
    pub reminded_for: Option<Timestamp>,
    /// The run ended with a question that nobody has answered yet.
    pub unacknowledged: bool,
    /// It was lost before it changed anything: it can be acknowledged, and asks nobody to.
    #[serde(default)]
    pub lost_unchanged: bool,
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
    /// The root of its jails, from its first chain on. None for declared tasks, whose one jail has what
    /// their type names.
    #[serde(default)]
    pub image: Option<PinnedImage>,
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
    /// How it ends once the hooks of its end have run.
    #[serde(default)]
    pub ending: Option<EndingAs>,
    /// It held no slot when its end was decided, and those hooks wait for one.
    #[serde(default)]
    pub waits_to_end: bool,
}

/// A run is asked to end before it is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EarlyEnd {
    pub actor: ActorName,
    pub note: Option<String>,
    pub reason: String,
}

/// An end that is decided, and waits for its hooks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndingAs {
    pub state: State,
    pub actor: ActorName,
    pub note: Option<String>,
    pub reason: Option<String>,
}

/// What a run has from its first moment on.
#[derive(Clone, Debug)]
pub struct Birth {
    pub id: RunId,
    pub seq: u64,
    pub kind: Kind,
    pub by: ActorName,
    pub by_id: Option<ActorId>,
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
            triggered_by_id: birth.by_id,
            key_of: None,
            created_at: birth.at,
            updated_at: birth.at,
            state_since: birth.at,
            source: birth.source,
            commit_facts: None,
            message: None,
            command: None,
            skip_initialization: false,
            declared_task: None,
            early_end: None,
            targets: Vec::new(),
            exit_code: None,
            verdict: None,
            delta: None,
            changes: None,
            plan_digest: None,
            terraform_version: None,
            blocked_by: None,
            prioritized: false,
            retry_of: None,
            warnings: Vec::new(),
            phases: Vec::new(),
            history: 0,
            remarks: 0,
            comments: 0,
            reviews: 0,
            round: 0,
            deploys_when_approved: false,
            reminded_for: None,
            unacknowledged: false,
            lost_unchanged: false,
            error_line: None,
            chain: None,
            stopping: false,
            forced: false,
            sealed: None,
            logs_expired: false,
            uid: None,
            guest: None,
            image: None,
            patched: None,
            policies: Vec::new(),
            followed: 0,
            checking: None,
            stages: 0,
            ending: None,
            waits_to_end: false,
        }
    }
}

impl Run {
    /// Its place among runs that wait: prioritized ones first, then blocking kinds, then by age.
    pub fn place(&self) -> (bool, u8, u64) {
        (!self.prioritized, self.kind.class(), self.seq)
    }

    /// Whether it holds one of the server's slots.
    pub const fn holds_slot(&self) -> bool {
        self.kind.takes_slot() && self.state.holds_slot() && !self.waits_to_end
    }

    /// Whether a slot is all that it may still lack.
    pub const fn waits_for_slot(&self) -> bool {
        matches!(self.state, State::Ready | State::Confirmed | State::ReplanRequested) || self.waits_to_end
    }

    pub const fn trigger(&self) -> Recorded<'_> {
        Recorded { name: &self.triggered_by, id: self.triggered_by_id.as_ref() }
    }

    /// Who wanted it: the person behind a key, where there is one.
    pub fn requester(&self) -> &ActorName {
        self.key_of.as_ref().unwrap_or(&self.triggered_by)
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
    /// It is recorded only: the environment says that nothing is applied.
    #[serde(default)]
    pub skipped: bool,
    pub log_bytes: u64,
    pub peak_memory_bytes: Option<u64>,
    pub cpu_ms: Option<u64>,
    pub limited_by: Option<String>,
}

/// A change of state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryEntry {
    pub state: State,
    pub at: Timestamp,
    pub actor: ActorName,
    pub note: Option<String>,
    pub reason: Option<String>,
}

/// Something that happened to a run and left it in its state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Remark {
    pub at: Timestamp,
    pub actor: ActorName,
    pub text: String,
    /// What the person wrote.
    pub note: Option<String>,
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
    #[serde(with = "super::serde_bytes_compat")]
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
    pub plan: Option<PhaseFile>,
    /// Where the archive of a fetched source lies, for outside checks.
    #[serde(default)]
    pub source: Option<PhaseFile>,
}

/// What a phase left in the directory of its chain, for as long as the run lives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseFile {
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
    /// All bounds that hold for the run, once the source was read.
    #[serde(default)]
    pub bounds: Option<Resources>,
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
    #[serde(with = "super::serde_bytes_compat")]
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

/// The commit of a run, where its source has one.
pub fn commit(run: &Run) -> Option<&CommitSha> {
    run.source.commit()
}
