//! What stands for sensitive values, and where else those values turn up.
//!
//! A provider may hand a sensitive input back as an ordinary attribute. Terraform itself shows such an
//! attribute in clear; here, what was sensitive in one place of a plan is hidden in every place.

use std::collections::BTreeSet;

use aho_corasick::AhoCorasick;
use serde_json::Value;

use super::{canonical, value};
use crate::domain::{Changes, limits};

/// A short keyed hash.
pub type Hash<'a> = &'a dyn Fn(&[u8]) -> String;

/// Bytes of sensitive texts that are remembered.
const REMEMBERED_BYTES: usize = limits::MIB as usize;

/// Bytes of a sensitive text that is looked for inside other texts. A shorter one must be all of it,
/// or half of the plan would vanish; so must a longer one, which nobody embeds.
const LOOKED_FOR_BYTES: std::ops::RangeInclusive<usize> = 8..=4_096;

pub struct Redactor<'a> {
    hash: Hash<'a>,
    secrets: BTreeSet<String>,
    secret_bytes: usize,
}

impl<'a> Redactor<'a> {
    pub fn new(hash: Hash<'a>) -> Self {
        Self { hash, secrets: BTreeSet::new(), secret_bytes: 0 }
    }

    pub fn hash(&self, content: &[u8]) -> String {
        (self.hash)(content)
    }

    /// Replaces a value and remembers its texts. That there is nothing is no secret.
    pub fn hide(&mut self, value: &mut Value) {
        if !value.is_null() {
            self.remember(value);
            *value = self.stand_in(value);
        }
    }

    fn stand_in(&self, value: &Value) -> Value {
        Value::String(format!("(sensitive {})", self.hash(&canonical::bytes(value))))
    }

    fn remember(&mut self, value: &Value) {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
            Value::String(text) => {
                let size = self.secret_bytes + text.len();
                if text.chars().count() >= limits::SECRET_MIN_CHARS
                    && size <= REMEMBERED_BYTES
                    && self.secrets.insert(text.clone())
                {
                    self.secret_bytes = size;
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.remember(item)),
            Value::Object(map) => map.values().for_each(|item| self.remember(item)),
        }
    }

    /// Hides the remembered texts wherever they stand.
    pub fn sweep(&self, changes: &mut Changes) {
        if self.secrets.is_empty() {
            return;
        }
        let long: Vec<_> = self.secrets.iter().filter(|text| LOOKED_FOR_BYTES.contains(&text.len())).collect();
        // Too many patterns for an automaton cannot be: their bytes are bounded.
        let Ok(inside) = AhoCorasick::new(long) else { return };
        let sweep = Sweep { redactor: self, inside };
        for change in &mut changes.resources {
            for side in [&mut change.before, &mut change.after] {
                sweep.value(side, &mut String::new(), &mut |path| change.sensitive.push(path.to_owned()));
            }
            change.sensitive.sort();
            change.sensitive.dedup();
        }
        for change in &mut changes.outputs {
            for side in [&mut change.before, &mut change.after] {
                sweep.value(side, &mut String::new(), &mut |_| change.sensitive = true);
            }
        }
    }
}

struct Sweep<'r, 'a> {
    redactor: &'r Redactor<'a>,
    inside: AhoCorasick,
}

impl Sweep<'_, '_> {
    fn value(&self, value: &mut Value, path: &mut String, found: &mut dyn FnMut(&str)) {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
            Value::String(text) => {
                if self.redactor.secrets.contains(text.as_str()) || self.inside.is_match(text.as_str()) {
                    *value = self.redactor.stand_in(value);
                    found(path);
                }
            }
            Value::Array(items) => {
                for (n, item) in items.iter_mut().enumerate() {
                    value::below(path, &n.to_string(), |path| self.value(item, path, found));
                }
            }
            Value::Object(map) => {
                for (key, item) in map {
                    value::below(path, key, |path| self.value(item, path, found));
                }
            }
        }
    }
}
