//! The last configuration that came into force, kept in the state directory.
//!
//! Owns: the copy. Does not own: when it is used: a node that finds its file broken at start can run on the copy
//! (`--config` pointing at it) until somebody mends it; a running node keeps what it has in memory anyway.

use std::fs;
use std::path::{Path, PathBuf};

use secbeat_config::NodeConfig;

use crate::cli::ConfigSource;

/// Name of the file in the state directory.
const FILE_NAME: &str = "last-good.toml";

/// Where the copy is.
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE_NAME)
}

/// Keeps a copy of the file that `config` was read from. Failing to is worth a warning, not a stop.
pub fn keep(source: &ConfigSource, config: &NodeConfig) {
    let Some(file) = &source.path else {
        return;
    };
    let to = path(&config.server.state_dir);
    if *file == to {
        return;
    }
    let beside = to.with_extension("new");
    let kept = fs::copy(file, &beside).and_then(|_| fs::rename(&beside, &to));
    if let Err(error) = kept {
        tracing::warn!(%error, path = %to.display(), "no copy of the configuration in force was kept");
    }
}
