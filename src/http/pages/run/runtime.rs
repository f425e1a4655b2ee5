//! What a run was configured with, and what it used.

use crate::{
    domain::runtime::{RuntimeConfig, UsedVariable},
    http::{
        pages::{stack::environment::hook_row, visitor::Visitor},
        view::{
            context::{Provenance, RuntimeView},
            stack::{Shown, VariableRow},
        },
    },
    queries::RunDetail,
};

/// The tab's content.
pub fn view(visitor: &Visitor, detail: &RunDetail, rev: u64) -> RuntimeView {
    let row = detail.runtime.clone().unwrap_or_default();
    let links = visitor.who.admin;
    let mut view = RuntimeView {
        rev,
        given: row.trigger.map(given).unwrap_or_default(),
        variables: Vec::new(),
        files: Vec::new(),
        hooks: Vec::new(),
        values: Vec::new(),
        unread: row.used.is_none(),
    };
    let Some(used) = row.used else { return view };
    let root = if used.project_root.value.is_empty() { "/".to_owned() } else { used.project_root.value };
    view.values.push(("Project root", root, Provenance::new(&used.project_root.origin, &[], links)));
    if let Some(version) = used.terraform_version {
        view.values.push(("Version", version.value, Provenance::new(&version.origin, &[], links)));
    }
    view.variables = used.environment.into_iter().map(|it| variable(it, links)).collect();
    view.files =
        used.files.iter().map(|(path, origin)| (path.to_string(), Provenance::new(origin, &[], links))).collect();
    view.hooks = used.hooks.iter().map(|(point, hooks)| hook_row(*point, hooks, links)).collect();
    view
}

fn variable(it: UsedVariable, links: bool) -> VariableRow {
    let value = match (it.value, it.hash) {
        (Some(text), _) => Shown::Plain(text),
        (None, Some(hash)) if it.sensitive => Shown::Sensitive(hash),
        (None, hash) => Shown::Plain(format!("too long to be kept; {}", hash.unwrap_or_default())),
    };
    VariableRow {
        name: it.name.to_string(),
        value,
        description: String::new(),
        changed: None,
        from: Some(Provenance::new(&it.origin, &it.overrides, links)),
        own: false,
    }
}

/// Key by key, as it was written.
fn given(config: RuntimeConfig) -> Vec<(String, String)> {
    let mut keys = Vec::new();
    for (name, value) in config.environment {
        keys.push((format!("environment.{name}"), value));
    }
    for (point, commands) in config.hooks {
        keys.push((point.word().to_owned(), commands.join("\n")));
    }
    let single = [
        ("project_root", config.project_root.map(|root| root.to_string())),
        ("runner_image", config.runner_image),
        ("terraform_version", config.terraform_version),
    ];
    keys.extend(single.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    keys
}
