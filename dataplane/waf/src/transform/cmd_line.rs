//! `t:cmdLine`: undoes what command shells ignore.
//!
//! Removes `\`, `"`, `'` and `^`; makes one space of each run of blanks, commas and semicolons; removes that space
//! before `/` and `(`; lower-cases. Source: ModSecurity reference manual, "cmdLine". Cost: one pass, one table
//! look-up a byte.

use super::position;
use crate::byte_set::ByteSet;

const DROPPED: ByteSet = ByteSet::of(b"\\\"'^");
const BLANKS: ByteSet = ByteSet::of(b" ,;\t\r\n");

/// Neither `/` nor `(` is in: they matter only after a blank.
pub(super) const TOUCHES: ByteSet = DROPPED.union(BLANKS).union(ByteSet::range(b'A', b'Z'));

/// What a byte becomes, or one of the marks below.
const MAP: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = if DROPPED.contains(byte as u8) {
            DROP
        } else if BLANKS.contains(byte as u8) {
            b' '
        } else {
            (byte as u8).to_ascii_lowercase()
        };
        byte += 1;
    }
    table
};

/// No byte becomes `^`, since `^` is dropped itself.
const DROP: u8 = b'^';

pub(super) fn apply(input: &[u8], out: &mut Vec<u8>) {
    let Some(first) = position(input, &TOUCHES) else {
        out.extend_from_slice(input);
        return;
    };
    out.extend_from_slice(input);
    let mut written = first;
    for &byte in &input[first..] {
        let mapped = MAP[byte as usize];
        let after_blank = written > first && out[written - 1] == b' ';
        match mapped {
            DROP => continue,
            b' ' if after_blank => continue,
            b'/' | b'(' if after_blank => written -= 1,
            _ => {}
        }
        out[written] = mapped;
        written += 1;
    }
    out.truncate(written);
}

#[cfg(test)]
mod tests {
    use crate::transform::{Transformation::CmdLine, check};

    #[test]
    fn shells_see_the_same() {
        check(
            CmdLine,
            &[
                (b"c^m\\d /c \"D\"'I'R", b"cmd/c dir"),
                (b"a ,;\t\r\nb", b"a b"),
                (b"a  (b)", b"a(b)"),
                (b" /", b"/"),
                (b"a\\ \" b", b"a b"),
                (b"a \"/b", b"a/b"),
                (b"\x0ba\x0b b ", b"\x0ba\x0b b "),
                (b"a/b(c)", b"a/b(c)"),
            ],
        );
    }
}
