//! `t:sqlHexDecode`: `0x` and pairs of hexadecimal digits become the bytes, as SQL reads them.
//!
//! `0x` without a pair after it stays, and so does an odd last digit. Unlike ModSecurity 3, which loses the last byte
//! of most values and stops at a NUL, all else stays as it is. Cost: a search for `0`, the rest in one go.

use super::digit;
use crate::byte_set::ByteSet;

pub(super) const TOUCHES: ByteSet = ByteSet::of(b"xX");

pub(super) fn apply(input: &[u8], out: &mut Vec<u8>) {
    let mut rest = input;
    while let Some(at) = memchr::memchr(b'0', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        if !matches!(rest, [_, b'x' | b'X', ..]) || digit::hex_pair(&rest[2..]).is_none() {
            out.push(b'0');
            rest = &rest[1..];
            continue;
        }
        rest = &rest[2..];
        while let Some(byte) = digit::hex_pair(rest) {
            out.push(byte);
            rest = &rest[2..];
        }
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use crate::transform::{Transformation::SqlHexDecode, check};

    #[test]
    fn literals_become_bytes() {
        check(
            SqlHexDecode,
            &[
                (b"select 0x61646D696e;", b"select admin;"),
                (b"0X4142 0x414", b"AB A4"),
                (b"00x41", b"0A"),
                (b"0x, 0xg 0x4 x41", b"0x, 0xg 0x4 x41"),
            ],
        );
    }
}
