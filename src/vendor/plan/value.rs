//! One side of a change: what was there, or what will be.

use serde_json::{Map, Value, value::RawValue};

use super::{canonical, redactor::Redactor};
use crate::domain::{limits, verdict};

/// What stands for a value that does not exist yet.
pub const UNKNOWN: &str = "(known after apply)";

/// Bytes of a value's JSON beyond which it is not even parsed.
const PARSED_BYTES: usize = limits::MIB as usize;

/// Bytes of a text from which it gives way when its value is too large.
const LONG_TEXT_BYTES: usize = limits::KIB as usize;

/// What may be kept of one side.
#[derive(Debug, Default, PartialEq)]
pub struct Side {
    pub value: Value,
    /// Paths of the sensitive parts, as JSON pointers.
    pub sensitive: Vec<String>,
}

/// One side with the trees that Terraform lays over it: `true` where a part is unknown or sensitive.
pub fn side(value: Raw<'_>, unknown: Raw<'_>, sensitive: Raw<'_>, redactor: &mut Redactor<'_>) -> Side {
    let (mut value, unknown, mask) = match (parse(value), parse(unknown), parse(sensitive)) {
        (Ok(value), Ok(unknown), Ok(mask)) => (value, unknown, mask),
        (Err(note), _, _) | (_, Err(note), _) | (_, _, Err(note)) => {
            return Side { value: Value::String(note), sensitive: Vec::new() };
        }
    };
    let mut found = Vec::new();
    redact(&mut value, &mask, &mut String::new(), &mut found, redactor);
    overlay(&mut value, &unknown);
    trim(&mut value, redactor);
    Side { value, sensitive: found }
}

/// One side with the paths that its writer named as sensitive. `named` is told of each path that was
/// there.
pub fn side_with_paths(
    value: Raw<'_>,
    paths: &[String],
    redactor: &mut Redactor<'_>,
    named: &mut dyn FnMut(&str),
) -> Side {
    let mut value = match parse(value) {
        Ok(value) => value,
        Err(note) => return Side { value: Value::String(note), sensitive: Vec::new() },
    };
    let mut found = Vec::new();
    // The longest first: what stands for an outer value has no inner ones.
    let mut longest_first: Vec<_> = paths.iter().collect();
    longest_first.sort_by_key(|path| std::cmp::Reverse(path.len()));
    for path in longest_first {
        if let Some(part) = value.pointer_mut(path) {
            redactor.hide(part);
            named(path);
            found.push(path.clone());
        }
    }
    found.reverse();
    trim(&mut value, redactor);
    Side { value, sensitive: found }
}

/// A value as it was written; none for one that is not there.
pub type Raw<'a> = Option<&'a RawValue>;

/// Parses a value, or says what stands for it instead.
pub fn parse(raw: Raw<'_>) -> Result<Value, String> {
    let Some(raw) = raw else { return Ok(Value::Null) };
    let size = raw.get().len();
    if size > PARSED_BYTES {
        return Err(not_shown(size));
    }
    serde_json::from_str(raw.get()).map_err(|_| "(nested too deeply, not shown)".to_owned())
}

fn not_shown(size: usize) -> String {
    format!("({}, not shown)", verdict::bytes(size as u64))
}

/// Replaces the parts that `mask` names. Where mask and value do not have the same shape, more is
/// replaced rather than less.
fn redact(value: &mut Value, mask: &Value, path: &mut String, found: &mut Vec<String>, redactor: &mut Redactor<'_>) {
    match (mask, &mut *value) {
        (Value::Null | Value::Bool(false), _) => {}
        (Value::Object(masks), Value::Object(parts)) => {
            for (key, mask) in masks {
                let part = parts.get_mut(key);
                below(path, key, |path| redact(part.unwrap_or(&mut Value::Null), mask, path, found, redactor));
            }
        }
        (Value::Array(masks), Value::Array(parts)) if masks.len() <= parts.len() => {
            for (n, (mask, part)) in masks.iter().zip(parts).enumerate() {
                below(path, &n.to_string(), |path| redact(part, mask, path, found, redactor));
            }
        }
        (Value::Object(_) | Value::Array(_), _) if !says_true(mask) => {}
        (Value::Object(masks), Value::Null) => {
            for (key, mask) in masks {
                below(path, key, |path| redact(&mut Value::Null, mask, path, found, redactor));
            }
        }
        _ => {
            redactor.hide(value);
            found.push(path.clone());
        }
    }
}

/// Runs `inside` with `/key` at the end of the path.
pub fn below(path: &mut String, key: &str, inside: impl FnOnce(&mut String)) {
    let length = path.len();
    path.push('/');
    path.push_str(&escaped(key));
    inside(path);
    path.truncate(length);
}

/// A key as JSON pointers write it (RFC 6901).
pub fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn says_true(mask: &Value) -> bool {
    match mask {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) | Value::Number(_) | Value::String(_) => true,
        Value::Array(masks) => masks.iter().any(says_true),
        Value::Object(masks) => masks.values().any(says_true),
    }
}

/// Writes [`UNKNOWN`] where `unknown` says `true`.
fn overlay(value: &mut Value, unknown: &Value) {
    if !says_true(unknown) {
        return;
    }
    match (unknown, &mut *value) {
        (Value::Object(marks), Value::Null) => {
            let mut parts = Map::new();
            overlay_parts(&mut parts, marks);
            *value = Value::Object(parts);
        }
        (Value::Object(marks), Value::Object(parts)) => overlay_parts(parts, marks),
        (Value::Array(marks), Value::Null) => {
            *value = Value::Array(marks.iter().map(|mark| overlaid(Value::Null, mark)).collect());
        }
        (Value::Array(marks), Value::Array(parts)) => {
            parts.resize(parts.len().max(marks.len()), Value::Null);
            for (part, mark) in parts.iter_mut().zip(marks) {
                overlay(part, mark);
            }
        }
        // A part that was replaced as a whole.
        (Value::Object(_) | Value::Array(_), _) => {}
        _ => *value = Value::String(UNKNOWN.to_owned()),
    }
}

fn overlay_parts(parts: &mut Map<String, Value>, marks: &Map<String, Value>) {
    for (key, mark) in marks.iter().filter(|(_, mark)| says_true(mark)) {
        overlay(parts.entry(key.clone()).or_insert(Value::Null), mark);
    }
}

fn overlaid(mut value: Value, mark: &Value) -> Value {
    overlay(&mut value, mark);
    value
}

/// Makes a value fit [`limits::CHANGE_VALUE_BYTES`]: long texts give way first, then all of it. What
/// gives way leaves its size and hash, so that a change in it is still seen.
fn trim(value: &mut Value, redactor: &Redactor<'_>) {
    if size(value) <= limits::CHANGE_VALUE_BYTES {
        return;
    }
    let whole = canonical::bytes(value);
    trim_texts(value, redactor);
    if size(value) > limits::CHANGE_VALUE_BYTES {
        *value = Value::String(too_long(&whole, redactor));
    }
}

fn trim_texts(value: &mut Value, redactor: &Redactor<'_>) {
    match value {
        Value::String(text) if text.len() > LONG_TEXT_BYTES => *text = too_long(text.as_bytes(), redactor),
        Value::Array(items) => items.iter_mut().for_each(|item| trim_texts(item, redactor)),
        Value::Object(map) => map.values_mut().for_each(|item| trim_texts(item, redactor)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn too_long(content: &[u8], redactor: &Redactor<'_>) -> String {
    format!("({}, not shown, {})", verdict::bytes(content.len() as u64), redactor.hash(content))
}

/// Bytes of a value as JSON.
pub fn size(value: &Value) -> usize {
    struct Counter(usize);
    impl std::io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    serde_json::to_writer(&mut counter, value).expect("counting cannot fail");
    counter.0
}
