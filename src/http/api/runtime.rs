//! What a run was configured with and used, as `runtime_config` of a run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::shape::OriginShape;
use crate::{
    domain::{
        EnvName, RelativePath,
        runtime::{Chosen, Hook, Origin, RuntimeConfig, Used, UsedVariable},
    },
    queries::RunRuntime,
};

/// What a run was configured with and used.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RuntimeConfig)]
pub(super) struct RuntimeShape {
    /// Its own configuration, as the trigger brought it.
    #[schema(value_type = Option<Object>)]
    given: Option<BTreeMap<String, Value>>,
    /// What it used, once its source was fetched.
    used: Option<UsedShape>,
}

/// What a run used, each part with its source.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsedConfig)]
struct UsedShape {
    environment: Vec<VariableShape>,
    files: Vec<FileShape>,
    /// By point, such as `before_plan`, in the order in which they run.
    hooks: BTreeMap<&'static str, Vec<HookShape>>,
    project_root: ChosenShape,
    terraform_version: Option<ChosenShape>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsedVariable)]
struct VariableShape {
    #[schema(value_type = String)]
    name: EnvName,
    /// Null where it is sensitive, or long.
    value: Option<String>,
    /// A keyed hash of a sensitive value, the digest of a long one.
    hash: Option<String>,
    sensitive: bool,
    source: OriginShape,
    overrides: Vec<OriginShape>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsedFile)]
struct FileShape {
    #[schema(value_type = String)]
    path: RelativePath,
    source: OriginShape,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsedHook)]
struct HookShape {
    command: String,
    source: OriginShape,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsedValue)]
struct ChosenShape {
    value: String,
    source: OriginShape,
}

impl From<RunRuntime> for RuntimeShape {
    fn from(row: RunRuntime) -> Self {
        Self { given: row.trigger.map(given), used: row.used.map(Into::into) }
    }
}

/// A configuration with the keys that it was written with.
fn given(config: RuntimeConfig) -> BTreeMap<String, Value> {
    let mut keys: BTreeMap<String, Value> = BTreeMap::new();
    for (point, commands) in config.hooks {
        keys.insert(point.word().to_owned(), commands.into());
    }
    if !config.environment.is_empty() {
        let environment = config.environment.into_iter().map(|(name, value)| (name.to_string(), value.into()));
        keys.insert("environment".to_owned(), Value::Object(environment.collect()));
    }
    let single = [
        ("project_root", config.project_root.map(|root| root.to_string())),
        ("runner_image", config.runner_image),
        ("terraform_version", config.terraform_version),
    ];
    for (key, value) in single {
        keys.extend(value.map(|value| (key.to_owned(), Value::String(value))));
    }
    keys
}

impl From<Used> for UsedShape {
    fn from(used: Used) -> Self {
        let file = |(path, origin): (RelativePath, Origin)| FileShape { path, source: (&origin).into() };
        Self {
            environment: used.environment.into_iter().map(Into::into).collect(),
            files: used.files.into_iter().map(file).collect(),
            hooks: used
                .hooks
                .into_iter()
                .map(|(point, hooks)| (point.word(), hooks.into_iter().map(Into::into).collect()))
                .collect(),
            project_root: used.project_root.into(),
            terraform_version: used.terraform_version.map(Into::into),
        }
    }
}

impl From<UsedVariable> for VariableShape {
    fn from(used: UsedVariable) -> Self {
        Self {
            name: used.name,
            value: used.value,
            hash: used.hash,
            sensitive: used.sensitive,
            source: (&used.origin).into(),
            overrides: used.overrides.iter().map(Into::into).collect(),
        }
    }
}

impl From<Hook> for HookShape {
    fn from(hook: Hook) -> Self {
        Self { command: hook.command, source: (&hook.origin).into() }
    }
}

impl From<Chosen> for ChosenShape {
    fn from(chosen: Chosen) -> Self {
        Self { value: chosen.value, source: (&chosen.origin).into() }
    }
}

/// A configuration as somebody sends it: YAML in a text, or its keys.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum RuntimeInput {
    Text(String),
    Keys(serde_json::Map<String, Value>),
}

impl RuntimeInput {
    /// JSON is YAML, so both are read alike.
    pub(super) fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Keys(keys) => serde_json::to_string_pretty(&keys).unwrap_or_default(),
        }
    }
}
