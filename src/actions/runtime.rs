//! What runs are configured with: the trigger's own configuration, checked before the run is made, what
//! lies around it, and what the runner found and used.

use std::collections::BTreeMap;

use crate::{
    crypt::digest,
    domain::{
        EnvName, FieldError, Kind, Refused, RelativePath, limits,
        runtime::{
            ContextHooks, Hook, HookPoint, Known, Layers, RuntimeConfig, Used, UsedVariable, binary_of, no_such_binary,
        },
        stack::{ExecutorKind, Variables, Vendor},
    },
    manifest,
    protocol::RuntimeFound,
    store::{
        Error, Fault, Find, Rows, Tx,
        layers::{self, Attached},
        record::{Run, RunRuntime, Stack, VariableValue},
        tables as t,
    },
};

use super::{Moment, image};

/// The field that holds it, and how mistakes name the text.
const FIELD: &str = "runtime_config";

/// Reads what somebody sent; None: it says nothing. Every mistake has its line and column.
pub(super) fn read(text: &str) -> Result<Option<RuntimeConfig>, Refused> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    match manifest::parse_runtime_config(FIELD, text.as_bytes()) {
        Ok((config, _)) if config == RuntimeConfig::default() => Ok(None),
        Ok((config, _)) => Ok(Some(config)),
        Err(error) => {
            let more = (error.more > 0).then(|| format!("and {} more", error.more));
            let each = error.mistakes.iter().map(ToString::to_string);
            let wrong = |error: String| {
                // The field says already what the text is called.
                let error =
                    error.strip_prefix("runtime_config:").map_or_else(|| error.clone(), |at| format!("line {at}"));
                FieldError { field: FIELD.to_owned(), error }
            };
            Err(Refused::fields(each.chain(more).map(wrong).collect()))
        }
    }
}

/// Keeps a new run's own configuration; refuses what this stack and this installation do not have.
pub(super) fn remember(
    tx: &Tx<'_>,
    moment: &Moment,
    stack: &Stack,
    run: &Run,
    config: &RuntimeConfig,
) -> Result<(), Error> {
    check(moment, stack, config)?;
    if let Some(image) = &config.runner_image {
        image::check_known(tx, FIELD, image)?;
    }
    let row = RunRuntime { trigger: Some(config.clone()), ..RunRuntime::default() };
    Ok(tx.put(t::RUN_TO_RUNTIME, run.seq, &row)?)
}

fn check(moment: &Moment, stack: &Stack, config: &RuntimeConfig) -> Result<(), Refused> {
    let wrong = |why: String| Err(Refused::field(FIELD, why));
    let vendor = &stack.settings.vendor;
    if let Some(version) = &config.terraform_version {
        let program = match vendor {
            Vendor::Terraform { .. } => "terraform",
            Vendor::OpenTofu { .. } => "tofu",
            Vendor::Custom { .. } | Vendor::Wasi { .. } => {
                return wrong(format!("terraform_version has no meaning for a stack of the vendor {}", vendor.word()));
            }
        };
        let listed = &moment.setup.binaries;
        if binary_of(listed, program, version).is_none() {
            return wrong(format!("terraform_version: {}", no_such_binary(listed, version)));
        }
    }
    let confined = stack.settings.executor.kind == ExecutorKind::Jail;
    if !confined && config.runner_image.as_deref().is_some_and(|image| image != image::HOST) {
        return wrong("runner_image: an `unconfined` executor has no root but the host's".to_owned());
    }
    if matches!(vendor, Vendor::Wasi { .. }) && config.hooks.values().any(|list| !list.is_empty()) {
        return wrong("a wasi stack runs guests only, and no shell that hooks could run in".to_owned());
    }
    Ok(())
}

/// The configuration that an earlier run was given, to be given again.
pub(super) fn of_run(view: &impl Rows, run: &Run) -> Result<Option<RuntimeConfig>, Fault> {
    Ok(view.get(t::RUN_TO_RUNTIME, run.seq)?.and_then(|row| row.trigger))
}

/// Keeps what the runner found in the source and used.
pub(super) fn take(tx: &Tx<'_>, run: &Run, found: &RuntimeFound) -> Result<(), Error> {
    let row = tx.get(t::RUN_TO_RUNTIME, run.seq)?.unwrap_or_default();
    let row = RunRuntime { file: Some(found.file.clone()), used: Some(found.used.clone()), ..row };
    Ok(tx.put(t::RUN_TO_RUNTIME, run.seq, &row)?)
}

/// Everything that a run's settings are made of, as the store has it.
pub(super) fn layers(view: &impl Rows, run: &Run, stack: &Stack, contexts: &[Attached]) -> Result<Layers, Fault> {
    let row = view.get(t::RUN_TO_RUNTIME, run.seq)?.unwrap_or_default();
    let settings = &stack.settings;
    let files = layers::files_of(view, stack, contexts)?;
    let variables = known_variables(view, stack, contexts)?;
    let contexts = match settings.vendor {
        Vendor::Wasi { .. } => Vec::new(),
        Vendor::Terraform { .. } | Vendor::OpenTofu { .. } | Vendor::Custom { .. } => {
            contexts.iter().map(hooks_of).collect()
        }
    };
    let binary = match &settings.vendor {
        Vendor::Terraform { binary, .. } | Vendor::OpenTofu { binary, .. } => binary.clone(),
        Vendor::Custom { .. } | Vendor::Wasi { .. } => None,
    };
    let root = settings.source.as_ref().map(|source| source.project_root().clone());
    Ok(Layers {
        trigger: row.trigger.unwrap_or_default(),
        file: row.file,
        hooks: settings.hooks.clone(),
        contexts,
        project_root: root.filter(|root| !root.as_str().is_empty()),
        image: image::name_of(view, run, stack)?,
        binary,
        variables,
        files: files.into_iter().map(|file| (file.row.path, file.origin)).collect(),
    })
}

fn known_variables(view: &impl Rows, stack: &Stack, contexts: &[Attached]) -> Result<BTreeMap<EnvName, Known>, Fault> {
    let known = |row: VariableValue| match row {
        VariableValue::Sensitive { hash, .. } => Some(hash),
        VariableValue::Plain(_) => None,
    };
    let each = layers::variables_of(view, stack, contexts)?.into_iter().map(|layered| {
        let hash = known(layered.row.value);
        (layered.row.name, Known { origin: layered.origin, overrides: layered.overrides, hash })
    });
    Ok(each.collect())
}

fn hooks_of(attached: &Attached) -> ContextHooks {
    ContextHooks { origin: attached.origin.clone(), hooks: attached.context.hooks.clone() }
}

/// What a run is configured with, for whoever judges it: what it used; before its source was read, what the
/// trigger, the stack and its contexts say. `brought` is what a report says that it used, before that is
/// taken over. A sensitive value is the hash that people see of it.
pub(super) fn present(view: &impl Rows, run: &Run, brought: Option<&Used>) -> Result<RuntimeConfig, Fault> {
    // What a declared task runs is in its declaration.
    let stack = view.stack(run.stack)?.filter(|_| run.kind != Kind::OnDemand);
    let Some(stack) = stack else { return Ok(RuntimeConfig::default()) };
    let kept = view.get(t::RUN_TO_RUNTIME, run.seq)?.and_then(|row| row.used);
    let config = match brought.or(kept.as_ref()) {
        Some(used) => of_used(used),
        None => expected(view, run, &stack)?,
    };
    Ok(RuntimeConfig {
        runner_image: Some(image::name_of(view, run, &stack)?),
        terraform_version: run.terraform_version.clone().or(config.terraform_version),
        ..config
    })
}

fn of_used(used: &Used) -> RuntimeConfig {
    let shown = |one: &UsedVariable| one.value.clone().or_else(|| one.hash.clone()).unwrap_or_default();
    RuntimeConfig {
        hooks: used.hooks.iter().map(|(point, hooks)| (*point, commands(hooks))).collect(),
        environment: used.environment.iter().map(|one| (one.name.clone(), shown(one))).collect(),
        project_root: RelativePath::new(used.project_root.value.as_str()).ok(),
        runner_image: None,
        terraform_version: used.terraform_version.as_ref().map(|chosen| chosen.value.clone()),
    }
}

fn expected(view: &impl Rows, run: &Run, stack: &Stack) -> Result<RuntimeConfig, Fault> {
    let contexts = layers::contexts_of(view, stack)?;
    let mut stored = Variables::new();
    for layered in layers::variables_of(view, stack, &contexts)? {
        stored.insert(layered.row.name, shown(layered.row.value));
    }
    let layers = layers(view, run, stack, &contexts)?;
    let set = layers.environment().into_iter().filter_map(|(name, placed)| Some((name, bounded(placed.value?))));
    let set: Variables = set.collect();
    stored.extend(set);
    Ok(RuntimeConfig {
        hooks: HookPoint::ALL.into_iter().map(|point| (point, commands(&layers.hooks_at(point)))).collect(),
        environment: stored,
        project_root: Some(layers.project_root().0),
        runner_image: None,
        terraform_version: layers.version().map(|(version, _)| version.to_owned()),
    })
}

fn commands(hooks: &[Hook]) -> Vec<String> {
    hooks.iter().map(|hook| hook.command.clone()).collect()
}

fn shown(value: VariableValue) -> String {
    match value {
        VariableValue::Plain(text) => bounded(&text),
        VariableValue::Sensitive { hash, .. } => hash,
    }
}

/// A value, or the digest of one that is longer than runs keep.
fn bounded(text: &str) -> String {
    if text.len() <= limits::USED_VALUE_BYTES { text.to_owned() } else { digest(text.as_bytes()).to_string() }
}
