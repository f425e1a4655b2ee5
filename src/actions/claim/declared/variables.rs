//! The variables of a declared task. Later layers win: what the file says, the project, the
//! environment, the trigger, the platform.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::{Told, env_name, upper};
use crate::{
    actions::declared::text_of,
    crypt::Secret,
    domain::{Refused, limits, run::SourceVersion},
    manifest::DeclaredTask,
    protocol::{Variable, inside},
    store::record::{Run, Service, Setting, SettingLevel, Stack},
};

/// A service behind a relationship.
pub(in super::super) struct Connected {
    pub service: Service,
    pub password: Option<Secret<String>>,
    /// The port of the jail's loopback where it is; none: where it says itself, by the proxy.
    pub relay: Option<u16>,
    pub endpoint: String,
}

impl Connected {
    fn host(&self) -> &str {
        if self.relay.is_some() { "127.0.0.1" } else { &self.service.host }
    }

    fn port(&self) -> u16 {
        self.relay.unwrap_or(self.service.port)
    }
}

/// A setting that was opened.
pub(super) struct Open {
    pub row: Setting,
    pub value: Secret<String>,
    pub sensitive: bool,
}

impl Open {
    /// None: it is a text.
    fn json(&self) -> Option<Value> {
        self.row.is_json.then(|| serde_json::from_str(self.value.expose()).ok()).flatten()
    }

    /// What no log may show: the value, and each text within it, which programs print without the rest.
    pub fn masks(&self) -> Vec<Secret<String>> {
        let mut masks = Vec::new();
        if self.sensitive {
            masks.push(self.value.clone());
            texts(&self.json().unwrap_or_default(), &mut masks);
        }
        masks
    }
}

fn texts(within: &Value, found: &mut Vec<Secret<String>>) {
    match within {
        Value::String(text) => found.push(Secret::new(text.clone())),
        Value::Array(values) => values.iter().for_each(|value| texts(value, found)),
        Value::Object(values) => values.values().for_each(|value| texts(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The variables of one phase.
#[derive(Default)]
pub(in super::super) struct Laid {
    pub variables: Vec<Variable>,
    /// The names of those that the platform gave.
    pub platforms: BTreeSet<String>,
    /// The names within `PLATFORM_VARIABLES`.
    within: BTreeSet<String>,
    /// What is secret within them.
    pub masks: Vec<Secret<String>>,
}

impl Laid {
    /// Whether there is one of that name, wherever it stands.
    pub fn has(&self, name: &str) -> bool {
        let variables = self.variables.iter().map(|variable| variable.name.as_str());
        variables.chain(self.within.iter().map(String::as_str)).any(|there| there.eq_ignore_ascii_case(name))
    }
}

/// Where variables come from.
pub(super) struct Sources<'a> {
    pub told: &'a Told,
    /// What the trigger brought.
    pub asked: &'a [(String, Value)],
    pub run: &'a Run,
    pub stack: &'a Stack,
    pub entropy: String,
    pub settings: &'a [Open],
    /// The stack's.
    pub own: &'a [Variable],
}

/// What programs find in their environment, and what is in `PLATFORM_VARIABLES`.
#[derive(Default)]
struct Layers {
    environment: BTreeMap<String, (Secret<String>, bool)>,
    platform: Map<String, Value>,
    /// Something in `platform` is secret.
    secret: bool,
}

impl Layers {
    /// `prefix:name` from a layer above all before.
    fn set(&mut self, name: &str, value: &Value, sensitive: bool) {
        if let Some(env) = name.strip_prefix("env:") {
            self.environment.insert(env.to_ascii_uppercase(), (Secret::new(text_of(value)), sensitive));
        } else {
            self.platform.insert(name.to_owned(), value.clone());
            self.secret |= sensitive;
        }
    }

    fn plain(&mut self, name: &str, value: impl Into<String>) {
        self.environment.insert(name.to_owned(), (Secret::new(value.into()), false));
    }
}

pub(super) fn all(sources: &Sources<'_>) -> Result<Laid, Refused> {
    let mut layers = Layers::default();
    declared(&mut layers, &sources.told.task);
    settings(&mut layers, sources, SettingLevel::Project);
    // Of `name` and `NAME` the latter stands.
    let (exact, others): (Vec<_>, Vec<_>) = sources.own.iter().partition(|own| upper(&own.name) == own.name);
    for own in others.into_iter().chain(exact) {
        layers.environment.insert(upper(&own.name).to_string(), (own.value.clone(), own.sensitive));
    }
    settings(&mut layers, sources, SettingLevel::Environment);
    for (name, value) in sources.asked {
        layers.set(name, value, false);
    }
    let within = layers.platform.keys().cloned().collect();
    let above = platform(std::mem::take(&mut layers.platform), layers.secret, sources);
    let platforms = above.environment.keys().cloned().collect();
    layers.environment.extend(above.environment);
    let masks = sources.settings.iter().flat_map(Open::masks).collect();
    let variables = layers
        .environment
        .into_iter()
        .map(|(name, (value, sensitive))| {
            if value.expose().len() > limits::VARIABLE_BYTES {
                let most = limits::VARIABLE_BYTES;
                return Err(Refused::invalid(format!("the variable `{name}` is longer than {most} bytes")));
            }
            // What is too short to be masked is no secret.
            let sensitive = sensitive && value.expose().chars().count() >= limits::SECRET_MIN_CHARS;
            Ok(Variable { name: env_name(&name)?, value, sensitive })
        })
        .collect::<Result<_, _>>()?;
    Ok(Laid { variables, platforms, within, masks })
}

fn declared(layers: &mut Layers, task: &DeclaredTask) {
    for (name, value) in &task.variables.env {
        layers.set(&format!("env:{name}"), &Value::String(value.clone()), false);
    }
    for (prefix, values) in &task.variables.other {
        for (name, value) in values {
            layers.set(&format!("{prefix}:{name}"), value, false);
        }
    }
}

fn settings(layers: &mut Layers, sources: &Sources<'_>, level: SettingLevel) {
    for open in sources.settings.iter().filter(|open| open.row.level == level) {
        let value = open.json().unwrap_or_else(|| Value::String(open.value.expose().clone()));
        layers.set(&open.row.name, &value, open.sensitive);
    }
}

/// The layer above all others, with what is in `PLATFORM_VARIABLES`, some of it secret.
fn platform(variables: Map<String, Value>, secret: bool, sources: &Sources<'_>) -> Layers {
    let mut layers = Layers::default();
    let Sources { told, run, stack, .. } = sources;
    let task = &told.task;
    for (name, connected) in &told.connected {
        relationship(&mut layers, name, connected);
    }
    let (branch, tree) = match &run.source {
        SourceVersion::Git { branch, commit } => {
            (branch.to_string(), commit.as_ref().map(ToString::to_string).unwrap_or_default())
        }
        SourceVersion::Upload { digest } => ("main".to_owned(), digest.digits().to_owned()),
    };
    let kind = if matches!(branch.as_str(), "main" | "master") { "production" } else { "development" };
    let dir = match task.source.root.as_str() {
        "" => inside::WORKSPACE.to_owned(),
        root => format!("{}/{root}", inside::WORKSPACE),
    };
    layers.plain("PLATFORM_APPLICATION_NAME", task.name.as_str());
    layers.plain("PLATFORM_APP_DIR", dir);
    layers.plain("PLATFORM_APP_COMMAND", task.run.command.text());
    layers.plain("PLATFORM_BRANCH", &branch);
    layers.plain("PLATFORM_ENVIRONMENT", branch);
    layers.plain("PLATFORM_ENVIRONMENT_TYPE", kind);
    layers.plain("PLATFORM_PROJECT", stack.slug.as_str());
    layers.plain("PLATFORM_PROJECT_ENTROPY", &sources.entropy);
    layers.plain("PLATFORM_TREE_ID", tree);
    layers.plain("PLATFORM_ROUTES", encoded(&json!({})));
    layers.plain("PLATFORM_APPLICATION", encoded(&application(task)));
    let variables = encoded(&Value::Object(variables));
    layers.environment.insert("PLATFORM_VARIABLES".to_owned(), (Secret::new(variables), secret));
    let relationships: Map<String, Value> =
        told.connected.iter().map(|(name, connected)| (name.clone(), json!([described(name, connected)]))).collect();
    let secret = told.connected.values().any(|connected| connected.password.is_some());
    let relationships = Secret::new(encoded(&Value::Object(relationships)));
    layers.environment.insert("PLATFORM_RELATIONSHIPS".to_owned(), (relationships, secret));
    layers.plain("AIRLOCK_TASK", task.name.as_str());
    layers.plain("AIRLOCK_API_URL", "http://localhost:8200");
    layers
}

fn encoded(value: &Value) -> String {
    STANDARD.encode(value.to_string())
}

/// The declaration as the API shows it, with what programs look for in it.
fn application(task: &DeclaredTask) -> Value {
    json!({
        "name": task.name,
        "type": task.kind.to_string(),
        "source": {"root": format!("/{}", task.source.root)},
        "run": {"command": task.run.command.text(), "timeout": task.run.timeout_seconds},
        "hooks": {"build": task.hooks.build},
        "mounts": task.mounts.keys().map(ToString::to_string).collect::<Vec<_>>(),
        "relationships": task.relationships.iter().map(|(name, to)| (name.clone(), json!(to.service))).collect::<Map<_, _>>(),
    })
}

/// `<REL>_HOST` and its relatives.
fn relationship(layers: &mut Layers, name: &str, connected: &Connected) {
    let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let prefix: String = name.chars().map(upper).collect();
    let prefix = if prefix.starts_with(|c: char| c.is_ascii_digit()) { format!("_{prefix}") } else { prefix };
    let service = &connected.service;
    layers.plain(&format!("{prefix}_HOST"), connected.host());
    layers.plain(&format!("{prefix}_PORT"), connected.port().to_string());
    layers.plain(&format!("{prefix}_USERNAME"), &service.username);
    layers.plain(&format!("{prefix}_PATH"), &service.path);
    layers.plain(&format!("{prefix}_SCHEME"), &service.scheme);
    let password = connected.password.clone().unwrap_or_default();
    layers.environment.insert(format!("{prefix}_PASSWORD"), (password, connected.password.is_some()));
}

fn described(name: &str, connected: &Connected) -> Value {
    let service = &connected.service;
    json!({
        "username": service.username,
        "password": connected.password.as_ref().map(|password| password.expose().clone()),
        "scheme": service.scheme,
        "host": connected.host(),
        "hostname": connected.host(),
        "ip": connected.host(),
        "port": connected.port(),
        "path": service.path,
        "service": service.name,
        "type": service.scheme,
        "rel": connected.endpoint,
        "cluster": name,
        "query": {"is_master": true},
        "fragment": null,
        "public": false,
        "host_mapped": false,
        "epoch": 0,
    })
}
