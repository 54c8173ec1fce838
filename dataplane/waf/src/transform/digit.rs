//! Digits as text writes them.
//!
//! Owns: values of hexadecimal and octal digits, shared by the words that undo escapes. Cost: one look into a table
//! of 256 bytes per digit.

/// What [`HEX`] holds for a byte that is no digit.
const NONE: u8 = 0xff;

const HEX: [u8; 256] = {
    let mut table = [NONE; 256];
    let mut value = 0;
    while value < 10 {
        table[b'0' as usize + value] = value as u8;
        value += 1;
    }
    let mut value = 0;
    while value < 6 {
        table[b'a' as usize + value] = 10 + value as u8;
        table[b'A' as usize + value] = 10 + value as u8;
        value += 1;
    }
    table
};

/// The digits of hexadecimal output, lower case as ModSecurity writes them.
pub(super) const LOWER: &[u8; 16] = b"0123456789abcdef";

/// The value of a hexadecimal digit.
#[inline]
pub(super) fn hex(byte: u8) -> Option<u8> {
    let value = HEX[byte as usize];
    (value != NONE).then_some(value)
}

/// The byte that the first two of `digits` write.
#[inline]
pub(super) fn hex_pair(digits: &[u8]) -> Option<u8> {
    match *digits {
        [high, low, ..] => Some(hex(high)? << 4 | hex(low)?),
        _ => None,
    }
}

/// The number that the first four of `digits` write.
#[inline]
pub(super) fn hex_four(digits: &[u8]) -> Option<u16> {
    Some(u16::from(hex_pair(digits)?) << 8 | u16::from(hex_pair(digits.get(2..)?)?))
}

/// The number that up to three octal digits at the start of `text` write, and how many there are (0 to 3).
#[inline]
pub(super) fn octal(text: &[u8]) -> (u16, usize) {
    let mut value = 0;
    let mut count = 0;
    for &byte in text.iter().take(3) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 7 {
            break;
        }
        value = value << 3 | u16::from(digit);
        count += 1;
    }
    (value, count)
}

/// The low byte of a code point that `\uHHHH` or `%uHHHH` writes, full-width ASCII (U+FF01 to U+FF5E) made plain:
/// what ModSecurity makes of it.
#[inline]
pub(super) fn low_byte(code: u16) -> u8 {
    let low = code as u8;
    if code >> 8 == 0xff && low > 0 && low < 0x5f { low + 0x20 } else { low }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_have_their_values() {
        assert_eq!(
            (hex(b'0'), hex(b'9'), hex(b'a'), hex(b'F'), hex(b'g')),
            (Some(0), Some(9), Some(10), Some(15), None)
        );
        assert_eq!((hex_pair(b"4a1"), hex_pair(b"4"), hex_pair(b"4g")), (Some(0x4a), None, None));
        assert_eq!((hex_four(b"ff1c;"), hex_four(b"ff1")), (Some(0xff1c), None));
        assert_eq!((octal(b"1012"), octal(b"19"), octal(b"8")), ((0o101, 3), (1, 1), (0, 0)));
        assert_eq!(
            (low_byte(0xff1c), low_byte(0x13c), low_byte(0xff5f), low_byte(0xff00)),
            (b'<', b'<', 0x5f, 0)
        );
    }
}
