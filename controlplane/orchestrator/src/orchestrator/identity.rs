//! Who this orchestrator is, and which start of it this is.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::batch::{self, Batch};
use crate::failure::Failure;
use crate::store::{Store, Table};

const KEY: &[u8] = b"identity";

/// Kept for the life of the store.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Identity {
    /// Made at the first start.
    pub(super) id: Uuid,
    /// Counts starts.
    pub(super) epoch: u64,
}

/// Reads it and counts this start.
pub(super) fn start(store: &Store) -> Result<Identity, Failure> {
    let known: Option<Identity> = batch::get_json(store, Table::Settings, KEY)?;
    let known = known.unwrap_or_else(|| Identity { id: Uuid::new_v4(), epoch: 0 });
    let identity = Identity { epoch: known.epoch + 1, ..known };
    let mut batch = Batch::new();
    batch.put_json(Table::Settings, KEY, &identity)?;
    batch.write(store)?;
    Ok(identity)
}
