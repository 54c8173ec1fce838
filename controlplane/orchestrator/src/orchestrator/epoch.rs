//! Which start of this orchestrator this is.
//!
//! Nodes refuse orders of a lower epoch than they have seen. So it is at least the time of the start in seconds: a
//! store that was restored from an older backup leads again, though it does not know of the starts after that backup.

use crate::batch::{self, Batch};
use crate::failure::Failure;
use crate::store::{Store, Table};

const KEY: &[u8] = b"epoch";

/// Counts this start.
pub(super) fn start(store: &Store, now_ms: u64) -> Result<u64, Failure> {
    let known: Option<u64> = batch::get_json(store, Table::Settings, KEY)?;
    let epoch = (known.unwrap_or_default() + 1).max(now_ms / 1_000);
    let mut batch = Batch::new();
    batch.put_json(Table::Settings, KEY, &epoch)?;
    batch.write(store)?;
    Ok(epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_with_every_start_also_after_a_backup_was_restored_or_the_clock_went_back() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [store, restored] = dirs.each_ref().map(|dir| Store::open(dir.path()).unwrap().0);
        assert_eq!(start(&store, 5_000).unwrap(), 5);
        assert_eq!(start(&store, 5_100).unwrap(), 6, "twice in a second");
        assert_eq!(start(&store, 1_000).unwrap(), 7, "a clock that went back");
        assert_eq!(start(&restored, 9_000).unwrap(), 9, "a store that knows of no start");
    }
}
