//! `t:utf8toUnicode`: characters of UTF-8 beyond ASCII become `%uHHHH` (more digits above U+FFFF).
//!
//! Overlong forms and surrogates give the code point that a careless decoder reads from them, as in ModSecurity, so
//! that `%c0%af` is seen; ModSecurity puts their first byte after it, which would part `../`, and so is left out. A
//! byte that is part of no character becomes `%ufffd`, as in Coraza: ModSecurity drops some of these, which would
//! join what the server sees apart. Source: RFC 3629. Cost: ASCII is copied in one go.

use super::digit;
use crate::byte_set::ByteSet;

pub(super) const TOUCHES: ByteSet = ByteSet::range(0x80, 0xff);

/// A lone byte becomes `%ufffd`; characters grow less.
pub(super) const GROWTH: usize = 6;

const REPLACEMENT: u32 = 0xfffd;

pub(super) fn apply(input: &[u8], out: &mut Vec<u8>) {
    let mut rest = input;
    while let Some(at) = rest.iter().position(|&byte| byte >= 0x80) {
        out.extend_from_slice(&rest[..at]);
        let (code, len) = character(&rest[at..]);
        write(code, out);
        rest = &rest[at + len..];
    }
    out.extend_from_slice(rest);
}

/// The code point at the start of `text`, which begins with a byte beyond ASCII, and its length.
#[inline]
fn character(text: &[u8]) -> (u32, usize) {
    let tail =
        |at: usize| text.get(at).filter(|&&byte| byte & 0xc0 == 0x80).map(|&byte| u32::from(byte & 0x3f));
    let first = u32::from(text[0]);
    let two = |high: u32| Some(high << 6 | tail(1)?);
    let three = |high: u32| Some(two(high)? << 6 | tail(2)?);
    let four = |high: u32| Some(three(high)? << 6 | tail(3)?).filter(|&code| code <= 0x10_ffff);
    let found = match text[0] {
        0xc0..=0xdf => two(first & 0x1f).map(|code| (code, 2)),
        0xe0..=0xef => three(first & 0x0f).map(|code| (code, 3)),
        0xf0..=0xf4 => four(first & 0x07).map(|code| (code, 4)),
        _ => None,
    };
    found.unwrap_or((REPLACEMENT, 1))
}

/// `%u` and at least four digits.
fn write(code: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"%u");
    let digits = (32 - code.leading_zeros()).div_ceil(4).max(4);
    for place in (0..digits).rev() {
        out.push(digit::LOWER[(code >> (4 * place) & 15) as usize]);
    }
}

#[cfg(test)]
mod tests {
    use crate::transform::{Transformation::Utf8ToUnicode, check};

    #[test]
    fn characters_are_spelt() {
        check(
            Utf8ToUnicode,
            &[
                ("a\u{e9}\u{20ac}\0".as_bytes(), b"a%u00e9%u20ac\0"),
                ("\u{1f600}\u{10ffff}".as_bytes(), b"%u1f600%u10ffff"),
                (b"\xc0\xae\xe0\x80\xaf\xed\xa0\x80", b"%u002e%u002f%ud800"),
                (
                    b"\x80\xc3(\xe2\x82\xf5\xf4\x90\x80\x80",
                    b"%ufffd%ufffd(%ufffd%ufffd%ufffd%ufffd%ufffd%ufffd%ufffd",
                ),
                (b"plain", b"plain"),
            ],
        );
    }
}
