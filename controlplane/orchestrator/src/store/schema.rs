//! The store's own facts: which schema its data has, and its identity. Migrations.
//!
//! A step leads from one schema to the next. All steps that are needed and the new number are one transaction:
//! after a crash the data has the old schema or the new one, nothing between.

use super::error::{Error, Result};
use super::table::Table;
use redb::{Database, ReadableDatabase, TableDefinition, WriteTransaction};
use std::path::Path;
use uuid::Uuid;

/// The schema that this release writes. `STEPS` must lead to it from 1.
pub(super) const SCHEMA: u32 = STEPS.len() as u32 + 1;

/// `STEPS[n]` turns data of schema `n + 1` into schema `n + 2`. Never change one that was released.
pub(super) const STEPS: &[Step] = &[];

/// One migration.
pub(super) type Step = fn(&WriteTransaction) -> Result<(), redb::Error>;

const META: TableDefinition<'static, &'static str, &'static [u8]> = TableDefinition::new("meta");
const KEY_SCHEMA: &str = "schema";
const KEY_ID: &str = "id";

/// What the store says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) schema: u32,
    pub(super) id: Uuid,
}

/// Makes the tables and facts of an empty database.
pub(super) fn create(db: &Database, facts: Facts) -> Result<(), redb::Error> {
    let transaction = begin(db)?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(KEY_SCHEMA, facts.schema.to_le_bytes().as_slice())?;
        meta.insert(KEY_ID, facts.id.as_bytes().as_slice())?;
    }
    for table in Table::ALL {
        transaction.open_table(table.definition())?;
    }
    transaction.commit()?;
    Ok(())
}

/// A transaction as the store wants it: durable when `commit` returns, and written in two phases, so that a
/// damaged page is always an error and never taken for a commit that a crash cut off.
pub(super) fn begin(db: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = db.begin_write()?;
    transaction.set_two_phase_commit(true);
    Ok(transaction)
}

/// Reads the facts; `dir` is for messages.
pub(super) fn facts(db: &Database, dir: &Path) -> Result<Facts> {
    let fail = |cause: redb::Error| Error::database("reading the facts of", dir, cause);
    let meta = || -> Result<_, redb::Error> { Ok(db.begin_read()?.open_table(META)?) };
    let meta = meta().map_err(fail)?;
    let of = |key: &str| -> Result<Option<Vec<u8>>> {
        let value = meta.get_owned(key).map_err(|cause| fail(cause.into()))?;
        Ok(value.map(|value| value.value().to_vec()))
    };
    let (schema, id) = (of(KEY_SCHEMA)?, of(KEY_ID)?);
    let schema = schema.and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
    let id = id.and_then(|bytes| Uuid::from_slice(&bytes).ok());
    match (schema, id) {
        (Some(schema), Some(id)) if schema > 0 => Ok(Facts { schema, id }),
        _ => Err(Error::Corrupt { what: format!("table meta in {}: no schema or no id", dir.display()) }),
    }
}

/// Brings the data to the schema of this release; says from which one, if it had another.
pub(super) fn migrate(db: &Database, found: u32, steps: &[Step], dir: &Path) -> Result<Option<u32>> {
    let known = steps.len() as u32 + 1;
    if found > known {
        return Err(Error::Schema { found, known });
    }
    if found == known {
        return Ok(None);
    }
    let run = || -> Result<(), redb::Error> {
        let transaction = begin(db)?;
        for step in steps.iter().skip(found as usize - 1) {
            step(&transaction)?;
        }
        // A table that came with a later release.
        for table in Table::ALL {
            transaction.open_table(table.definition())?;
        }
        transaction.open_table(META)?.insert(KEY_SCHEMA, known.to_le_bytes().as_slice())?;
        transaction.commit()?;
        Ok(())
    };
    run().map_err(|cause| Error::database("migrating", dir, cause))?;
    Ok(Some(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(schema: u32) -> Database {
        let db = Database::builder().create_with_backend(redb::backends::InMemoryBackend::new()).unwrap();
        create(&db, Facts { schema, id: Uuid::from_u128(7) }).unwrap();
        db
    }

    fn put(transaction: &WriteTransaction, key: &[u8]) -> Result<(), redb::Error> {
        transaction.open_table(Table::Settings.definition())?.insert(key, b"".as_slice())?;
        Ok(())
    }

    fn has(db: &Database, key: &[u8]) -> bool {
        let table = db.begin_read().unwrap().open_table(Table::Settings.definition()).unwrap();
        table.get(key).unwrap().is_some()
    }

    const GOOD: &[Step] = &[|t| put(t, b"to 2"), |t| put(t, b"to 3")];
    const BAD: &[Step] = &[|t| put(t, b"to 2"), |_| Err(redb::Error::Corrupted("made up".to_owned()))];

    #[test]
    fn old_data_goes_through_every_step_that_it_lacks() {
        for (found, steps_run) in [(1, [true, true]), (2, [false, true]), (3, [false, false])] {
            let db = database(found);
            let from = migrate(&db, found, GOOD, Path::new("x")).unwrap();
            assert_eq!(from, (found < 3).then_some(found));
            assert_eq!([has(&db, b"to 2"), has(&db, b"to 3")], steps_run, "from {found}");
            assert_eq!(facts(&db, Path::new("x")).unwrap(), Facts { schema: 3, id: Uuid::from_u128(7) });
        }
    }

    #[test]
    fn a_step_that_fails_leaves_the_data_as_it_was() {
        let db = database(1);
        migrate(&db, 1, BAD, Path::new("x")).unwrap_err();
        assert!(!has(&db, b"to 2"), "the first step is taken back");
        assert_eq!(facts(&db, Path::new("x")).unwrap().schema, 1);
    }

    #[test]
    fn data_of_a_newer_release_is_refused_with_both_numbers() {
        let error = migrate(&database(9), 9, GOOD, Path::new("x")).unwrap_err();
        assert!(matches!(error, Error::Schema { found: 9, known: 3 }), "{error}");
        assert!(error.to_string().contains("schema 9"), "{error}");
    }
}
