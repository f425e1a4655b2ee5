//! The environment of a phase.

use std::collections::BTreeMap;

use crate::{
    domain::{EnvName, Phase, State},
    protocol::{Environment, RunFacts, Variable},
    vendor::{Places, StateEndpoint},
};

/// What an environment is made of.
#[derive(Debug)]
pub struct Surroundings<'a> {
    pub facts: &'a RunFacts,
    pub phase: Phase,
    pub places: &'a Places,
    /// The stack's.
    pub variables: &'a [Variable],
    /// From `$AIRLOCK_ENV` of earlier phases.
    pub carried: &'a BTreeMap<EnvName, String>,
    /// Addresses of a targeted replan, for the custom vendor.
    pub targets: &'a [String],
    /// Where the managed state is served, if the stack has one.
    pub state: Option<StateEndpoint<'a>>,
    /// The state that the run will end in; for `ending`.
    pub final_state: Option<State>,
}

/// The environment of a phase, built from nothing.
pub fn environment(surroundings: &Surroundings<'_>) -> Environment {
    let _ = surroundings;
    unimplemented!()
}
