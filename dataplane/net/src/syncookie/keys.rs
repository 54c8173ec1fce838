//! The secrets of SYN cookies: one per epoch, derived from a master secret that a fleet shares.
//!
//! ```text
//! epoch      e-1          e           e+1            of 64 s each, counted from the Unix epoch
//!        |  previous  |  current  |    next    |
//!   makes:                 ^
//!   accepts:    ^          ^            ^           next: another node's clock may be ahead
//! ```
//!
//! Owns: [`KeySchedule`] (the master), [`Keys`] (three derived keys). Does not own: the clock, the random source,
//! how the master reaches the nodes. An epoch's key says nothing about the master or other epochs (SipHash-2-4 is
//! a pseudo-random function); the master itself is never used on the wire.

use crate::flow::HashKey;
use crate::siphash::hash24;

/// Length of an epoch in seconds. A handshake takes three round trips at most, also with a lost ACK and a
/// retransmission after some seconds; a cookie lives one to two epochs. Shorter would lose slow clients, longer
/// gives a stolen cookie more time.
pub const EPOCH_SECS: u64 = 64;

/// Shortest master secret in bytes: what a 128-bit key needs when it is made of random bytes.
pub const SECRET_BYTES_MIN: usize = 16;

/// The epoch at a time in seconds since 1970. All nodes of a fleet must agree on it to within an epoch.
pub const fn epoch_at(unix_secs: u64) -> u32 {
    (unix_secs / EPOCH_SECS) as u32
}

/// The master secret, from which the key of any epoch follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySchedule {
    master: HashKey,
}

impl KeySchedule {
    /// A schedule from 128 random bits: nodes with another master do not know each other's cookies.
    pub const fn new(master: HashKey) -> Self {
        Self { master }
    }

    /// A schedule from a secret that people share (`SYN_COOKIE_SECRET`). Its strength is the secret's: use at least
    /// 32 random hexadecimal digits. `None` when it is shorter than [`SECRET_BYTES_MIN`].
    pub fn from_secret(secret: &[u8]) -> Option<Self> {
        if secret.len() < SECRET_BYTES_MIN {
            return None;
        }
        // Condenses text to 128 bits, with fixed keys ("secbeat" and a number): it spreads the entropy that is
        // there and adds none. Nobody sees the result, so that SipHash is no collision-free hash does not matter.
        let half = |number: u64| {
            let (blocks, rest) = secret.as_chunks::<8>();
            let mut state = HashKey([0x0074_6165_6263_6573, number]);
            for block in blocks {
                let word = u64::from_le_bytes(*block);
                state = HashKey([hash24(&state, [word, 0], 0, 0), hash24(&state, [word, 1], 0, 0)]);
            }
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            hash24(&state, [u64::from_le_bytes(last), secret.len() as u64], 0, 0)
        };
        Some(Self { master: HashKey([half(1), half(2)]) })
    }

    /// The keys around `epoch`. Six hashes: to be made once per epoch, not per packet.
    pub fn keys(&self, epoch: u32) -> Keys {
        let mut ring = [HashKey([0; 2]); 4];
        for epoch in [epoch.wrapping_sub(1), epoch, epoch.wrapping_add(1)] {
            let word = |half: u64| hash24(&self.master, [u64::from(epoch), half], 0, 0);
            ring[(epoch & 3) as usize] = HashKey([word(0), word(1)]);
        }
        Keys { epoch, ring }
    }
}

/// The keys of an epoch and its neighbours: 72 bytes, copied into each worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    epoch: u32,
    /// By the low two bits of the epoch; the fourth, two epochs away, is never used.
    ring: [HashKey; 4],
}

impl Keys {
    /// The epoch whose key makes cookies.
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The keys of the epoch before, of this one and of the next: what another maker and checker of cookies needs.
    pub fn around(&self) -> [HashKey; 3] {
        let key = |step: u32| self.ring[(self.epoch.wrapping_add(step) & 3) as usize];
        [key(u32::MAX), key(0), key(1)]
    }

    #[inline]
    pub(super) fn current(&self) -> &HashKey {
        &self.ring[(self.epoch & 3) as usize]
    }

    /// The accepted epoch whose low two bits are `bits`, with its key.
    #[inline]
    pub(super) fn find(&self, bits: u32) -> Option<(u32, &HashKey)> {
        // 0 = previous, 1 = current, 2 = next, 3 = neither.
        let distance = bits.wrapping_sub(self.epoch).wrapping_add(1) & 3;
        if distance == 3 {
            return None;
        }
        Some((self.epoch.wrapping_add(distance).wrapping_sub(1), &self.ring[(bits & 3) as usize]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_with_one_secret_derive_the_same_keys() {
        let schedule = |secret: &[u8]| KeySchedule::from_secret(secret);
        let ours = schedule(b"0123456789abcdef0123456789abcdef").unwrap();
        assert_eq!(Some(ours), schedule(b"0123456789abcdef0123456789abcdef"));
        assert_eq!(ours.keys(7), ours.keys(7));
        assert_ne!(Some(ours), schedule(b"0123456789abcdef0123456789abcdeg"));
        assert_ne!(Some(ours), schedule(b"0123456789abcdef0123456789abcdef\0"));
        assert_eq!(schedule(b"fifteen bytes.."), None);
    }

    #[test]
    fn neighbouring_epochs_share_their_common_keys_and_no_others() {
        let schedule = KeySchedule::new(HashKey([3, 4]));
        let (now, next) = (schedule.keys(100), schedule.keys(101));
        for bits in 0..4 {
            let (ours, theirs) = (now.find(bits), next.find(bits));
            match bits {
                0 | 1 => assert_eq!(ours, theirs, "epoch {} is known to both", 100 + bits),
                2 => assert_eq!((ours, theirs.map(|found| found.0)), (None, Some(102))),
                _ => assert_eq!((ours.map(|found| found.0), theirs), (Some(99), None)),
            }
        }
        assert_eq!(now.find(0), Some((100, now.current())));
        assert_eq!(now.around(), [3, 0, 1].map(|bits| *now.find(bits).expect("live").1));
    }

    #[test]
    fn epochs_wrap_without_a_gap() {
        let keys = KeySchedule::new(HashKey([3, 4])).keys(u32::MAX);
        assert_eq!(keys.find(0).map(|found| found.0), Some(0));
        assert_eq!(keys.find(2).map(|found| found.0), Some(u32::MAX - 1));
        assert_eq!(keys.find(1), None);
        assert_eq!(epoch_at(6400), 100);
    }
}
