//! Rule files on a disk.
//!
//! Owns: [`Disk`], bounded reads. Does not own: the order of files (`layout`), or what is in them.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use secbeat_waf::limits::{FILE_BYTES_MAX, FILES_MAX};
use secbeat_waf::seclang::Files;

/// The disk of this machine.
#[derive(Clone, Copy, Debug)]
pub struct Disk;

/// Reads a file of at most `bytes_max` bytes.
///
/// # Errors
/// In words for the operator.
pub fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > bytes_max {
        return Err(format!("longer than {bytes_max} bytes"));
    }
    Ok(bytes)
}

impl Files for Disk {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        read(Path::new(path), FILE_BYTES_MAX as u64)
    }

    fn expand(&self, pattern: &str) -> Result<Vec<String>, String> {
        let path = Path::new(pattern);
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !name.contains(['*', '?']) {
            return Ok(vec![pattern.to_owned()]);
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.map_or_else(|| PathBuf::from("."), Path::to_path_buf);
        let entries = folder.read_dir().map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut found = Vec::new();
        for entry in entries.flatten() {
            let is_meant =
                entry.file_name().to_str().is_some_and(|own| matches(name.as_bytes(), own.as_bytes()));
            if is_meant && let Some(path) = entry.path().to_str() {
                found.push(path.to_owned());
            }
            if found.len() > FILES_MAX {
                return Err(format!("{pattern} names more than {FILES_MAX} files"));
            }
        }
        found.sort_unstable();
        Ok(found)
    }
}

/// Whether a name is of a pattern with `*` and `?`. Time is that of the product of their lengths.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut star = None;
    while from < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[from] => (at, from) = (at + 1, from + 1),
            _ => {
                let Some((place, taken)) = star else { return false };
                star = Some((place, taken + 1));
                (at, from) = (place + 1, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_files_of_one_folder_in_order() {
        assert!(matches(b"*.conf", b"a.conf") && matches(b"a?c*", b"abcde") && matches(b"*", b""));
        assert!(!matches(b"*.conf", b"a.conf.example") && !matches(b"a?c", b"ac"));
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["b.conf", "a.conf", "c.data"] {
            std::fs::write(folder.path().join(name), "x").expect("a file");
        }
        let pattern = format!("{}/*.conf", folder.path().display());
        let found = Disk.expand(&pattern).expect("a folder that is there");
        let names: Vec<_> = found.iter().filter_map(|path| path.rsplit('/').next()).collect();
        assert_eq!(names, ["a.conf", "b.conf"]);
        assert!(Disk.expand("/nonexistent/*.conf").is_err());
    }

    #[test]
    fn long_files_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("long");
        std::fs::write(&path, [b'#'; 11]).expect("a file");
        assert_eq!(read(&path, 10).expect_err("too long"), "longer than 10 bytes");
        assert_eq!(read(&path, 11).expect("short enough").len(), 11);
    }
}
