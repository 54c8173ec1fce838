//! The files of the repository: what git tracks, plus what it would track.

use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// One file, read whole.
#[derive(Debug)]
pub(crate) struct File {
    /// Path from the root, with `/`.
    pub(crate) path: String,
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
}

impl File {
    /// The text, or `None` for a binary file.
    pub(crate) fn text(&self) -> Option<&str> {
        if self.bytes.contains(&0) { None } else { std::str::from_utf8(&self.bytes).ok() }
    }

    /// The part after the last dot of the name, or an empty string.
    pub(crate) fn extension(&self) -> &str {
        Path::new(&self.path).extension().and_then(|extension| extension.to_str()).unwrap_or("")
    }
}

/// The root of the repository: the parent of this crate's folder.
pub(crate) fn root() -> Result<PathBuf> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["locate-project", "--workspace", "--message-format", "plain"])
        .output()
        .context("running cargo locate-project")?;
    ensure!(output.status.success(), "not inside the SecBeat workspace");
    let manifest = PathBuf::from(String::from_utf8(output.stdout)?.trim());
    Ok(manifest.parent().context("the workspace manifest has no folder")?.to_path_buf())
}

/// Every file that git tracks or would track, sorted by path.
pub(crate) fn files(root: &Path) -> Result<Vec<File>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(root)
        .output()
        .context("running git ls-files (git is needed for this check)")?;
    ensure!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let listing = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    let mut paths: Vec<&str> = listing.split('\0').filter(|path| !path.is_empty()).collect();
    paths.sort_unstable();
    paths.dedup();
    // A file deleted from the folder but not yet from the index cannot be read: it is not there to check.
    let present = paths.into_iter().filter(|path| root.join(path).is_file());
    present
        .map(|path| {
            let bytes = std::fs::read(root.join(path)).with_context(|| format!("reading {path}"))?;
            Ok(File { path: path.to_owned(), bytes })
        })
        .collect()
}
