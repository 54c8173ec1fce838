//! `t:trim`, `t:trimLeft`, `t:trimRight`: white space at the ends.
//!
//! Cost: a look at the ends and one copy.

use super::SPACES;
use crate::byte_set::ByteSet;

pub(super) const TOUCHES: ByteSet = SPACES;

pub(super) fn both(input: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(left_of(right_of(input)));
}

pub(super) fn left(input: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(left_of(input));
}

pub(super) fn right(input: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(right_of(input));
}

fn left_of(mut input: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = input
        && SPACES.contains(*first)
    {
        input = rest;
    }
    input
}

fn right_of(mut input: &[u8]) -> &[u8] {
    while let [rest @ .., last] = input
        && SPACES.contains(*last)
    {
        input = rest;
    }
    input
}

#[cfg(test)]
mod tests {
    use crate::transform::{Transformation::*, check};

    #[test]
    fn ends_are_trimmed() {
        check(Trim, &[(b" \t\r\n\x0b\x0ca b\0 ", b"a b\0"), (b"   ", b""), (b"a b", b"a b")]);
        check(TrimLeft, &[(b" a ", b"a "), (b"  ", b"")]);
        check(TrimRight, &[(b" a ", b" a"), (b"  ", b"")]);
    }
}
