//! Typed access to the tree, collecting every mistake on the way.
//!
//! Owns how a mistake is worded and placed. Must not know the format: that is in the tables
//! ([`Schema`]) of the files that use this one. An accessor answers `None` exactly when it has
//! recorded a mistake, so that reading goes on with the rest.

use std::{ops::RangeInclusive, rc::Rc, str::FromStr, sync::Arc};

use crate::domain::{EnvName, RelativePath, limits};

use super::{
    declared::Origin,
    error::{ManifestError, Mistake, Note, Position, quoted},
    yaml::{self, Flaw, Lines, Node, Scalar, Value},
};

/// Reads one file.
#[derive(Debug)]
pub(super) struct Reader {
    file: Arc<str>,
    lines: Lines,
    mistakes: Vec<Mistake>,
    /// Mistakes beyond those that are listed.
    more: usize,
    notes: Vec<Note>,
}

/// A value, the key that it has, and the way there.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub path: String,
    pub key: Rc<str>,
    pub key_at: Position,
    pub node: Rc<Node>,
}

/// Which keys a map may have.
#[derive(Debug)]
pub(super) struct Schema {
    /// What the map is, for messages: `a task`.
    pub of: &'static str,
    pub known: &'static [&'static str],
    /// Documented elsewhere, without effect here: the key, and what to say about it.
    pub noted: &'static [(&'static str, &'static str)],
    /// Meaningless here: the key, and why.
    pub refused: &'static [(&'static str, &'static str)],
}

/// The entries of a map whose keys were checked.
#[derive(Debug)]
pub(super) struct Keys {
    map: Place,
    entries: Vec<Place>,
}

impl Keys {
    pub(super) fn get(&self, key: &str) -> Option<&Place> {
        self.entries.iter().find(|place| &*place.key == key)
    }

    /// The value, or a mistake at the map that lacks it.
    pub(super) fn required(&self, reader: &mut Reader, key: &str, why: &str) -> Option<&Place> {
        let found = self.get(key);
        if found.is_none() {
            reader.wrong_key(&self.map, format!("{} is missing", quoted(key)), why);
        }
        found
    }
}

impl Place {
    fn below(&self, key: &Rc<str>, key_at: Position, node: &Rc<Node>) -> Self {
        Self { path: yaml::join(&self.path, key), key: Rc::clone(key), key_at, node: Rc::clone(node) }
    }
}

impl Reader {
    pub(super) fn new(file: &str, lines: Lines) -> Self {
        Self { file: file.into(), lines, mistakes: Vec::new(), more: 0, notes: Vec::new() }
    }

    /// The place of the whole document.
    pub(super) fn root(node: Rc<Node>) -> Place {
        Place { path: String::new(), key: "".into(), key_at: node.at, node }
    }

    pub(super) fn origin(&self, at: Position) -> Origin {
        Origin { file: Arc::clone(&self.file), at: self.lines.nearest(at) }
    }

    /// The notes, in the order of the file, and the mistakes if there are any.
    pub(super) fn finish(mut self) -> (Vec<Note>, Option<ManifestError>) {
        self.notes.sort_by_key(|note| note.at);
        let error = (!self.mistakes.is_empty()).then(|| ManifestError::new(self.mistakes, self.more));
        (self.notes, error)
    }

    // ── Mistakes and notes ──────────────────────────────────────────────────────────────────
    pub(super) fn flaw(&mut self, flaw: Flaw) {
        if self.full() {
            self.more += 1;
            return;
        }
        let Flaw { at, path, what, why, hint } = flaw;
        let at = self.lines.nearest(at);
        self.mistakes.push(Mistake { file: self.file.to_string(), at, path, what, why, hint });
    }

    /// Whether further mistakes are only counted.
    fn full(&self) -> bool {
        self.mistakes.len() >= limits::MANIFEST_MISTAKES
    }

    fn place_flaw(&mut self, at: Position, path: &str, what: String, why: &str, hint: Option<String>) {
        self.flaw(Flaw { at, path: path.to_owned(), what, why: why.to_owned(), hint });
    }

    /// A mistake in a value.
    pub(super) fn wrong(&mut self, place: &Place, what: impl Into<String>, why: &str) {
        self.place_flaw(place.node.at, &place.path, what.into(), why, None);
    }

    /// A mistake in a value, and what to write instead.
    pub(super) fn wrong_but(&mut self, place: &Place, what: impl Into<String>, why: &str, hint: impl Into<String>) {
        self.place_flaw(place.node.at, &place.path, what.into(), why, Some(hint.into()));
    }

    /// A mistake in a key, or in what it stands for as a whole.
    pub(super) fn wrong_key(&mut self, place: &Place, what: impl Into<String>, why: &str) {
        self.place_flaw(place.key_at, &place.path, what.into(), why, None);
    }

    pub(super) fn note(&mut self, place: &Place, text: impl Into<String>) {
        if self.notes.len() < limits::MANIFEST_MISTAKES {
            let (file, at) = (self.file.to_string(), self.lines.nearest(place.key_at));
            self.notes.push(Note { file, at, path: place.path.clone(), text: text.into() });
        }
    }

    // ── Maps and lists ──────────────────────────────────────────────────────────────────────
    /// The entries of a map whose keys are names. Nothing written means an empty one.
    pub(super) fn entries(&mut self, place: &Place, what: &str) -> Option<Vec<Place>> {
        self.untagged(place)?;
        match &place.node.value {
            Value::Map(entries) => {
                Some(entries.iter().map(|entry| place.below(&entry.key, entry.key_at, &entry.value)).collect())
            }
            Value::Scalar(scalar) if scalar.is_null() => Some(Vec::new()),
            Value::Scalar(_) | Value::List(_) => {
                self.wrong(place, format!("{} stands here", kind(place)), &format!("{what} is expected"));
                None
            }
        }
    }

    /// The entries of a map whose keys are given: others are mistakes, or noted.
    pub(super) fn keys(&mut self, place: &Place, schema: &Schema) -> Option<Keys> {
        let all = self.entries(place, &format!("a map with the keys of {}", schema.of))?;
        let mut entries = Vec::new();
        for entry in all {
            if schema.known.contains(&&*entry.key) {
                entries.push(entry);
            } else if let Some((_, text)) = find(schema.noted, &entry.key) {
                self.note(&entry, *text);
            } else if let Some((key, why)) = find(schema.refused, &entry.key) {
                self.wrong_key(&entry, format!("`{key}` has no meaning in {}", schema.of), why);
            } else {
                self.unknown_key(&entry, schema);
            }
        }
        Some(Keys { map: place.clone(), entries })
    }

    fn unknown_key(&mut self, entry: &Place, schema: &Schema) {
        if self.full() {
            self.more += 1;
            return;
        }
        let hint = match near(&entry.key, schema.known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known are {}", schema.known.join(", ")),
        };
        let what = format!("{} is not a known key", quoted(&entry.key));
        self.place_flaw(entry.key_at, &entry.path, what, &format!("{} does not have it", schema.of), Some(hint));
    }

    /// The items of a list. Nothing written means an empty one.
    pub(super) fn items(&mut self, place: &Place, most: usize) -> Option<Vec<Place>> {
        self.untagged(place)?;
        let items = match &place.node.value {
            Value::List(items) => items,
            Value::Scalar(scalar) if scalar.is_null() => return Some(Vec::new()),
            Value::Scalar(_) | Value::Map(_) => {
                let hint = "write each item on a line of its own, after `- `";
                self.wrong_but(place, format!("{} stands here", kind(place)), "a list is expected", hint);
                return None;
            }
        };
        self.at_most(place, items.len(), most)?;
        let item = |(index, node): (usize, &Rc<Node>)| Place {
            path: format!("{}[{index}]", place.path),
            key: Rc::clone(&place.key),
            key_at: node.at,
            node: Rc::clone(node),
        };
        Some(items.iter().enumerate().map(item).collect())
    }

    pub(super) fn at_most(&mut self, place: &Place, count: usize, most: usize) -> Option<()> {
        if count > most {
            self.wrong_key(place, format!("{count} entries stand here"), &format!("at most {most} are allowed"));
            return None;
        }
        Some(())
    }

    // ── Scalars ─────────────────────────────────────────────────────────────────────────────
    fn untagged(&mut self, place: &Place) -> Option<()> {
        if let Some(tag) = &place.node.tag {
            self.wrong(place, format!("the tag {} stands here", quoted(tag)), "tags other than `!!str` are not read");
            return None;
        }
        Some(())
    }

    fn scalar<'p>(&mut self, place: &'p Place, expected: &str) -> Option<&'p Scalar> {
        self.untagged(place)?;
        match &place.node.value {
            Value::Scalar(scalar) if scalar.is_null() => {
                self.wrong(place, "nothing is written here", &format!("{expected} is expected"));
                None
            }
            Value::Scalar(scalar) => Some(scalar),
            Value::List(_) | Value::Map(_) => {
                self.wrong(place, format!("{} stands here", kind(place)), &format!("{expected} is expected"));
                None
            }
        }
    }

    /// Text as it was written: `3.10`, `no` and `0777` stay what they are.
    pub(super) fn text<'p>(&mut self, place: &'p Place, most: usize) -> Option<&'p str> {
        let text = self.scalar(place, "text")?.text.as_str();
        if text.len() > most {
            self.wrong(place, format!("this has {} bytes", text.len()), &format!("at most {most} are allowed"));
            return None;
        }
        if text.contains('\0') {
            self.wrong(place, "a NUL character stands here", "programs cannot be given one");
            return None;
        }
        Some(text)
    }

    /// Text that obeys the rule of a name.
    pub(super) fn name<T>(&mut self, place: &Place, what: &str) -> Option<T>
    where
        T: FromStr<Err: std::fmt::Display>,
    {
        let text = self.text(place, limits::MANIFEST_KEY_BYTES)?;
        match text.parse() {
            Ok(name) => Some(name),
            Err(error) => {
                self.wrong(place, format!("{} is not {what}", quoted(text)), &error.to_string());
                None
            }
        }
    }

    /// A key that obeys the rule of a name.
    pub(super) fn key_name<T>(&mut self, place: &Place, what: &str) -> Option<T>
    where
        T: FromStr<Err: std::fmt::Display>,
    {
        match place.key.parse() {
            Ok(name) => Some(name),
            Err(error) => {
                self.wrong_key(place, format!("{} is not {what}", quoted(&place.key)), &error.to_string());
                None
            }
        }
    }

    pub(super) fn env_name(&mut self, place: &Place) -> Option<EnvName> {
        self.name(place, "the name of a variable")
    }

    /// A path below the source's root. A leading `/` or `./` and a trailing `/` are cut off.
    pub(super) fn path(&mut self, place: &Place) -> Option<RelativePath> {
        let text = self.text(place, limits::MANIFEST_KEY_BYTES)?;
        match relative(text) {
            Ok(path) => Some(path),
            Err(why) => {
                self.wrong(place, format!("{} is not a path inside the source", quoted(text)), &why);
                None
            }
        }
    }

    /// A whole number, written with digits only and without quotes.
    pub(super) fn whole(&mut self, place: &Place, range: RangeInclusive<u64>, unit: &str) -> Option<u64> {
        let scalar = self.scalar(place, "a whole number")?;
        let (least, most) = range.into_inner();
        let why = format!("a whole number of {unit} from {least} to {most} is expected");
        let written = quoted(&scalar.text);
        let digits = !scalar.text.is_empty() && scalar.text.bytes().all(|b| b.is_ascii_digit());
        if !scalar.plain {
            self.wrong_but(place, format!("{written} is text"), &why, "write it without quotes");
        } else if digits && scalar.text.len() > 1 && scalar.text.starts_with('0') {
            let hint = "remove the leading zero: older YAML reads it as octal";
            self.wrong_but(place, format!("{written} begins with a zero"), &why, hint);
        } else if !digits {
            self.wrong(place, format!("{written} is not a whole number"), &format!("{why}, written with digits only"));
        } else {
            match scalar.text.parse::<u64>() {
                Ok(number) if (least..=most).contains(&number) => return Some(number),
                Ok(number) if number < least => self.wrong(place, format!("{written} is too small"), &why),
                Ok(_) | Err(_) => self.wrong(place, format!("{written} is too large"), &why),
            }
        }
        None
    }

    /// `true` or `false`, and not one of the other words that older YAML took for these.
    pub(super) fn boolean(&mut self, place: &Place) -> Option<bool> {
        let scalar = self.scalar(place, "`true` or `false`")?;
        let why = "`true` or `false` is expected, without quotes";
        match (scalar.plain, scalar.text.as_str()) {
            (true, "true" | "True" | "TRUE") => return Some(true),
            (true, "false" | "False" | "FALSE") => return Some(false),
            (_, text) => {
                let written = quoted(text);
                let hint = match text.to_ascii_lowercase().as_str() {
                    "yes" | "on" | "y" | "true" => "write `true`",
                    "no" | "off" | "n" | "false" => "write `false`",
                    _ => "",
                };
                self.place_flaw(
                    place.node.at,
                    &place.path,
                    format!("{written} is not a truth value"),
                    why,
                    (!hint.is_empty()).then(|| hint.to_owned()),
                );
            }
        }
        None
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, place: &Place, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(place, limits::MANIFEST_KEY_BYTES)?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let hint = near(text, &names).map(|near| format!("did you mean `{near}`?"));
            let why = format!("one of {} is expected", names.join(", "));
            self.place_flaw(place.node.at, &place.path, format!("{} stands here", quoted(text)), &why, hint);
        }
        found.map(|(_, value)| *value)
    }
}

/// What a value is, for messages.
fn kind(place: &Place) -> &'static str {
    match &place.node.value {
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
        Value::Scalar(scalar) if scalar.is_null() => "nothing",
        Value::Scalar(_) => "a single value",
    }
}

fn find<'t, T>(table: &'t [(&str, T)], key: &str) -> Option<&'t (&'t str, T)> {
    table.iter().find(|(name, _)| *name == key)
}

/// The word that was probably meant.
pub(super) fn near<'w>(word: &str, words: &[&'w str]) -> Option<&'w str> {
    let allowed = match word.chars().count() {
        // Of so few letters any word is near, of so many none.
        0..=2 | 65.. => return None,
        chars => chars / 3,
    };
    words
        .iter()
        .map(|known| (strsim::damerau_levenshtein(&word.to_ascii_lowercase(), known), *known))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, known)| known)
}

/// A path as people write it, below the source's root.
pub(super) fn relative(text: &str) -> Result<RelativePath, String> {
    let inner = text.strip_prefix("./").or_else(|| text.strip_prefix('/')).unwrap_or(text);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    RelativePath::new(if inner == "." { "" } else { inner }).map_err(|error| error.to_string())
}
