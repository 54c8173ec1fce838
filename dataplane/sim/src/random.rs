//! Random numbers from a seed: xoshiro256** (Blackman, Vigna), written out so that a seed means the same world
//! on every machine and with every version of every dependency.

/// A stream of random numbers. Streams with different labels of one seed are independent, so that one more draw
/// in one part of the world does not change all the others.
#[derive(Clone, Debug)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    /// The stream `label` of a seed.
    pub fn new(seed: u64, label: &str) -> Self {
        // FNV-1a over the label, then SplitMix64 to spread the bits, as the authors advise for seeding.
        let hash = label.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let mut z = seed ^ hash;
        let mut next = || {
            z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut x = z;
            x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            x ^ (x >> 31)
        };
        Self { state: [next(), next(), next(), next()] }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// The next 32 bits.
    pub fn bits_32(&mut self) -> u32 {
        (self.bits() >> 32) as u32
    }

    /// A number below `bound`; zero when the bound is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The bias of taking the high half of a product is below 2^-32 for the bounds used here.
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True `per_mille` times in a thousand.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }

    /// One of `choices`.
    ///
    /// # Panics
    /// When there is nothing to choose from.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// A 128-bit key.
    pub fn key(&mut self) -> [u64; 2] {
        [self.bits(), self.bits()]
    }
}

/// Byte `offset` of the stream `id`: what every simulated sender sends and every receiver expects, so that a byte
/// that is lost, doubled, moved or taken from another connection is noticed.
pub fn pattern(id: u64, offset: u64) -> u8 {
    let word = (id ^ 0x5851_f42d_4c95_7f2d).wrapping_add(offset / 8).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((word ^ (word >> 29)) >> (8 * (offset % 8))) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_gives_the_same_stream_and_labels_differ() {
        let draw = |seed, label| {
            let mut random = Random::new(seed, label);
            [random.bits(), random.bits(), random.bits()]
        };
        assert_eq!(draw(7, "link"), draw(7, "link"));
        assert_ne!(draw(7, "link"), draw(7, "client"));
        assert_ne!(draw(7, "link"), draw(8, "link"));
    }

    #[test]
    fn bounds_are_kept_and_reached() {
        let mut random = Random::new(1, "bounds");
        let mut seen = [false; 5];
        for _ in 0..200 {
            let number = random.between(3, 7);
            assert!((3..=7).contains(&number));
            seen[(number - 3) as usize] = true;
        }
        assert_eq!(seen, [true; 5]);
        assert!(!random.chance(0));
        assert!(random.chance(1_000));
    }

    #[test]
    fn patterns_of_two_streams_differ_soon() {
        let first: Vec<u8> = (0..64).map(|offset| pattern(1, offset)).collect();
        let second: Vec<u8> = (0..64).map(|offset| pattern(2, offset)).collect();
        let shifted: Vec<u8> = (8..72).map(|offset| pattern(1, offset)).collect();
        assert_ne!(first, second);
        assert_ne!(first, shifted);
    }
}
