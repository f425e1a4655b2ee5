//! The write transaction, as actions see it.

use std::{
    borrow::Borrow,
    cell::{Cell, RefCell},
};

use redb::{Key, TableDefinition, Value, WriteTransaction};

use super::{
    Fault, Rows, View,
    record::{Record, Run, encode},
    tables::{self as t, Index, Table},
};

/// One action's view of the writer's transaction.
///
/// Reads see what was written before, by this action and by those before it in the batch.
pub struct Tx<'t> {
    transaction: &'t WriteTransaction,
    written: Cell<bool>,
    after_commit: RefCell<Vec<Box<dyn FnOnce() + Send>>>,
}

impl std::fmt::Debug for Tx<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tx").field("written", &self.written.get()).finish_non_exhaustive()
    }
}

impl View for Tx<'_> {
    type Opened<'o, K: Key + 'static, V: Value + 'static>
        = redb::Table<'o, K, V>
    where
        Self: 'o;

    fn open<K: Key + 'static, V: Value + 'static>(
        &self,
        definition: TableDefinition<'static, K, V>,
    ) -> Result<redb::Table<'_, K, V>, Fault> {
        Ok(self.transaction.open_table(definition)?)
    }
}

impl<'t> Tx<'t> {
    pub(super) fn new(transaction: &'t WriteTransaction) -> Self {
        Self { transaction, written: Cell::new(false), after_commit: RefCell::default() }
    }

    /// Whether anything was written: an action that then refuses must be undone.
    pub(super) const fn has_written(&self) -> bool {
        self.written.get()
    }

    pub(super) fn into_after_commit(self) -> Vec<Box<dyn FnOnce() + Send>> {
        self.after_commit.into_inner()
    }

    /// Runs `ring` once the transaction is durable; never when it is not.
    pub fn after_commit(&self, ring: impl FnOnce() + Send + 'static) {
        self.after_commit.borrow_mut().push(Box::new(ring));
    }

    pub fn put<'k, K: Key + 'static, R: Record>(
        &self,
        table: Table<K, R>,
        key: impl Borrow<K::SelfType<'k>>,
        record: &R,
    ) -> Result<(), Fault> {
        self.written.set(true);
        let bytes = encode(table.name, record)?;
        self.open(table.definition)?.insert(key, bytes.as_slice())?;
        Ok(())
    }

    /// Removes a row; says whether there was one.
    pub fn remove<'k, K: Key + 'static, R: Record>(
        &self,
        table: Table<K, R>,
        key: impl Borrow<K::SelfType<'k>>,
    ) -> Result<bool, Fault> {
        self.written.set(true);
        Ok(self.open(table.definition)?.remove(key)?.is_some())
    }

    pub fn set_number<'k, 'v, K: Key + 'static, V: Value + 'static>(
        &self,
        table: TableDefinition<'static, K, V>,
        key: impl Borrow<K::SelfType<'k>>,
        value: impl Borrow<V::SelfType<'v>>,
    ) -> Result<(), Fault> {
        self.written.set(true);
        self.open(table)?.insert(key, value)?;
        Ok(())
    }

    pub fn remove_number<'k, K: Key + 'static, V: Value + 'static>(
        &self,
        table: TableDefinition<'static, K, V>,
        key: impl Borrow<K::SelfType<'k>>,
    ) -> Result<bool, Fault> {
        self.written.set(true);
        Ok(self.open(table)?.remove(key)?.is_some())
    }

    /// Puts a key into an index, or takes it out.
    pub fn mark<'k, K: Key + 'static>(
        &self,
        index: Index<K>,
        key: impl Borrow<K::SelfType<'k>>,
        present: bool,
    ) -> Result<(), Fault> {
        self.written.set(true);
        let mut opened = self.open(index)?;
        if present {
            opened.insert(key, ())?;
        } else {
            opened.remove(key)?;
        }
        Ok(())
    }

    /// The next number of a sequence, from 1.
    pub fn next(&self, sequence: &str) -> Result<u64, Fault> {
        let next = self.number(t::NAME_TO_COUNTER, sequence)?.unwrap_or(0) + 1;
        self.set_number(t::NAME_TO_COUNTER, sequence, next)?;
        Ok(next)
    }

    /// Writes a run's summary and keeps every index of it right.
    pub fn put_run(&self, before: Option<&Run>, run: &Run) -> Result<(), Fault> {
        self.put(t::SEQ_TO_RUN, run.seq, run)?;
        match before {
            None => {
                self.set_number(t::RUN_ID_TO_SEQ, run.id.number(), run.seq)?;
                self.mark(t::STACK_RUN, (run.stack.number(), run.seq), true)?;
                self.mark(t::KIND_RUN, (run.kind as u8, run.seq), true)?;
                self.mark(t::ACTOR_RUN, (actor_key(run).as_str(), run.seq), true)?;
                self.mark(t::LOOK_RUN, (run.state.look() as u8, run.seq), true)?;
            }
            Some(before) if before.state.look() != run.state.look() => {
                self.mark(t::LOOK_RUN, (before.state.look() as u8, run.seq), false)?;
                self.mark(t::LOOK_RUN, (run.state.look() as u8, run.seq), true)?;
            }
            Some(_) => {}
        }
        let active = |run: &Run| !run.state.is_terminal();
        if before.is_none_or(|before| active(before) != active(run)) {
            self.mark(t::ACTIVE_STACK_RUN, (run.stack.number(), run.seq), active(run))?;
        }
        if before.is_some_and(Run::holds_slot) != run.holds_slot() {
            self.mark(t::SLOT_RUN, run.seq, run.holds_slot())?;
        }
        let place = before.and_then(queue_key);
        if place != queue_key(run) {
            if let Some(place) = place {
                self.mark(t::QUEUE_RUN, place, false)?;
            }
            if let Some(place) = queue_key(run) {
                self.mark(t::QUEUE_RUN, place, true)?;
            }
        }
        if before.is_some_and(|before| before.unacknowledged) != run.unacknowledged {
            self.mark(t::UNACKNOWLEDGED_RUN, run.seq, run.unacknowledged)?;
        }
        Ok(())
    }
}

/// Where a run stands in the queue for slots, if it does.
fn queue_key(run: &Run) -> Option<(u8, u8, u64)> {
    let (behind, class, seq) = run.place();
    run.waits_for_slot().then_some((u8::from(behind), class, seq))
}

/// What a run belongs to in the index by actor.
pub(super) fn actor_key(run: &Run) -> String {
    format!("{}:{}", run.triggered_by.kind.word(), run.triggered_by.name)
}
