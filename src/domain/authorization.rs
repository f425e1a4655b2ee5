//! What the token of a running declared task may do.

use serde::{Deserialize, Serialize};

use super::name::TaskName;

/// One entry of a declaration's `authorizations`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorization {
    pub scope: AuthorizedScope,
    pub action: AuthorizedAction,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthorizedScope {
    /// One declared task, or each of them.
    Task(Option<TaskName>),
    Environment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthorizedAction {
    /// View it, and make it do something.
    Operate,
    View,
}

impl Authorization {
    /// Whether it lets a declared task be triggered.
    pub fn operates_task(&self, name: &TaskName) -> bool {
        self.action == AuthorizedAction::Operate && self.names(name)
    }

    /// Whether it is about this declared task.
    pub fn names(&self, name: &TaskName) -> bool {
        matches!(&self.scope, AuthorizedScope::Task(task) if task.as_ref().is_none_or(|task| task == name))
    }

    pub fn operates_environment(&self) -> bool {
        self.views_environment() && self.action == AuthorizedAction::Operate
    }

    pub fn views_environment(&self) -> bool {
        self.scope == AuthorizedScope::Environment
    }
}
