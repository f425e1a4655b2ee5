//! What is kept of a plan, within its bounds.

use serde_json::Value;

use super::value;
use crate::domain::{Action, Changes, Counts, Delta, OutputChange, ResourceChange, limits, verdict::bytes};

/// Bytes from which changes are listed without their values, so that what follows is still listed.
const WITH_VALUES_BYTES: usize = limits::CHANGES_BYTES / 4 * 3;

/// What stands for both values then.
const TOO_MUCH: &str = "(not shown, the plan is too large)";

/// Takes changes one by one.
#[derive(Debug, Default)]
pub struct Collected {
    pub changes: Changes,
    resources: Counts,
    outputs: Counts,
    kept_bytes: usize,
    without_values: u64,
    left_out: u64,
}

impl Collected {
    pub fn resource(&mut self, mut change: ResourceChange) {
        add(&mut self.resources, change.action);
        let paths = change.sensitive.iter().chain(&change.replace_paths).map(String::len).sum::<usize>();
        let names = change.address.len() + change.type_name.len() + paths;
        if self.has_room(names, &mut change.before, &mut change.after) {
            self.changes.resources.push(change);
        }
    }

    pub fn output(&mut self, mut change: OutputChange) {
        add(&mut self.outputs, change.action);
        if self.has_room(change.name.len(), &mut change.before, &mut change.after) {
            self.changes.outputs.push(change);
        }
    }

    /// Whether a change can be kept; its values give way first.
    fn has_room(&mut self, names: usize, before: &mut Value, after: &mut Value) -> bool {
        if self.changes.resources.len() + self.changes.outputs.len() >= limits::CHANGES {
            self.left_out += 1;
            return false;
        }
        let mut size = names + value::size(before) + value::size(after);
        if self.kept_bytes + size > WITH_VALUES_BYTES {
            self.without_values += 1;
            for value in [before, after] {
                *value = Value::String(TOO_MUCH.to_owned());
            }
            size = names + 2 * TOO_MUCH.len();
        }
        if self.kept_bytes + size > limits::CHANGES_BYTES {
            self.left_out += 1;
            return false;
        }
        self.kept_bytes += size;
        true
    }

    /// Over everything, what was left out included.
    pub fn delta(&self) -> Delta {
        let outputs = &self.outputs;
        Delta {
            resources: self.resources,
            outputs: crate::domain::OutputCounts {
                added: outputs.added,
                changed: outputs.changed + outputs.replaced,
                deleted: outputs.deleted,
            },
        }
    }

    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.without_values > 0 {
            let most = bytes(WITH_VALUES_BYTES as u64);
            warnings
                .push(format!("{} changes are listed without their values, which exceed {most}", self.without_values));
        }
        if self.left_out > 0 {
            let most = bytes(limits::CHANGES_BYTES as u64);
            warnings.push(format!(
                "{} changes are counted but not listed: a list holds at most {} changes and {most}",
                self.left_out,
                limits::CHANGES,
            ));
        }
        warnings
    }
}

fn add(counts: &mut Counts, action: Action) {
    let one = Counts::count([action]);
    counts.added += one.added;
    counts.changed += one.changed;
    counts.deleted += one.deleted;
    counts.replaced += one.replaced;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(address: String, after: Value) -> ResourceChange {
        ResourceChange {
            address,
            type_name: "a".to_owned(),
            action: Action::Create,
            before: Value::Null,
            after,
            sensitive: Vec::new(),
            replace_paths: Vec::new(),
        }
    }

    #[test]
    fn values_give_way_to_the_list_and_the_list_to_the_count() {
        let mut collected = Collected::default();
        let large = Value::String("x".repeat(60_000));
        for n in 0..500 {
            collected.resource(change(format!("a.b[{n}]"), large.clone()));
        }
        let kept = &collected.changes.resources;
        assert_eq!(kept.len(), 500);
        assert_eq!((&kept[400].after, kept[450].after.as_str()), (&large, Some(TOO_MUCH)));
        assert!(collected.warnings()[0].contains("listed without their values, which exceed 24 MiB"));
        for _ in 0..200 {
            collected.resource(change("y".repeat(60_000), Value::Null));
        }
        assert!((600..700).contains(&collected.changes.resources.len()), "{}", collected.changes.resources.len());
        assert!(collected.warnings()[1].contains("are counted but not listed"), "{:?}", collected.warnings());
        assert_eq!(collected.delta().resources.added, 700);
    }

    #[test]
    fn more_changes_than_are_kept_are_still_counted() {
        let mut collected = Collected::default();
        for n in 0..limits::CHANGES + 5 {
            collected.resource(change(n.to_string(), Value::Null));
        }
        assert_eq!(collected.changes.resources.len(), limits::CHANGES);
        assert_eq!(collected.delta().resources.added as usize, limits::CHANGES + 5);
        assert!(collected.warnings()[0].starts_with("5 changes are counted but not listed"));
    }
}
