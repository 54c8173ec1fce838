//! `t:replaceComments`: each `/* ... */` becomes a space; one without end too.
//!
//! Source: ModSecurity reference manual, "replaceComments". Cost: a search for both marks, the rest in one go.

use crate::byte_set::ByteSet;

/// `/*` needs it.
pub(super) const TOUCHES: ByteSet = ByteSet::of(b"*");

pub(super) fn apply(input: &[u8], out: &mut Vec<u8>) {
    let mut rest = input;
    while let Some(start) = pair(rest, b'/', b'*') {
        out.extend_from_slice(&rest[..start]);
        out.push(b' ');
        rest = &rest[start + 2..];
        let Some(end) = pair(rest, b'*', b'/') else {
            return;
        };
        rest = &rest[end + 2..];
    }
    out.extend_from_slice(rest);
}

/// Where the two bytes stand side by side first.
fn pair(text: &[u8], first: u8, second: u8) -> Option<usize> {
    memchr::memchr_iter(first, text).find(|&at| text.get(at + 1) == Some(&second))
}

#[cfg(test)]
mod tests {
    use crate::transform::{Transformation::ReplaceComments, check};

    #[test]
    fn comments_become_a_space() {
        check(
            ReplaceComments,
            &[
                (b"a/*b*/c/**/d", b"a c d"),
                (b"a/*b", b"a "),
                (b"/*/", b" "),
                (b"/*/*/*/x", b" */x"),
                (b"a*/b/ *", b"a*/b/ *"),
            ],
        );
    }
}
