//! The layers of a run's settings, for the runner to put together.

use std::collections::BTreeMap;

use crate::{
    domain::{Kind, runtime::Layers},
    protocol::{Root, Runtime},
    store::{Error, Fault, Rows, record::VariableValue, tables as t},
};

use super::Reading;
use crate::actions::{image, runtime};

/// Stacks with this label are not configured by their source; Spacelift's word.
const IGNORES_FILE: &str = "feature:ignore_runtime_config";

impl Reading<'_> {
    /// None for declared tasks and guests on a source: those have a declaration of their own.
    pub(super) fn runtime(&self) -> Result<Option<Runtime>, Error> {
        if self.run.kind == Kind::OnDemand {
            return Ok(None);
        }
        let layers = self.layers()?;
        let images = match layers.file {
            None => image::places(&self.view, &self.actions.setup.data)?,
            Some(_) => BTreeMap::new(),
        };
        Ok(Some(Runtime { layers, binaries: self.actions.setup.binaries.clone(), images }))
    }

    fn layers(&self) -> Result<Layers, Fault> {
        let mut layers = runtime::layers(&self.view, &self.run, &self.stack, &self.contexts)?;
        if !self.reads_file() {
            layers.file.get_or_insert_default();
        }
        Ok(layers)
    }

    /// What the run's jails have as their root.
    pub(super) fn root(&self) -> Result<Root, Error> {
        let data = &self.actions.setup.data;
        match &self.run.image {
            Some(pinned) => image::root_of_pinned(data, pinned),
            None => image::root_of(&self.view, data, &image::name_of(&self.view, &self.run, &self.stack)?),
        }
    }

    /// Whether this chain is the one that fetches the source, and the source has a say.
    fn reads_file(&self) -> bool {
        self.kind.fetches() && !self.stack.settings.labels.iter().any(|label| label.as_str() == IGNORES_FILE)
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
