//! Managed state, provider mirror, plug-in cache: what Terraform is told about them.

use crate::{domain::stack::Vendor, vendor::Places};

/// The generated file in the project root that gives a configuration without a backend Airlock's.
pub const OVERRIDE_FILE: &str = "airlock_managed_state_override.tf";

/// Where the managed state is served to a phase.
#[derive(Clone, Copy)]
pub struct StateEndpoint<'a> {
    /// `http://127.0.0.1:8201/state`
    pub address: &'a str,
    pub user: &'a str,
    pub password: &'a str,
    /// Whether the phase locks it: one that may write it does, a preview does not.
    pub lock: bool,
}

impl std::fmt::Debug for StateEndpoint<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateEndpoint").field("address", &self.address).field("lock", &self.lock).finish_non_exhaustive()
    }
}

/// Whether a file of the project root (by its name) is configuration that the vendor reads.
pub fn is_configuration(vendor: &Vendor, name: &str) -> bool {
    let _ = (vendor, name);
    unimplemented!()
}

/// Whether the state is Airlock's to manage: there is a configuration, and it names neither a backend
/// nor a cloud. `files` are names and contents of the project root's files.
pub fn needs_managed_state<'a>(vendor: &Vendor, files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> bool {
    let _ = (vendor, files.into_iter().count());
    unimplemented!()
}

/// Text of [`OVERRIDE_FILE`].
pub const fn backend_override() -> &'static str {
    ""
}

/// What configures Terraform's http backend. Values stay out of plan and workspace.
pub fn state_environment(endpoint: &StateEndpoint<'_>) -> Vec<(&'static str, String)> {
    let _ = endpoint;
    unimplemented!()
}

/// Text of [`Places::cli_config`].
pub fn cli_config(places: &Places, mirror: bool, cache: bool) -> String {
    let _ = (places, mirror, cache);
    unimplemented!()
}
