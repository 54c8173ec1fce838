//! SipHash (Aumasson, Bernstein 2012) over a few 64-bit words: the keyed hash of tables, and the MAC of cookies.
//!
//! Owns: [`hash13`] for tables whose output nobody sees, [`hash24`] where the output goes on the wire. Does not
//! own: keys. The standard library has the same function, but only over a byte stream with buffering; here the
//! input is words in registers. Checked against the authors' vectors and against the standard library.
//!
//! Cost: SipHash-1-3 of an IPv4 flow about 6 ns, SipHash-2-4 of an IPv4 cookie about 10 ns.

use crate::flow::HashKey;

/// SipHash-1-3 of `words` (little-endian bytes) followed by the low `tail_len` (at most 7) bytes of `tail`.
#[inline]
pub fn hash13<const N: usize>(key: &HashKey, words: [u64; N], tail: u64, tail_len: usize) -> u64 {
    hash::<1, 3, N>(key, words, tail, tail_len)
}

/// SipHash-2-4 of `words` (little-endian bytes) followed by the low `tail_len` (at most 7) bytes of `tail`.
#[inline]
pub fn hash24<const N: usize>(key: &HashKey, words: [u64; N], tail: u64, tail_len: usize) -> u64 {
    hash::<2, 4, N>(key, words, tail, tail_len)
}

#[inline]
fn hash<const C: usize, const D: usize, const N: usize>(
    key: &HashKey,
    words: [u64; N],
    tail: u64,
    tail_len: usize,
) -> u64 {
    debug_assert!(tail_len < 8 && tail >> (tail_len * 8) == 0, "tail has more bytes than it says");
    let mut state = State::new(key);
    for word in words {
        state.absorb::<C>(word);
    }
    state.absorb::<C>(((N * 8 + tail_len) as u64) << 56 | tail);
    state.finish::<D>()
}

#[derive(Clone, Copy)]
struct State([u64; 4]);

impl State {
    #[inline]
    fn new(key: &HashKey) -> Self {
        let [k0, k1] = key.0;
        // "somepseudorandomlygeneratedbytes"
        Self([
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ])
    }

    #[inline]
    fn absorb<const C: usize>(&mut self, word: u64) {
        self.0[3] ^= word;
        for _ in 0..C {
            self.round();
        }
        self.0[0] ^= word;
    }

    #[inline]
    fn finish<const D: usize>(mut self) -> u64 {
        self.0[2] ^= 0xff;
        for _ in 0..D {
            self.round();
        }
        let [v0, v1, v2, v3] = self.0;
        v0 ^ v1 ^ v2 ^ v3
    }

    #[inline]
    fn round(&mut self) {
        let [mut v0, mut v1, mut v2, mut v3] = self.0;
        v0 = v0.wrapping_add(v1);
        v1 = v1.rotate_left(13) ^ v0;
        v0 = v0.rotate_left(32);
        v2 = v2.wrapping_add(v3);
        v3 = v3.rotate_left(16) ^ v2;
        v0 = v0.wrapping_add(v3);
        v3 = v3.rotate_left(21) ^ v0;
        v2 = v2.wrapping_add(v1);
        v1 = v1.rotate_left(17) ^ v2;
        v2 = v2.rotate_left(32);
        self.0 = [v0, v1, v2, v3];
    }
}

#[cfg(test)]
mod tests {
    #![expect(deprecated, reason = "the standard library's SipHash-2-4 is the independent implementation")]

    use core::hash::{Hasher, SipHasher};
    use std::hash::DefaultHasher;

    use proptest::prelude::*;

    use super::*;

    /// Any bytes, split into words and tail as the callers do it.
    fn hash_bytes(key: &HashKey, bytes: &[u8], hash: fn(&HashKey, &[u64], u64, usize) -> u64) -> u64 {
        let (words, rest) = bytes.as_chunks::<8>();
        let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let mut tail = [0; 8];
        tail[..rest.len()].copy_from_slice(rest);
        hash(key, &words, u64::from_le_bytes(tail), rest.len())
    }

    fn any_len<const C: usize, const D: usize>(key: &HashKey, words: &[u64], tail: u64, len: usize) -> u64 {
        match *words {
            [] => hash::<C, D, 0>(key, [], tail, len),
            [a] => hash::<C, D, 1>(key, [a], tail, len),
            [a, b] => hash::<C, D, 2>(key, [a, b], tail, len),
            [a, b, c] => hash::<C, D, 3>(key, [a, b, c], tail, len),
            [a, b, c, d] => hash::<C, D, 4>(key, [a, b, c, d], tail, len),
            _ => panic!("longer than the test needs"),
        }
    }

    #[test]
    fn vectors_of_the_authors_are_met() {
        // github.com/veorq/SipHash, vectors.h, vectors_sip64: key 00..0f, message 00, 01, .. of each length.
        const VECTORS: [(usize, [u8; 8]); 6] = [
            (0, [0x31, 0x0e, 0x0e, 0xdd, 0x47, 0xdb, 0x6f, 0x72]),
            (1, [0xfd, 0x67, 0xdc, 0x93, 0xc5, 0x39, 0xf8, 0x74]),
            (2, [0x5a, 0x4f, 0xa9, 0xd9, 0x09, 0x80, 0x6c, 0x0d]),
            (3, [0x2d, 0x7e, 0xfb, 0xd7, 0x96, 0x66, 0x67, 0x85]),
            (8, [0x62, 0x24, 0x93, 0x9a, 0x79, 0xf5, 0xf5, 0x93]),
            // The example of the paper, appendix A: a129ca6149be45e5.
            (15, [0xe5, 0x45, 0xbe, 0x49, 0x61, 0xca, 0x29, 0xa1]),
        ];
        let key = HashKey([0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908]);
        for (len, expected) in VECTORS {
            let message: Vec<u8> = (0..len as u8).collect();
            assert_eq!(hash_bytes(&key, &message, any_len::<2, 4>).to_le_bytes(), expected, "length {len}");
        }
    }

    proptest! {
        #[test]
        fn hash24_agrees_with_the_standard_library(
            k0: u64,
            k1: u64,
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut reference = SipHasher::new_with_keys(k0, k1);
            reference.write(&bytes);
            prop_assert_eq!(hash_bytes(&HashKey([k0, k1]), &bytes, any_len::<2, 4>), reference.finish());
        }

        #[test]
        fn hash13_agrees_with_the_standard_library(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            // The default hasher is SipHash-1-3 with a zero key.
            let mut reference = DefaultHasher::new();
            reference.write(&bytes);
            prop_assert_eq!(hash_bytes(&HashKey([0, 0]), &bytes, any_len::<1, 3>), reference.finish());
        }
    }
}
