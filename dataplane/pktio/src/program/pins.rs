//! The directory on a bpffs where links and maps outlive the process.
//!
//! Owns: names of pins, mounting. Does not own: what is pinned.
//!
//! ```text
//!   <dir>/link_<interface>   the attachment: a killed node leaves the program running
//!   <dir>/<map>              every map but `sockets`
//!   <dir>/schema             pinned last: a directory without it is an attempt that did not finish
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use super::ProgramError;
use crate::kernel;

/// A directory on a bpffs.
#[derive(Clone, Debug)]
pub(super) struct Pins {
    directory: PathBuf,
}

impl Pins {
    /// Makes the directory; mounts a bpffs on its parent when it would not lie on one.
    pub(super) fn open(directory: &Path) -> Result<Self, ProgramError> {
        let failed = |action: String| move |source| ProgramError::Kernel { action, source };
        let parent = directory
            .parent()
            .filter(|_| directory.is_absolute())
            .ok_or_else(|| ProgramError::Config(format!("{}: not an absolute path", directory.display())))?;
        let existing = directory.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        if !kernel::is_bpffs(existing).map_err(failed(format!("look at {}", existing.display())))? {
            fs::create_dir_all(parent).map_err(failed(format!("make {}", parent.display())))?;
            kernel::mount_bpffs(parent).map_err(failed(format!(
                "mount a bpffs on {} (by hand: mount -t bpf bpf {})",
                parent.display(),
                parent.display()
            )))?;
        }
        fs::create_dir_all(directory).map_err(failed(format!("make {}", directory.display())))?;
        Ok(Self { directory: directory.into() })
    }

    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// bpffs allows no dot in a name.
    pub(super) fn link(&self, interface: &str) -> PathBuf {
        self.directory.join(format!("link_{}", interface.replace('.', "@")))
    }

    /// Unpins one object; it being gone is fine.
    pub(super) fn remove(path: &Path) -> Result<(), ProgramError> {
        match fs::remove_file(path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(ProgramError::Kernel { action: format!("remove {}", path.display()), source })
            }
            _ => Ok(()),
        }
    }

    /// Removes the directory if nothing is pinned any more.
    pub(super) fn remove_directory(&self) {
        let _ = fs::remove_dir(&self.directory);
    }
}
