//! Writing: what one transaction wants changed, kept apart until its code has ended well.
//!
//! Several transactions share one commit of the database. Each sees those before it in the batch, and its own
//! changes; when its code fails, they are dropped and the others are untouched. Changes are in memory until
//! then, bounded by `TRANSACTION_BYTES_MAX`.

use super::error::{Error, Result};
use super::frame;
use super::reader::{Order, Record, is_inverted};
use super::stats::Counters;
use super::table::Table;
use redb::{ReadableTable, WriteTransaction};
use std::collections::BTreeMap;
use std::collections::btree_map;
use std::iter::Peekable;
use std::ops::{Bound, RangeBounds};
use std::path::Path;

/// Bytes of a key. Keys are names and numbers, and stand in inner pages too.
pub const KEY_BYTES_MAX: usize = 1024;
/// Bytes of a value: the largest policy resource is a list of 100,000 prefixes, some 2 MB.
pub const VALUE_BYTES_MAX: usize = 16 << 20;
/// Bytes of keys and values that one transaction writes, because they wait in memory.
pub const TRANSACTION_BYTES_MAX: usize = 64 << 20;

type Bytes = &'static [u8];
/// Changes to one table: a framed value, or that the key goes.
pub(super) type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// The tables in a transaction of the database, with what earlier transactions of the batch changed.
pub(super) struct Tables<'t> {
    tables: Vec<redb::Table<'t, Bytes, Bytes>>,
    pub(super) is_changed: bool,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, redb::Error> {
        let open = |table: &Table| transaction.open_table(table.definition());
        let tables = Table::ALL.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { tables, is_changed: false })
    }

    fn of(&self, table: Table) -> Result<&redb::Table<'t, Bytes, Bytes>, redb::Error> {
        self.tables.get(table.index()).ok_or_else(|| missing(table))
    }

    /// Puts the changes of one transaction into the database's.
    pub(super) fn apply(&mut self, changes: Vec<Changes>) -> Result<(), redb::Error> {
        for (table, changes) in self.tables.iter_mut().zip(changes) {
            for (key, value) in changes {
                match value {
                    Some(framed) => drop(table.insert(key.as_slice(), framed.as_slice())?),
                    None => drop(table.remove(key.as_slice())?),
                }
                self.is_changed = true;
            }
        }
        Ok(())
    }
}

fn missing(table: Table) -> redb::Error {
    redb::Error::TableDoesNotExist(table.name().to_owned())
}

/// One transaction under way.
pub struct Writer<'a> {
    base: &'a Tables<'a>,
    changes: Vec<Changes>,
    bytes: usize,
    counters: &'a Counters,
    dir: &'a Path,
}

impl<'a> Writer<'a> {
    pub(super) fn new(base: &'a Tables<'a>, counters: &'a Counters, dir: &'a Path) -> Self {
        Self { base, changes: Table::ALL.iter().map(|_| Changes::new()).collect(), bytes: 0, counters, dir }
    }

    pub(super) fn into_changes(self) -> (Vec<Changes>, usize) {
        (self.changes, self.bytes)
    }

    /// Writes `value` under `key`, in place of what was there.
    ///
    /// # Errors
    /// The key, the value or the transaction is too large.
    pub fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<()> {
        bounded(|| format!("a key of table {}", table.name()), key.len(), KEY_BYTES_MAX)?;
        bounded(
            || format!("the value of table {}, key {}", table.name(), frame::shown(key)),
            value.len(),
            VALUE_BYTES_MAX,
        )?;
        self.note(table, key, Some(frame::seal(table, key, value)))
    }

    /// Removes the record under `key`, if there is one.
    ///
    /// # Errors
    /// The transaction is too large.
    pub fn remove(&mut self, table: Table, key: &[u8]) -> Result<()> {
        self.note(table, key, None)
    }

    /// Removes the records with keys in `keys`, at most `count_max` from the lowest up; says how many. Damaged
    /// ones go too.
    ///
    /// # Errors
    /// The file could not be read, or the transaction is too large: use a smaller `count_max` and repeat.
    pub fn range_remove<'k>(
        &mut self,
        table: Table,
        keys: impl RangeBounds<&'k [u8]>,
        count_max: usize,
    ) -> Result<usize> {
        let gone: Vec<Vec<u8>> = self
            .merged(table, &keys, Order::Up)?
            .take(count_max)
            .map(|record| record.map(|(key, _)| key))
            .collect::<Result<_, _>>()
            .map_err(|cause| self.fail(table, cause))?;
        for key in &gone {
            self.remove(table, key)?;
        }
        Ok(gone.len())
    }

    /// The value under `key`, as this transaction sees it.
    ///
    /// # Errors
    /// The value is damaged, or the file could not be read.
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let framed = match self.changes_of(table).and_then(|changes| changes.get(key)) {
            Some(changed) => changed.clone(),
            None => self.base_get(table, key).map_err(|cause| self.fail(table, cause))?,
        };
        framed.map(|framed| self.checked(table, key, &framed)).transpose()
    }

    /// The records with keys in `keys` as this transaction sees them, at most `count_max`, beginning at the end
    /// that `order` says.
    ///
    /// # Errors
    /// A value is damaged, or the file could not be read.
    pub fn range<'k>(
        &self,
        table: Table,
        keys: impl RangeBounds<&'k [u8]>,
        count_max: usize,
        order: Order,
    ) -> Result<Vec<Record>> {
        let merged = self.merged(table, &keys, order)?.take(count_max);
        let read = |record: Result<Record, redb::Error>| {
            let (key, framed) = record.map_err(|cause| self.fail(table, cause))?;
            let value = self.checked(table, &key, &framed)?;
            Ok((key, value))
        };
        merged.map(read).collect()
    }

    fn changes_of(&self, table: Table) -> Option<&Changes> {
        self.changes.get(table.index())
    }

    fn note(&mut self, table: Table, key: &[u8], framed: Option<Vec<u8>>) -> Result<()> {
        let bytes = self.bytes + key.len() + framed.as_ref().map_or(0, Vec::len);
        bounded(|| "a transaction".to_owned(), bytes, TRANSACTION_BYTES_MAX)?;
        self.bytes = bytes;
        let changes = self.changes.get_mut(table.index());
        let changes = changes.ok_or_else(|| Error::database("writing", self.dir, missing(table)))?;
        changes.insert(key.to_vec(), framed);
        Ok(())
    }

    fn base_get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, redb::Error> {
        Ok(self.base.of(table)?.get(key)?.map(|value| value.value().to_vec()))
    }

    /// Framed records of the database and of the changes as one sequence.
    fn merged<'s, 'k>(
        &'s self,
        table: Table,
        keys: &impl RangeBounds<&'k [u8]>,
        order: Order,
    ) -> Result<Merged<'s>> {
        let (base, changes) = if is_inverted(keys) {
            (None, None)
        } else {
            let base = self.base_range(table, keys).map_err(|cause| self.fail(table, cause))?;
            let bounds: (Bound<&[u8]>, Bound<&[u8]>) =
                (keys.start_bound().cloned(), keys.end_bound().cloned());
            (Some(base), self.changes_of(table).map(|changes| changes.range::<[u8], _>(bounds)))
        };
        let base = Directed { inner: base, order }.peekable();
        let changes = Directed { inner: changes, order }.peekable();
        Ok(Merged { base, changes, order })
    }

    fn base_range<'k>(
        &self,
        table: Table,
        keys: &impl RangeBounds<&'k [u8]>,
    ) -> Result<BaseRange<'_>, redb::Error> {
        let bounds = (keys.start_bound().cloned(), keys.end_bound().cloned());
        Ok(self.base.of(table)?.range::<&[u8]>(bounds)?)
    }

    fn checked(&self, table: Table, key: &[u8], framed: &[u8]) -> Result<Vec<u8>> {
        let value = frame::open(table, key, framed);
        if value.is_err() {
            Counters::add(&self.counters.corrupt_values, 1);
        }
        value.map(<[u8]>::to_vec)
    }

    fn fail(&self, table: Table, cause: impl Into<redb::Error>) -> Error {
        Error::database(&format!("reading table {} in", table.name()), self.dir, cause)
    }
}

fn bounded(what: impl FnOnce() -> String, bytes: usize, bytes_max: usize) -> Result<()> {
    if bytes > bytes_max {
        return Err(Error::TooLarge { what: what(), bytes, bytes_max });
    }
    Ok(())
}

/// An iterator from the end that the order says.
struct Directed<I> {
    inner: Option<I>,
    order: Order,
}

impl<I: DoubleEndedIterator> Iterator for Directed<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        let inner = self.inner.as_mut()?;
        match self.order {
            Order::Up => inner.next(),
            Order::Down => inner.next_back(),
        }
    }
}

type BaseRange<'a> = redb::Range<'a, Bytes, Bytes>;
type ChangesRange<'a> = btree_map::Range<'a, Vec<u8>, Option<Vec<u8>>>;

/// The database's records with the changes over them.
struct Merged<'a> {
    base: Peekable<Directed<BaseRange<'a>>>,
    changes: Peekable<Directed<ChangesRange<'a>>>,
    order: Order,
}

impl Iterator for Merged<'_> {
    type Item = Result<Record, redb::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let ordering = match (self.base.peek(), self.changes.peek()) {
                (None, None) => return None,
                // An error comes out at once.
                (Some(Err(_)), _) | (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(Ok((key, _))), Some((changed, _))) => {
                    let ordering = key.value().cmp(changed.as_slice());
                    if self.order == Order::Up { ordering } else { ordering.reverse() }
                }
            };
            if ordering.is_lt() {
                let record = self.base.next()?;
                let copied = record.map(|(key, framed)| (key.value().to_vec(), framed.value().to_vec()));
                return Some(copied.map_err(redb::Error::from));
            }
            if ordering.is_eq() {
                self.base.next();
            }
            if let (key, Some(framed)) = self.changes.next()? {
                return Some(Ok((key.clone(), framed.clone())));
            }
        }
    }
}
