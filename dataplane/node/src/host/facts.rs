//! Where facts about the machine come from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A machine: a file tree with `/proc` and `/sys`, and perhaps tools to ask.
#[derive(Clone, Debug)]
pub struct Machine {
    root: PathBuf,
    /// Whether the tree is that of the running system, so that tools and system calls may be asked.
    live: bool,
}

impl Machine {
    /// The machine we run on.
    pub fn this() -> Self {
        Self { root: "/".into(), live: true }
    }

    /// A copy of a machine's files, for tests.
    #[cfg(test)]
    pub(super) fn at(root: &Path) -> Self {
        Self { root: root.into(), live: false }
    }

    /// Whether this is the running system.
    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    /// A path below the root.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The text of a file without surrounding white space; `None` when it cannot be read.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        fs::read(self.path(path)).ok().map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// A number in a file.
    pub(super) fn number(&self, path: &str) -> Option<u64> {
        self.text(path)?.parse().ok()
    }

    /// Memory of the machine; 0 where it does not say.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let text = self.text("/proc/meminfo").unwrap_or_default();
        let kib = text
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:")?.trim().split(' ').next()?.parse().ok());
        kib.unwrap_or(0u64) * 1_024
    }

    /// Whether a path exists.
    pub(super) fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// The last component of what a link points to.
    pub(super) fn link_name(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.path(path)).ok()?;
        target.file_name().map(|name| name.to_string_lossy().into_owned())
    }

    /// The names in a directory, sorted.
    pub(super) fn names(&self, path: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(path)) else { return Vec::new() };
        let mut names: Vec<_> =
            entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort_unstable();
        names
    }

    /// What a tool prints, if it is installed and succeeds. Arguments are passed as they are, never through a shell.
    pub(super) fn ask(&self, tool: &str, arguments: &[&str]) -> Option<String> {
        if !self.live {
            return None;
        }
        // People's PATH often lacks the directories of administration tools.
        let places = ["/usr/sbin/", "/sbin/", "/usr/bin/", "/bin/"];
        let program =
            places.iter().map(|place| format!("{place}{tool}")).find(|path| Path::new(path).exists())?;
        let output = Command::new(program).args(arguments).env("LC_ALL", "C").output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Bytes for people: the largest binary unit that leaves a whole-looking number.
pub(super) fn bytes(count: u64) -> String {
    match count {
        0..1_024 => format!("{count} B"),
        1_024..1_048_576 => format!("{} KiB", count / 1_024),
        1_048_576..10_737_418_240 => format!("{} MiB", count / 1_048_576),
        _ => format!("{} GiB", count / 1_073_741_824),
    }
}
