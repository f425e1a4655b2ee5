//! Changes of state that somebody may want to hear of, and messages to people.

use serde::{Deserialize, Serialize};

use crate::domain::{PolicyName, RunId, Severity, StackId, State, Timestamp, actor::ActorName};

/// A run came into a state, and notification policies are to be asked about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    pub run: RunId,
    pub stack: StackId,
    pub state: State,
    /// The number of the entry in the run's history: what tells this change from every other.
    pub n: u32,
    pub at: Timestamp,
    pub by: ActorName,
    pub note: Option<String>,
    pub reason: Option<String>,
}

/// A message in the inbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub at: Timestamp,
    pub severity: Severity,
    pub title: String,
    pub text: String,
    pub audience: Audience,
    /// What it is about.
    pub run: Option<RunId>,
    /// The policy that wrote it, or is the matter with.
    pub policy: Option<PolicyName>,
    /// A later message of the same topic is not kept beside this one.
    pub topic: Option<String>,
}

/// Who sees a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// Whoever sees the stack.
    Stack(StackId),
    /// Admins of the installation.
    Admins,
}

/// What somebody did with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Mark {
    Read = 1,
    /// It is not shown to them any more.
    Dismissed = 2,
}
