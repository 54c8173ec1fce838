//! A wire between a host and the node that does what bad networks do.
//!
//! Owns: delay, jitter, loss, reordering, duplication and single-bit corruption of one direction. Does not own:
//! the queue of what is on its way (`world`). A link heals at a given moment; from then on it only delays, and
//! what must complete has to complete.

use crate::random::Random;
use core::time::Duration;
use secbeat_net::time::Instant;

/// What a link does to frames; chances are per thousand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Impairment {
    /// Least time on the way, microseconds.
    pub delay_us: u64,
    /// Most time added to it at random, microseconds. It delays, it does not reorder.
    pub jitter_us: u64,
    /// Frames that vanish.
    pub loss: u64,
    /// Frames that are overtaken by later ones.
    pub reorder: u64,
    /// Frames that arrive twice.
    pub duplicate: u64,
    /// Frames that arrive with one bit flipped behind the Ethernet header.
    pub corrupt: u64,
}

/// How long a frame that is overtaken stays behind, at most, in microseconds.
const REORDER_US_MAX: u64 = 5_000;

/// One direction of a link.
#[derive(Debug)]
pub struct Wire {
    impairment: Impairment,
    heals_at: Instant,
    random: Random,
    last_arrival: Instant,
}

impl Wire {
    /// A wire that is bad until `heals_at`.
    pub fn new(impairment: Impairment, heals_at: Instant, random: Random) -> Self {
        Self { impairment, heals_at, random, last_arrival: Instant::ZERO }
    }

    /// What becomes of a frame: when it arrives, none to two times.
    pub fn carry(&mut self, mut frame: Vec<u8>, now: Instant) -> Vec<(Instant, Vec<u8>)> {
        let Impairment { delay_us, jitter_us, loss, reorder, duplicate, corrupt } = self.impairment;
        let delay = Duration::from_micros(delay_us + self.random.between(0, jitter_us));
        if now >= self.heals_at {
            return vec![(self.in_order(now + delay), frame)];
        }
        if self.random.chance(loss) {
            return Vec::new();
        }
        if self.random.chance(corrupt) {
            self.flip_a_bit(&mut frame);
        }
        let arrival = if self.random.chance(reorder) {
            now + delay + Duration::from_micros(self.random.between(1, REORDER_US_MAX))
        } else {
            self.in_order(now + delay)
        };
        if self.random.chance(duplicate) {
            let again = arrival + Duration::from_micros(self.random.between(0, REORDER_US_MAX));
            return vec![(arrival, frame.clone()), (again, frame)];
        }
        vec![(arrival, frame)]
    }

    fn in_order(&mut self, arrival: Instant) -> Instant {
        self.last_arrival = self.last_arrival.max(arrival);
        self.last_arrival
    }

    /// The Ethernet header is spared: its own checksum, which is not simulated, would catch every flip there.
    fn flip_a_bit(&mut self, frame: &mut [u8]) {
        let mut start = 14;
        while frame.get(start - 2..start).is_some_and(|kind| matches!(kind, [0x81, 0x00] | [0x88, 0xa8])) {
            start += 4;
        }
        if start < frame.len() {
            let bit = self.random.below((frame.len() - start) as u64 * 8) as usize;
            frame[start + bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(impairment: Impairment) -> Wire {
        Wire::new(impairment, Instant::from_millis(100), Random::new(5, "wire"))
    }

    #[test]
    fn jitter_keeps_the_order() {
        let mut wire = wire(Impairment { delay_us: 100, jitter_us: 5_000, ..Impairment::default() });
        let mut last = Instant::ZERO;
        for step in 0..500 {
            let arrivals = wire.carry(vec![0; 60], Instant::from_nanos(step * 10_000));
            assert_eq!(arrivals.len(), 1);
            assert!(arrivals[0].0 >= last);
            last = arrivals[0].0;
        }
    }

    #[test]
    fn bad_wire_heals() {
        let mut wire = wire(Impairment { loss: 1_000, ..Impairment::default() });
        assert!(wire.carry(vec![0; 60], Instant::from_millis(99)).is_empty());
        assert_eq!(wire.carry(vec![0; 60], Instant::from_millis(100)).len(), 1);
    }

    #[test]
    fn corruption_flips_one_bit_behind_the_ethernet_header() {
        let mut wire = wire(Impairment { corrupt: 1_000, ..Impairment::default() });
        let mut frame = vec![0u8; 60];
        frame[12..18].copy_from_slice(&[0x81, 0, 0, 7, 8, 0]);
        for _ in 0..300 {
            let (_, carried) = wire.carry(frame.clone(), Instant::ZERO).remove(0);
            let flipped: u32 = frame.iter().zip(&carried).map(|(a, b)| (a ^ b).count_ones()).sum();
            assert_eq!((flipped, &carried[..18]), (1, &frame[..18]));
        }
    }
}
