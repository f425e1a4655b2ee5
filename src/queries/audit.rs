//! The audit log.

use crate::{
    domain::{Timestamp, limits},
    store::{Fault, Flow, Order, Rows, record::AuditEntry, tables as t},
};

use super::{Cursor, Queries, Result};

/// Which entries a list shows. Empty means all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AuditFilter {
    /// `user:alice`, or a name alone.
    pub actor: Option<String>,
    pub verb: Option<String>,
    pub object: Option<String>,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

/// A part of the log, the newest first.
#[derive(Clone, Debug)]
pub struct AuditPage {
    pub entries: Vec<AuditEntry>,
    pub next: Option<Cursor>,
}

impl Queries {
    /// A part of the log. For admins.
    pub fn audit(&self, filter: &AuditFilter, cursor: Option<&Cursor>, limit: usize) -> Result<AuditPage> {
        let mut below = cursor.map(|cursor| cursor.below(filter)).transpose()?.unwrap_or(u64::MAX);
        let mut entries = Vec::new();
        let mut scanned = 0;
        loop {
            let batch = self.batch(filter, below)?;
            let Some(last) = batch.last().map(|entry| entry.seq) else { return Ok(AuditPage { entries, next: None }) };
            for entry in batch {
                if entries.len() == limit || scanned == limits::SCAN_ROWS {
                    return Ok(AuditPage { entries, next: Some(Cursor::new(entry.seq + 1, filter)) });
                }
                scanned += 1;
                if filter.fits(&entry) {
                    entries.push(entry);
                }
            }
            below = last;
        }
    }

    /// Some entries below a number, by the index that fits best.
    fn batch(&self, filter: &AuditFilter, below: u64) -> std::result::Result<Vec<AuditEntry>, Fault> {
        let view = self.view()?;
        let mut seqs = Vec::new();
        let mut take = |seq: u64| {
            seqs.push(seq);
            Ok(if seqs.len() > limits::PAGE_ROWS { Flow::Break(()) } else { Flow::Continue(()) })
        };
        let actor = filter.actor.as_deref().filter(|actor| actor.contains(':'));
        match (&filter.object, actor, &filter.verb) {
            (Some(object), _, _) => {
                let of = object.as_str();
                view.walk_index(t::OBJECT_AUDIT, (of, 0)..(of, below), Order::Down, |(_, seq)| take(seq))?;
            }
            (None, Some(of), _) => {
                view.walk_index(t::ACTOR_AUDIT, (of, 0)..(of, below), Order::Down, |(_, seq)| take(seq))?;
            }
            (None, None, Some(verb)) => {
                let of = verb.as_str();
                view.walk_index(t::VERB_AUDIT, (of, 0)..(of, below), Order::Down, |(_, seq)| take(seq))?;
            }
            (None, None, None) => {
                let mut entries = Vec::new();
                view.walk(t::SEQ_TO_AUDIT, 0..below, Order::Down, |_, entry| {
                    entries.push(entry);
                    Ok(if entries.len() > limits::PAGE_ROWS { Flow::Break(()) } else { Flow::Continue(()) })
                })?;
                return Ok(entries);
            }
        }
        let mut entries = Vec::new();
        for seq in seqs {
            entries.extend(view.get(t::SEQ_TO_AUDIT, seq)?);
        }
        Ok(entries)
    }

    /// The whole log from its first entry, a block at a time, for exports and for checking the chain.
    pub fn audit_from(&self, first: u64, most: usize) -> Result<Vec<AuditEntry>> {
        let mut entries = Vec::new();
        self.view()?.walk(t::SEQ_TO_AUDIT, first..=u64::MAX, Order::Up, |_, entry| {
            entries.push(entry);
            Ok(if entries.len() >= most { Flow::Break(()) } else { Flow::Continue(()) })
        })?;
        Ok(entries)
    }
}

impl Queries {
    /// A block of what fits, from `first` on in the order of the log, and where the next begins; none at
    /// the end. For exports.
    pub fn audit_block(&self, filter: &AuditFilter, first: u64) -> Result<(Vec<AuditEntry>, Option<u64>)> {
        let mut entries = self.audit_from(first, limits::AUDIT_BLOCK)?;
        let next = entries.last().map(|entry| entry.seq + 1);
        entries.retain(|entry| filter.fits(entry));
        Ok((entries, next))
    }
}

impl AuditFilter {
    fn fits(&self, entry: &AuditEntry) -> bool {
        let actor = format!("{}:{}", entry.actor.kind.word(), entry.actor.name);
        let by = |wanted: &String| *wanted == actor || *wanted == entry.actor.name;
        self.actor.as_ref().is_none_or(by)
            && self.verb.as_ref().is_none_or(|verb| *verb == entry.verb)
            && self.object.as_ref().is_none_or(|object| *object == entry.object)
            && self.from.is_none_or(|from| entry.at >= from)
            && self.to.is_none_or(|to| entry.at < to)
    }
}
