//! The audit log: every change and every refused attempt, each entry with the hash of the one before.
//!
//! The hash is SHA-256 over the entry's canonical form: its fields as one JSON array, in the order of
//! [`canonical`], without blanks. The first entry's `previous` is 64 zeros.

use std::ops::ControlFlow;

use crate::{
    auth::Who,
    crypt,
    domain::{Timestamp, actor::ActorName},
    store::{
        Fault, Order, Rows, Tx,
        record::{AuditEntry, Outcome},
        tables as t,
    },
};

use super::Deed;

/// Characters of a detail: the rest is cut, because details may quote input.
const DETAIL_CHARS: usize = 1_000;

/// An entry that has no number yet.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    at: Timestamp,
    actor: ActorName,
    address: Option<String>,
    verb: String,
    object: String,
    outcome: Outcome,
    detail: Option<String>,
}

impl Draft {
    pub(crate) fn new(who: &Who, deed: &Deed, at: Timestamp) -> Self {
        Self::of(who, deed.verb, &deed.object, at)
    }

    pub(crate) fn of(who: &Who, verb: &str, object: &str, at: Timestamp) -> Self {
        Self {
            at,
            actor: who.actor.public(),
            address: who.address.map(|address| address.to_string()),
            verb: cut(verb, 100),
            object: cut(object, 300),
            outcome: Outcome::Done,
            detail: None,
        }
    }

    /// Something that no one who is signed in does.
    pub(crate) fn by(actor: ActorName, verb: &str, object: &str, at: Timestamp) -> Self {
        Self { actor, ..Self::of(&Who::system(), verb, object, at) }
    }

    /// Nobody knows who it was.
    pub(crate) fn by_stranger(mut self) -> Self {
        self.actor.name = "stranger".to_owned();
        self
    }

    pub(crate) fn with(self, outcome: Outcome, detail: Option<String>) -> Self {
        Self { outcome, detail: detail.map(|detail| cut(&detail, DETAIL_CHARS)), ..self }
    }
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// Appends an entry behind the newest one.
pub(crate) fn append(tx: &Tx<'_>, draft: Draft) -> Result<(), Fault> {
    let previous = match newest(tx)? {
        Some(entry) => entry.hash,
        None => first(),
    };
    let seq = tx.next("audit")?;
    let mut entry = AuditEntry {
        seq,
        at: draft.at,
        actor: draft.actor,
        address: draft.address,
        verb: draft.verb,
        object: draft.object,
        outcome: draft.outcome,
        detail: draft.detail,
        previous,
        hash: String::new(),
    };
    entry.hash = hash_of(&entry);
    tx.put(t::SEQ_TO_AUDIT, seq, &entry)?;
    let actor = format!("{}:{}", entry.actor.kind.word(), entry.actor.name);
    tx.mark(t::ACTOR_AUDIT, (actor.as_str(), seq), true)?;
    tx.mark(t::OBJECT_AUDIT, (entry.object.as_str(), seq), true)?;
    tx.mark(t::VERB_AUDIT, (entry.verb.as_str(), seq), true)
}

fn newest(view: &impl Rows) -> Result<Option<AuditEntry>, Fault> {
    let mut found = None;
    view.walk(t::SEQ_TO_AUDIT, 0..=u64::MAX, Order::Down, |_, entry| {
        found = Some(entry);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}

/// What the first entry names as the one before.
fn first() -> String {
    "0".repeat(64)
}

/// What an entry's hash must be, in hexadecimal digits: the next one names it as `previous`.
pub fn hash_of(entry: &AuditEntry) -> String {
    crypt::digest(canonical(entry).as_bytes()).digits().to_owned()
}

fn canonical(entry: &AuditEntry) -> String {
    serde_json::json!([
        entry.seq,
        entry.at.millis(),
        entry.actor.kind.word(),
        entry.actor.name,
        entry.address,
        entry.verb,
        entry.object,
        entry.outcome == Outcome::Done,
        entry.detail,
        entry.previous,
    ])
    .to_string()
}

/// Whether a log fits together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verification {
    /// All entries fit; the hash of the newest.
    Whole { entries: u64, head: String },
    /// The first entry that does not fit, and why.
    Broken { seq: u64, why: String },
}

/// How far a log was found whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    pub entries: u64,
    /// Hash of the last of them.
    pub head: String,
}

impl Default for Checked {
    fn default() -> Self {
        Self { entries: 0, head: first() }
    }
}

/// Checks a log entry by entry, from its first one on or behind what was found whole before.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    whole: Checked,
    broken: Option<(u64, String)>,
}

impl Chain {
    pub fn behind(whole: Checked) -> Self {
        Self { whole, broken: None }
    }

    /// The next entry. Behind the first that does not fit nothing matters.
    pub fn add(&mut self, entry: &AuditEntry) {
        if self.broken.is_some() {
            return;
        }
        let expected = self.whole.entries + 1;
        if entry.seq != expected {
            self.broken = Some((expected, format!("entry {expected} is missing")));
        } else if entry.previous != self.whole.head {
            let why = format!("entry {} or the one before it was changed", entry.seq);
            self.broken = Some((entry.seq.saturating_sub(1).max(1), why));
        } else if hash_of(entry) != entry.hash {
            self.broken = Some((entry.seq, format!("entry {} was changed", entry.seq)));
        } else {
            self.whole = Checked { entries: expected, head: entry.hash.clone() };
        }
    }

    /// Something stands where the next entry should.
    pub fn break_off(&mut self, why: String) {
        self.broken.get_or_insert((self.whole.entries + 1, why));
    }

    pub fn end(self) -> Verification {
        match self.broken {
            Some((seq, why)) => Verification::Broken { seq, why },
            None => Verification::Whole { entries: self.whole.entries, head: self.whole.head },
        }
    }
}

/// Walks a log from its first entry.
pub fn verify(entries: impl IntoIterator<Item = AuditEntry>) -> Verification {
    verify_on(&Checked::default(), entries)
}

/// Goes on behind what was found whole before.
pub fn verify_on(before: &Checked, entries: impl IntoIterator<Item = AuditEntry>) -> Verification {
    let mut chain = Chain::behind(before.clone());
    for entry in entries {
        chain.add(&entry);
    }
    chain.end()
}
