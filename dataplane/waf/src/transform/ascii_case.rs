//! `t:lowercase` and `t:uppercase`: letters of ASCII, nothing else.
//!
//! Cost: a copy and a pass over it, both of which the compiler makes wide.

use crate::byte_set::ByteSet;

pub(super) const LOWER_TOUCHES: ByteSet = ByteSet::range(b'A', b'Z');
pub(super) const UPPER_TOUCHES: ByteSet = ByteSet::range(b'a', b'z');

pub(super) fn lower(input: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(input);
    out.make_ascii_lowercase();
}

pub(super) fn upper(input: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(input);
    out.make_ascii_uppercase();
}

#[cfg(test)]
mod tests {
    use crate::transform::{Transformation::*, check};

    #[test]
    fn letters_of_ascii_change_case() {
        check(Lowercase, &[(b"aBC\0\xc3\x84[Z", b"abc\0\xc3\x84[z"), (b"plain 1", b"plain 1")]);
        check(Uppercase, &[(b"aBc\0\xc3\xa4{z", b"ABC\0\xc3\xa4{Z"), (b"PLAIN 1", b"PLAIN 1")]);
    }
}
