//! How a value lies in the file: `version (1) | checksum (8) | value`.
//!
//! The checksum is the beginning of SHA-256 over version, table, key and value: a value that changed, or that
//! lies under a key it was not written for, is noticed when it is read. One digest a read or write.

use super::error::{Error, Result};
use super::table::Table;
use aws_lc_rs::digest::{Context, SHA256};
use std::fmt::Write as _;

/// Version of this layout.
const VERSION: u8 = 1;
/// Bytes of SHA-256 that are kept: enough against accidents; it is not a signature.
const CHECKSUM_BYTES: usize = 8;
/// Bytes before the value.
pub(super) const HEAD_BYTES: usize = 1 + CHECKSUM_BYTES;
/// Bytes of a key that a message shows.
const KEY_SHOWN_BYTES: usize = 48;

/// The value as it goes into the file.
pub(super) fn seal(table: Table, key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(HEAD_BYTES + value.len());
    framed.push(VERSION);
    framed.extend_from_slice(&checksum(table, key, value));
    framed.extend_from_slice(value);
    framed
}

/// The value out of the file.
pub(super) fn open<'a>(table: Table, key: &[u8], framed: &'a [u8]) -> Result<&'a [u8]> {
    let Some((head, value)) = framed.split_at_checked(HEAD_BYTES) else {
        return Err(damaged(table, key, "it is shorter than its head"));
    };
    let Some((&version, sum)) = head.split_first() else {
        return Err(damaged(table, key, "it is shorter than its head"));
    };
    if version != VERSION {
        return Err(damaged(table, key, &format!("layout {version} is not known")));
    }
    if sum != checksum(table, key, value) {
        return Err(damaged(table, key, "the checksum does not fit"));
    }
    Ok(value)
}

fn checksum(table: Table, key: &[u8], value: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut context = Context::new(&SHA256);
    context.update(&[VERSION, table.number()]);
    context.update(&(key.len() as u64).to_le_bytes());
    context.update(key);
    context.update(value);
    let digest = context.finish();
    let mut sum = [0; CHECKSUM_BYTES];
    sum.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    sum
}

fn damaged(table: Table, key: &[u8], why: &str) -> Error {
    Error::Corrupt { what: format!("table {}, key {}: {why}", table.name(), shown(key)) }
}

/// A key for a message: as text where it is text, else in hexadecimal, both cut.
pub(super) fn shown(key: &[u8]) -> String {
    let part = key.get(..KEY_SHOWN_BYTES).unwrap_or(key);
    let cut = if part.len() < key.len() { ".." } else { "" };
    match std::str::from_utf8(part) {
        Ok(text) if !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic()) => {
            format!("`{text}{cut}`")
        }
        _ => {
            let mut text = String::from("0x");
            for byte in part {
                // Writing to a string cannot fail.
                let _ = write!(text, "{byte:02x}");
            }
            text + cut
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_changed_byte_of_a_framed_value_is_noticed() {
        let framed = seal(Table::Bans, b"key", b"some value");
        assert_eq!(open(Table::Bans, b"key", &framed).unwrap(), b"some value");
        for at in 0..framed.len() {
            let mut changed = framed.clone();
            changed[at] ^= 0x10;
            let error = open(Table::Bans, b"key", &changed).unwrap_err();
            assert!(error.to_string().contains("table bans, key `key`"), "{error}");
        }
        for length in 0..framed.len() {
            assert!(open(Table::Bans, b"key", &framed[..length]).is_err(), "cut to {length}");
        }
    }

    #[test]
    fn a_value_under_the_key_or_table_of_another_is_noticed() {
        let framed = seal(Table::Bans, b"one", b"value");
        assert!(open(Table::Bans, b"two", &framed).is_err());
        assert!(open(Table::Nodes, b"one", &framed).is_err());
    }

    #[test]
    fn keys_are_shown_as_text_or_hexadecimal_and_cut() {
        assert_eq!(shown(b"node-1"), "`node-1`");
        assert_eq!(shown(&[0, 255]), "0x00ff");
        assert_eq!(shown(&[]), "0x");
        assert!(shown(&[b'a'; 100]).len() < 60);
    }
}
