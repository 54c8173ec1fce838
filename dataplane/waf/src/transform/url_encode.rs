//! `t:urlEncode`: into percent-encoding, lower case; a space becomes `+`. Letters, digits and `*` stay.
//!
//! Cost: one pass.

use super::digit;
use crate::byte_set::ByteSet;

const KEPT: ByteSet = ByteSet::range(b'0', b'9')
    .union(ByteSet::range(b'A', b'Z'))
    .union(ByteSet::range(b'a', b'z'))
    .union(ByteSet::of(b"*"));

pub(super) const TOUCHES: ByteSet = {
    let mut set = ByteSet::EMPTY;
    let mut byte = 0;
    while byte < 256 {
        if !KEPT.contains(byte as u8) {
            set.insert(byte as u8);
        }
        byte += 1;
    }
    set
};

pub(super) fn apply(input: &[u8], out: &mut Vec<u8>) {
    out.reserve(input.len());
    for &byte in input {
        if KEPT.contains(byte) {
            out.push(byte);
        } else if byte == b' ' {
            out.push(b'+');
        } else {
            out.extend_from_slice(&[
                b'%',
                digit::LOWER[(byte >> 4) as usize],
                digit::LOWER[(byte & 15) as usize],
            ]);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::transform::{Transformation::UrlEncode, check};

    #[test]
    fn all_but_letters_digits_and_asterisk() {
        check(UrlEncode, &[(b"aZ9* -\0\xff", b"aZ9*+%2d%00%ff"), (b"%+", b"%25%2b"), (b"aZ9*", b"aZ9*")]);
    }
}
