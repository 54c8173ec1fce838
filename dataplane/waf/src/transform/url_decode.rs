//! `t:urlDecode`: undoes percent-encoding, and `+` becomes a space.
//!
//! `%` without two digits after it stays. Source: ModSecurity reference manual, "urlDecode". Cost: what lies between
//! is copied in one go.

use super::digit;
use crate::byte_set::ByteSet;

pub(super) const TOUCHES: ByteSet = ByteSet::of(b"%+");

pub(super) fn apply(input: &[u8], out: &mut Vec<u8>) {
    let mut rest = input;
    while let Some(at) = memchr::memchr2(b'%', b'+', rest) {
        out.extend_from_slice(&rest[..at]);
        let (byte, len) = one(&rest[at..]);
        out.push(byte);
        rest = &rest[at + len..];
    }
    out.extend_from_slice(rest);
}

/// The byte that `text`, which begins with `%` or `+`, stands for, and how long that is.
#[inline]
pub(super) fn one(text: &[u8]) -> (u8, usize) {
    if text[0] == b'+' {
        return (b' ', 1);
    }
    digit::hex_pair(&text[1..]).map_or((b'%', 1), |byte| (byte, 3))
}

#[cfg(test)]
mod tests {
    use crate::transform::{Transformation::UrlDecode, check};

    #[test]
    fn percent_and_plus() {
        check(
            UrlDecode,
            &[
                (b"a+b%20c%2B%00", b"a b c+\0"),
                (b"%u0041%4%g1%%41%", b"%u0041%4%g1%A%"),
                (b"%2541", b"%41"),
                (b"100%", b"100%"),
            ],
        );
    }
}
