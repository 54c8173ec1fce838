//! `t:parityEven7bit`, `t:parityOdd7bit`, `t:parityZero7bit`: the eighth bit of each byte.
//!
//! The parity asked for is that of all eight bits of the input, as ModSecurity computes it: of seven-bit text it is
//! that of the text. Cost: one table look-up per byte.

use crate::byte_set::ByteSet;

const EVEN: [u8; 256] = table(0);
const ODD: [u8; 256] = table(1);

pub(super) const EVEN_TOUCHES: ByteSet = changed(&EVEN);
pub(super) const ODD_TOUCHES: ByteSet = changed(&ODD);
pub(super) const ZERO_TOUCHES: ByteSet = ByteSet::range(0x80, 0xff);

/// The eighth bit set where the number of bits, modulo two, is not `wanted`.
const fn table(wanted: u32) -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let value = byte as u8;
        table[byte] = if value.count_ones() % 2 == wanted { value & 0x7f } else { value | 0x80 };
        byte += 1;
    }
    table
}

const fn changed(table: &[u8; 256]) -> ByteSet {
    let mut set = ByteSet::EMPTY;
    let mut byte = 0;
    while byte < 256 {
        if table[byte] != byte as u8 {
            set.insert(byte as u8);
        }
        byte += 1;
    }
    set
}

pub(super) fn even(input: &[u8], out: &mut Vec<u8>) {
    out.extend(input.iter().map(|&byte| EVEN[byte as usize]));
}

pub(super) fn odd(input: &[u8], out: &mut Vec<u8>) {
    out.extend(input.iter().map(|&byte| ODD[byte as usize]));
}

pub(super) fn zero(input: &[u8], out: &mut Vec<u8>) {
    out.extend(input.iter().map(|&byte| byte & 0x7f));
}

#[cfg(test)]
mod tests {
    use crate::transform::{Transformation::*, check};

    #[test]
    fn the_eighth_bit() {
        check(ParityEven7bit, &[(b"\0ac", b"\0\xe1c"), (b"\x80\x81", b"\x80\x01")]);
        check(ParityOdd7bit, &[(b"\0ac", b"\x80a\xe3"), (b"\x80\x81", b"\0\x81")]);
        check(ParityZero7bit, &[(b"\0ac", b"\0ac"), (b"\x80\xff", b"\0\x7f")]);
    }
}
