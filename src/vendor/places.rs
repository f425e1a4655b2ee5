//! Where things lie for a phase.

use crate::protocol::inside;

/// Directories as a phase sees them: [`Places::inside`] in the jail; without one (`unconfined`) the
/// chain's own directories on the host. Absolute, without a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    pub workspace: String,
    /// Plan files and carried variables.
    pub run: String,
    pub provider_mirror: String,
    pub plugin_cache: String,
}

impl Places {
    /// In the jail.
    pub fn inside() -> Self {
        Self {
            workspace: inside::WORKSPACE.to_owned(),
            run: inside::RUN.to_owned(),
            provider_mirror: inside::PROVIDER_MIRROR.to_owned(),
            plugin_cache: inside::PLUGIN_CACHE.to_owned(),
        }
    }

    /// `$AIRLOCK_ENV`.
    pub fn env_file(&self) -> String {
        self.in_run(inside::ENV_FILE)
    }

    /// Terraform's plan.
    pub fn plan(&self) -> String {
        self.in_run(inside::PLAN)
    }

    /// What `show -json` says of it; for the custom vendor `$AIRLOCK_PLAN_FILE`.
    pub fn plan_json(&self) -> String {
        self.in_run(inside::PLAN_JSON)
    }

    /// `$TF_CLI_CONFIG_FILE`, whose text is [`super::cli_config`].
    pub fn cli_config(&self) -> String {
        format!("{}/terraform.rc", self.run)
    }

    fn in_run(&self, inside_path: &str) -> String {
        let name = inside_path.strip_prefix(inside::RUN).expect("the protocol's paths lie in its run directory");
        format!("{}{name}", self.run)
    }
}
