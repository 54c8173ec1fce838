//! `t:removeNulls` and `t:replaceNulls` (by spaces).
//!
//! Cost: one search; what lies between NUL bytes is copied in one go.

use crate::byte_set::ByteSet;

pub(super) const TOUCHES: ByteSet = ByteSet::of(b"\0");

pub(super) fn remove(input: &[u8], out: &mut Vec<u8>) {
    let mut rest = input;
    while let Some(at) = memchr::memchr(0, rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

pub(super) fn replace(input: &[u8], out: &mut Vec<u8>) {
    out.extend(input.iter().map(|&byte| if byte == 0 { b' ' } else { byte }));
}

#[cfg(test)]
mod tests {
    use crate::transform::{Transformation::*, check};

    #[test]
    fn nulls_go() {
        check(RemoveNulls, &[(b"\0a\0\0b\0", b"ab"), (b"\0", b""), (b"ab", b"ab")]);
        check(ReplaceNulls, &[(b"\0a\0\0b\0", b" a  b "), (b"ab ", b"ab ")]);
    }
}
