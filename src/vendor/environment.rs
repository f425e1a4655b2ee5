//! The environment of a phase.
//!
//! Built from nothing, in this order, later ones winning: the base, what the vendor needs, the
//! stack's variables, the variables carried from earlier phases, the facts of the run. The facts win
//! because hooks, policies and configurations believe them.
//!
//! `ro_NAME` reaches initializing and planning, `wo_NAME` applying and destroying (which applies a
//! destroy plan). Such a variable is set under its whole name and, where nothing else sets that,
//! under the bare `NAME`, so that a provider finds the credential that is meant for the phase.

use std::collections::BTreeMap;

use crate::{
    domain::{EnvName, Phase, State, stack::Vendor},
    protocol::{Environment, RunFacts, Variable},
    vendor::{Places, StateEndpoint, state_environment},
};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The variable that names the addresses of a targeted replan, one a line.
pub const TARGETS: &str = "AIRLOCK_TARGETS";

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
    /// Where the managed state is served, if the stack has one.
    pub state: Option<StateEndpoint<'a>>,
    /// Whether the runner has written [`super::cli_config`]'s text to [`Places::cli_config`].
    pub cli_config: bool,
    /// The state that the run will end in; for `ending`.
    pub final_state: Option<State>,
}

/// The phases that may do less than everything.
pub fn is_told_targets(phase: Phase) -> bool {
    matches!(phase, Phase::Planning | Phase::Applying | Phase::Destroying)
}

/// The environment of a phase, built from nothing.
pub fn environment(surroundings: &Surroundings<'_>) -> Environment {
    let mut environment = base();
    environment.extend(vendor_defaults(surroundings));
    environment.extend(from_people(surroundings));
    if let Some(endpoint) = &surroundings.state {
        environment.retain(|name, _| !name.starts_with("TF_HTTP_"));
        environment.extend(state_environment(endpoint).into_iter().map(|(name, value)| (name.to_owned(), value)));
    }
    environment.extend(facts(surroundings));
    environment
}

/// What every process needs; what a source is fetched with, too.
pub fn base() -> Environment {
    [("PATH", PATH), ("HOME", "/tmp/home"), ("TMPDIR", "/tmp"), ("LANG", "C.UTF-8"), ("CI", "true")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

/// What the vendor needs and the stack may set otherwise.
fn vendor_defaults(surroundings: &Surroundings<'_>) -> Environment {
    match surroundings.facts.vendor {
        Vendor::Terraform { .. } | Vendor::OpenTofu { .. } => {
            let mut environment: Environment =
                [("TF_IN_AUTOMATION", "1"), ("TF_INPUT", "0"), ("CHECKPOINT_DISABLE", "1")]
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .into();
            if surroundings.cli_config {
                environment.insert("TF_CLI_CONFIG_FILE".to_owned(), surroundings.places.cli_config());
            }
            environment
        }
        Vendor::Custom { .. } | Vendor::Wasi { .. } => Environment::new(),
    }
}

/// The stack's variables and the carried ones, as far as they reach this phase.
fn from_people(surroundings: &Surroundings<'_>) -> Environment {
    let stack = surroundings.variables.iter().map(|variable| (variable.name.as_str(), variable.value.expose()));
    let carried = surroundings.carried.iter().map(|(name, value)| (name.as_str(), value));
    let reaching: Environment = stack
        .chain(carried)
        .filter(|(name, _)| reaches(name, surroundings.phase))
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .collect();
    let mut all: Environment =
        reaching.iter().filter_map(|(name, value)| Some((bare(name)?.to_owned(), value.clone()))).collect();
    all.extend(reaching);
    all
}

fn reaches(name: &str, phase: Phase) -> bool {
    if name.starts_with("ro_") {
        matches!(phase, Phase::Initializing | Phase::Planning)
    } else if name.starts_with("wo_") {
        matches!(phase, Phase::Applying | Phase::Destroying)
    } else {
        true
    }
}

/// `NAME` of `ro_NAME` and `wo_NAME`, if that is a name.
fn bare(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("ro_").or_else(|| name.strip_prefix("wo_"))?;
    EnvName::new(rest).is_ok().then_some(rest)
}

/// What a phase is told about its run. Facts that do not apply are empty, not absent, so that
/// `set -u` and Terraform's variables can rely on them.
fn facts(surroundings: &Surroundings<'_>) -> Environment {
    let Surroundings { facts, phase, places, .. } = surroundings;
    let told = [
        ("RUN_ID", facts.id.to_string()),
        ("RUN_KIND", facts.kind.word().to_owned()),
        ("RUN_URL", facts.url.clone()),
        ("STACK", facts.slug.to_string()),
        ("COMMIT_SHA", facts.commit.as_ref().map_or_else(String::new, ToString::to_string)),
        ("COMMIT_BRANCH", facts.branch.clone().unwrap_or_default()),
        ("TRIGGERED_BY", facts.triggered_by.clone()),
        ("PHASE", phase.word().to_owned()),
        ("WORKSPACE", places.workspace.clone()),
    ];
    let mut environment = Environment::new();
    if facts.vendor.has_state() {
        let variable = |name: &str| format!("TF_VAR_airlock_{}", name.to_ascii_lowercase());
        environment.extend(told.iter().map(|(name, value)| (variable(name), value.clone())));
    }
    environment.extend(told.map(|(name, value)| (format!("AIRLOCK_{name}"), value)));
    environment.insert("AIRLOCK".to_owned(), "true".to_owned());
    environment.insert("AIRLOCK_ENV".to_owned(), places.env_file());
    if matches!(facts.vendor, Vendor::Custom { .. } | Vendor::Wasi { .. }) {
        environment.insert("AIRLOCK_PLAN_FILE".to_owned(), places.plan_json());
        if is_told_targets(*phase) && !facts.targets.is_empty() {
            environment.insert(TARGETS.to_owned(), facts.targets.join("\n"));
        }
    }
    if let Some(state) = surroundings.final_state {
        for name in ["AIRLOCK_FINAL_RUN_STATE", "TF_VAR_spacelift_final_run_state"] {
            environment.insert(name.to_owned(), state.word().to_owned());
        }
    }
    environment
}

#[cfg(test)]
mod tests;
