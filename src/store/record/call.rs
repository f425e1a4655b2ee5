//! Calls of others, for whom a declared task serves as a run task.

use serde::{Deserialize, Serialize};

use crate::{
    crypt::Sealed,
    domain::{RunId, StackId, TaskName, Timestamp},
};

/// One call whose signature fitted. It is open until the caller has the outcome, or cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    pub seq: u64,
    pub stack: StackId,
    pub task: TaskName,
    /// What the caller calls the result that it waits for.
    pub result: String,
    /// Who called, for people: `organization/workspace`.
    pub caller: String,
    /// The body with its token, sealed as it came.
    pub payload: Sealed,
    /// The plan that it is about, as it was fetched; sealed. None where there is none to fetch.
    #[serde(default)]
    pub plan: Option<Sealed>,
    /// A guest is to judge the plan, and it was not fetched yet.
    pub wants_plan: bool,
    pub received_at: Timestamp,
    /// The run that was made of it.
    pub run: Option<RunId>,
    /// Why there is no run.
    pub fault: Option<String>,
    /// What the caller knows.
    pub told: Told,
    /// Attempts to say the next thing, or to fetch the plan.
    pub attempts: u32,
    /// Not before this.
    pub next_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    Nothing,
    Running,
    /// The outcome, or that there will be none.
    All,
}
