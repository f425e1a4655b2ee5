//! Bytes → a tree of values with positions, within bounds.
//!
//! Owns what is YAML about a file: encoding, syntax, documents, anchors, merge keys, duplicate
//! keys. Must not know what any key means.
//!
//! - The parser sees at most [`crate::domain::limits::MANIFEST_BYTES`]; the tree has at most
//!   [`crate::domain::limits::MANIFEST_NODES`] values and [`crate::domain::limits::MANIFEST_TEXT_BYTES`] of text, where what an
//!   alias stands for counts each time; nothing is nested deeper than [`crate::domain::limits::MANIFEST_DEPTH`].
//!   Aliases share what they name, so that nothing is copied either.
//! - A scalar stays the text that was written. Whether `3.10`, `no` or `0777` is a number, a word
//!   or a mistake is decided where its meaning is known.

mod build;
mod text;
mod wording;

use std::rc::Rc;

use super::error::Position;

pub(super) use build::document;
pub(super) use text::{Lines, decode};

/// A value with its place.
#[derive(Debug)]
pub(super) struct Node {
    pub at: Position,
    pub value: Value,
    /// A tag other than `!!str`, as it was written.
    pub tag: Option<String>,
    size: Size,
}

#[derive(Debug)]
pub(super) enum Value {
    Scalar(Scalar),
    List(Vec<Rc<Node>>),
    Map(Vec<Entry>),
}

#[derive(Debug)]
pub(super) struct Scalar {
    pub text: String,
    /// Neither quoted, nor a block, nor tagged `!!str`.
    pub plain: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub key: Rc<str>,
    pub key_at: Position,
    pub value: Rc<Node>,
}

/// What a value costs, with all that is in it.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    nodes: usize,
    bytes: usize,
    height: usize,
}

impl Size {
    /// The size of something that holds `inner` besides what `self` counts.
    fn around(self, inner: Self) -> Self {
        Self {
            nodes: self.nodes.saturating_add(inner.nodes),
            bytes: self.bytes.saturating_add(inner.bytes),
            height: self.height.max(inner.height + 1),
        }
    }
}

impl Node {
    /// Whether nothing was written: empty, `~` or `null`.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.is_null())
    }
}

impl Scalar {
    pub(super) fn is_null(&self) -> bool {
        self.plain && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }
}

/// A mistake that needs no knowledge of what keys mean.
#[derive(Debug)]
pub(super) struct Flaw {
    pub at: Position,
    pub path: String,
    pub what: String,
    pub why: String,
    pub hint: Option<String>,
}

impl Flaw {
    pub(super) fn new(at: Position, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { at, path: String::new(), what: what.into(), why: why.into(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn below(mut self, path: String) -> Self {
        self.path = path;
        self
    }
}

/// A key as part of a path: `tasks` and `report` make `tasks.report`.
pub(super) fn join(path: &str, key: &str) -> String {
    let key = super::error::quoted(key);
    let key = key.trim_matches('`');
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
