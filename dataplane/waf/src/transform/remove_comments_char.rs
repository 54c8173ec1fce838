//! `t:removeCommentsChar`: takes out `/*`, `*/`, `<!--`, `-->`, `--` and `#`, and leaves what is between.
//!
//! One pass from left to right: marks that come together because one between them went stay. Source: ModSecurity
//! reference manual, "removeCommentsChar". Cost: what lies between marks is copied in one go.

use super::position;
use crate::byte_set::ByteSet;

/// `/*` and `*/` need the asterisk, all others but `#` the hyphen.
pub(super) const TOUCHES: ByteSet = ByteSet::of(b"*-#");

const STARTS: ByteSet = ByteSet::of(b"/*<-#");

pub(super) fn apply(input: &[u8], out: &mut Vec<u8>) {
    let mut rest = input;
    while let Some(at) = position(rest, &STARTS) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let len = match rest {
            [b'<', b'!', b'-', b'-', ..] => 4,
            [b'-', b'-', b'>', ..] => 3,
            [b'/', b'*', ..] | [b'*', b'/', ..] | [b'-', b'-', ..] => 2,
            [b'#', ..] => 1,
            _ => {
                out.push(rest[0]);
                rest = &rest[1..];
                continue;
            }
        };
        rest = &rest[len..];
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use crate::transform::{Transformation::RemoveCommentsChar, check};

    #[test]
    fn marks_go() {
        check(
            RemoveCommentsChar,
            &[
                (b"a/*b*/c", b"abc"),
                (b"<!--a-->", b"a"),
                (b"a--b#c", b"abc"),
                (b"a---b", b"a-b"),
                (b"/*/", b"/"),
                (b"//**", b"/*"),
                (b"a/b-c*d<!-", b"a/b-c*d<!-"),
            ],
        );
    }
}
