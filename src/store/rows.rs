//! Reading rows, alike from a snapshot and inside a write transaction.

use std::{
    borrow::Borrow,
    ops::{ControlFlow, RangeBounds},
};

use redb::{AccessGuard, Key, ReadableTable, ReadableTableMetadata as _, TableDefinition, Value};

use super::{
    Fault,
    record::{Record, decode},
    tables::{Index, Table},
};

/// The order in which a range is walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Up,
    Down,
}

/// Whether a walk goes on.
pub type Flow = ControlFlow<()>;

/// Something that tables can be opened in: a snapshot, or a write transaction, which sees its own
/// writes.
pub trait View {
    type Opened<'t, K: Key + 'static, V: Value + 'static>: ReadableTable<K, V>
    where
        Self: 't;

    fn open<K: Key + 'static, V: Value + 'static>(
        &self,
        definition: TableDefinition<'static, K, V>,
    ) -> Result<Self::Opened<'_, K, V>, Fault>;
}

/// Reading rows out of a [`View`].
pub trait Rows: View + Sized {
    /// The record under `key`.
    fn get<'k, K: Key + 'static, R: Record>(
        &self,
        table: Table<K, R>,
        key: impl Borrow<K::SelfType<'k>>,
    ) -> Result<Option<R>, Fault> {
        let opened = self.open(table.definition)?;
        let found = opened.get(key)?;
        found.map(|guard| decode(table.name, guard.value())).transpose()
    }

    /// The number under `key`.
    fn number<'k, K: Key + 'static, V>(
        &self,
        table: TableDefinition<'static, K, V>,
        key: impl Borrow<K::SelfType<'k>>,
    ) -> Result<Option<V>, Fault>
    where
        V: for<'a> Value<SelfType<'a> = V> + 'static,
    {
        let opened = self.open(table)?;
        let found = opened.get(key)?;
        Ok(found.map(|guard| guard.value()))
    }

    /// How many rows a table has.
    fn count<K: Key + 'static, V: Value + 'static>(&self, table: TableDefinition<'static, K, V>) -> Result<u64, Fault> {
        Ok(self.open(table)?.len()?)
    }

    /// Whether a key is in an index.
    fn marked<'k, K: Key + 'static>(&self, index: Index<K>, key: impl Borrow<K::SelfType<'k>>) -> Result<bool, Fault> {
        let opened = self.open(index)?;
        Ok(opened.get(key)?.is_some())
    }

    /// Shows `see` each record of a range until it breaks off.
    fn walk<'k, K: Key + 'static, R: Record, KR: Borrow<K::SelfType<'k>> + 'k>(
        &self,
        table: Table<K, R>,
        range: impl RangeBounds<KR> + 'k,
        order: Order,
        mut see: impl FnMut(K::SelfType<'_>, R) -> Result<Flow, Fault>,
    ) -> Result<(), Fault> {
        let opened = self.open(table.definition)?;
        let rows = opened.range(range)?;
        let mut row = |key: AccessGuard<'_, K>, value: AccessGuard<'_, &'static [u8]>| {
            see(key.value(), decode(table.name, value.value())?)
        };
        each(rows, order, &mut row)
    }

    /// Shows `see` each key of a range until it breaks off.
    fn walk_index<'k, K: Key + 'static, KR: Borrow<K::SelfType<'k>> + 'k>(
        &self,
        index: Index<K>,
        range: impl RangeBounds<KR> + 'k,
        order: Order,
        mut see: impl FnMut(K::SelfType<'_>) -> Result<Flow, Fault>,
    ) -> Result<(), Fault> {
        let opened = self.open(index)?;
        let rows = opened.range(range)?;
        each(rows, order, &mut |key, _| see(key.value()))
    }

    /// Shows `see` each pair of a table of numbers until it breaks off.
    fn walk_numbers<'k, K: Key + 'static, V, KR: Borrow<K::SelfType<'k>> + 'k>(
        &self,
        table: TableDefinition<'static, K, V>,
        range: impl RangeBounds<KR> + 'k,
        order: Order,
        mut see: impl FnMut(K::SelfType<'_>, V) -> Result<Flow, Fault>,
    ) -> Result<(), Fault>
    where
        V: for<'a> Value<SelfType<'a> = V> + 'static,
    {
        let opened = self.open(table)?;
        let rows = opened.range(range)?;
        each(rows, order, &mut |key, value| see(key.value(), value.value()))
    }

    /// Every record of a range, in order.
    fn all<'k, K: Key + 'static, R: Record, KR: Borrow<K::SelfType<'k>> + 'k>(
        &self,
        table: Table<K, R>,
        range: impl RangeBounds<KR> + 'k,
    ) -> Result<Vec<R>, Fault> {
        let mut found = Vec::new();
        self.walk(table, range, Order::Up, |_, record| {
            found.push(record);
            Ok(Flow::Continue(()))
        })?;
        Ok(found)
    }
}

impl<V: View> Rows for V {}

fn each<K: Key + 'static, V: Value + 'static>(
    mut rows: redb::Range<'_, K, V>,
    order: Order,
    row: &mut impl FnMut(AccessGuard<'_, K>, AccessGuard<'_, V>) -> Result<Flow, Fault>,
) -> Result<(), Fault> {
    loop {
        let next = match order {
            Order::Up => rows.next(),
            Order::Down => rows.next_back(),
        };
        let Some(found) = next else { return Ok(()) };
        let (key, value) = found?;
        if row(key, value)?.is_break() {
            return Ok(());
        }
    }
}
