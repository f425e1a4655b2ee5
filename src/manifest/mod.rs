//! `.airlock/config.yaml` and its relatives: declared tasks and runtime configuration.

pub mod declared;
mod error;
mod runtime;

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{Slug, TaskName};

pub use declared::DeclaredTask;
pub use error::{ManifestError, Mistake, Note, Position};
pub use runtime::{HookPoint, RuntimeConfig};

/// What the files of one source say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manifest {
    /// What was accepted and has no effect, or not the expected one.
    pub notes: Vec<Note>,
    /// Below every stack's own settings.
    pub stack_defaults: RuntimeConfig,
    /// Above the stack's settings.
    pub stacks: BTreeMap<Slug, RuntimeConfig>,
    pub tasks: BTreeMap<TaskName, DeclaredTask>,
    /// The names under `services:`. Airlock starts none of them: they only explain a mistake.
    pub declared_services: BTreeSet<String>,
}
