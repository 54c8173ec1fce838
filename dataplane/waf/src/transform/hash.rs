//! `t:md5` and `t:sha1`: raw digests, for rules that compare; not for secrets.
//!
//! Both change every value, the empty one too. Cost: that of the hash.

use md5::Md5;
use sha1::{Digest, Sha1};

use crate::byte_set::ByteSet;

pub(super) const TOUCHES: ByteSet = ByteSet::ALL;

/// Length of an MD5 digest, bytes (RFC 1321).
pub(super) const MD5_BYTES: usize = 16;
/// Length of a SHA-1 digest, bytes (FIPS 180-4).
pub(super) const SHA1_BYTES: usize = 20;

pub(super) fn md5(input: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&Md5::digest(input));
}

pub(super) fn sha1(input: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&Sha1::digest(input));
}

#[cfg(test)]
mod tests {
    use crate::transform::{Transformation::*, apply_chain};

    #[test]
    fn digests_of_the_standards() {
        // RFC 1321 appendix A.5 and FIPS 180-4's "abc".
        let hex = |word, input: &[u8]| {
            String::from_utf8_lossy(&apply_chain(&[word, HexEncode], input)).into_owned()
        };
        assert_eq!(hex(Md5, b""), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(hex(Md5, b"message digest"), "f96b697d7cb7938d525a2f31aaf161d0");
        assert_eq!(hex(Sha1, b""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        assert_eq!(hex(Sha1, b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
    }
}
