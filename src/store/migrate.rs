//! The schema number: making, checking, migrating.

use std::path::Path;

use redb::{Database, Key, ReadableDatabase as _, TableDefinition, TableError, Value};

use super::{Backend, Fault, tables as t};

/// The schema that this release writes.
pub const SCHEMA: u64 = 5;

const SCHEMA_KEY: &str = "schema";

/// One step from a schema to the next.
struct Step {
    from: u64,
    run: fn(&redb::WriteTransaction) -> Result<(), Fault>,
}

/// Every step since the first release, in order.
const STEPS: &[Step] = &[
    // Tables of declared tasks and services; making them is all there is to do.
    Step { from: 1, run: make_tables },
    // Tables of run tasks, policies, reviews and contexts.
    Step { from: 2, run: make_tables },
    // Tables of webhooks, messages and what is to be told.
    Step { from: 3, run: make_tables },
    // The table of remarks.
    Step { from: 4, run: make_tables },
];

/// Makes every table of a new store, migrates an older one after copying it aside, refuses a newer.
pub(super) fn run(database: &Database, backend: &Backend) -> Result<(), Fault> {
    let found = schema_of(database)?;
    match found {
        None => create(database),
        Some(SCHEMA) => Ok(()),
        Some(found) if found > SCHEMA => Err(Fault::Newer { found, known: SCHEMA }),
        Some(found) => migrate(database, backend, found, STEPS),
    }
}

pub(super) fn schema_of(database: &Database) -> Result<Option<u64>, Fault> {
    let read = database.begin_read()?;
    match read.open_table(t::NAME_TO_COUNTER) {
        Ok(counters) => Ok(counters.get(SCHEMA_KEY)?.map(|guard| guard.value())),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn create(database: &Database) -> Result<(), Fault> {
    let mut write = database.begin_write()?;
    write.set_quick_repair(true);
    make_tables(&write)?;
    write.open_table(t::NAME_TO_COUNTER)?.insert(SCHEMA_KEY, SCHEMA)?;
    write.commit()?;
    Ok(())
}

/// Something that is done with every table.
pub(super) trait Each {
    fn each<K: Key + 'static, V: Value + 'static>(
        &mut self,
        table: TableDefinition<'static, K, V>,
    ) -> Result<(), Fault>;
}

/// Opens every table once, so that readers always find them.
fn make_tables(write: &redb::WriteTransaction) -> Result<(), Fault> {
    struct Make<'a>(&'a redb::WriteTransaction);
    impl Each for Make<'_> {
        fn each<K: Key + 'static, V: Value + 'static>(
            &mut self,
            table: TableDefinition<'static, K, V>,
        ) -> Result<(), Fault> {
            self.0.open_table(table)?;
            Ok(())
        }
    }
    every_table(&mut Make(write))
}

/// Shows `each` every table.
pub(super) fn every_table(each: &mut impl Each) -> Result<(), Fault> {
    macro_rules! every {
        (records: $($record:ident)*; plain: $($plain:ident)*) => {
            $(each.each(t::$record.definition)?;)*
            $(each.each(t::$plain)?;)*
        };
    }
    every! {
        records:
            SEQ_TO_CALL NAME_TO_META STACK_ID_TO_STACK STACK_NAME_TO_VARIABLE STACK_PATH_TO_FILE STACK_SEQ_TO_UPLOAD
            STACK_SERIAL_TO_STATE STACK_TO_STATE_LOCK NAME_TO_CREDENTIAL SEQ_TO_RUN RUN_N_TO_HISTORY
            RUN_N_TO_REMARK RUN_N_TO_COMMENT RUN_TO_CHANGES RUN_TO_SECRETS RUN_TO_CHAIN RUN_TO_CHORE USER_ID_TO_USER
            HASH_TO_SESSION HASH_TO_INVITATION KEY_ID_TO_API_KEY KEY_TO_IDEMPOTENT SEQ_TO_AUDIT
            STACK_TO_DECLARATION RUN_TO_DEMAND NAME_TO_SERVICE STACK_NAME_TO_SETTING
            RUN_N_TO_LEFT RUN_TO_GUESTS NAME_TO_GUEST IMPORT_TO_DRAFT
            NAME_TO_POLICY POLICY_SEQ_TO_SAMPLE RUN_TO_FOLLOW RUN_N_TO_REVIEW RUN_TO_STANDING
            RUN_TASK_ID_TO_RUN_TASK STACK_ID_TO_ATTACHMENT RUN_N_TO_STAGE RESULT_ID_TO_RESULT RESULT_TO_OUTCOMES
            RESULT_N_TO_DELIVERY
            NAME_TO_CONTEXT CONTEXT_NAME_TO_VARIABLE CONTEXT_PATH_TO_FILE STACK_CONTEXT_TO_ATTACHMENT
            RUN_TO_RUNTIME NAME_TO_KEY
            SEQ_TO_NOTICE ID_TO_WEBHOOK WEBHOOK_SEQ_TO_DELIVERY SEQ_TO_MESSAGE
            STACK_TASK_TO_RESOURCES NAME_TO_IMAGE;
        plain:
            CALLER_TO_CALL OPEN_CALL
            NAME_TO_COUNTER SLUG_TO_STACK_ID RUN_ID_TO_SEQ STACK_RUN LOOK_RUN KIND_RUN ACTOR_RUN
            ACTIVE_STACK_RUN QUEUE_RUN SLOT_RUN UID_TO_RUN UNACKNOWLEDGED_RUN KIND_POLICY STACK_POLICY USER_NAME_TO_ID USER_SESSION ACTOR_AUDIT OBJECT_AUDIT VERB_AUDIT
            APPROVAL_DUE RUN_TASK_NAME_TO_ID STAGE_ID_TO_RUN OPEN_RESULT HASH_TO_RESULT
            OPEN_DELIVERY MESSAGE_USER_TO_MARK
    }
    Ok(())
}

fn migrate(database: &Database, backend: &Backend, found: u64, steps: &[Step]) -> Result<(), Fault> {
    if let Backend::File(path) = backend {
        copy_aside(path, found)?;
    }
    let mut write = database.begin_write()?;
    write.set_quick_repair(true);
    make_tables(&write)?;
    let mut schema = found;
    for step in steps.iter().filter(|step| step.from >= found) {
        if step.from != schema {
            return Err(Fault::Open(format!("no step leads from schema {schema}")));
        }
        (step.run)(&write)?;
        schema = step.from + 1;
    }
    if schema != SCHEMA {
        return Err(Fault::Open(format!("no step leads from schema {schema} to {SCHEMA}")));
    }
    write.open_table(t::NAME_TO_COUNTER)?.insert(SCHEMA_KEY, SCHEMA)?;
    write.commit()?;
    tracing::info!(from = found, to = SCHEMA, "the store was migrated");
    Ok(())
}

fn copy_aside(path: &Path, schema: u64) -> Result<(), Fault> {
    let aside = path.with_extension(format!("schema{schema}.redb"));
    std::fs::copy(path, &aside).map_err(|error| {
        Fault::Open(format!("cannot copy the store to {} before migrating: {error}", aside.display()))
    })?;
    Ok(())
}

#[cfg(test)]
pub(super) fn set_schema(database: &Database, schema: u64) -> Result<(), Fault> {
    let write = database.begin_write()?;
    write.open_table(t::NAME_TO_COUNTER)?.insert(SCHEMA_KEY, schema)?;
    write.commit()?;
    Ok(())
}
