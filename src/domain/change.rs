//! What a plan would change.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What happens to a resource or an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Create,
    Update,
    Replace,
    Delete,
    /// A data source is read during apply. Shown, not counted as a change.
    Read,
}

impl Action {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Replace => "replace",
            Self::Delete => "delete",
            Self::Read => "read",
        }
    }
}

/// One resource that a plan would touch. Sensitive parts are already replaced by a keyed hash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResourceChange {
    pub address: String,
    #[serde(rename = "type")]
    pub type_name: String,
    pub action: Action,
    /// Null when it does not exist yet.
    pub before: Value,
    /// Null when it is deleted. What is known only after apply is the text `(known after apply)`.
    pub after: Value,
    /// Paths (`/password`) whose values were sensitive; the empty path means all of it.
    #[serde(default)]
    pub sensitive: Vec<String>,
    /// Paths that force a replacement.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replace_paths: Vec<String>,
}

/// One output that a plan would change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputChange {
    pub name: String,
    pub action: Action,
    pub before: Value,
    pub after: Value,
    pub sensitive: bool,
}

/// Everything that a plan would change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Changes {
    pub resources: Vec<ResourceChange>,
    pub outputs: Vec<OutputChange>,
}

/// How many things a plan adds, changes, deletes, replaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub added: u32,
    pub changed: u32,
    pub deleted: u32,
    pub replaced: u32,
}

impl Counts {
    pub fn count(actions: impl IntoIterator<Item = Action>) -> Self {
        let mut counts = Self::default();
        for action in actions {
            match action {
                Action::Create => counts.added += 1,
                Action::Update => counts.changed += 1,
                Action::Delete => counts.deleted += 1,
                Action::Replace => counts.replaced += 1,
                Action::Read => {}
            }
        }
        counts
    }

    pub const fn total(self) -> u32 {
        self.added + self.changed + self.deleted + self.replaced
    }
}

/// How many outputs a plan adds, changes, deletes. An output is never replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputCounts {
    pub added: u32,
    pub changed: u32,
    pub deleted: u32,
}

impl OutputCounts {
    pub const fn total(self) -> u32 {
        self.added + self.changed + self.deleted
    }
}

/// The numbers that stand beside a planned run everywhere. Always all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    pub resources: Counts,
    pub outputs: OutputCounts,
}

impl Delta {
    pub const fn is_empty(self) -> bool {
        self.resources.total() == 0 && self.outputs.total() == 0
    }
}

impl Changes {
    pub fn delta(&self) -> Delta {
        let outputs = Counts::count(self.outputs.iter().map(|change| change.action));
        Delta {
            resources: Counts::count(self.resources.iter().map(|change| change.action)),
            outputs: OutputCounts {
                added: outputs.added,
                changed: outputs.changed + outputs.replaced,
                deleted: outputs.deleted,
            },
        }
    }
}
