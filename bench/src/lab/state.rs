//! What a lab remembers on disk: which namespaces it made, which processes it started, its working files.
//!
//! `/run/secbeat-bench/<prefix>/lab.json`, `pids/<name>` (see `tool`), `files/`, `logs/`. `/run` is empty after a
//! restart of the machine, and so are its namespaces.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Options;
use crate::tool;

const FOLDER: &str = "/run/secbeat-bench";

/// A lab's memory.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct State {
    /// Namespaces that this lab made.
    pub(crate) namespaces: Vec<String>,
    /// How it was made.
    pub(crate) options: Options,
    #[serde(skip)]
    folder: PathBuf,
}

impl State {
    /// Begins a lab's memory.
    pub(crate) fn create(prefix: &str, options: &Options, namespaces: &[String]) -> Result<Self> {
        let folder = Path::new(FOLDER).join(prefix);
        for part in ["pids", "files", "logs", "bpf"] {
            fs::create_dir_all(folder.join(part)).with_context(|| format!("make {}", folder.display()))?;
        }
        let state = Self { namespaces: namespaces.to_vec(), options: options.clone(), folder };
        fs::write(state.folder.join("lab.json"), serde_json::to_vec_pretty(&state)?)?;
        Ok(state)
    }

    /// The memory of a lab, or `None` when there is no such lab.
    pub(crate) fn load(prefix: &str) -> Option<Self> {
        let folder = Path::new(FOLDER).join(prefix);
        let mut state: Self = serde_json::from_slice(&fs::read(folder.join("lab.json")).ok()?).ok()?;
        state.options.prefix = prefix.to_owned();
        state.folder = folder;
        Some(state)
    }

    /// Whether some lab made the namespace `name`.
    pub(crate) fn made_namespace(name: &str) -> bool {
        let Ok(labs) = fs::read_dir(FOLDER) else { return false };
        labs.flatten()
            .filter_map(|entry| Self::load(entry.file_name().to_str()?))
            .any(|state| state.namespaces.iter().any(|made| made == name))
    }

    /// Where the record of a process goes.
    pub(crate) fn record(&self, process: &str) -> PathBuf {
        self.folder.join("pids").join(process)
    }

    /// Folder of the origin's files and of configurations.
    pub(crate) fn files(&self) -> PathBuf {
        self.folder.join("files")
    }

    /// A BPF file system of the lab's own, where a node pins its program: `ip netns exec` hides the usual one.
    pub(crate) fn bpf(&self) -> PathBuf {
        self.folder.join("bpf")
    }

    /// Path of a process's log.
    pub(crate) fn log_path(&self, process: &str) -> PathBuf {
        self.folder.join("logs").join(process)
    }

    /// A fresh log for a process.
    pub(crate) fn log(&self, process: &str) -> Result<File> {
        let path = self.log_path(process);
        File::create(&path).with_context(|| format!("create {}", path.display()))
    }

    /// Ends every recorded process that still is the one recorded.
    pub(crate) fn end_processes(&self) {
        let Ok(records) = fs::read_dir(self.folder.join("pids")) else { return };
        for record in records.flatten() {
            tool::end_recorded(&record.path());
        }
    }

    /// Forgets the lab.
    pub(crate) fn remove(&self) -> Result<()> {
        // Not mounted is fine; what is pinned there ends with the mount.
        let _ = nix::mount::umount2(&self.bpf(), nix::mount::MntFlags::MNT_DETACH);
        fs::remove_dir_all(&self.folder).with_context(|| format!("remove {}", self.folder.display()))
    }
}
