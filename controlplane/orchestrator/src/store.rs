//! Placeholder of the room; see branch `store`.

/// The embedded database.
#[derive(Clone, Debug)]
pub struct Store;

/// Why it failed.
#[derive(Debug, thiserror::Error)]
#[error("store")]
pub struct Error;
