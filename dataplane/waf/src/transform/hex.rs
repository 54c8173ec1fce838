//! `t:hexDecode` and `t:hexEncode`.
//!
//! A value that is not hexadecimal throughout, or is of odd length, decodes to nothing, as in Coraza; ModSecurity 3
//! makes unlike bytes of it. Cost: one pass.

use super::digit;
use crate::byte_set::ByteSet;

pub(super) const TOUCHES: ByteSet = ByteSet::ALL;

pub(super) fn decode(input: &[u8], out: &mut Vec<u8>) {
    if !input.len().is_multiple_of(2) {
        return;
    }
    out.reserve(input.len() / 2);
    for pair in input.chunks_exact(2) {
        let Some(byte) = digit::hex_pair(pair) else {
            out.clear();
            return;
        };
        out.push(byte);
    }
}

pub(super) fn encode(input: &[u8], out: &mut Vec<u8>) {
    out.reserve(input.len().saturating_mul(2));
    for &byte in input {
        out.extend_from_slice(&[digit::LOWER[(byte >> 4) as usize], digit::LOWER[(byte & 15) as usize]]);
    }
}

#[cfg(test)]
mod tests {
    use crate::transform::{Transformation::*, check};

    #[test]
    fn there_and_back() {
        check(HexEncode, &[(b"", b""), (b"a\0\xff", b"6100ff")]);
        check(HexDecode, &[(b"", b""), (b"6100fFFf", b"a\0\xff\xff"), (b"616", b""), (b"6g", b"")]);
    }
}
