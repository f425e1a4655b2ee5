//! What operators give declared tasks.

use serde::{Deserialize, Serialize};

use crate::domain::{TaskName, Timestamp, actor::ActorName, resources::Resources};

/// The bounds of one declared task of a stack, in place of what the source says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskResources {
    pub task: TaskName,
    pub resources: Resources,
    pub updated_at: Timestamp,
    pub updated_by: ActorName,
}
