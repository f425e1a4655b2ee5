//! What is kept of a plan, within its bounds.

use super::value;
use crate::domain::{Action, Changes, Counts, Delta, OutputChange, ResourceChange, limits, verdict::bytes};

/// Takes changes one by one.
#[derive(Debug, Default)]
pub struct Collected {
    pub changes: Changes,
    resources: Counts,
    outputs: Counts,
    kept_bytes: usize,
    left_out: u64,
}

impl Collected {
    pub fn resource(&mut self, change: ResourceChange) {
        add(&mut self.resources, change.action);
        let texts = change.sensitive.iter().chain(&change.replace_paths).map(String::len).sum::<usize>();
        let size = change.address.len() + change.type_name.len() + texts;
        if self.has_room(size + value::size(&change.before) + value::size(&change.after)) {
            self.changes.resources.push(change);
        }
    }

    pub fn output(&mut self, change: OutputChange) {
        add(&mut self.outputs, change.action);
        if self.has_room(change.name.len() + value::size(&change.before) + value::size(&change.after)) {
            self.changes.outputs.push(change);
        }
    }

    fn has_room(&mut self, size: usize) -> bool {
        let kept = self.changes.resources.len() + self.changes.outputs.len();
        let room = kept < limits::CHANGES && self.kept_bytes + size <= limits::CHANGES_BYTES;
        if room {
            self.kept_bytes += size;
        } else {
            self.left_out += 1;
        }
        room
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
        if self.left_out == 0 {
            return Vec::new();
        }
        vec![format!(
            "{} changes are counted but not listed: a list holds at most {} changes and {}",
            self.left_out,
            limits::CHANGES,
            bytes(limits::CHANGES_BYTES as u64)
        )]
    }
}

fn add(counts: &mut Counts, action: Action) {
    let one = Counts::count([action]);
    counts.added += one.added;
    counts.changed += one.changed;
    counts.deleted += one.deleted;
    counts.replaced += one.replaced;
}
