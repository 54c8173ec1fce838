//! `t:removeComments`: takes out `/* ... */` and `<!-- ... -->`, and what follows `--` or `#`.
//!
//! To the byte as ModSecurity 3 does it, oddities included, since rules are written against it: either end closes
//! either comment; the byte after a comment is copied unseen (a NUL if there is none); a comment without end becomes
//! a space. Source: ModSecurity reference manual, "removeComments". Cost: one pass, what lies between comments in one
//! go.

use super::position;
use crate::byte_set::ByteSet;

/// `/*` needs the asterisk, both others the hyphen.
pub(super) const TOUCHES: ByteSet = ByteSet::of(b"*-#");

const STARTS: ByteSet = ByteSet::of(b"/<-#");

pub(super) fn apply(input: &[u8], out: &mut Vec<u8>) {
    let mut rest = input;
    while let Some(at) = position(rest, &STARTS) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let start = match rest {
            [b'/', b'*', ..] => 2,
            [b'<', b'!', b'-', b'-', ..] => 4,
            [b'-', b'-', ..] | [b'#', ..] => return,
            _ => {
                out.push(rest[0]);
                rest = &rest[1..];
                continue;
            }
        };
        let Some(after) = end(&rest[start..]) else {
            out.push(b' ');
            return;
        };
        let (&unseen, next) = after.split_first().unwrap_or((&0, &[]));
        out.push(unseen);
        rest = next;
    }
    out.extend_from_slice(rest);
}

/// What follows the end of the comment whose inside `text` is.
fn end(mut text: &[u8]) -> Option<&[u8]> {
    loop {
        text = &text[memchr::memchr2(b'*', b'-', text)?..];
        match text {
            [b'*', b'/', ..] => return Some(&text[2..]),
            [b'-', b'-', b'>', ..] => return Some(&text[3..]),
            _ => text = &text[1..],
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::transform::{Transformation::RemoveComments, check};

    #[test]
    fn comments_go() {
        check(
            RemoveComments,
            &[
                (b"a/*b*/c", b"ac"),
                (b"a/*b*/", b"a\0"),
                (b"a<!--b-->c", b"ac"),
                (b"a/*b-->c<!--d*/e", b"ace"),
                (b"a/*b*//*c*/d", b"a/*c*/d"),
                (b"a/*b", b"a "),
                (b"a-b--c", b"a-b"),
                (b"a#b", b"a"),
                (b"a/b<!-c*/", b"a/b<!-c*/"),
                (b"/*/", b" "),
            ],
        );
    }
}
