//! Parser events → the tree.

use std::{
    collections::{HashMap, hash_map},
    rc::Rc,
};

use granit_parser::{Event, Marker, Parser, ScalarStyle, Span, Tag};

use crate::domain::limits;

use super::{
    super::error::{Position, quoted},
    Entry, Flaw, Node, Scalar, Size, Value, join, wording,
};

/// The one document of a text: None when it is empty. Flaws that do not keep the rest from being
/// read are collected; one that does comes last, with no document.
pub(in crate::manifest) fn document(text: &str) -> (Option<Rc<Node>>, Vec<Flaw>) {
    let mut builder = Builder::default();
    let root = builder.read(text);
    let mut flaws = builder.flaws;
    match root {
        Ok(root) => (root, flaws),
        Err(flaw) => {
            flaws.push(flaw);
            (None, flaws)
        }
    }
}

/// A list or map that is not closed yet.
struct Open {
    at: Position,
    tag: Option<String>,
    anchor: usize,
    size: Size,
    content: Content,
}

enum Content {
    List(Vec<Rc<Node>>),
    Map(OpenMap),
}

#[derive(Default)]
struct OpenMap {
    entries: Vec<Entry>,
    /// Where each key stood first.
    seen: HashMap<Rc<str>, Position>,
    /// What `<<` names.
    merged: Vec<Rc<Node>>,
    key: Option<Key>,
}

enum Key {
    Name(Rc<str>, Position),
    Merge(Position),
    /// A flaw was reported; its value is passed over.
    Bad(Position),
}

impl Key {
    const fn at(&self) -> Position {
        match self {
            Self::Name(_, at) | Self::Merge(at) | Self::Bad(at) => *at,
        }
    }
}

#[derive(Default)]
struct Builder {
    stack: Vec<Open>,
    /// Closed values by the number of their anchor.
    anchors: HashMap<usize, Rc<Node>>,
    spent: Size,
    documents: usize,
    root: Option<Rc<Node>>,
    flaws: Vec<Flaw>,
}

impl Builder {
    fn read(&mut self, text: &str) -> Result<Option<Rc<Node>>, Flaw> {
        let options = granit_parser::options! {
            disallow_directives: true,
            flow_nesting_limit: limits::MANIFEST_DEPTH,
            block_nesting_limit: limits::MANIFEST_DEPTH,
        };
        for event in Parser::new_from_str_with_options(text, options) {
            let (event, span) = event.map_err(|error| wording::syntax(text, &error).below(self.path()))?;
            self.event(event, span)?;
        }
        Ok(self.root.take())
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Flaw> {
        let at = position(&span.start);
        match event {
            Event::DocumentStart(..) => self.document_starts(at),
            Event::Alias(anchor) => self.alias(anchor, at),
            Event::Scalar(text, style, anchor, tag) => {
                let (tag, is_text) = own_tag(tag.as_deref());
                let plain = style == ScalarStyle::Plain && !is_text;
                let size = Size { nodes: 1, bytes: text.len(), height: 0 };
                self.spend(size, at)?;
                let value = Value::Scalar(Scalar { text: text.into_owned(), plain });
                let node = Rc::new(Node { at, value, tag, size });
                self.name(anchor, &node);
                self.add(node)
            }
            Event::SequenceStart(_, anchor, tag) => self.open(at, anchor, tag.as_deref(), Content::List(Vec::new())),
            Event::MappingStart(_, anchor, tag) => {
                self.open(at, anchor, tag.as_deref(), Content::Map(OpenMap::default()))
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            _ => Ok(()),
        }
    }

    fn document_starts(&mut self, at: Position) -> Result<(), Flaw> {
        self.documents += 1;
        if self.documents > 1 {
            return Err(Flaw::new(at, "a second document begins", "a file holds one YAML document")
                .hint("remove the `---`, or what stands below it"));
        }
        Ok(())
    }

    fn alias(&mut self, anchor: usize, at: Position) -> Result<(), Flaw> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            let why = "what it names is not complete here";
            return Err(Flaw::new(at, "an alias stands inside its own anchor", why).below(self.path()));
        };
        self.spend(node.size, at)?;
        self.deep_enough(node.size.height, at)?;
        self.add(node)
    }

    /// Counts what is made, so that no file unfolds into more than the limits allow.
    fn spend(&mut self, size: Size, at: Position) -> Result<(), Flaw> {
        self.spent = self.spent.around(size);
        let too_much = if self.spent.nodes > limits::MANIFEST_NODES {
            format!("more than {} keys and values", limits::MANIFEST_NODES)
        } else if self.spent.bytes > limits::MANIFEST_TEXT_BYTES {
            format!("more than {} bytes of text", limits::MANIFEST_TEXT_BYTES)
        } else {
            return Ok(());
        };
        let why = "that is the most that is read; each use of an alias counts anew";
        Err(Flaw::new(at, format!("the file unfolds to {too_much}"), why))
    }

    fn deep_enough(&self, height: usize, at: Position) -> Result<(), Flaw> {
        if self.stack.len() + height > limits::MANIFEST_DEPTH {
            return Err(wording::too_deep(at));
        }
        Ok(())
    }

    fn name(&mut self, anchor: usize, node: &Rc<Node>) {
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(node));
        }
    }

    fn open(&mut self, at: Position, anchor: usize, tag: Option<&Tag>, content: Content) -> Result<(), Flaw> {
        self.deep_enough(1, at)?;
        if let Some(Open { content: Content::Map(OpenMap { key: None, .. }), .. }) = self.stack.last() {
            let what = "a list or a map stands where a key is expected";
            return Err(Flaw::new(at, what, "keys are text").below(self.path()));
        }
        let size = Size { nodes: 1, ..Size::default() };
        self.spend(size, at)?;
        let (tag, _) = own_tag(tag);
        self.stack.push(Open { at, tag, anchor, size, content });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Flaw> {
        let Some(open) = self.stack.pop() else { return Ok(()) };
        let value = match open.content {
            Content::List(items) => Value::List(items),
            Content::Map(map) => Value::Map(merged(map)),
        };
        let node = Rc::new(Node { at: open.at, value, tag: open.tag, size: open.size });
        self.name(open.anchor, &node);
        self.add(node)
    }

    /// Puts a finished value where it belongs: the root, an item, a key or a key's value.
    fn add(&mut self, node: Rc<Node>) -> Result<(), Flaw> {
        let path = self.path();
        let Some(open) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        open.size = open.size.around(node.size);
        match &mut open.content {
            Content::List(items) => items.push(node),
            Content::Map(map) => match map.key.take() {
                None => map.key = Some(map.key_of(&node, &path, &mut self.flaws)?),
                Some(key) => map.set(key, node, path, &mut self.flaws),
            },
        }
        Ok(())
    }

    /// The keys that lead to where the builder stands.
    fn path(&self) -> String {
        self.stack.iter().fold(String::new(), |path, open| match &open.content {
            Content::List(items) => format!("{path}[{}]", items.len()),
            Content::Map(OpenMap { key: Some(Key::Name(name, _)), .. }) => join(&path, name),
            Content::Map(_) => path,
        })
    }
}

impl OpenMap {
    fn key_of(&self, node: &Node, path: &str, flaws: &mut Vec<Flaw>) -> Result<Key, Flaw> {
        let at = node.at;
        let Value::Scalar(scalar) = &node.value else {
            return Err(Flaw::new(at, "an alias of a list or a map stands where a key is expected", "keys are text"));
        };
        if scalar.is_null() {
            flaws.push(Flaw::new(at, "a key is missing", "a value must have a name").below(path.to_owned()));
            return Ok(Key::Bad(at));
        }
        if scalar.plain && scalar.text == "<<" {
            return Ok(Key::Merge(at));
        }
        if scalar.text.len() > limits::MANIFEST_KEY_BYTES {
            let what = format!("a key has {} bytes", scalar.text.len());
            let why = format!("at most {} are allowed", limits::MANIFEST_KEY_BYTES);
            flaws.push(Flaw::new(at, what, why).below(path.to_owned()));
            return Ok(Key::Bad(at));
        }
        if let Some(first) = self.seen.get(scalar.text.as_str()) {
            let what = format!("the key {} stands here twice", quoted(&scalar.text));
            let why = format!("it was given in line {}; one of the two would be lost", first.line);
            flaws.push(Flaw::new(at, what, why).below(join(path, &scalar.text)));
            return Ok(Key::Bad(at));
        }
        Ok(Key::Name(scalar.text.as_str().into(), at))
    }

    fn set(&mut self, key: Key, value: Rc<Node>, path: String, flaws: &mut Vec<Flaw>) {
        let key_at = key.at();
        match key {
            Key::Name(key, _) => {
                // An empty value has no place of its own.
                let empty = matches!(&value.value, Value::Scalar(scalar) if scalar.plain && scalar.text.is_empty());
                let value = if empty { at_its_key(&value, key_at) } else { value };
                self.seen.insert(Rc::clone(&key), key_at);
                self.entries.push(Entry { key, key_at, value });
            }
            Key::Merge(_) => match merge_sources(&value) {
                Some(sources) => self.merged.extend(sources),
                None => flaws.push(Flaw::new(key_at, "`<<` has nothing to merge", MERGE_RULE).below(path)),
            },
            Key::Bad(_) => {}
        }
    }
}

const MERGE_RULE: &str = "it takes a map, an alias of one, or a list of these";

fn merge_sources(value: &Rc<Node>) -> Option<Vec<Rc<Node>>> {
    match &value.value {
        Value::Map(_) => Some(vec![Rc::clone(value)]),
        Value::List(items) if items.iter().all(|item| matches!(item.value, Value::Map(_))) => Some(items.clone()),
        Value::Scalar(_) | Value::List(_) => None,
    }
}

fn at_its_key(node: &Node, at: Position) -> Rc<Node> {
    let value = Value::Scalar(Scalar { text: String::new(), plain: true });
    Rc::new(Node { at, value, tag: node.tag.clone(), size: node.size })
}

/// A map's own entries, then what `<<` adds to them: its own win, and of the others the first.
fn merged(map: OpenMap) -> Vec<Entry> {
    let OpenMap { mut entries, mut seen, merged, .. } = map;
    for source in &merged {
        let Value::Map(more) = &source.value else { continue };
        for entry in more {
            if let hash_map::Entry::Vacant(vacant) = seen.entry(Rc::clone(&entry.key)) {
                vacant.insert(entry.key_at);
                entries.push(entry.clone());
            }
        }
    }
    entries
}

/// A tag as it was written, and whether it says that a scalar is text.
fn own_tag(tag: Option<&Tag>) -> (Option<String>, bool) {
    match tag {
        None => (None, false),
        Some(tag) if tag.is_yaml_core_schema_tag("str") => (None, true),
        Some(tag) => (Some(tag.original()), false),
    }
}

pub(super) fn position(marker: &Marker) -> Position {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Position { line: number(marker.line().max(1)), column: number(marker.col() + 1) }
}
