//! Text in, values or messages out.

mod accepted;
mod declarations;
mod grants;
mod properties;
mod runtime;
mod yaml;

use super::{ManifestError, parse, parse_runtime_config};

/// The messages of a file that must be refused.
fn mistakes(yaml: &str) -> String {
    parse("c.yaml", yaml.as_bytes()).unwrap_err().to_string()
}

/// The messages of a runtime configuration that must be refused.
fn runtime_mistakes(yaml: &str) -> String {
    parse_runtime_config("c.yaml", yaml.as_bytes()).unwrap_err().to_string()
}

/// The messages of a valid file where the operator registered `cache` and `db`.
fn service_mistakes(yaml: &str) -> String {
    let registered = ["cache", "db"].iter().map(|name| name.parse().unwrap()).collect();
    parse("c.yaml", yaml.as_bytes()).unwrap().check_services(&registered).unwrap_err().to_string()
}

/// How a refusal begins: `line:column: path: what`.
fn first(error: &ManifestError) -> String {
    let mistake = &error.mistakes[0];
    format!("{}:{}: {}: {}", mistake.at.line, mistake.at.column, mistake.path, mistake.what)
}
