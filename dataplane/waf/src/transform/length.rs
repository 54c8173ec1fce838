//! `t:length`: the length in bytes, as a decimal number.

use crate::byte_set::ByteSet;

pub(super) const TOUCHES: ByteSet = ByteSet::ALL;

/// Digits of the greatest 64-bit number.
pub(super) const DIGITS_MAX: usize = 20;

pub(super) fn apply(input: &[u8], out: &mut Vec<u8>) {
    let mut digits = [0; DIGITS_MAX];
    let mut rest = input.len();
    let mut first = DIGITS_MAX;
    loop {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[first..]);
}

#[cfg(test)]
mod tests {
    use crate::transform::{Transformation::Length, check};

    #[test]
    fn lengths() {
        // A value that is its own length does not change.
        check(
            Length,
            &[(b"", b"0"), (b"1", b"1"), (b"abc", b"3"), (&[0; 10], b"10"), (&[b'x'; 12_345], b"12345")],
        );
    }
}
