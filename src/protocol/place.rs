//! Where things lie: in a chain's directory, and in the jail.

/// File names inside a chain's directory.
pub mod file {
    pub const LOCK: &str = "chain.lock";
    pub const RECORDS: &str = "records";
    pub const CONTROL: &str = "control.sock";
    pub const TREE: &str = "tree";
    /// Below `tree`: what the jail sees as `/workspace`.
    pub const WORKSPACE: &str = "workspace";
    /// Below `tree`: what the jail sees as `/run/airlock`; plan files, carried variables.
    pub const RUN: &str = "run";
    /// Below `tree`: holds the plan that a guest is to judge.
    pub const JUDGED: &str = "judged";
    /// Below `tree`: what a native task that is a run task sees as `/output`.
    pub const OUTPUT: &str = "output";
    /// Below `tree`, while it is sealed: what the run's phases are set to.
    pub const SETTINGS: &str = "settings";
    pub const ERRORS: &str = "runner.err";

    use crate::domain::Phase;

    pub fn log(number: u32, phase: Phase) -> String {
        format!("{number:02}-{phase}.log")
    }

    pub fn index(number: u32, phase: Phase) -> String {
        format!("{number:02}-{phase}.idx")
    }

    pub fn result(number: u32) -> String {
        format!("{number:02}.result")
    }

    pub fn state(number: u32, n: u32) -> String {
        format!("{number:02}-{n}.state")
    }

    pub fn source(number: u32) -> String {
        format!("{number:02}.source")
    }

    pub fn artifact(number: u32, n: usize) -> String {
        format!("{number:02}-{n}.artifact")
    }
}

/// Paths that phases see.
pub mod inside {
    pub const WORKSPACE: &str = "/workspace";
    pub const RUN: &str = "/run/airlock";
    /// `NAME=value` lines that later phases get.
    pub const ENV_FILE: &str = "/run/airlock/env";
    /// Terraform's plan.
    pub const PLAN: &str = "/run/airlock/plan.tfplan";
    /// `show -json` of it; for the custom vendor what `$AIRLOCK_PLAN_FILE` names.
    pub const PLAN_JSON: &str = "/run/airlock/plan.json";
    /// Where the provider mirror is mounted.
    pub const PROVIDER_MIRROR: &str = "/run/airlock-mirror";
    /// Where the shared plug-in cache is mounted.
    pub const PLUGIN_CACHE: &str = "/run/airlock-plugins";
    /// Where operator-listed binaries are seen.
    pub const BINARIES: &str = "/run/airlock-bin";
}
