//! Run tasks: outside checks at the stages of a run.
//!
//! The words are those of the public protocol, so that they go out as they are.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    id::{NotAnId, StackId},
    limits,
};

/// What the installation is called by the public protocol.
pub const ORGANIZATION: &str = "airlock";

/// Where in a run outside checks are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// After initializing, before planning.
    PrePlan,
    /// After planning, before anybody decides.
    PostPlan,
    /// After confirmation, or before an automatic apply.
    PreApply,
    /// After applying; recorded only.
    PostApply,
}

impl Stage {
    /// In the order of a run.
    pub const ALL: [Self; 4] = [Self::PrePlan, Self::PostPlan, Self::PreApply, Self::PostApply];

    pub const fn word(self) -> &'static str {
        match self {
            Self::PrePlan => "pre_plan",
            Self::PostPlan => "post_plan",
            Self::PreApply => "pre_apply",
            Self::PostApply => "post_apply",
        }
    }

    /// For people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::PrePlan => "Before planning",
            Self::PostPlan => "After planning",
            Self::PreApply => "Before applying",
            Self::PostApply => "After applying",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.word() == word)
    }

    /// Whether a run can fail here.
    pub const fn can_stop(self) -> bool {
        !matches!(self, Self::PostApply)
    }

    /// Whether the run was accepted before this stage, so that nobody stops it any more.
    pub const fn is_confirmed(self) -> bool {
        matches!(self, Self::PreApply | Self::PostApply)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A set of stages.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Stages(u8);

impl Stages {
    pub const NONE: Self = Self(0);

    pub fn of(stages: &[Stage]) -> Self {
        stages.iter().fold(Self::NONE, |set, stage| set.with(*stage))
    }

    #[must_use]
    pub const fn with(self, stage: Stage) -> Self {
        Self(self.0 | 1 << stage as u8)
    }

    pub const fn has(self, stage: Stage) -> bool {
        self.0 & (1 << stage as u8) != 0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Debug for Stages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(Stage::ALL.into_iter().filter(|stage| self.has(*stage))).finish()
    }
}

/// What it means for the run that a check did not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enforcement {
    /// A warning; the run goes on.
    Advisory,
    /// The run fails.
    Mandatory,
}

impl Enforcement {
    pub const ALL: [Self; 2] = [Self::Advisory, Self::Mandatory];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Advisory => "advisory",
            Self::Mandatory => "mandatory",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|enforcement| enforcement.word() == word)
    }
}

impl fmt::Display for Enforcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// How far one call of one run task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResultStatus {
    /// The request was not accepted yet.
    Pending,
    /// The service has it.
    Running,
    Passed,
    Failed,
    /// Time was up, or the service's own trouble.
    Errored,
    /// The run ended first.
    Canceled,
    /// The request could not be delivered.
    Unreachable,
}

impl ResultStatus {
    pub const ALL: [Self; 7] =
        [Self::Pending, Self::Running, Self::Passed, Self::Failed, Self::Errored, Self::Canceled, Self::Unreachable];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Errored => "errored",
            Self::Canceled => "canceled",
            Self::Unreachable => "unreachable",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.word() == word)
    }

    /// Nothing follows.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }

    /// From the least restrictive to the most.
    const fn weight(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::Pending | Self::Running => 1,
            Self::Canceled => 2,
            Self::Unreachable => 3,
            Self::Errored => 4,
            Self::Failed => 5,
        }
    }
}

impl fmt::Display for ResultStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// How far a stage is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageStatus {
    Pending,
    Running,
    Passed,
    Failed,
    Errored,
    Canceled,
    Unreachable,
    /// A mandatory check did not pass and an admin let the run go on.
    Overridden,
}

impl StageStatus {
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Running,
        Self::Passed,
        Self::Failed,
        Self::Errored,
        Self::Canceled,
        Self::Unreachable,
        Self::Overridden,
    ];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Errored => "errored",
            Self::Canceled => "canceled",
            Self::Unreachable => "unreachable",
            Self::Overridden => "overridden",
        }
    }

    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }

    /// Whether the run goes on.
    pub const fn lets_pass(self) -> bool {
        matches!(self, Self::Passed | Self::Overridden)
    }

    /// The most restrictive of a stage's results: those of advisory checks restrict nothing, and a
    /// stage that stops nothing holds only such. None while one of them is not final.
    pub fn of(stage: Stage, results: impl IntoIterator<Item = (Enforcement, ResultStatus)>) -> Option<Self> {
        let mut worst = ResultStatus::Passed;
        for (enforcement, status) in results {
            if !status.is_final() {
                return None;
            }
            let restricts = enforcement == Enforcement::Mandatory && stage.can_stop();
            if restricts && status.weight() > worst.weight() {
                worst = status;
            }
        }
        Some(match worst {
            ResultStatus::Failed => Self::Failed,
            ResultStatus::Errored => Self::Errored,
            ResultStatus::Unreachable => Self::Unreachable,
            ResultStatus::Canceled => Self::Canceled,
            ResultStatus::Passed | ResultStatus::Pending | ResultStatus::Running => Self::Passed,
        })
    }
}

impl fmt::Display for StageStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One finding of a run task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    pub outcome_id: String,
    pub description: String,
    /// Markdown, of somebody else's making.
    pub body: String,
    pub url: String,
    pub tags: Vec<OutcomeTag>,
}

/// A name with its labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeTag {
    pub name: String,
    pub labels: Vec<OutcomeLabel>,
}

impl OutcomeTag {
    /// Whether its labels are shown coloured.
    pub fn is_coloured(&self) -> bool {
        ["status", "severity"].iter().any(|name| self.name.eq_ignore_ascii_case(name))
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeLabel {
    pub label: String,
    pub level: Level,
}

/// How grave a label is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    #[default]
    None,
    Info,
    Warning,
    Error,
}

impl Level {
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        [Self::None, Self::Info, Self::Warning, Self::Error].into_iter().find(|level| level.word() == word)
    }
}

/// An id as the public protocol writes it: `run-01K…`.
pub fn outward(id: impl fmt::Display) -> String {
    id.to_string().replace('_', "-")
}

/// What a stack is called by the public protocol: `ws-01K…`.
pub fn workspace_id(stack: StackId) -> String {
    let id = stack.to_string();
    format!("ws-{}", id.rsplit('_').next().unwrap_or_default())
}

/// The stack behind such a name.
pub fn stack_of_workspace(text: &str) -> Result<StackId, NotAnId> {
    let number = text.strip_prefix("ws").and_then(|rest| rest.strip_prefix(['-', '_']));
    number.map_or_else(|| text.parse(), |number| format!("stack_{number}").parse())
}

/// Why an address cannot be a run task's.
pub fn check_url(url: &str) -> Result<(), String> {
    if url.chars().count() > limits::URL_CHARS {
        return Err(format!("at most {} characters are allowed", limits::URL_CHARS));
    }
    if !(url.starts_with("https://") || url.starts_with("http://")) {
        return Err("must begin with https:// or http://".to_owned());
    }
    match url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        true => Err("must not hold blanks or control characters".to_owned()),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_ends_with_its_most_restrictive_mandatory_result() {
        use Enforcement::{Advisory, Mandatory};
        use ResultStatus::{Errored, Failed, Passed, Running, Unreachable};
        let ends = |results: &[(Enforcement, ResultStatus)]| StageStatus::of(Stage::PostPlan, results.iter().copied());
        assert_eq!(ends(&[]), Some(StageStatus::Passed));
        assert_eq!(ends(&[(Mandatory, Passed), (Advisory, Running)]), None);
        assert_eq!(ends(&[(Mandatory, Passed), (Advisory, Failed)]), Some(StageStatus::Passed));
        assert_eq!(ends(&[(Mandatory, Unreachable), (Mandatory, Passed)]), Some(StageStatus::Unreachable));
        assert_eq!(ends(&[(Mandatory, Failed), (Mandatory, Errored)]), Some(StageStatus::Failed));
        assert_eq!(StageStatus::of(Stage::PostApply, [(Mandatory, Failed)]), Some(StageStatus::Passed));
    }

    #[test]
    fn stages_are_a_set() {
        let set = Stages::of(&[Stage::PreApply, Stage::PrePlan]);
        assert!(set.has(Stage::PrePlan) && set.has(Stage::PreApply));
        assert!(!set.has(Stage::PostPlan) && !set.has(Stage::PostApply) && !set.is_empty());
        for stage in Stage::ALL {
            assert_eq!(Stage::from_word(stage.word()), Some(stage));
            assert_eq!(serde_json::to_value(stage).unwrap(), stage.word());
        }
    }

    #[test]
    fn a_stack_is_a_workspace_outside() {
        let stack = StackId::from_number(7);
        assert!(workspace_id(stack).starts_with("ws-0"));
        assert_eq!(stack_of_workspace(&workspace_id(stack)), Ok(stack));
        assert_eq!(stack_of_workspace(&stack.to_string()), Ok(stack));
        assert!(stack_of_workspace("ws-1").is_err());
    }

    #[test]
    fn only_addresses_of_the_web_are_called() {
        assert!(check_url("https://checks.example.org/run?x=1").is_ok());
        for bad in ["file:///etc/passwd", "ftp://x", "https://a b", "", "https://x/\n"] {
            assert!(check_url(bad).is_err(), "{bad:?}");
        }
    }
}
