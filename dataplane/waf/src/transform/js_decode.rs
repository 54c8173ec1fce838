//! `t:jsDecode`: undoes the escapes of JavaScript.
//!
//! `\uHHHH` (its low byte, full-width ASCII made plain), `\xHH`, octal up to `\377` (a third digit that would not fit
//! stays), letters; of any other escape the `\` goes, and one at the very end stays. Source: ModSecurity reference
//! manual, "jsDecode". Cost: what lies between escapes is copied in one go.

use super::{digit, escape_seq_decode::letter};
use crate::byte_set::ByteSet;

pub(super) const TOUCHES: ByteSet = ByteSet::of(b"\\");

pub(super) fn apply(input: &[u8], out: &mut Vec<u8>) {
    let mut rest = input;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let text = &rest[at + 1..];
        let Some(&first) = text.first() else {
            rest = &rest[at..];
            break;
        };
        let (byte, len) = escape(first, text);
        out.push(byte);
        rest = &text[len..];
    }
    out.extend_from_slice(rest);
}

/// What the escape that begins with `first`, the first byte of `text`, stands for, and how long it is.
fn escape(first: u8, text: &[u8]) -> (u8, usize) {
    match first {
        b'u' => {
            if let Some(code) = digit::hex_four(&text[1..]) {
                return (digit::low_byte(code), 5);
            }
        }
        b'x' => {
            if let Some(byte) = digit::hex_pair(&text[1..]) {
                return (byte, 3);
            }
        }
        b'0'..=b'7' => {
            let (value, len) = digit::octal(text);
            return u8::try_from(value).map_or(((value >> 3) as u8, len - 1), |byte| (byte, len));
        }
        _ => {}
    }
    (letter(first), 1)
}

#[cfg(test)]
mod tests {
    use crate::transform::{Transformation::JsDecode, check};

    #[test]
    fn escapes_of_javascript() {
        check(
            JsDecode,
            &[
                (br"\u0061\u2061\uff1c\uFF5E", b"aa<~"),
                (br"\x61\X61", b"aX61"),
                (br"\141\377\400\7\78", b"a\xff 0\x07\x078"),
                (br#"\a\b\f\n\r\t\v\/\'\"\\"#, b"\x07\x08\x0c\n\r\t\x0b/'\"\\"),
                (br"\u006\xg", b"u006xg"),
                (br"end\", br"end\"),
            ],
        );
    }
}
