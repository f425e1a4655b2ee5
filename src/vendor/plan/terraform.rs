//! Plans of Terraform and OpenTofu: `show -json`.
//!
//! Source of the rules: Terraform's documentation of its JSON output format. Drift that was found on
//! the way (`resource_drift`), values of the configuration and of the prior state are passed over.
//! `forget` (the resource stays, Terraform lets go of it) counts as a deletion and says so in `after`.

use std::{
    fmt,
    io::{BufReader, Read},
};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

use super::{
    Bounded, PlanError, PlanRead,
    collect::Collected,
    failed,
    redactor::{Hash, Redactor},
    value::{Side, escaped, side},
};
use crate::domain::{Action, OutputChange, ResourceChange, limits};

const WHAT: &str = "the plan as JSON";

/// Characters of a version.
const VERSION_CHARS: usize = 40;

pub fn read(code: i32, json: impl Read, hash: Hash<'_>) -> Result<PlanRead, PlanError> {
    let mut bounded = Bounded::new(json, limits::PLAN_JSON_BYTES);
    let mut plan = Plan {
        redactor: Redactor::new(hash),
        collected: Collected::default(),
        deferred: 0,
        version: None,
        written_by: None,
    };
    let mut deserializer = serde_json::Deserializer::from_reader(BufReader::with_capacity(64 * 1024, &mut bounded));
    let read = deserializer.deserialize_map(&mut plan).and_then(|()| deserializer.end());
    drop(deserializer);
    // A version that is not known explains an error in what follows it.
    match plan.version.as_deref().map(|version| (version, version.split('.').next())) {
        Some((_, Some("0" | "1"))) => {}
        Some((version, _)) => return Err(PlanError::Version(version.chars().take(40).collect())),
        None if read.is_ok() => return Err(PlanError::NotAPlan),
        None => {}
    }
    read.map_err(|error| failed(WHAT, limits::PLAN_JSON_BYTES, bounded.is_exceeded(), error))?;
    plan.redactor.sweep(&mut plan.collected.changes);
    let delta = plan.collected.delta();
    let mut warnings = plan.collected.warnings();
    if plan.deferred > 0 {
        warnings.push(format!("{} changes are deferred to a later plan", plan.deferred));
    }
    Ok(PlanRead {
        has_changes: code == 2 || !delta.is_empty(),
        changes: plan.collected.changes,
        delta,
        canonical: None,
        terraform_version: plan.written_by.filter(|version| is_version(version)),
        warnings,
    })
}

struct Plan<'h> {
    redactor: Redactor<'h>,
    collected: Collected,
    deferred: usize,
    version: Option<String>,
    written_by: Option<String>,
}

#[derive(Deserialize)]
struct Resource {
    address: String,
    #[serde(default)]
    previous_address: Option<String>,
    /// Set for an object that a failed replacement left behind.
    #[serde(default)]
    deposed: Option<String>,
    #[serde(rename = "type", default)]
    type_name: String,
    change: Change,
}

#[derive(Deserialize)]
struct Change {
    actions: Vec<String>,
    #[serde(default)]
    before: Option<Box<RawValue>>,
    #[serde(default)]
    after: Option<Box<RawValue>>,
    #[serde(default)]
    after_unknown: Option<Box<RawValue>>,
    #[serde(default)]
    before_sensitive: Option<Box<RawValue>>,
    #[serde(default)]
    after_sensitive: Option<Box<RawValue>>,
    #[serde(default)]
    replace_paths: Option<Box<RawValue>>,
    #[serde(default)]
    importing: Option<IgnoredAny>,
}

/// What Terraform's words come to. None: nothing happens.
enum Fate {
    Nothing,
    Forgotten,
    Is(Action),
}

fn fate(actions: &[String]) -> Fate {
    let words: Vec<_> = actions.iter().map(String::as_str).collect();
    match words[..] {
        [] | ["no-op"] => Fate::Nothing,
        ["create"] => Fate::Is(Action::Create),
        ["read"] => Fate::Is(Action::Read),
        ["delete"] => Fate::Is(Action::Delete),
        ["forget"] => Fate::Forgotten,
        _ if words.contains(&"create") => Fate::Is(Action::Replace),
        // `update`, and words that are not known yet: better shown than passed over.
        _ => Fate::Is(Action::Update),
    }
}

impl Plan<'_> {
    fn resource(&mut self, resource: Resource) {
        let Resource { address, previous_address, deposed, type_name, change } = resource;
        let moved_from = previous_address.filter(|previous| *previous != address);
        let (before, after) = change.sides(&mut self.redactor);
        let mut sensitive = before.sensitive;
        sensitive.extend(after.sensitive);
        sensitive.sort();
        sensitive.dedup();
        let mut kept = ResourceChange {
            address: deposed.map_or(address.clone(), |key| format!("{address} (deposed {key})")),
            type_name,
            action: Action::Update,
            before: before.value,
            after: after.value,
            sensitive,
            replace_paths: change.replace_paths(),
        };
        match fate(&change.actions) {
            Fate::Is(action) => kept.action = action,
            Fate::Forgotten => {
                kept.action = Action::Delete;
                kept.after = Value::String("(no longer managed, not destroyed)".to_owned());
            }
            Fate::Nothing => {
                let Some((before, after)) = bookkeeping(moved_from.as_deref(), change.importing.is_some()) else {
                    return;
                };
                kept.before = Value::String(before);
                kept.after = Value::String(after);
                kept.sensitive.clear();
            }
        }
        self.collected.resource(kept);
    }

    fn output(&mut self, name: String, change: &Change) {
        let action = match fate(&change.actions) {
            Fate::Nothing => return,
            Fate::Forgotten => Action::Delete,
            Fate::Is(action) => action,
        };
        let (before, after) = change.sides(&mut self.redactor);
        let sensitive = !before.sensitive.is_empty() || !after.sensitive.is_empty();
        self.collected.output(OutputChange { name, action, before: before.value, after: after.value, sensitive });
    }
}

/// `1.9.5`, `1.10.0-rc1`: it goes on to other eyes, so it is nothing else.
fn is_version(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+');
    text.len() <= VERSION_CHARS && text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(plain)
}

/// What happens to a resource that stays as it is, in the state alone.
fn bookkeeping(moved_from: Option<&str>, imported: bool) -> Option<(String, String)> {
    match (moved_from, imported) {
        (Some(previous), _) => Some((format!("(at {previous})"), "(moved here, otherwise unchanged)".to_owned())),
        (None, true) => Some(("(not managed)".to_owned(), "(imported, otherwise unchanged)".to_owned())),
        (None, false) => None,
    }
}

impl Change {
    fn sides(&self, redactor: &mut Redactor<'_>) -> (Side, Side) {
        (
            side(self.before.as_deref(), None, self.before_sensitive.as_deref(), redactor),
            side(self.after.as_deref(), self.after_unknown.as_deref(), self.after_sensitive.as_deref(), redactor),
        )
    }

    /// `[["input"], ["rule", 0]]` → `/input`, `/rule/0`. Of a shape that is not known, nothing.
    fn replace_paths(&self) -> Vec<String> {
        let steps: Vec<Vec<Value>> =
            self.replace_paths.as_ref().and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
        let step = |step: &Value| match step {
            Value::String(key) => format!("/{}", escaped(key)),
            other => format!("/{other}"),
        };
        steps.iter().map(|path| path.iter().map(step).collect()).collect()
    }
}

impl<'de> Visitor<'de> for &mut Plan<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a plan")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "format_version" => self.version = Some(map.next_value()?),
                "terraform_version" => self.written_by = Some(map.next_value()?),
                "resource_changes" => map.next_value_seed(Resources(&mut *self))?,
                "output_changes" => map.next_value_seed(Outputs(&mut *self))?,
                "deferred_changes" => {
                    self.deferred = map.next_value::<Option<Vec<IgnoredAny>>>()?.map_or(0, |list| list.len());
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

struct Resources<'p, 'h>(&'p mut Plan<'h>);

impl<'de> DeserializeSeed<'de> for Resources<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Resources<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of resource changes")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(resource) = items.next_element()? {
            self.0.resource(resource);
        }
        Ok(())
    }
}

struct Outputs<'p, 'h>(&'p mut Plan<'h>);

impl<'de> DeserializeSeed<'de> for Outputs<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Outputs<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("output changes by name")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((name, change)) = map.next_entry::<String, Change>()? {
            self.0.output(name, &change);
        }
        Ok(())
    }
}
