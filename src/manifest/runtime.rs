//! Runtime configuration: what one stack, every stack, or one trigger sets for a run.

use std::collections::BTreeMap;

use crate::domain::{
    limits,
    runtime::{HookPoint, RuntimeConfig},
};

use super::{
    error::quoted,
    reader::{Keys, Place, Reader, Schema},
    task::shell_text,
    variables::plain_environment,
};

const SETTINGS: Schema = Schema {
    of: "a runtime configuration",
    known: &[
        "before_init",
        "after_init",
        "before_plan",
        "after_plan",
        "before_apply",
        "after_apply",
        "before_perform",
        "after_perform",
        "before_destroy",
        "after_destroy",
        "after_run",
        "environment",
        "project_root",
        "runner_image",
        "terraform_version",
    ],
    noted: &[
        ("opentofu_version", "has no effect: the stack's vendor says which binary runs"),
        ("terraform_workflow_tool", "has no effect: the stack's vendor says which tool runs"),
        ("git_sparse_checkout_paths", "has no effect: the whole source is checked out"),
        ("terragrunt", "has no effect: Terragrunt is not one of the vendors"),
    ],
    refused: &[
        ("stack_defaults", "the settings themselves are expected here, without the keys above them"),
        ("stacks", "the settings themselves are expected here, without the keys above them"),
        ("tasks", "tasks are declared at the top of the configuration file"),
    ],
};

/// Reads the settings of one stack, of all, or of a trigger.
pub(super) fn runtime(reader: &mut Reader, place: &Place) -> Option<RuntimeConfig> {
    let keys = reader.keys(place, &SETTINGS)?;
    Some(RuntimeConfig {
        hooks: hooks(reader, &keys),
        environment: keys.get("environment").and_then(|place| plain_environment(reader, place)).unwrap_or_default(),
        project_root: keys.get("project_root").and_then(|place| reader.path(place)),
        runner_image: keys.get("runner_image").and_then(|place| word(reader, place, "the name of an image")),
        terraform_version: keys.get("terraform_version").and_then(|place| word(reader, place, "a version")),
    })
}

fn hooks(reader: &mut Reader, keys: &Keys) -> BTreeMap<HookPoint, Vec<String>> {
    HookPoint::ALL.into_iter().filter_map(|point| Some((point, commands(reader, keys.get(point.word())?)?))).collect()
}

fn commands(reader: &mut Reader, place: &Place) -> Option<Vec<String>> {
    let items = reader.items(place, limits::HOOKS)?;
    let mut commands = Vec::new();
    for item in &items {
        let Some(text) = reader.text(item, limits::COMMAND_BYTES) else { continue };
        if shell_text(reader, item, text).is_some() {
            commands.push(text.to_owned());
        }
    }
    Some(commands)
}

/// Text without blanks, whose meaning the operator's lists decide.
fn word(reader: &mut Reader, place: &Place, what: &str) -> Option<String> {
    const MOST: usize = 255;
    let text = reader.text(place, MOST)?;
    if text.is_empty() || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        reader.wrong(place, format!("{} is not {what}", quoted(text)), "it is not empty and has no blanks");
        return None;
    }
    Some(text.to_owned())
}
