//! The layers of a run's settings, for the runner to put together.

use std::collections::BTreeMap;

use crate::{
    domain::{
        EnvName, Kind,
        runtime::{ContextHooks, Known, Layers},
        stack::Vendor,
    },
    protocol::{Root, Runtime},
    store::{
        Error, Fault, Rows,
        layers::{self, Attached},
        record::VariableValue,
        tables as t,
    },
};

use super::Reading;
use crate::actions::image;

/// Stacks with this label are not configured by their source; Spacelift's word.
const IGNORES_FILE: &str = "feature:ignore_runtime_config";

impl Reading<'_> {
    /// None for declared tasks and guests on a source: those have a declaration of their own.
    pub(super) fn runtime(&self) -> Result<Option<Runtime>, Error> {
        if self.run.kind == Kind::OnDemand {
            return Ok(None);
        }
        Ok(Some(Runtime { layers: self.layers()?, binaries: self.actions.setup.binaries.clone() }))
    }

    fn layers(&self) -> Result<Layers, Fault> {
        let row = self.view.get(t::RUN_TO_RUNTIME, self.run.seq)?.unwrap_or_default();
        let settings = &self.stack.settings;
        let (variables, files) = (self.known_variables()?, layers::files_of(&self.view, &self.stack, &self.contexts)?);
        let contexts = match settings.vendor {
            Vendor::Wasi { .. } => Vec::new(),
            _ => self.contexts.iter().map(hooks_of).collect(),
        };
        let binary = match &settings.vendor {
            Vendor::Terraform { binary, .. } | Vendor::OpenTofu { binary, .. } => binary.clone(),
            Vendor::Custom { .. } | Vendor::Wasi { .. } => None,
        };
        let root = settings.source.as_ref().map(|source| source.project_root().clone());
        Ok(Layers {
            trigger: row.trigger.unwrap_or_default(),
            file: if self.reads_file() { row.file } else { Some(row.file.unwrap_or_default()) },
            hooks: settings.hooks.clone(),
            contexts,
            project_root: root.filter(|root| !root.as_str().is_empty()),
            image: self.image()?,
            binary,
            variables,
            files: files.into_iter().map(|file| (file.row.path, file.origin)).collect(),
        })
    }

    /// What the run's jails have as their root.
    pub(super) fn root(&self) -> Result<Root, Error> {
        let data = &self.actions.setup.data;
        match &self.run.image {
            Some(pinned) => image::root_of_pinned(data, pinned),
            None => image::root_of(&self.view, data, &self.image()?),
        }
    }

    /// Its name.
    fn image(&self) -> Result<String, Fault> {
        match &self.run.image {
            Some(pinned) => Ok(pinned.name.clone()),
            None => image::wanted(&self.view, &self.run, &self.stack),
        }
    }

    /// Whether this chain is the one that fetches the source, and the source has a say.
    fn reads_file(&self) -> bool {
        self.kind.fetches() && !self.stack.settings.labels.iter().any(|label| label.as_str() == IGNORES_FILE)
    }

    fn known_variables(&self) -> Result<BTreeMap<EnvName, Known>, Fault> {
        let rows = layers::variables_of(&self.view, &self.stack, &self.contexts)?;
        let known = |row: VariableValue| match row {
            VariableValue::Sensitive { hash, .. } => Some(hash),
            VariableValue::Plain(_) => None,
        };
        let each = rows.into_iter().map(|layered| {
            let hash = known(layered.row.value);
            (layered.row.name, Known { origin: layered.origin, overrides: layered.overrides, hash })
        });
        Ok(each.collect())
    }

    /// Whether the environment says that nothing is applied, wherever it says so.
    pub(super) fn skips_applying(&self) -> Result<bool, Error> {
        let layers = self.layers()?;
        let environment = layers.environment();
        for name in ["AIRLOCK_SKIP_APPLYING", "SPACELIFT_SKIP_APPLYING"] {
            let Some((name, placed)) = environment.iter().find(|(known, _)| known.as_str() == name) else { continue };
            let says = match (placed.value, &placed.origin) {
                (Some(value), _) => value == "true",
                (None, origin) => {
                    let id = self.stack.id.number();
                    let row = match origin.context() {
                        Some(context) => {
                            self.view.get(t::CONTEXT_NAME_TO_VARIABLE, (context.as_str(), name.as_str()))?
                        }
                        None => self.view.get(t::STACK_NAME_TO_VARIABLE, (id, name.as_str()))?,
                    };
                    match row.map(|row| row.value) {
                        Some(VariableValue::Plain(value)) => value == "true",
                        Some(VariableValue::Sensitive { sealed, .. }) => {
                            self.open_variable(origin, name, &sealed)?.expose() == "true"
                        }
                        None => false,
                    }
                }
            };
            if says {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn hooks_of(attached: &Attached) -> ContextHooks {
    ContextHooks { origin: attached.origin.clone(), hooks: attached.context.hooks.clone() }
}
