//! What a plan would change, for reading: grouped by action, attribute by attribute, before → after.
//!
//! Values are data: text is shown as text, sensitive parts never, unknown ones as words.

use serde_json::Value;

use super::{status::DeltaView, words};
use crate::domain::{Action, Changes, Delta, OutputChange, ResourceChange};

/// Resources that a run's page shows; the rest is on the page of all changes.
pub const SHOWN: usize = 200;
/// Attributes of one resource that are shown.
const ATTRIBUTES: usize = 200;
/// Characters of a value that are shown.
const VALUE_CHARS: usize = 4_000;
/// What the core writes for a value that is known only after apply.
const UNKNOWN: &str = "(known after apply)";

/// One side of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// It is not there.
    Absent,
    Text(String),
    /// Known after apply.
    Unknown,
    /// Never shown. The text is the keyed hash by which people compare.
    Sensitive(String),
}

/// One attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// `spec.replicas`, `tags["team"]`; empty for a resource that is one value.
    pub path: String,
    pub before: Cell,
    pub after: Cell,
    /// It forces a replacement.
    pub forces: bool,
}

/// One resource or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeItem {
    pub address: String,
    /// Right-aligned and muted: `storage_type forces replacement`, `1 of 34 attributes`.
    pub note: String,
    pub attributes: Vec<Attribute>,
    /// How many attributes are not shown.
    pub hidden: usize,
    /// Unfolded from the start.
    pub open: bool,
}

/// All changes with one action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeGroup {
    /// `create`, `update`, `replace`, `delete`, `read`: chooses colour.
    pub action: &'static str,
    pub glyph: &'static str,
    pub title: &'static str,
    pub items: Vec<ChangeItem>,
}

/// The tab *Changes*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangesView {
    pub rev: u64,
    pub groups: Vec<ChangeGroup>,
    pub outputs: Vec<ChangeGroup>,
    pub resources_delta: DeltaView,
    pub outputs_delta: DeltaView,
    /// How many resources are on the page of all changes only, in words, and its address.
    pub more: Option<(String, String)>,
    /// The planned resources can be chosen for a targeted replan.
    pub replan: bool,
    pub total: usize,
}

impl ChangesView {
    /// `limit` is how many resources are shown; `all` leads to the page of all changes.
    pub fn new(changes: &Changes, delta: Delta, limit: usize, all: &str) -> Self {
        let hidden = changes.resources.len().saturating_sub(limit);
        let small = changes.resources.len() <= 12;
        let order = [Action::Delete, Action::Replace, Action::Update, Action::Create, Action::Read];
        let mut room = limit;
        let groups = order
            .into_iter()
            .map(|action| {
                let of_action = changes.resources.iter().filter(|change| change.action == action);
                let items: Vec<_> = of_action.take(room).map(|change| resource(change, small)).collect();
                room -= items.len();
                group(action, items)
            })
            .filter(|group| !group.items.is_empty())
            .collect();
        let outputs = order
            .into_iter()
            .map(|action| {
                let of_action = changes.outputs.iter().filter(|change| change.action == action);
                group(action, of_action.map(output).collect())
            })
            .filter(|group| !group.items.is_empty())
            .collect();
        Self {
            rev: 0,
            groups,
            outputs,
            resources_delta: DeltaView::resources(delta),
            outputs_delta: DeltaView::outputs(delta),
            more: (hidden > 0)
                .then(|| (format!("{} not shown here.", words::count(hidden as u64, "resource")), all.to_owned())),
            replan: false,
            total: changes.resources.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.outputs.is_empty()
    }
}

const fn group(action: Action, items: Vec<ChangeItem>) -> ChangeGroup {
    let (glyph, title) = match action {
        Action::Create => ("+", "Create"),
        Action::Update => ("~", "Update"),
        Action::Replace => ("±", "Replace"),
        Action::Delete => ("−", "Delete"),
        Action::Read => ("→", "Read"),
    };
    ChangeGroup { action: action.word(), glyph, title, items }
}

fn resource(change: &ResourceChange, open: bool) -> ChangeItem {
    let walk = Walk { sensitive: &change.sensitive, forces: &change.replace_paths };
    let mut attributes = walk.compare(&change.before, &change.after);
    let all = leaves(&change.before).max(leaves(&change.after));
    let note = match attributes.iter().find(|attribute| attribute.forces) {
        Some(forcing) => format!("{} forces replacement", forcing.path),
        None if change.action == Action::Update && attributes.len() < all => {
            format!("{} of {}", attributes.len(), words::count(all as u64, "attribute"))
        }
        None => words::count(attributes.len() as u64, "attribute"),
    };
    let hidden = attributes.len().saturating_sub(ATTRIBUTES);
    attributes.truncate(ATTRIBUTES);
    let loud = matches!(change.action, Action::Update | Action::Replace);
    ChangeItem { address: change.address.clone(), note, attributes, hidden, open: open && loud }
}

fn output(change: &OutputChange) -> ChangeItem {
    let all = [String::new()];
    let walk = Walk { sensitive: if change.sensitive { &all } else { &[] }, forces: &[] };
    let mut attributes = walk.compare(&change.before, &change.after);
    let hidden = attributes.len().saturating_sub(ATTRIBUTES);
    attributes.truncate(ATTRIBUTES);
    ChangeItem { address: change.name.clone(), note: String::new(), attributes, hidden, open: true }
}

/// How many values a value holds.
fn leaves(value: &Value) -> usize {
    match value {
        Value::Object(map) if !map.is_empty() => map.values().map(leaves).sum(),
        Value::Array(list) if !list.is_empty() => list.iter().map(leaves).sum(),
        Value::Null => 0,
        _ => 1,
    }
}

/// Compares two values; paths are JSON pointers as the core writes them.
struct Walk<'a> {
    sensitive: &'a [String],
    forces: &'a [String],
}

impl Walk<'_> {
    fn compare(&self, before: &Value, after: &Value) -> Vec<Attribute> {
        let mut found = Vec::new();
        self.descend("", String::new(), before, after, &mut found);
        found.sort_by_key(|attribute| !attribute.forces);
        found
    }

    fn descend(&self, pointer: &str, path: String, before: &Value, after: &Value, found: &mut Vec<Attribute>) {
        if before == after {
            return;
        }
        if !self.is_sensitive(pointer) {
            if let Some(names) = children(before, after) {
                for name in names {
                    let (pointer, path) = (format!("{pointer}/{}", escape(&name)), join(&path, &name));
                    self.descend(&pointer, path, child(before, &name), child(after, &name), found);
                }
                return;
            }
            if let Some(length) = positions(before, after) {
                for at in 0..length {
                    let (pointer, path) = (format!("{pointer}/{at}"), format!("{path}[{at}]"));
                    let item = |side: &Value| side.get(at).cloned().unwrap_or_default();
                    self.descend(&pointer, path, &item(before), &item(after), found);
                }
                return;
            }
        }
        found.push(Attribute {
            before: self.cell(pointer, before),
            after: self.cell(pointer, after),
            forces: self.forces.iter().any(|forcing| forcing == pointer),
            path,
        });
    }

    fn is_sensitive(&self, pointer: &str) -> bool {
        self.sensitive.iter().any(|path| path == pointer)
    }

    fn cell(&self, pointer: &str, value: &Value) -> Cell {
        match value {
            Value::Null => Cell::Absent,
            Value::String(text) if text == UNKNOWN => Cell::Unknown,
            _ if self.is_sensitive(pointer) => Cell::Sensitive(value.as_str().unwrap_or_default().to_owned()),
            Value::String(text) => Cell::Text(clip(text)),
            other => Cell::Text(clip(&other.to_string())),
        }
    }
}

/// The names of both sides, when both are objects or missing.
fn children(before: &Value, after: &Value) -> Option<Vec<String>> {
    let (Value::Object(_) | Value::Null, Value::Object(_) | Value::Null) = (before, after) else { return None };
    let maps = [before, after].into_iter().filter_map(Value::as_object);
    let mut names: Vec<String> = maps.flat_map(|map| map.keys().cloned()).collect();
    names.sort();
    names.dedup();
    (!names.is_empty()).then_some(names)
}

/// The longer length, when both sides are lists or missing.
fn positions(before: &Value, after: &Value) -> Option<usize> {
    let (Value::Array(_) | Value::Null, Value::Array(_) | Value::Null) = (before, after) else { return None };
    let length = |side: &Value| side.as_array().map_or(0, Vec::len);
    Some(length(before).max(length(after))).filter(|length| *length > 0)
}

fn child<'v>(value: &'v Value, name: &str) -> &'v Value {
    value.get(name).unwrap_or(&Value::Null)
}

fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn join(path: &str, name: &str) -> String {
    let plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    match (path.is_empty(), plain) {
        (true, true) => name.to_owned(),
        (false, true) => format!("{path}.{name}"),
        (_, false) => format!("{path}[{name:?}]"),
    }
}

fn clip(text: &str) -> String {
    match text.char_indices().nth(VALUE_CHARS) {
        Some((at, _)) => format!("{}… ({} bytes)", &text[..at], words::number(text.len() as u64)),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
