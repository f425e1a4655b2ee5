//! Reads `relationships` and `mounts`: what a task reaches besides its own files.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{RelativePath, ServiceName, TaskName, limits};

use super::{
    declared::{Mount, MountSource, Relationship},
    error::quoted,
    reader::{Place, Reader, Schema, relative},
    yaml::Value,
};

const RELATIONSHIP: Schema = Schema { of: "a relationship", known: &["service", "endpoint"], noted: &[], refused: &[] };
const MOUNT: Schema = Schema { of: "a mount", known: &["source", "source_path", "service"], noted: &[], refused: &[] };

// ── Relationships ───────────────────────────────────────────────────────────────────────────
pub(super) fn relationships(
    reader: &mut Reader,
    place: &Place,
    tasks: &BTreeSet<TaskName>,
    is_guest: bool,
) -> Option<BTreeMap<String, Relationship>> {
    let entries = reader.entries(place, "a map of relationships by name")?;
    reader.at_most(place, entries.len(), limits::LINKS_PER_TASK)?;
    if is_guest && !entries.is_empty() {
        reader.note(place, "a guest has no sockets: it reaches these services by HTTP only; a database wants `native`");
    }
    let mut found = BTreeMap::new();
    let mut prefixes: BTreeMap<String, &Place> = BTreeMap::new();
    for entry in &entries {
        let Some(relationship) = relationship(reader, entry, tasks) else { continue };
        if let Some(first) = prefixes.insert(variable_prefix(&entry.key), entry) {
            let what = format!("{} and {} share their variables", quoted(&first.key), quoted(&entry.key));
            let why = format!("both would be called {}_HOST", variable_prefix(&entry.key));
            reader.wrong_key(entry, what, &why);
            continue;
        }
        found.insert(entry.key.to_string(), relationship);
    }
    Some(found)
}

/// How the variables of a relationship begin: `my-db` gives `MY_DB`.
fn variable_prefix(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

fn relationship(reader: &mut Reader, place: &Place, tasks: &BTreeSet<TaskName>) -> Option<Relationship> {
    let name: ServiceName = reader.key_name(place, "the name of a relationship")?;
    let origin = reader.origin(place.node.at);
    let (service, endpoint) = match &place.node.value {
        Value::Scalar(scalar) if scalar.is_null() => (name, None),
        Value::Scalar(_) => short_form(reader, place)?,
        Value::Map(_) => long_form(reader, place, name)?,
        Value::List(_) => {
            reader.wrong(place, "a list stands here", "a relationship is one service");
            return None;
        }
    };
    if tasks.iter().any(|task| task.as_str() == service.as_str()) {
        let what = format!("{} is a task", quoted(service.as_str()));
        reader.wrong(place, what, "nothing can be connected to a task: a task is triggered, through the API");
        return None;
    }
    Some(Relationship { service, endpoint, origin })
}

/// `service:endpoint`
fn short_form(reader: &mut Reader, place: &Place) -> Option<(ServiceName, Option<String>)> {
    let text = reader.text(place, limits::MANIFEST_KEY_BYTES)?.to_owned();
    let Some((service, endpoint)) = text.split_once(':') else {
        let what = format!("{} has no endpoint", quoted(&text));
        reader.wrong(place, what, "a relationship is `service:endpoint`, {service, endpoint}, or nothing");
        return None;
    };
    match service.parse() {
        Ok(service) => Some((service, Some(endpoint_name(reader, place, endpoint)?))),
        Err(error) => {
            let error: crate::domain::name::NotAName = error;
            reader.wrong(place, format!("{} is not the name of a service", quoted(service)), &error.to_string());
            None
        }
    }
}

fn long_form(reader: &mut Reader, place: &Place, name: ServiceName) -> Option<(ServiceName, Option<String>)> {
    let keys = reader.keys(place, &RELATIONSHIP)?;
    let service = match keys.get("service") {
        Some(place) => reader.name(place, "the name of a service")?,
        None => name,
    };
    let endpoint = match keys.get("endpoint") {
        Some(place) => {
            let text = reader.text(place, limits::MANIFEST_KEY_BYTES)?.to_owned();
            Some(endpoint_name(reader, place, &text)?)
        }
        None => None,
    };
    Some((service, endpoint))
}

fn endpoint_name(reader: &mut Reader, place: &Place, text: &str) -> Option<String> {
    match text.parse::<ServiceName>() {
        Ok(name) => Some(name.to_string()),
        Err(error) => {
            reader.wrong(place, format!("{} is not the name of an endpoint", quoted(text)), &error.to_string());
            None
        }
    }
}

// ── Mounts ──────────────────────────────────────────────────────────────────────────────────
pub(super) fn mounts(reader: &mut Reader, place: &Place) -> Option<BTreeMap<RelativePath, Mount>> {
    let entries = reader.entries(place, "a map of mounts by path")?;
    reader.at_most(place, entries.len(), limits::LINKS_PER_TASK)?;
    let mut found = BTreeMap::new();
    let mut paths: Vec<(RelativePath, &Place)> = Vec::new();
    for entry in &entries {
        let Some(path) = mount_path(reader, entry) else { continue };
        let mount = mount(reader, entry, &path);
        let overlapped = paths.iter().find(|(other, _)| overlap(other, &path)).map(|(_, other)| *other);
        paths.push((path.clone(), entry));
        if let Some(other) = overlapped {
            let what = format!("the mounts {} and {} overlap", quoted(&other.key), quoted(&entry.key));
            let why = format!("no mount may stand inside another; the other one is in line {}", other.key_at.line);
            reader.wrong_key(entry, what, &why);
        } else if let Some(mount) = mount {
            found.insert(path, mount);
        }
    }
    Some(found)
}

fn mount_path(reader: &mut Reader, entry: &Place) -> Option<RelativePath> {
    let why = match relative(&entry.key) {
        Ok(path) if path.as_str().is_empty() => "a mount cannot stand for all of the task's files".to_owned(),
        Ok(path) => return Some(path),
        Err(why) => why,
    };
    reader.wrong_key(entry, format!("{} is not the path of a mount", quoted(&entry.key)), &why);
    None
}

/// Whether one path is the other, or lies below it.
fn overlap(a: &RelativePath, b: &RelativePath) -> bool {
    let inside = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    inside(a.as_str(), b.as_str()) || inside(b.as_str(), a.as_str())
}

#[derive(Clone, Copy)]
enum Kind {
    Instance,
    Tmp,
    Storage,
    Service,
}

const KINDS: &[(&str, Kind)] = &[
    ("instance", Kind::Instance),
    ("tmp", Kind::Tmp),
    ("storage", Kind::Storage),
    ("service", Kind::Service),
    ("local", Kind::Instance),
    ("temporary", Kind::Tmp),
];

fn mount(reader: &mut Reader, place: &Place, path: &RelativePath) -> Option<Mount> {
    let keys = reader.keys(place, &MOUNT)?;
    let kind = keys
        .required(reader, "source", "a mount says where it comes from: instance, tmp, storage or service")
        .and_then(|place| reader.choice(place, KINDS));
    let source_path = match keys.get("source_path") {
        Some(place) => reader.path(place),
        None => Some(path.clone()),
    };
    let service = match (keys.get("service"), kind) {
        (Some(place), Some(Kind::Service)) => reader.name::<ServiceName>(place, "the name of a service"),
        (Some(place), Some(Kind::Instance | Kind::Tmp | Kind::Storage)) => {
            reader.wrong_key(place, "`service` has no meaning here", "it goes with `source: service`");
            return None;
        }
        (None, Some(Kind::Service)) => {
            keys.required(reader, "service", "`source: service` needs the name of the service");
            return None;
        }
        (_, None) | (None, Some(Kind::Instance | Kind::Tmp | Kind::Storage)) => None,
    };
    let source = match kind? {
        Kind::Instance => MountSource::Instance,
        Kind::Tmp => MountSource::Tmp,
        Kind::Storage => MountSource::Storage,
        Kind::Service => MountSource::Service(service?),
    };
    let origin = reader.origin(keys.get("service").map_or(place.key_at, |place| place.node.at));
    Some(Mount { source, source_path: source_path?, origin })
}
