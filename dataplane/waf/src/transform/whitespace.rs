//! `t:compressWhitespace` (each run becomes one space) and `t:removeWhitespace`.
//!
//! White space is the six bytes of C's `isspace`, which is what ModSecurity 3 does in effect. A no-break space stays:
//! its byte 0xa0 is also the end of other characters in UTF-8. Cost: one pass from the first white space on.

use super::{SPACES, position};
use crate::byte_set::ByteSet;

pub(super) const TOUCHES: ByteSet = SPACES;

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(input);
    let Some(first) = position(input, &TOUCHES) else {
        return;
    };
    let mut written = first;
    let mut is_in_run = false;
    for &byte in &input[first..] {
        let is_space = SPACES.contains(byte);
        out[written] = if is_space { b' ' } else { byte };
        written += usize::from(!(is_space && is_in_run));
        is_in_run = is_space;
    }
    out.truncate(written);
}

pub(super) fn remove(input: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(input);
    let Some(first) = position(input, &TOUCHES) else {
        return;
    };
    let mut written = first;
    for &byte in &input[first..] {
        out[written] = byte;
        written += usize::from(!SPACES.contains(byte));
    }
    out.truncate(written);
}

#[cfg(test)]
mod tests {
    use crate::transform::{Transformation::*, check};

    #[test]
    fn runs_become_one_space() {
        check(
            CompressWhitespace,
            &[
                (b"a \t\r\n\x0b\x0cb", b"a b"),
                (b"\n\n", b" "),
                (b"a b ", b"a b "),
                (b"a\tb", b"a b"),
                (b"\xa0", b"\xa0"),
            ],
        );
    }

    #[test]
    fn white_space_goes() {
        check(
            RemoveWhitespace,
            &[(b" a \t\r\n\x0b\x0cb\n", b"ab"), (b" ", b""), (b"a\0\xc3\xa0", b"a\0\xc3\xa0")],
        );
    }
}
