//! `t:htmlEntityDecode`: undoes HTML's character references.
//!
//! Three kinds. Numbers, with or without `;`: the low byte, as in ModSecurity (of a number above 63 bits 0xff).
//! `quot`, `amp`, `lt`, `gt` and `nbsp` (0xa0) in any case, with or without `;`, more letters after them or not, as
//! browsers read text. Names of HTML that stand for a character of ASCII (`&colon;`, `&lpar;`, `&Tab;`), as HTML
//! writes them and with `;`: browsers run `javascript&colon;`, ModSecurity leaves it. The other names of HTML's list
//! stay: their characters are beyond ASCII, where no pattern of CRS looks after this word, and CRS spells names it
//! looks for. Sources: ModSecurity reference manual, "htmlEntityDecode"; HTML standard, "Named character references".
//!
//! Cost: what lies between references is copied in one go; a binary search per name.

use super::digit;
use crate::byte_set::ByteSet;

pub(super) const TOUCHES: ByteSet = ByteSet::of(b"&");

/// Known in any case and without `;`.
const LOOSE: [(&[u8], u8); 5] =
    [(b"quot", b'"'), (b"amp", b'&'), (b"lt", b'<'), (b"gt", b'>'), (b"nbsp", 0xa0)];

/// Names of ASCII characters, by name.
const STRICT: [(&[u8], u8); 37] = [
    (b"DiacriticalGrave", b'`'),
    (b"Hat", b'^'),
    (b"NewLine", b'\n'),
    (b"Tab", b'\t'),
    (b"UnderBar", b'_'),
    (b"VerticalLine", b'|'),
    (b"apos", b'\''),
    (b"ast", b'*'),
    (b"bsol", b'\\'),
    (b"colon", b':'),
    (b"comma", b','),
    (b"commat", b'@'),
    (b"dollar", b'$'),
    (b"equals", b'='),
    (b"excl", b'!'),
    (b"grave", b'`'),
    (b"lbrace", b'{'),
    (b"lbrack", b'['),
    (b"lcub", b'{'),
    (b"lowbar", b'_'),
    (b"lpar", b'('),
    (b"lsqb", b'['),
    (b"midast", b'*'),
    (b"num", b'#'),
    (b"percnt", b'%'),
    (b"period", b'.'),
    (b"plus", b'+'),
    (b"quest", b'?'),
    (b"rbrace", b'}'),
    (b"rbrack", b']'),
    (b"rcub", b'}'),
    (b"rpar", b')'),
    (b"rsqb", b']'),
    (b"semi", b';'),
    (b"sol", b'/'),
    (b"verbar", b'|'),
    (b"vert", b'|'),
];

/// The longest of [`STRICT`], bytes.
const NAME_BYTES_MAX: usize = 16;

pub(super) fn apply(input: &[u8], out: &mut Vec<u8>) {
    let mut rest = input;
    while let Some(at) = memchr::memchr(b'&', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        match reference(rest) {
            Some((byte, len)) => {
                out.push(byte);
                rest = &rest[len..];
            }
            None => out.push(b'&'),
        }
    }
    out.extend_from_slice(rest);
}

/// What the reference whose text after `&` begins `text` stands for, and how long that text is.
fn reference(text: &[u8]) -> Option<(u8, usize)> {
    let (byte, len) = match text {
        [b'#', b'x' | b'X', digits @ ..] => number(digits, 16).map(|(byte, len)| (byte, len + 2)),
        [b'#', digits @ ..] => number(digits, 10).map(|(byte, len)| (byte, len + 1)),
        _ => name(text),
    }?;
    Some((byte, len + usize::from(text.get(len) == Some(&b';'))))
}

fn number(text: &[u8], base: u8) -> Option<(u8, usize)> {
    let mut value = 0_i64;
    let mut len = 0;
    while let Some(digit) = text.get(len).and_then(|&byte| digit::hex(byte)).filter(|&digit| digit < base) {
        value = value.saturating_mul(i64::from(base)).saturating_add(i64::from(digit));
        len += 1;
    }
    (len > 0).then_some((value as u8, len))
}

fn name(text: &[u8]) -> Option<(u8, usize)> {
    let window = &text[..text.len().min(NAME_BYTES_MAX + 1)];
    if let Some(end) = memchr::memchr(b';', window)
        && let Ok(index) = STRICT.binary_search_by_key(&&window[..end], |&(name, _)| name)
    {
        return Some((STRICT[index].1, end));
    }
    let is_start = |name: &[u8]| text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    LOOSE.iter().find(|&&(name, _)| is_start(name)).map(|&(name, byte)| (byte, name.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::{Transformation::HtmlEntityDecode, check};

    #[test]
    fn names_are_in_order_and_fit() {
        assert!(STRICT.is_sorted());
        assert_eq!(STRICT.iter().map(|(name, _)| name.len()).max(), Some(NAME_BYTES_MAX));
    }

    #[test]
    fn references() {
        check(
            HtmlEntityDecode,
            &[
                (b"&lt;&GT&Quot;&amp;amp;&nbsp", b"<>\"&amp;\xa0"),
                (b"&ltscript&gt1", b"<script>1"),
                (b"&#60;&#0000060&#x3c;&#X003Cg&#316;", b"<<<<g<"),
                (b"&#99999999999999999999;", b"\xff"),
                (
                    b"javascript&colon;alert&lpar;1&rpar;&NewLine;&DiacriticalGrave;",
                    b"javascript:alert(1)\n`",
                ),
                (b"&colon&COLON;&tab;&eacute;&;&#;&#x;&#xg;&", b"&colon&COLON;&tab;&eacute;&;&#;&#x;&#xg;&"),
                (b"&&lt;", b"&<"),
            ],
        );
    }
}
