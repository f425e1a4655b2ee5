//! Runtime configuration: what one stack, every stack, or one trigger sets for a run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::{
    RelativePath,
    stack::{Hooks, Variables},
};

/// Settings of a run. What is absent was not set; an empty list was, and replaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeConfig {
    pub hooks: BTreeMap<HookPoint, Vec<String>>,
    pub environment: Variables,
    pub project_root: Option<RelativePath>,
    /// The name of an image; whether it exists, the operator says.
    pub runner_image: Option<String>,
    /// One of the operator's listed binaries, else refused by whoever knows the list.
    pub terraform_version: Option<String>,
}

/// Where hooks may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookPoint {
    BeforeInit,
    AfterInit,
    BeforePlan,
    AfterPlan,
    BeforeApply,
    AfterApply,
    BeforePerform,
    AfterPerform,
    BeforeDestroy,
    AfterDestroy,
    AfterRun,
}

impl HookPoint {
    pub const ALL: [Self; 11] = [
        Self::BeforeInit,
        Self::AfterInit,
        Self::BeforePlan,
        Self::AfterPlan,
        Self::BeforeApply,
        Self::AfterApply,
        Self::BeforePerform,
        Self::AfterPerform,
        Self::BeforeDestroy,
        Self::AfterDestroy,
        Self::AfterRun,
    ];

    /// The key in the file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::BeforeInit => "before_init",
            Self::AfterInit => "after_init",
            Self::BeforePlan => "before_plan",
            Self::AfterPlan => "after_plan",
            Self::BeforeApply => "before_apply",
            Self::AfterApply => "after_apply",
            Self::BeforePerform => "before_perform",
            Self::AfterPerform => "after_perform",
            Self::BeforeDestroy => "before_destroy",
            Self::AfterDestroy => "after_destroy",
            Self::AfterRun => "after_run",
        }
    }

    /// The list of a stack's hooks that this point names.
    pub const fn of(self, hooks: &mut Hooks) -> &mut Vec<String> {
        match self {
            Self::BeforeInit => &mut hooks.before_init,
            Self::AfterInit => &mut hooks.after_init,
            Self::BeforePlan => &mut hooks.before_plan,
            Self::AfterPlan => &mut hooks.after_plan,
            Self::BeforeApply => &mut hooks.before_apply,
            Self::AfterApply => &mut hooks.after_apply,
            Self::BeforePerform => &mut hooks.before_perform,
            Self::AfterPerform => &mut hooks.after_perform,
            Self::BeforeDestroy => &mut hooks.before_destroy,
            Self::AfterDestroy => &mut hooks.after_destroy,
            Self::AfterRun => &mut hooks.after_run,
        }
    }
}
