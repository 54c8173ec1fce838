//! The node's policy file: what it held last, read before any orchestrator answers.
//!
//! Owns: the format. Does not own: where the file lies and how it is replaced (the node writes beside it and renames).
//!
//! ```text
//! secbeat-policy 1 <revision> <epoch> <resources>
//! <kind>/<name> <version> <hash> <body>
//! sha256 <over all lines before>
//! ```
//!
//! One resource per line: canonical JSON has no line breaks. A file that is cut off, has another byte anywhere or comes
//! from a newer program is refused as a whole, with a word on which of these it is.

use core::fmt::Write as _;
use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::delta::Held;
use super::resource::{Hash, Key, Resource, ResourceError};
use super::set::Set;

/// The format that this program writes, and the newest that it reads.
const FORMAT: u32 = 1;
const MAGIC: &str = "secbeat-policy ";
const SEAL: &str = "sha256 ";

/// Why a policy file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// Something else.
    #[error("this is not a policy file of a node")]
    NotPolicy,
    /// Of a later program.
    #[error("the file has format {0}; this program reads format {FORMAT}: it was written by a newer one")]
    Newer(u32),
    /// The end is missing.
    #[error("the file is cut off: its last line, the checksum, is missing")]
    Truncated,
    /// The checksum is another one.
    #[error("the file is damaged: its checksum does not fit")]
    Damaged,
    /// The checksum is right and the content is not.
    #[error("line {line} is wrong: {why}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// A resource that this program does not take.
    #[error("line {line}: {error}")]
    Resource {
        /// Counted from 1.
        line: usize,
        /// Why.
        error: ResourceError,
    },
}

/// The file of what is held.
pub fn write_file(held: &Held, revision: u64, epoch: u64) -> String {
    let set = held.set();
    let mut text = String::with_capacity(set.bytes() + 200 * (set.len() + 1));
    let _ = writeln!(text, "{MAGIC}{FORMAT} {revision} {epoch} {}", set.len());
    for (key, resource) in set.iter() {
        let _ = writeln!(text, "{key} {} {} {}", held.version(key), resource.hash, resource.body);
    }
    let seal = seal(&text);
    let _ = writeln!(text, "{SEAL}{seal}");
    text
}

/// What a node held: set and versions, revision, epoch.
///
/// # Errors
/// When the file is not as it was written.
pub fn parse_file(text: &str) -> Result<(Held, u64, u64), FileError> {
    let head = text.strip_prefix(MAGIC).ok_or(FileError::NotPolicy)?;
    let format =
        head.split([' ', '\n']).next().and_then(|word| word.parse().ok()).ok_or(FileError::NotPolicy)?;
    if format > FORMAT {
        return Err(FileError::Newer(format));
    }
    let whole = text.strip_suffix('\n').ok_or(FileError::Truncated)?;
    let at = whole.rfind('\n').ok_or(FileError::Truncated)? + 1;
    let (sealed, last) = text.split_at_checked(at).ok_or(FileError::Truncated)?;
    let written =
        last.strip_prefix(SEAL).and_then(|rest| rest.strip_suffix('\n')).ok_or(FileError::Truncated)?;
    if written != seal(sealed).to_string() {
        return Err(FileError::Damaged);
    }
    lines(sealed)
}

fn seal(text: &str) -> Hash {
    Hash(Sha256::digest(text.as_bytes()).into())
}

fn lines(sealed: &str) -> Result<(Held, u64, u64), FileError> {
    let mut lines = (1..).zip(sealed.lines());
    let wrong = |line: usize, why: &str| FileError::Line { line, why: why.into() };
    let (_, head) = lines.next().ok_or(FileError::NotPolicy)?;
    let numbers: Option<Vec<u64>> = head.split(' ').skip(2).map(|word| word.parse().ok()).collect();
    let Some([revision, epoch, count]) = numbers.as_deref() else {
        return Err(wrong(1, "the head has three numbers"));
    };
    let mut set = Set::new();
    let mut versions = BTreeMap::new();
    for (line, text) in lines {
        let mut words = text.splitn(4, ' ');
        let (Some(key), Some(version), Some(hash), Some(body)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(wrong(line, "a resource is key, version, hash and body"));
        };
        let refused = |error| FileError::Resource { line, error };
        let key: Key = key.parse().map_err(refused)?;
        let version = version.parse().map_err(|_| wrong(line, "the version is not a number"))?;
        let resource = Resource::parse(key.clone(), body).map_err(refused)?;
        if resource.hash.to_string() != hash {
            return Err(wrong(line, "the body has another hash"));
        }
        set.insert(resource).map_err(|error| wrong(line, &error.to_string()))?;
        versions.insert(key, version);
    }
    if set.len() as u64 != *count {
        return Err(wrong(1, "the head says another number of resources"));
    }
    Ok((Held::new(set, versions), *revision, *epoch))
}

#[cfg(test)]
mod tests;
