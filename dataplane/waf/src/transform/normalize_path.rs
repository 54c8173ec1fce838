//! `t:normalizePath` and `t:normalizePathWin`: what a file system makes of a path.
//!
//! Empty segments and `.` go; `..` takes the segment before it along, and stays only at the start of a relative path;
//! a slash at the end stays. The second word takes `\` for `/` first. Segments are whole: `a..` and `...` are names
//! (ModSecurity 3 takes their last dots for `..`). What is left of `/a/..` is `/`. Sources: ModSecurity reference
//! manual, "normalizePath"; RFC 3986 section 5.2.4.
//!
//! Cost: a path that is normal already is only searched; any other is written once, and no byte is taken back twice.

use super::position;
use crate::byte_set::ByteSet;

pub(super) const TOUCHES: ByteSet = ByteSet::of(b"/.");
pub(super) const WIN_TOUCHES: ByteSet = ByteSet::of(b"/.\\");

const SLASH: ByteSet = ByteSet::of(b"/");
const SLASHES: ByteSet = ByteSet::of(b"/\\");

pub(super) fn apply(input: &[u8], out: &mut Vec<u8>) {
    if needs(input) {
        normalize(input, &SLASH, out);
    } else {
        out.extend_from_slice(input);
    }
}

pub(super) fn apply_win(input: &[u8], out: &mut Vec<u8>) {
    if memchr::memchr(b'\\', input).is_some() || needs(input) {
        normalize(input, &SLASHES, out);
    } else {
        out.extend_from_slice(input);
    }
}

/// Whether a segment that goes, or looks as if, is in: it begins with a dot or is empty.
fn needs(input: &[u8]) -> bool {
    input.first() == Some(&b'.')
        || memchr::memchr_iter(b'/', input).any(|at| matches!(input.get(at + 1), Some(b'/' | b'.')))
}

fn normalize(input: &[u8], slashes: &ByteSet, out: &mut Vec<u8>) {
    let is_absolute = input.first().is_some_and(|&byte| slashes.contains(byte));
    let is_folder = input.last().is_some_and(|&byte| slashes.contains(byte));
    if is_absolute {
        out.push(b'/');
    }
    // What is before this stays: the root, or `..` that lead out of a relative path.
    let mut floor = out.len();
    let mut rest = input;
    loop {
        let len = position(rest, slashes).unwrap_or(rest.len());
        match &rest[..len] {
            b"" | b"." => {}
            b".." if out.len() > floor => {
                let parent = memchr::memrchr(b'/', &out[floor..]).map_or(floor, |at| floor + at);
                out.truncate(parent);
            }
            b".." if is_absolute => {}
            segment => {
                if out.last().is_some_and(|&byte| byte != b'/') {
                    out.push(b'/');
                }
                out.extend_from_slice(segment);
                if segment == b".." {
                    floor = out.len();
                }
            }
        }
        if len == rest.len() {
            break;
        }
        rest = &rest[len + 1..];
    }
    if is_folder && out.last().is_some_and(|&byte| byte != b'/') {
        out.push(b'/');
    }
}

#[cfg(test)]
mod tests {
    use crate::transform::{Transformation::*, check};

    #[test]
    fn paths() {
        check(
            NormalizePath,
            &[
                (b"/a/./b//c/../d/", b"/a/b/d/"),
                (b"/../../etc/passwd", b"/etc/passwd"),
                (b"../../a/../b", b"../../b"),
                (b"a/../../b", b"../b"),
                (b"a/..", b""),
                (b"a/../", b""),
                (b"/a/..", b"/"),
                (b"//", b"/"),
                (b"./.", b""),
                (b"a../b/.../..c/.d", b"a../b/.../..c/.d"),
                (b"..", b".."),
                (b"../a/..", b".."),
                (b"a\\..\\b", b"a\\..\\b"),
                (b"/", b"/"),
            ],
        );
    }

    #[test]
    fn paths_of_windows() {
        check(
            NormalizePathWin,
            &[
                (b"a\\b", b"a/b"),
                (b"c:\\a\\..\\b\\.\\c\\", b"c:/b/c/"),
                (b"\\\\host\\..\\..\\x", b"/x"),
                (b"..\\/..\\a", b"../../a"),
                (b"a/b", b"a/b"),
            ],
        );
    }
}
