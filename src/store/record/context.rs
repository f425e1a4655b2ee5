//! Contexts, where they are attached, and what runs were configured with.

use serde::{Deserialize, Serialize};

use crate::domain::{
    Label, Slug, Timestamp,
    actor::ActorName,
    runtime::{FileConfig, RuntimeConfig, Used},
    stack::Hooks,
};

/// A bundle of variables, mounted files and hooks. Its variables and files are rows of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    pub name: Slug,
    pub description: String,
    /// `autoattach:<label>` attaches it to every stack with that label, `autoattach:*` to all.
    pub labels: Vec<Label>,
    pub hooks: Hooks,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub updated_by: ActorName,
    /// Changed with every write of this row, so that forms can tell what they were filled from.
    pub version: u64,
}

impl Context {
    /// Whether a stack with these labels gets it without being asked.
    pub fn attaches_itself(&self, labels: &[Label]) -> bool {
        let wanted = self.labels.iter().filter_map(|label| label.as_str().strip_prefix(AUTOMATIC));
        wanted.into_iter().any(|wanted| wanted == "*" || labels.iter().any(|label| label.as_str() == wanted))
    }
}

/// What the labels begin with that attach a context by themselves.
pub const AUTOMATIC: &str = "autoattach:";

/// A context that somebody attached to a stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextAttachment {
    pub context: Slug,
    /// The lower number wins.
    pub priority: i32,
    pub attached_at: Timestamp,
    pub attached_by: ActorName,
}

/// What a run was configured with, and what it used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRuntime {
    /// Its own configuration.
    pub trigger: Option<RuntimeConfig>,
    /// What the source's file said; none until it was fetched.
    pub file: Option<FileConfig>,
    /// None until the source was fetched.
    pub used: Option<Used>,
}
