//! Reads variables: those of a task, and the environment of a runtime configuration.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::domain::{EnvName, limits, stack::Variables};

use super::{
    declared::TaskVariables,
    error::quoted,
    reader::{Place, Reader},
    yaml::{Node, Scalar, Value},
};

/// `variables:` of a task, prefix → name → value.
pub(super) fn variables(reader: &mut Reader, place: &Place) -> Option<TaskVariables> {
    let mut variables = TaskVariables::default();
    let mut count = 0;
    for prefix in reader.entries(place, "a map of variables by prefix and name")? {
        if matches!(&prefix.node.value, Value::Scalar(scalar) if !scalar.is_null()) {
            let what = format!("{} is a prefix here, not a variable", quoted(&prefix.key));
            let hint = format!("write `env: {{{}: …}}` for a variable of the environment", prefix.key);
            reader.wrong_but(&prefix, what, "variables are written prefix → name → value", hint);
            continue;
        }
        let Some(entries) = reader.entries(&prefix, "a map of variables by name") else { continue };
        count += entries.len();
        if &*prefix.key == "env" {
            variables.env = environment(reader, &entries);
        } else if let Some(named) = others(reader, &prefix, &entries) {
            variables.other.insert(prefix.key.to_string(), named);
        }
    }
    reader.at_most(place, count, limits::VARIABLES_PER_STACK)?;
    Some(variables)
}

/// Each becomes a variable of the process, in upper case.
fn environment(reader: &mut Reader, entries: &[Place]) -> BTreeMap<EnvName, String> {
    let mut found = BTreeMap::new();
    let mut upper: BTreeMap<String, &Place> = BTreeMap::new();
    for entry in entries {
        let Some(name) = reader.key_name::<EnvName>(entry, "the name of a variable") else { continue };
        let Some(value) = env_value(reader, entry) else { continue };
        if let Some(first) = upper.insert(name.as_str().to_ascii_uppercase(), entry) {
            let what = format!("{} and {} are one variable", quoted(&first.key), quoted(&entry.key));
            reader.wrong_key(entry, what, "names become upper-case in the environment");
            continue;
        }
        note_reserved(reader, entry);
        found.insert(name, value);
    }
    found
}

fn env_value(reader: &mut Reader, entry: &Place) -> Option<String> {
    match &entry.node.value {
        Value::Scalar(_) => variable_text(reader, entry),
        Value::List(_) | Value::Map(_) => {
            let text = json(reader, entry)?.to_string();
            bounded(reader, entry, text.len())?;
            Some(text)
        }
    }
}

fn variable_text(reader: &mut Reader, entry: &Place) -> Option<String> {
    if entry.node.is_null() {
        let why = "a variable has a value; an empty one is written `\"\"`";
        reader.wrong(entry, "nothing is written here", why);
        return None;
    }
    reader.text(entry, limits::VARIABLE_BYTES).map(str::to_owned)
}

fn note_reserved(reader: &mut Reader, entry: &Place) {
    /// The one that is meant to be set.
    const SWITCH: &str = "AIRLOCK_SKIP_APPLYING";
    let upper = entry.key.to_ascii_uppercase();
    if upper != SWITCH && (upper.starts_with("AIRLOCK_") || upper.starts_with("PLATFORM_")) {
        reader.note(entry, "has no effect where Airlock sets a variable of this name itself");
    }
}

fn others(reader: &mut Reader, prefix: &Place, entries: &[Place]) -> Option<BTreeMap<String, Json>> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if prefix.key.is_empty() || !prefix.key.chars().all(allowed) {
        let what = format!("{} is not a prefix", quoted(&prefix.key));
        reader.wrong_key(prefix, what, "only letters, digits, - and _ are allowed");
        return None;
    }
    let mut found = BTreeMap::new();
    for entry in entries {
        if entry.key.chars().any(char::is_control) {
            reader.wrong_key(entry, "the name of a variable holds a control character", "none is allowed");
        } else if let Some(value) = json(reader, entry) {
            bounded(reader, entry, value.to_string().len());
            found.insert(entry.key.to_string(), value);
        }
    }
    Some(found)
}

fn bounded(reader: &mut Reader, entry: &Place, bytes: usize) -> Option<()> {
    if bytes > limits::VARIABLE_BYTES {
        let why = format!("at most {} are allowed", limits::VARIABLE_BYTES);
        reader.wrong(entry, format!("this has {bytes} bytes as JSON"), &why);
        return None;
    }
    Some(())
}

fn json(reader: &mut Reader, entry: &Place) -> Option<Json> {
    match node_json(&entry.node) {
        Ok(value) => Some(value),
        Err(tag) => {
            reader.wrong(
                entry,
                format!("the tag {} stands here", quoted(&tag)),
                "tags other than `!!str` are not read",
            );
            None
        }
    }
}

/// The tree as JSON, or the tag that has no meaning. As deep as the tree, which is bounded.
fn node_json(node: &Node) -> Result<Json, String> {
    if let Some(tag) = &node.tag {
        return Err(tag.clone());
    }
    Ok(match &node.value {
        Value::Scalar(scalar) => scalar_json(scalar),
        Value::List(items) => Json::Array(items.iter().map(|item| node_json(item)).collect::<Result<_, _>>()?),
        Value::Map(entries) => {
            let entry = |entry: &super::yaml::Entry| Ok((entry.key.to_string(), node_json(&entry.value)?));
            Json::Object(entries.iter().map(entry).collect::<Result<_, String>>()?)
        }
    })
}

/// Numbers and truth values where nothing is lost: `3.10` stays text, because 3.1 is another value.
fn scalar_json(scalar: &Scalar) -> Json {
    let text = scalar.text.as_str();
    if !scalar.plain {
        return Json::from(text);
    }
    if scalar.is_null() {
        return Json::Null;
    }
    match text.parse::<Json>() {
        Ok(value @ (Json::Bool(_) | Json::Number(_))) if json_text(&value) == text => value,
        Ok(_) | Err(_) => Json::from(text),
    }
}

/// `environment:` of a runtime configuration.
pub(super) fn plain_environment(reader: &mut Reader, place: &Place) -> Option<Variables> {
    let entries = reader.entries(place, "a map of variables by name")?;
    reader.at_most(place, entries.len(), limits::VARIABLES_PER_STACK)?;
    let mut found = Variables::new();
    for entry in &entries {
        let name = reader.key_name::<EnvName>(entry, "the name of a variable");
        let value = variable_text(reader, entry);
        if let (Some(name), Some(value)) = (name, value) {
            note_reserved(reader, entry);
            found.insert(name, value);
        }
    }
    Some(found)
}

/// A value as JSON spells it. (`Value == str` would ask whether it is that string.)
fn json_text(value: &Json) -> String {
    value.to_string()
}
