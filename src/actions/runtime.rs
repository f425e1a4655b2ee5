//! What runs are configured with: the trigger's own configuration, checked before the run is made, and
//! what the runner found and used.

use crate::{
    domain::{
        FieldError, Refused,
        runtime::{RuntimeConfig, binary_of, no_such_binary},
        stack::{ExecutorKind, Vendor},
    },
    manifest,
    protocol::RuntimeFound,
    store::{
        Error, Fault, Rows, Tx,
        record::{Run, RunRuntime, Stack},
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
