//! `t:cssDecode`: undoes the escapes of CSS.
//!
//! `\` with one to six hexadecimal digits and one white space after them is a code point, written in UTF-8: CSS
//! Syntax level 3, section 4.3.7 (zero, surrogates and what is above U+10FFFF give U+FFFD). Full-width ASCII becomes
//! plain, as ModSecurity has it. `\` before a newline goes with it, and so does a `\` at the end; before anything
//! else only the `\` goes. ModSecurity 3 itself keeps only the low byte of a code point; the patterns of CRS look for
//! ASCII, where both agree.
//!
//! Cost: what lies between escapes is copied in one go.

use super::digit;
use crate::byte_set::ByteSet;

pub(super) const TOUCHES: ByteSet = ByteSet::of(b"\\");

/// Two bytes, `\0`, become the three of U+FFFD; nothing else grows.
pub(super) const fn output_bytes_max(input: usize) -> usize {
    input.saturating_add(input / 2)
}

/// Most digits of one escape.
const DIGITS_MAX: usize = 6;

pub(super) fn apply(input: &[u8], out: &mut Vec<u8>) {
    let mut rest = input;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = escape(&rest[at + 1..], out);
    }
    out.extend_from_slice(rest);
}

/// Decodes what follows a `\` and returns what follows that.
fn escape<'a>(text: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let mut code = 0;
    let mut len = 0;
    while let Some(digit) = text.get(len).and_then(|&byte| digit::hex(byte)) {
        code = code << 4 | u32::from(digit);
        len += 1;
        if len == DIGITS_MAX {
            break;
        }
    }
    if len > 0 {
        let code = if matches!(code, 0xff01..=0xff5e) { code - 0xfee0 } else { code };
        let character =
            char::from_u32(code).filter(|&found| found != '\0').unwrap_or(char::REPLACEMENT_CHARACTER);
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        let is_spaced = text.get(len).is_some_and(|&byte| super::SPACES.contains(byte));
        return &text[len + usize::from(is_spaced)..];
    }
    match *text {
        [] => text,
        [b'\r', b'\n', ..] => &text[2..],
        [b'\n' | b'\r' | b'\x0c', ..] => &text[1..],
        [byte, ..] => {
            out.push(byte);
            &text[1..]
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::transform::{Transformation::CssDecode, check};

    #[test]
    fn escapes_are_code_points() {
        check(
            CssDecode,
            &[
                (b"ja\\vascript", b"javascript"),
                (b"\\6a \\000061v", b"jav"),
                (b"\\3c  x", b"< x"),
                (b"\\ff1c\\ff5e", b"<~"),
                (b"\\0", "\u{fffd}".as_bytes()),
                (b"\\d800\\110000", "\u{fffd}\u{fffd}".as_bytes()),
                (b"\\e9", "\u{e9}".as_bytes()),
                (b"a\\\nb\\\r\nc\\\rd\\\x0ce", b"abcde"),
                (b"\\", b""),
                (b"\\\\", b"\\"),
                (b"\\zx", b"zx"),
            ],
        );
    }
}
