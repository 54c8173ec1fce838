//! Reading: one unchanging view of all tables.
//!
//! A view costs nothing to make and holds nothing but pages of the file that later writes would reuse: keep it
//! short. Every value is verified when it is read; one that is damaged is an error that names it, and the
//! records beside it stay readable.

use super::error::{Error, Result};
use super::frame;
use super::stats::Counters;
use super::table::Table;
use redb::{OwnedRange, ReadTransaction, ReadableTableMetadata};
use std::ops::{Bound, RangeBounds};
use std::path::Path;

/// A key and its value.
pub type Record = (Vec<u8>, Vec<u8>);

/// What the database gives of a range, as it lies there.
type Framed = OwnedRange<&'static [u8], &'static [u8]>;

/// Which end of a range comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// From the lowest key up.
    Up,
    /// From the highest key down.
    Down,
}

/// A view of the tables as they were when it was made.
#[derive(Debug)]
pub struct Reader<'a> {
    transaction: ReadTransaction,
    counters: &'a Counters,
    dir: &'a Path,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(transaction: ReadTransaction, counters: &'a Counters, dir: &'a Path) -> Self {
        Self { transaction, counters, dir }
    }

    /// The value under `key`.
    ///
    /// # Errors
    /// The value is damaged, or the file could not be read.
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(framed) = self.get_framed(table, key).map_err(|cause| self.fail(table, cause))? else {
            return Ok(None);
        };
        self.checked(table, key, &framed).map(Some)
    }

    /// The records with keys in `keys`, at most `count_max`, beginning at the end that `order` says.
    ///
    /// # Errors
    /// The file could not be read. Damaged values are errors of the iterator, which goes on behind them.
    pub fn range<'k>(
        &self,
        table: Table,
        keys: impl RangeBounds<&'k [u8]>,
        count_max: usize,
        order: Order,
    ) -> Result<Range<'_>> {
        let inner = self.range_framed(table, &keys).map_err(|cause| self.fail(table, cause))?;
        Ok(Range { reader: self, table, inner, order, left: count_max })
    }

    /// The records whose keys begin with `prefix`, as `range`.
    ///
    /// # Errors
    /// As `range`.
    pub fn prefix(&self, table: Table, prefix: &[u8], count_max: usize, order: Order) -> Result<Range<'_>> {
        let end = prefix_end(prefix);
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        self.range(table, (Bound::Included(prefix), end), count_max, order)
    }

    /// How many records the table has.
    ///
    /// # Errors
    /// The file could not be read.
    pub fn len(&self, table: Table) -> Result<u64> {
        let len =
            || -> Result<u64, redb::Error> { Ok(self.transaction.open_table(table.definition())?.len()?) };
        len().map_err(|cause| self.fail(table, cause))
    }

    /// Whether the table has no record.
    ///
    /// # Errors
    /// As `len`.
    pub fn is_empty(&self, table: Table) -> Result<bool> {
        Ok(self.len(table)? == 0)
    }

    fn get_framed(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, redb::Error> {
        let table = self.transaction.open_table(table.definition())?;
        Ok(table.get_owned(key)?.map(|value| value.value().to_vec()))
    }

    fn range_framed<'k>(
        &self,
        table: Table,
        keys: &impl RangeBounds<&'k [u8]>,
    ) -> Result<Option<Framed>, redb::Error> {
        if is_inverted(keys) {
            return Ok(None);
        }
        let table = self.transaction.open_table(table.definition())?;
        let bounds = (keys.start_bound().cloned(), keys.end_bound().cloned());
        Ok(Some(table.range_owned::<&[u8]>(bounds)?))
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

/// Records in order. Ends after the first error of the file; goes on after a damaged value.
pub struct Range<'a> {
    reader: &'a Reader<'a>,
    table: Table,
    inner: Option<Framed>,
    order: Order,
    left: usize,
}

impl Iterator for Range<'_> {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let inner = self.inner.as_mut()?;
        let record = match self.order {
            Order::Up => inner.next(),
            Order::Down => inner.next_back(),
        };
        match record? {
            Ok((key, framed)) => {
                let key = key.value().to_vec();
                Some(self.reader.checked(self.table, &key, framed.value()).map(|value| (key, value)))
            }
            Err(cause) => {
                self.inner = None;
                Some(Err(self.reader.fail(self.table, cause)))
            }
        }
    }
}

/// The lowest key above all that begin with `prefix`; none when there is no such key.
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut end = prefix.get(..=last)?.to_vec();
    *end.last_mut()? += 1;
    Some(end)
}

/// Whether a range begins behind its end, which is an empty range here and an error elsewhere.
pub(super) fn is_inverted<'k>(keys: &impl RangeBounds<&'k [u8]>) -> bool {
    match (keys.start_bound(), keys.end_bound()) {
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => {
            from >= to
        }
        _ => false,
    }
}
