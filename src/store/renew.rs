//! A fresh file with the same rows, so that what old pages held is in no file any more.

use std::collections::BTreeSet;

use redb::{
    Database, Key, ReadTransaction, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _,
    TableDefinition, TableHandle as _, Value, WriteTransaction,
};

use super::{
    Fault,
    migrate::{Each, every_table},
};

/// Copies every row into an empty database, durably. Nothing but whole tables is in there afterwards.
pub(super) fn copy(from: &Database, to: &Database) -> Result<(), Fault> {
    let read = from.begin_read()?;
    let mut write = to.begin_write()?;
    write.set_quick_repair(true);
    let mut copying = Copying { read: &read, write: &write, names: BTreeSet::new() };
    every_table(&mut copying)?;
    let copied = copying.names;
    let present: BTreeSet<String> = read.list_tables()?.map(|table| table.name().to_owned()).collect();
    if copied != present {
        return Err(Fault::Open("there are tables that this release does not know".to_owned()));
    }
    write.commit()?;
    Ok(())
}

struct Copying<'a> {
    read: &'a ReadTransaction,
    write: &'a WriteTransaction,
    names: BTreeSet<String>,
}

impl Each for Copying<'_> {
    fn each<K: Key + 'static, V: Value + 'static>(
        &mut self,
        table: TableDefinition<'static, K, V>,
    ) -> Result<(), Fault> {
        let old = self.read.open_table(table)?;
        let mut new = self.write.open_table(table)?;
        for row in old.iter()? {
            let (key, value) = row?;
            new.insert(key.value(), value.value())?;
        }
        self.names.insert(table.name().to_owned());
        match new.len()? == old.len()? {
            true => Ok(()),
            false => Err(Fault::Io(format!("not every row of {} was copied", table.name()))),
        }
    }
}
