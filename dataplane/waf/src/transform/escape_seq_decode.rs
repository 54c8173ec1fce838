//! `t:escapeSeqDecode`: undoes the escapes of ANSI C.
//!
//! Letters (`\n`), `\xHH`, one to three octal digits (the low eight bits count). Of an escape that C does not know
//! the `\` goes; one at the very end stays. Source: ModSecurity reference manual, "escapeSeqDecode". Cost: what lies
//! between escapes is copied in one go.

use super::digit;
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
        let (octal, octal_len) = digit::octal(text);
        let (byte, len) = if octal_len > 0 {
            (octal as u8, octal_len)
        } else {
            match (first, digit::hex_pair(&text[1..])) {
                (b'x' | b'X', Some(byte)) => (byte, 3),
                _ => (letter(first), 1),
            }
        };
        out.push(byte);
        rest = &text[len..];
    }
    out.extend_from_slice(rest);
}

/// What `\` and a letter mean in C and in JavaScript; any other byte means itself.
pub(super) const fn letter(byte: u8) -> u8 {
    match byte {
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        _ => byte,
    }
}

#[cfg(test)]
mod tests {
    use crate::transform::{Transformation::EscapeSeqDecode, check};

    #[test]
    fn escapes_of_c() {
        check(
            EscapeSeqDecode,
            &[
                (br#"\a\b\f\n\r\t\v\\\?\'\""#, b"\x07\x08\x0c\n\r\t\x0b\\?'\""),
                (br"\x41\X42\101\1\18\777", b"ABA\x01\x018\xff"),
                (br"\xg1\q\x4", b"xg1qx4"),
                (br"end\", br"end\"),
                (br"\\\", br"\\"),
            ],
        );
    }
}
