//! Keys and certificates on disk: private ones readable by their owner only, each written whole or not at all.
//!
//! Owns: modes and atomic replacement. Does not own: what is in them. Cost: an fsync of file and folder each.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::authority::AuthorityError;

/// Longest PEM file read, in bytes: a chain of some dozen certificates.
const FILE_BYTES_MAX: u64 = 256 << 10;

/// Makes a directory, mode 0700, with its parents.
pub(crate) fn make_private_directory(path: &Path) -> Result<(), AuthorityError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| failed(path, error))
}

/// Writes a file of mode 0600.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), AuthorityError> {
    write(path, text, 0o600).map_err(|error| failed(path, error))
}

/// Writes a file of mode 0644.
pub(crate) fn write_public(path: &Path, text: &str) -> Result<(), AuthorityError> {
    write(path, text, 0o644).map_err(|error| failed(path, error))
}

/// Reads a file of a size that keys and certificates have.
pub(crate) fn read_text(path: &Path) -> Result<String, AuthorityError> {
    let bytes = fs::metadata(path).map_err(|error| failed(path, error))?.len();
    if bytes > FILE_BYTES_MAX {
        let why =
            format!("{bytes} bytes are more than the {FILE_BYTES_MAX} of a file of keys or certificates");
        return Err(AuthorityError::Unreadable { path: path.into(), why });
    }
    fs::read_to_string(path).map_err(|error| failed(path, error))
}

/// Removes a file; one that is not there is no error.
pub(crate) fn remove(path: &Path) -> Result<(), AuthorityError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path, error)),
        _ => Ok(()),
    }
}

fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let _ = fs::remove_file(&partial);
    // `create_new`: nobody can have put a link there in the meantime.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&partial)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&partial, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn failed(path: &Path, source: io::Error) -> AuthorityError {
    AuthorityError::File { path: path.into(), source }
}
