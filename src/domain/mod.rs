//! The nouns of Airlock, pure: ids, names, time, stacks, runs, phases, verdicts, actors, limits.
//!
//! Owns the words of the product and the rules that make a value valid. Knows no clock, no
//! randomness, no I/O, and none of the other modules. A value of one of these types has been
//! checked: parse at the door, then trust.

pub mod actor;
pub mod authorization;
pub mod change;
pub mod guest;
pub mod id;
pub mod limits;
pub mod name;
pub mod network;
pub mod phase;
pub mod policy;
pub mod refused;
pub mod resources;
pub mod review;
pub mod run;
pub mod run_task;
pub mod runtime;
pub mod size;
pub mod stack;
pub mod time;
pub mod verdict;
pub mod webhook;

pub use actor::{Actor, ActorKind, Role};
pub use change::{Action, Changes, Counts, Delta, OutputChange, OutputCounts, ResourceChange};
pub use id::{
    AttachmentId, CredentialId, KeyId, RunId, RunTaskId, SessionId, StackId, TaskResultId, TaskStageId, UserId,
};
pub use name::{
    BranchName, CommitSha, Digest, EnvName, GuestName, ImageName, Label, Note, PolicyName, RelativePath, RunTaskName,
    ServiceName, Slug, StackName, TaskName, UserName,
};
pub use phase::Phase;
pub use policy::{PolicyKind, PolicyOutcome, PolicyReceipt};
pub use refused::{FieldError, Refused, RefusedKind};
pub use review::{Approval, ReviewDecision};
pub use run::{BlockedBy, Kind, Look, State};
pub use run_task::{Enforcement, ResultStatus, Stage, StageStatus, Stages};
pub use time::{Clock, Timestamp};
pub use verdict::Verdict;
pub use webhook::{Severity, WebhookForm};
