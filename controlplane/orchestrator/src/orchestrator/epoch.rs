//! Which start of this orchestrator this is.

use crate::batch::{self, Batch};
use crate::failure::Failure;
use crate::store::{Store, Table};

const KEY: &[u8] = b"epoch";

/// Counts this start: nodes refuse orders of an earlier one.
pub(super) fn start(store: &Store) -> Result<u64, Failure> {
    let known: Option<u64> = batch::get_json(store, Table::Settings, KEY)?;
    let epoch = known.unwrap_or_default() + 1;
    let mut batch = Batch::new();
    batch.put_json(Table::Settings, KEY, &epoch)?;
    batch.write(store)?;
    Ok(epoch)
}
