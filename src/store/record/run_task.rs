//! Run tasks, where they are attached, and what became of calling them.

use serde::{Deserialize, Serialize};

use super::{super::Fault, serde_bytes_compat};
use crate::{
    crypt::Sealed,
    domain::{
        AttachmentId, Enforcement, GuestName, ResultStatus, RunId, RunTaskId, RunTaskName, StackId, Stage, StageStatus,
        TaskResultId, TaskStageId, Timestamp, actor::ActorName, limits, run_task,
    },
};

/// An outside check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunTask {
    pub id: RunTaskId,
    pub name: RunTaskName,
    pub description: String,
    pub kind: RunTaskKind,
    pub enabled: bool,
    /// An admin lets it see sensitive values of plans.
    pub trusted: bool,
    pub created_at: Timestamp,
    pub created_by: ActorName,
    pub updated_at: Timestamp,
    pub updated_by: ActorName,
    /// The last ones, the newest at the end. Whose wish each was is in the audit log.
    #[serde(default)]
    pub verifications: Vec<Verification>,
}

impl RunTask {
    /// Writes down a verification request; the oldest makes room.
    pub fn note(&mut self, verification: Verification) {
        let room = limits::VERIFICATIONS_KEPT - 1;
        self.verifications.drain(..self.verifications.len().saturating_sub(room));
        self.verifications.push(verification);
    }
}

/// A request that asked whether a run task is at an address, and knows the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    pub at: Timestamp,
    pub status: Option<u16>,
    pub duration_ms: u64,
    /// What went wrong, or the beginning of an answer that was no 200.
    pub note: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunTaskKind {
    /// A service that is called.
    Http {
        url: String,
        /// What requests are signed with; `vault::run_task`.
        hmac_key: Option<Sealed>,
    },
    /// A registered guest that runs here.
    Wasi { guest: GuestName },
}

/// A run task on a stack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attachment {
    pub id: AttachmentId,
    pub run_task: RunTaskId,
    pub stack: StackId,
    /// In order, each once, at least one.
    pub stages: Vec<Stage>,
    pub enforcement: Enforcement,
    pub created_at: Timestamp,
    pub created_by: ActorName,
}

/// One stage of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageRow {
    pub id: TaskStageId,
    pub run: RunId,
    /// The n-th stage of the run, from 1.
    pub n: u32,
    pub stage: Stage,
    pub status: StageStatus,
    pub created_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub results: Vec<TaskResultId>,
    /// Who let the run go on nevertheless.
    pub overridden: Option<Override>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    pub by: ActorName,
    pub at: Timestamp,
    pub comment: Option<String>,
}

/// One call of one run task, with what the run task was then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskResult {
    pub id: TaskResultId,
    pub run: RunId,
    pub seq: u64,
    pub stack: StackId,
    pub stage_id: TaskStageId,
    pub stage_n: u32,
    pub stage: Stage,
    pub run_task: RunTaskId,
    pub name: RunTaskName,
    /// The address, or the guest.
    pub address: String,
    pub attachment: AttachmentId,
    pub enforcement: Enforcement,
    pub status: ResultStatus,
    pub message: String,
    pub url: String,
    /// How many outcomes there are; they are in a row of their own.
    pub outcomes: u32,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// When the service accepted the request.
    pub running_at: Option<Timestamp>,
    /// When the service was last heard of.
    pub progress_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    /// Deliveries so far.
    pub deliveries: u32,
    /// Tries of the delivery that is under way, and when the next one is due.
    pub tries: u32,
    pub due_at: Option<Timestamp>,
    /// When the first of them was begun.
    #[serde(default)]
    pub tried_since: Option<Timestamp>,
    /// Who wants it sent again.
    pub again: Option<ActorName>,
    pub token: TaskToken,
}

impl TaskResult {
    /// Whether a guest judges, here, and nobody is called.
    pub fn is_guest(&self) -> bool {
        self.address.starts_with(GUEST)
    }

    /// The delivery that is under way has come to its end.
    pub const fn end_delivery(&mut self) {
        (self.tries, self.due_at, self.tried_since) = (0, None, None);
    }
}

/// What the address of a guest begins with.
pub const GUEST: &str = "wasi:";

/// What the service shows when it comes back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskToken {
    #[serde(with = "serde_bytes_compat")]
    pub hash: Vec<u8>,
    /// The token itself, because a request that is sent again must be the same one;
    /// `vault::task_token`. Gone once the result is final, but for one that opens nothing while a request
    /// about it is sent again.
    pub sealed: Option<Sealed>,
}

/// What a run task found, as compressed JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcomes {
    #[serde(with = "serde_bytes_compat")]
    zstd: Vec<u8>,
}

impl Outcomes {
    pub fn new(outcomes: &[run_task::Outcome]) -> Result<Self, Fault> {
        let why = |why: String| Fault::Record { table: "RESULT_TO_OUTCOMES", why };
        let json = serde_json::to_vec(outcomes).map_err(|error| why(error.to_string()))?;
        let zstd = zstd::bulk::compress(&json, 3).map_err(|error| why(error.to_string()))?;
        Ok(Self { zstd })
    }

    pub fn read(&self) -> Result<Vec<run_task::Outcome>, Fault> {
        let why = |why: String| Fault::Record { table: "RESULT_TO_OUTCOMES", why };
        let json = zstd::stream::decode_all(self.zstd.as_slice()).map_err(|error| why(error.to_string()))?;
        serde_json::from_slice(&json).map_err(|error| why(error.to_string()))
    }
}

/// One request that was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    pub at: Timestamp,
    pub reason: DeliveryReason,
    pub status: Option<u16>,
    pub duration_ms: u64,
    /// What went wrong, or the beginning of an answer that was no 200.
    pub note: Option<String>,
}

/// Why it was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryReason {
    First,
    Retry,
    /// Somebody asked for it.
    Again {
        by: ActorName,
    },
}
