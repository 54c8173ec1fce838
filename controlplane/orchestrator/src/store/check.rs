//! Looking at a store, or at a backup of it, without changing anything.

use super::disk::Folder;
use super::error::{Error, Result};
use super::reader::{Order, Reader};
use super::schema;
use super::stats::Counters;
use super::table::Table;
use redb::ReadableDatabase;
use std::path::Path;
use uuid::Uuid;

/// Damaged records that a report names; above it they are only counted.
pub(super) const NAMED_MAX: usize = 16;

/// What a store holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// Its identity.
    pub id: Uuid,
    /// The schema of its data. May be older than this release's: opening it migrates it.
    pub schema: u32,
    /// Records of every table.
    pub records: Vec<(Table, u64)>,
    /// Damaged values.
    pub damaged: u64,
    /// The first of them, as messages.
    pub damaged_named: Vec<String>,
}

impl CheckReport {
    /// Whether everything can be read.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.damaged == 0
    }
}

/// Verifies every page and every value of the store in `dir`. The store must not be in use.
///
/// # Errors
/// It is in use, of a newer release, or so damaged that it does not open.
pub fn check(dir: &Path) -> Result<CheckReport> {
    let folder = Folder::new(dir);
    let path = folder.file();
    if !path.try_exists().map_err(|cause| Error::io("looking for", &path, &cause))? {
        let cause = "there is no store; is this its folder?".to_owned();
        return Err(Error::Io { what: format!("checking {}", dir.display()), cause });
    }
    let _lock = folder.lock()?.left_as_found();
    let db = folder.open_to_read()?;
    let facts = schema::facts(&db, dir)?;
    if facts.schema > schema::SCHEMA {
        return Err(Error::Schema { found: facts.schema, known: schema::SCHEMA });
    }
    let counters = Counters::default();
    let transaction = db.begin_read().map_err(|cause| Error::database("reading", dir, cause))?;
    let reader = Reader::new(transaction, &counters, dir);
    let mut report = CheckReport {
        id: facts.id,
        schema: facts.schema,
        records: vec![],
        damaged: 0,
        damaged_named: vec![],
    };
    for table in Table::ALL {
        let mut count = 0;
        for record in reader.range(*table, .., usize::MAX, Order::Up)? {
            count += 1;
            match record {
                Ok(_) => {}
                Err(Error::Corrupt { what }) => {
                    report.damaged += 1;
                    if report.damaged_named.len() < NAMED_MAX {
                        report.damaged_named.push(what);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        let counted = reader.len(*table)?;
        if counted != count {
            let what = format!("table {}: {count} records, its head says {counted}", table.name());
            report.damaged += 1;
            report.damaged_named.push(what);
        }
        report.records.push((*table, count));
    }
    Ok(report)
}
