//! Rule files on a disk, for tests that read what others wrote.
use std::path::{Path, PathBuf};

use secbeat_waf::seclang::Files;

/// Files below a folder.
pub(crate) struct Disk(pub(crate) PathBuf);

impl Files for Disk {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        std::fs::read(self.0.join(path)).map_err(|error| error.to_string())
    }

    fn expand(&self, pattern: &str) -> Result<Vec<String>, String> {
        let (folder, last) = pattern.rsplit_once('/').unwrap_or((".", pattern));
        let Ok(entries) = std::fs::read_dir(self.0.join(folder)) else {
            return Ok(Vec::new());
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut found: Vec<String> = names
            .filter(|name| is_match(last.as_bytes(), name.as_bytes()))
            .map(|name| if pattern.contains('/') { format!("{folder}/{name}") } else { name })
            .collect();
        found.sort();
        Ok(found)
    }
}

fn is_match(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=name.len()).any(|skipped| is_match(rest, &name[skipped..])),
        ([b'?', rest @ ..], [_, name @ ..]) => is_match(rest, name),
        ([byte, rest @ ..], [first, name @ ..]) => byte == first && is_match(rest, name),
        _ => false,
    }
}

/// A folder that is not part of the repository: from the environment, or beside the repository.
pub(crate) fn folder(variable: &str, beside: &str) -> Option<PathBuf> {
    let from_environment = std::env::var_os(variable).map(PathBuf::from);
    let folder = from_environment
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared").join(beside));
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: {} is not there; name it in {variable}", folder.display());
    None
}
