//! Plans of the custom vendor: an exit code, and perhaps a file.
//!
//! The file is a JSON array: `[{"address", "type", "action", "before", "after", "sensitive"}]`.
//! `address` and `action` are required; `sensitive` is a list of JSON pointers into `before` and
//! `after` (`"/password"`; the empty one means all of it), or `true` for all of it. Other keys are
//! passed over. The exit code decides whether there are changes, the file says which.

use std::{
    fmt,
    io::{BufReader, Read},
};

use aws_lc_rs::digest::{Context, SHA256};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    Bounded, PlanError, PlanRead, canonical,
    collect::Collected,
    failed, finish,
    redactor::{Hash, Redactor},
    value::{Raw, parse, side_with_paths},
};
use crate::domain::{Action, Delta, ResourceChange, limits};

const WHAT: &str = "what the plan command wrote to $AIRLOCK_PLAN_FILE";

pub fn read(code: i32, json: Option<&mut dyn Read>, hash: Hash<'_>) -> Result<PlanRead, PlanError> {
    let mut entries = Entries {
        redactor: Redactor::new(hash),
        collected: Collected::default(),
        canonical: Context::new(&SHA256),
        nameless: 0,
    };
    let mut warnings = Vec::new();
    match (code, json) {
        (0, Some(_)) => {
            warnings.push(format!("the plan command ended with 0, which means no change: {WHAT} is ignored"));
        }
        (_, Some(json)) => entries.read(json)?,
        (_, None) => {}
    }
    entries.redactor.sweep(&mut entries.collected.changes);
    warnings.extend(entries.collected.warnings());
    if entries.nameless > 0 {
        warnings.push(format!("{} paths under `sensitive` name nothing in `before` or `after`", entries.nameless));
    }
    let delta = if code == 0 { Delta::default() } else { entries.collected.delta() };
    Ok(PlanRead {
        has_changes: code == 2,
        changes: entries.collected.changes,
        delta,
        canonical: Some(finish(entries.canonical)),
        terraform_version: None,
        warnings,
    })
}

#[derive(Deserialize)]
struct Entry {
    address: String,
    #[serde(rename = "type", default)]
    type_name: String,
    action: Action,
    #[serde(default)]
    before: Option<Box<RawValue>>,
    #[serde(default)]
    after: Option<Box<RawValue>>,
    #[serde(default)]
    sensitive: Sensitive,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "`sensitive` must be a list of paths, or true")]
enum Sensitive {
    All(bool),
    Paths(Vec<String>),
}

impl Default for Sensitive {
    fn default() -> Self {
        Self::All(false)
    }
}

impl Sensitive {
    fn paths(self) -> Vec<String> {
        match self {
            Self::All(true) => vec![String::new()],
            Self::All(false) => Vec::new(),
            Self::Paths(paths) => paths,
        }
    }
}

struct Entries<'h> {
    redactor: Redactor<'h>,
    collected: Collected,
    /// Over all entries before redaction.
    canonical: Context,
    /// Sensitive paths that were not there.
    nameless: usize,
}

impl Entries<'_> {
    fn read(&mut self, json: &mut dyn Read) -> Result<(), PlanError> {
        let mut bounded = Bounded::new(json, limits::PLAN_FILE_BYTES);
        let mut deserializer = serde_json::Deserializer::from_reader(BufReader::with_capacity(64 * 1024, &mut bounded));
        let read = deserializer.deserialize_seq(&mut *self).and_then(|()| deserializer.end());
        drop(deserializer);
        read.map_err(|error| {
            if error.is_eof() && error.line() == 1 && error.column() == 0 {
                return PlanError::Empty(WHAT);
            }
            failed(WHAT, limits::PLAN_FILE_BYTES, bounded.is_exceeded(), error)
        })
    }

    fn entry(&mut self, entry: Entry) -> Result<(), String> {
        let Entry { address, type_name, action, before, after, sensitive } = entry;
        if address.is_empty() {
            return Err("`address` must not be empty".to_owned());
        }
        let paths = sensitive.paths();
        if let Some(path) = paths.iter().find(|path| !path.is_empty() && !path.starts_with('/')) {
            return Err(format!("`{path}` under `sensitive` must begin with / (or be empty for all of it)"));
        }
        for part in [address.as_bytes(), type_name.as_bytes(), action.word().as_bytes()] {
            self.digest(part);
        }
        self.digest(&spelled(before.as_deref()));
        self.digest(&spelled(after.as_deref()));
        let mut named = vec![false; paths.len()];
        let mut mark = |path: &str| {
            for (named, known) in named.iter_mut().zip(&paths) {
                *named |= known == path;
            }
        };
        let before = side_with_paths(before.as_deref(), &paths, &mut self.redactor, &mut mark);
        let after = side_with_paths(after.as_deref(), &paths, &mut self.redactor, &mut mark);
        self.nameless += named.iter().filter(|named| !**named).count();
        let mut sensitive = before.sensitive;
        sensitive.extend(after.sensitive);
        sensitive.sort();
        sensitive.dedup();
        self.collected.resource(ResourceChange {
            address,
            type_name,
            action,
            before: before.value,
            after: after.value,
            sensitive,
            replace_paths: Vec::new(),
        });
        Ok(())
    }

    fn digest(&mut self, part: &[u8]) {
        self.canonical.update(&(part.len() as u64).to_be_bytes());
        self.canonical.update(part);
    }
}

/// A value's one spelling; of one that is too large or too deep to parse, what was written.
fn spelled(raw: Raw<'_>) -> Vec<u8> {
    match parse(raw) {
        Ok(value) => canonical::bytes(&value),
        Err(_) => raw.map_or_else(Vec::new, |raw| raw.get().as_bytes().to_vec()),
    }
}

impl<'de> Visitor<'de> for &mut Entries<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON array of changes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(entry) = items.next_element()? {
            self.entry(entry).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}
