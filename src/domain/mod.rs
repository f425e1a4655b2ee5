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
pub mod refused;
pub mod resources;
pub mod run;
pub mod size;
pub mod stack;
pub mod time;
pub mod verdict;

pub use actor::{Actor, ActorKind, Role};
pub use change::{Action, Changes, Counts, Delta, OutputChange, OutputCounts, ResourceChange};
pub use id::{CredentialId, KeyId, RunId, SessionId, StackId, UserId};
pub use name::{
    BranchName, CommitSha, Digest, EnvName, GuestName, ImageName, Label, Note, RelativePath, ServiceName, Slug,
    StackName, TaskName, UserName,
};
pub use phase::Phase;
pub use refused::{FieldError, Refused, RefusedKind};
pub use run::{BlockedBy, Kind, Look, State};
pub use time::{Clock, Timestamp};
pub use verdict::Verdict;
