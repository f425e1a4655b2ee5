//! Managed state, provider mirror, plug-in cache: what Terraform is told about them.

use std::{collections::BTreeMap, path::Path};

use crate::{
    domain::stack::Vendor,
    vendor::{Places, hcl},
};

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
        f.debug_struct("StateEndpoint")
            .field("address", &self.address)
            .field("lock", &self.lock)
            .finish_non_exhaustive()
    }
}

/// Whether a file of the project root (by its name) is configuration that the vendor reads.
pub fn is_configuration(vendor: &Vendor, name: &str) -> bool {
    let ignored = name.starts_with('.') || name.ends_with('~') || (name.starts_with('#') && name.ends_with('#'));
    let endings: &[&str] = match vendor {
        Vendor::Terraform { .. } => &[".tf", ".tf.json"],
        Vendor::OpenTofu { .. } => &[".tf", ".tf.json", ".tofu", ".tofu.json"],
        Vendor::Custom { .. } | Vendor::Wasi { .. } => &[],
    };
    !ignored && endings.iter().any(|ending| name.ends_with(ending))
}

/// Whether the state is Airlock's to manage: there is a configuration, and it names neither a backend
/// nor a cloud. `files` are names and contents of the project root's files.
///
/// Without any configuration the answer is no: the override file alone would make a plan without
/// changes out of what is a wrong project root.
pub fn needs_managed_state<'a>(vendor: &Vendor, files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> bool {
    let files: BTreeMap<_, _> =
        files.into_iter().filter(|(name, _)| is_configuration(vendor, name) && *name != OVERRIDE_FILE).collect();
    !files.is_empty() && !files.iter().any(|(name, text)| !is_shadowed(&files, name) && names_backend(name, text))
}

/// OpenTofu passes over `x.tf` where there is `x.tofu`. Terraform's configuration holds no such names.
fn is_shadowed(files: &BTreeMap<&str, &[u8]>, name: &str) -> bool {
    [(".tf", ".tofu"), (".tf.json", ".tofu.json")].iter().any(|(ending, instead)| {
        name.strip_suffix(ending).is_some_and(|stem| files.contains_key(format!("{stem}{instead}").as_str()))
    })
}

fn names_backend(name: &str, text: &[u8]) -> bool {
    if Path::new(name).extension().is_some_and(|extension| extension == "json") {
        hcl::json_names_backend(text)
    } else {
        hcl::names_backend(text)
    }
}

/// Text of [`OVERRIDE_FILE`].
pub const fn backend_override() -> &'static str {
    "# Written by Airlock, because this configuration names no backend: its state is kept by Airlock.\n\
     terraform {\n  backend \"http\" {}\n}\n"
}

/// What configures Terraform's http backend. Terraform reads these anew in every phase and writes
/// them neither into the plan nor into the workspace, so that address and password may change between
/// planning and applying.
pub fn state_environment(endpoint: &StateEndpoint<'_>) -> Vec<(&'static str, String)> {
    let mut variables = vec![
        ("TF_HTTP_ADDRESS", endpoint.address.to_owned()),
        ("TF_HTTP_USERNAME", endpoint.user.to_owned()),
        ("TF_HTTP_PASSWORD", endpoint.password.to_owned()),
    ];
    if endpoint.lock {
        variables.push(("TF_HTTP_LOCK_ADDRESS", endpoint.address.to_owned()));
        variables.push(("TF_HTTP_UNLOCK_ADDRESS", endpoint.address.to_owned()));
    }
    variables
}

/// Text of [`Places::cli_config`], if one is needed: where the operator has a provider mirror,
/// nothing but the mirror; where there is a plug-in cache, its use. Without either, Terraform reads
/// what a hook may have written to `~/.terraformrc`.
pub fn cli_config(places: &Places, mirror: bool, cache: bool) -> Option<String> {
    let mut text = String::new();
    if cache {
        text.push_str(&format!("plugin_cache_dir = {}\n", quoted(&places.plugin_cache)));
    }
    if mirror {
        let path = quoted(&places.provider_mirror);
        text.push_str(&format!("provider_installation {{\n  filesystem_mirror {{\n    path = {path}\n  }}\n}}\n"));
    }
    (!text.is_empty()).then_some(text)
}

/// A string of HCL.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace("${", "$${").replace("%{", "%%{");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests;
