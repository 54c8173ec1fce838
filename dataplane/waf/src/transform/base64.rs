//! `t:base64Decode`, `t:base64DecodeExt`, `t:base64Encode`.
//!
//! Decoding never fails: what came before trouble is the result, as CRS counts on. The plain word reads the alphabet
//! of RFC 4648 section 4, passes over CR and LF, and stops at anything else, padding included. The forgiving word
//! passes over whatever is not of the alphabet and knows that of section 5 (`-`, `_`) too: what PHP's decoder makes
//! of it. Of an incomplete last group the whole bytes are given, bits over are dropped.
//!
//! Cost: one look into a table per byte.

use crate::byte_set::ByteSet;

pub(super) const TOUCHES: ByteSet = ByteSet::ALL;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// In [`STRICT`] and [`FORGIVING`], above every value: passed over, or the end.
const SKIP: u8 = 0x40;
const STOP: u8 = 0x80;

const STRICT: [u8; 256] = {
    let mut table = alphabet(STOP);
    table[b'\r' as usize] = SKIP;
    table[b'\n' as usize] = SKIP;
    table
};

const FORGIVING: [u8; 256] = {
    let mut table = alphabet(SKIP);
    table[b'-' as usize] = 62;
    table[b'_' as usize] = 63;
    table
};

const fn alphabet(others: u8) -> [u8; 256] {
    let mut table = [others; 256];
    let mut value = 0;
    while value < ALPHABET.len() {
        table[ALPHABET[value] as usize] = value as u8;
        value += 1;
    }
    table
}

pub(super) const fn encoded_bytes(input: usize) -> usize {
    input.div_ceil(3).saturating_mul(4)
}

pub(super) fn decode(input: &[u8], out: &mut Vec<u8>) {
    decode_with(&STRICT, input, out);
}

pub(super) fn decode_ext(input: &[u8], out: &mut Vec<u8>) {
    decode_with(&FORGIVING, input, out);
}

fn decode_with(table: &[u8; 256], input: &[u8], out: &mut Vec<u8>) {
    out.reserve(input.len());
    let mut bits = 0_u32;
    let mut count = 0;
    for &byte in input {
        let value = table[byte as usize];
        if value >= SKIP {
            if value == STOP {
                break;
            }
            continue;
        }
        bits = bits << 6 | u32::from(value);
        count += 1;
        if count == 4 {
            out.extend_from_slice(&bits.to_be_bytes()[1..]);
            (bits, count) = (0, 0);
        }
    }
    match count {
        2 => out.push((bits >> 4) as u8),
        3 => out.extend_from_slice(&[(bits >> 10) as u8, (bits >> 2) as u8]),
        _ => {}
    }
}

pub(super) fn encode(input: &[u8], out: &mut Vec<u8>) {
    out.reserve(encoded_bytes(input.len()));
    let letter = |bits: u32, shift: u32| ALPHABET[(bits >> shift & 63) as usize];
    for group in input.chunks(3) {
        let bits = group.iter().fold(0, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - group.len()));
        let mut text = [letter(bits, 18), letter(bits, 12), letter(bits, 6), letter(bits, 0)];
        text[group.len() + 1..].fill(b'=');
        out.extend_from_slice(&text);
    }
}

#[cfg(test)]
mod tests {
    use crate::transform::{Transformation::*, check};

    #[test]
    fn encodes() {
        check(
            Base64Encode,
            &[
                (b"", b""),
                (b"f", b"Zg=="),
                (b"fo", b"Zm8="),
                (b"foo", b"Zm9v"),
                (b"\xff\xfe\xfd\xfc", b"//79/A=="),
            ],
        );
    }

    #[test]
    fn decodes_up_to_the_first_byte_that_is_not_of_the_alphabet() {
        check(
            Base64Decode,
            &[
                (b"", b""),
                (b"Zg==", b"f"),
                (b"Zg", b"f"),
                (b"Zm9v\r\nYmFy", b"foobar"),
                (b"Zm9v YmFy", b"foo"),
                (b"Zm9v=YmFy", b"foo"),
                (b"Zm9vY", b"foo"),
                (b"-_", b""),
                (b"A", b""),
            ],
        );
    }

    #[test]
    fn the_forgiving_word_passes_over_what_it_does_not_know() {
        check(
            Base64DecodeExt,
            &[
                (b"Z.m 9=v\0YmFy", b"foobar"),
                (b"-_-_", b"\xfb\xff\xbf"),
                (b"+/+/", b"\xfb\xff\xbf"),
                (b"....", b""),
            ],
        );
    }
}
