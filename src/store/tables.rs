//! Every table on one screen, named KEY_TO_VALUE.
//!
//! Ids are their 128-bit numbers, runs and audit entries are keyed by a sequence number that the
//! write transaction allots. An index maps its key to `()`.

use std::marker::PhantomData;

use redb::TableDefinition;

use super::record::{self as r, Record};

/// A table of records.
pub struct Table<K: redb::Key + 'static, R: Record> {
    pub(super) definition: TableDefinition<'static, K, &'static [u8]>,
    pub(super) name: &'static str,
    record: PhantomData<fn() -> R>,
}

impl<K: redb::Key + 'static, R: Record> std::fmt::Debug for Table<K, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl<K: redb::Key + 'static, R: Record> Clone for Table<K, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: redb::Key + 'static, R: Record> Copy for Table<K, R> {}

const fn table<K: redb::Key + 'static, R: Record>(name: &'static str) -> Table<K, R> {
    Table { definition: TableDefinition::new(name), name, record: PhantomData }
}

/// A table of plain numbers.
pub type Numbers<K, V> = TableDefinition<'static, K, V>;

/// A set of keys.
pub type Index<K> = TableDefinition<'static, K, ()>;

pub type Id = u128;
pub type Seq = u64;
/// SHA-256 of a token.
pub type TokenHash = [u8; 32];

// The installation.
pub const NAME_TO_META: Table<&str, r::Meta> = table("NAME_TO_META");
/// Keys that outlive every master key.
pub const NAME_TO_KEY: Table<&str, r::LastingKey> = table("NAME_TO_KEY");
pub const NAME_TO_COUNTER: Numbers<&str, u64> = TableDefinition::new("NAME_TO_COUNTER");

// Stacks.
pub const STACK_ID_TO_STACK: Table<Id, r::Stack> = table("STACK_ID_TO_STACK");
pub const SLUG_TO_STACK_ID: Numbers<&str, Id> = TableDefinition::new("SLUG_TO_STACK_ID");
pub const STACK_NAME_TO_VARIABLE: Table<(Id, &str), r::Variable> = table("STACK_NAME_TO_VARIABLE");
pub const STACK_PATH_TO_FILE: Table<(Id, &str), r::File> = table("STACK_PATH_TO_FILE");
pub const STACK_SEQ_TO_UPLOAD: Table<(Id, Seq), r::Upload> = table("STACK_SEQ_TO_UPLOAD");
pub const STACK_SERIAL_TO_STATE: Table<(Id, Seq), r::StateVersion> = table("STACK_SERIAL_TO_STATE");
pub const STACK_TO_STATE_LOCK: Table<Id, r::StateLock> = table("STACK_TO_STATE_LOCK");
pub const NAME_TO_CREDENTIAL: Table<&str, r::Credential> = table("NAME_TO_CREDENTIAL");
/// What the stack's source declares, as it was read last.
pub const STACK_TO_DECLARATION: Table<Id, r::Declaration> = table("STACK_TO_DECLARATION");
/// Variables of declared tasks that are no variables of the stack: (stack, level and name).
pub const STACK_NAME_TO_SETTING: Table<(Id, &str), r::Setting> = table("STACK_NAME_TO_SETTING");
/// Bounds of declared tasks that the operator set.
pub const STACK_TASK_TO_RESOURCES: Table<(Id, &str), r::TaskResources> = table("STACK_TASK_TO_RESOURCES");
pub const NAME_TO_SERVICE: Table<&str, r::Service> = table("NAME_TO_SERVICE");

// Policies.
pub const NAME_TO_POLICY: Table<&str, r::Policy> = table("NAME_TO_POLICY");
/// (kind, name): most kinds are asked for often, and most policies are of another one.
pub const KIND_POLICY: Index<(u8, &str)> = TableDefinition::new("KIND_POLICY");
/// Policies that somebody attached to a stack; those that attach themselves by label are not in here.
pub const STACK_POLICY: Index<(Id, &str)> = TableDefinition::new("STACK_POLICY");
/// What policies were asked about lately: (policy, number of the sample).
pub const POLICY_SEQ_TO_SAMPLE: Table<(&str, Seq), r::Sample> = table("POLICY_SEQ_TO_SAMPLE");
/// Ended runs after which trigger policies are to be asked, or stacks to be triggered.
pub const RUN_TO_FOLLOW: Table<Seq, r::Follow> = table("RUN_TO_FOLLOW");
/// Changes of state that notification policies are to be asked about.
pub const SEQ_TO_NOTICE: Table<Seq, r::Notice> = table("SEQ_TO_NOTICE");

// Webhooks and messages.
pub const ID_TO_WEBHOOK: Table<&str, r::Webhook> = table("ID_TO_WEBHOOK");
/// What was, or is to be, delivered: (webhook, number of the delivery).
pub const WEBHOOK_SEQ_TO_DELIVERY: Table<(&str, Seq), r::WebhookDelivery> = table("WEBHOOK_SEQ_TO_DELIVERY");
/// Those that wait.
pub const OPEN_DELIVERY: Index<(&str, Seq)> = TableDefinition::new("OPEN_DELIVERY");
pub const SEQ_TO_MESSAGE: Table<Seq, r::Message> = table("SEQ_TO_MESSAGE");
/// What people did with messages, [`r::Mark`] as a number: (message, user).
pub const MESSAGE_USER_TO_MARK: Numbers<(Seq, Id), u8> = TableDefinition::new("MESSAGE_USER_TO_MARK");

// Contexts.
pub const NAME_TO_CONTEXT: Table<&str, r::Context> = table("NAME_TO_CONTEXT");
pub const CONTEXT_NAME_TO_VARIABLE: Table<(&str, &str), r::Variable> = table("CONTEXT_NAME_TO_VARIABLE");
pub const CONTEXT_PATH_TO_FILE: Table<(&str, &str), r::File> = table("CONTEXT_PATH_TO_FILE");
pub const STACK_CONTEXT_TO_ATTACHMENT: Table<(Id, &str), r::ContextAttachment> = table("STACK_CONTEXT_TO_ATTACHMENT");

// Runs.
pub const SEQ_TO_RUN: Table<Seq, r::Run> = table("SEQ_TO_RUN");
pub const RUN_ID_TO_SEQ: Numbers<Id, Seq> = TableDefinition::new("RUN_ID_TO_SEQ");
pub const RUN_N_TO_HISTORY: Table<(Seq, u32), r::HistoryEntry> = table("RUN_N_TO_HISTORY");
pub const RUN_N_TO_REMARK: Table<(Seq, u32), r::Remark> = table("RUN_N_TO_REMARK");
pub const RUN_N_TO_COMMENT: Table<(Seq, u32), r::Comment> = table("RUN_N_TO_COMMENT");
pub const RUN_N_TO_REVIEW: Table<(Seq, u32), r::Review> = table("RUN_N_TO_REVIEW");
/// Where a run that waits stands with its approval policies.
pub const RUN_TO_STANDING: Table<Seq, r::Standing> = table("RUN_TO_STANDING");
/// Runs whose approval policies have to be asked.
pub const APPROVAL_DUE: Index<Seq> = TableDefinition::new("APPROVAL_DUE");
pub const RUN_TO_CHANGES: Table<Seq, r::Changes> = table("RUN_TO_CHANGES");
pub const RUN_TO_SECRETS: Table<Seq, r::RunSecrets> = table("RUN_TO_SECRETS");
pub const RUN_TO_CHAIN: Table<Seq, r::Chain> = table("RUN_TO_CHAIN");
pub const RUN_TO_CHORE: Table<Seq, r::Chore> = table("RUN_TO_CHORE");
/// What a run of a declared task was asked for.
pub const RUN_TO_DEMAND: Table<Seq, r::Demand> = table("RUN_TO_DEMAND");
/// What a run was configured with, and what it used.
pub const RUN_TO_RUNTIME: Table<Seq, r::RunRuntime> = table("RUN_TO_RUNTIME");
pub const STACK_RUN: Index<(Id, Seq)> = TableDefinition::new("STACK_RUN");
pub const LOOK_RUN: Index<(u8, Seq)> = TableDefinition::new("LOOK_RUN");
pub const KIND_RUN: Index<(u8, Seq)> = TableDefinition::new("KIND_RUN");
pub const ACTOR_RUN: Index<(&str, Seq)> = TableDefinition::new("ACTOR_RUN");
pub const ACTIVE_STACK_RUN: Index<(Id, Seq)> = TableDefinition::new("ACTIVE_STACK_RUN");
/// Runs that only lack a slot: (0 when prioritized, else 1; class of the kind; age).
pub const QUEUE_RUN: Index<(u8, u8, Seq)> = TableDefinition::new("QUEUE_RUN");
/// Runs that hold a slot.
pub const SLOT_RUN: Index<Seq> = TableDefinition::new("SLOT_RUN");
/// Uids that are leased to runs.
pub const UID_TO_RUN: Numbers<u32, Seq> = TableDefinition::new("UID_TO_RUN");
pub const UNACKNOWLEDGED_RUN: Index<Seq> = TableDefinition::new("UNACKNOWLEDGED_RUN");
/// What each phase that ran a guest left.
pub const RUN_N_TO_LEFT: Table<(Seq, u32), r::Left> = table("RUN_N_TO_LEFT");
/// The guests that a run is pinned to.
pub const RUN_TO_GUESTS: Table<Seq, r::RunGuests> = table("RUN_TO_GUESTS");

// Guests.
pub const NAME_TO_GUEST: Table<&str, r::Guest> = table("NAME_TO_GUEST");
/// Roots that jails can have beside the host's.
pub const NAME_TO_IMAGE: Table<&str, r::Image> = table("NAME_TO_IMAGE");
/// Guests that are being compiled, and what became of them while somebody waits for the answer.
pub const IMPORT_TO_DRAFT: Table<Id, r::GuestDraft> = table("IMPORT_TO_DRAFT");

// Run tasks.
pub const RUN_TASK_ID_TO_RUN_TASK: Table<Id, r::RunTask> = table("RUN_TASK_ID_TO_RUN_TASK");
pub const RUN_TASK_NAME_TO_ID: Numbers<&str, Id> = TableDefinition::new("RUN_TASK_NAME_TO_ID");
pub const STACK_ID_TO_ATTACHMENT: Table<(Id, Id), r::Attachment> = table("STACK_ID_TO_ATTACHMENT");
/// The stages of a run in the order in which they were begun.
pub const RUN_N_TO_STAGE: Table<(Seq, u32), r::StageRow> = table("RUN_N_TO_STAGE");
pub const STAGE_ID_TO_RUN: Numbers<Id, Seq> = TableDefinition::new("STAGE_ID_TO_RUN");
pub const RESULT_ID_TO_RESULT: Table<Id, r::TaskResult> = table("RESULT_ID_TO_RESULT");
pub const RESULT_TO_OUTCOMES: Table<Id, r::Outcomes> = table("RESULT_TO_OUTCOMES");
pub const RESULT_N_TO_DELIVERY: Table<(Id, u32), r::Delivery> = table("RESULT_N_TO_DELIVERY");
/// Results that are not final, and those that are to be sent again nevertheless.
pub const OPEN_RESULT: Index<Id> = TableDefinition::new("OPEN_RESULT");
/// The one-off tokens of results.
pub const HASH_TO_RESULT: Numbers<TokenHash, Id> = TableDefinition::new("HASH_TO_RESULT");

// People and machines.
pub const USER_ID_TO_USER: Table<Id, r::User> = table("USER_ID_TO_USER");
pub const USER_NAME_TO_ID: Numbers<&str, Id> = TableDefinition::new("USER_NAME_TO_ID");
pub const HASH_TO_SESSION: Table<TokenHash, r::Session> = table("HASH_TO_SESSION");
pub const USER_SESSION: Index<(Id, TokenHash)> = TableDefinition::new("USER_SESSION");
pub const HASH_TO_INVITATION: Table<TokenHash, r::Invitation> = table("HASH_TO_INVITATION");
pub const KEY_ID_TO_API_KEY: Table<Id, r::ApiKey> = table("KEY_ID_TO_API_KEY");
pub const KEY_TO_IDEMPOTENT: Table<&str, r::Idempotent> = table("KEY_TO_IDEMPOTENT");

// Audit.
pub const SEQ_TO_AUDIT: Table<Seq, r::AuditEntry> = table("SEQ_TO_AUDIT");
pub const ACTOR_AUDIT: Index<(&str, Seq)> = TableDefinition::new("ACTOR_AUDIT");
pub const OBJECT_AUDIT: Index<(&str, Seq)> = TableDefinition::new("OBJECT_AUDIT");
pub const VERB_AUDIT: Index<(&str, Seq)> = TableDefinition::new("VERB_AUDIT");

// Declared tasks that serve others as run tasks.
pub const SEQ_TO_CALL: Table<Seq, r::Call> = table("SEQ_TO_CALL");
/// `stack task result`, so that a call that is sent again starts nothing again.
pub const CALLER_TO_CALL: Numbers<&str, Seq> = TableDefinition::new("CALLER_TO_CALL");
/// Calls whose callers wait.
pub const OPEN_CALL: Index<Seq> = TableDefinition::new("OPEN_CALL");
