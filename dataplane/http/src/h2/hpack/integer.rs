//! Integers with a prefix of `bits` bits (RFC 7541 §5.1).

use super::Malformed;

/// Longest continuation we read: five bytes carry 2^35, more than any length or index here.
const CONTINUATION_BYTES_MAX: u32 = 5;

/// Reads one from `bytes` at `at`, which moves behind it.
pub(super) fn decode(bytes: &[u8], at: &mut usize, bits: u32) -> Result<usize, Malformed> {
    let mask = (1u64 << bits) - 1;
    let mut value = u64::from(*bytes.get(*at).ok_or(Malformed)?) & mask;
    *at += 1;
    if value < mask {
        return Ok(value as usize);
    }
    for position in 0..CONTINUATION_BYTES_MAX {
        let byte = *bytes.get(*at).ok_or(Malformed)?;
        *at += 1;
        value += u64::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            return usize::try_from(value).map_err(|_| Malformed);
        }
    }
    Err(Malformed)
}

/// Writes one; `first` holds the bits before the prefix.
pub(super) fn encode(value: usize, first: u8, bits: u32, out: &mut Vec<u8>) {
    let mask = (1usize << bits) - 1;
    if value < mask {
        return out.push(first | value as u8);
    }
    out.push(first | mask as u8);
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_7541_c1() {
        for (value, bits, bytes) in [(10, 5, &[10][..]), (1337, 5, &[31, 154, 10]), (42, 8, &[42])] {
            let mut out = Vec::new();
            encode(value, 0, bits, &mut out);
            assert_eq!(out, bytes);
            assert_eq!(decode(bytes, &mut 0, bits), Ok(value));
        }
    }

    #[test]
    fn an_integer_that_does_not_end_is_refused() {
        assert_eq!(decode(&[0x7f, 0x80], &mut 0, 7), Err(Malformed));
        assert_eq!(decode(&[0x7f, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0], &mut 0, 7), Err(Malformed));
        assert_eq!(decode(&[], &mut 0, 7), Err(Malformed));
    }

    #[test]
    fn every_length_survives_the_way_there_and_back() {
        for value in (0..70_000).step_by(7) {
            for bits in 4..=7 {
                let mut out = Vec::new();
                encode(value, 0, bits, &mut out);
                let mut at = 0;
                assert_eq!(decode(&out, &mut at, bits), Ok(value));
                assert_eq!(at, out.len());
            }
        }
    }
}
