//! SQL injection and script injection told by the shape of their tokens: libinjection 3.10, in safe Rust.
//!
//! A value is cut into the tokens of SQL, as it stands and as if it stood behind a quote; tokens are folded to at
//! most five, whose kinds are the fingerprint; a table knows the fingerprints of injections. Script is found by
//! reading the value as HTML, as it stands and from inside an attribute, and looking for names that run script.
//!
//! Owns: [`sqli`] and [`xss`], their tokens and tables. Does not own: decoding; the rule's transformations do it.
//! Cost: linear in the value, no allocation. Verdicts and fingerprints are those of the C library (decision 0024).
//!
//! A port of <https://github.com/libinjection/libinjection>, copyright (c) 2012-2016 Nick Galbreath, 2021
//! LibInjection, under the BSD 3-clause licence: redistribution and use in source and binary forms, with or without
//! modification, are permitted provided that the copyright notice, the list of conditions and the disclaimer are
//! retained (`libinjection/COPYING` beside this file has them in full).

#[cfg(test)]
mod cases;
mod sqli;
mod xss;

pub use sqli::sqli;
pub use xss::xss;

use crate::byte_set::ByteSet;

/// A value without any of these bytes is never SQL to [`sqli`].
///
/// What is left are ASCII letters, digits, `_` and bytes past ASCII other than 0xa0, which is white space. Such a
/// value is one word, or one or two numbers and then one word. Of the fingerprints that these can have, the table
/// has only `1U`, and that one is let pass when it is two tokens.
pub const SQLI_BYTES: ByteSet = complement(
    ByteSet::range(b'a', b'z')
        .union(ByteSet::range(b'A', b'Z'))
        .union(ByteSet::range(b'0', b'9'))
        .union(ByteSet::of(b"_"))
        .union(ByteSet::range(0x80, 0x9f))
        .union(ByteSet::range(0xa1, 0xff)),
);

/// A value without any of these bytes is never script to [`xss`].
///
/// Tags, comments and document types begin with `<`; an attribute has a value only behind `=`.
pub const XSS_BYTES: ByteSet = ByteSet::of(b"<=");

const fn complement(set: ByteSet) -> ByteSet {
    let mut out = ByteSet::EMPTY;
    let mut value = 0_u16;
    while value < 256 {
        if !set.contains(value as u8) {
            out.insert(value as u8);
        }
        value += 1;
    }
    out
}

/// Kinds of the tokens that an injection was folded to, one byte each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    kinds: [u8; 8],
    len: u8,
}

impl Fingerprint {
    fn push(&mut self, kind: u8) {
        if let Some(slot) = self.kinds.get_mut(usize::from(self.len)) {
            *slot = kind;
            self.len += 1;
        }
    }

    /// The bytes, ASCII, at most 5.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.kinds[..usize::from(self.len).min(self.kinds.len())]
    }
}
