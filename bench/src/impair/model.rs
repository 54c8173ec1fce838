//! What a bad network does to one packet: pure arithmetic on time and a seeded random sequence.
//!
//! Order of effects: loss, rate (with a queue), delay and jitter, reorder, duplicate, corrupt. Jitter alone
//! never reorders, as one path does not; `reorder` holds single packets back so that later ones overtake.

use std::time::Duration;

use clap::Args;

use crate::flood::Random;

/// The impairments of one direction.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Settings {
    /// Delay of every packet, in milliseconds
    #[arg(long, default_value_t = 0.0)]
    pub(crate) delay_ms: f64,
    /// The delay varies by up to this much both ways, in milliseconds
    #[arg(long, default_value_t = 0.0)]
    pub(crate) jitter_ms: f64,
    /// Packets lost, in percent
    #[arg(long, default_value_t = 0.0)]
    pub(crate) loss: f64,
    /// Packets held back behind later ones, in percent
    #[arg(long, default_value_t = 0.0)]
    pub(crate) reorder: f64,
    /// How long a reordered packet is held back, in milliseconds
    #[arg(long, default_value_t = 1.0)]
    pub(crate) reorder_ms: f64,
    /// Packets sent twice, in percent
    #[arg(long, default_value_t = 0.0)]
    pub(crate) duplicate: f64,
    /// Packets with one bit flipped behind the Ethernet header, in percent
    #[arg(long, default_value_t = 0.0)]
    pub(crate) corrupt: f64,
    /// Bandwidth of each direction, in Mbit/s (0: no limit)
    #[arg(long, default_value_t = 0.0)]
    pub(crate) rate_mbit: f64,
    /// Longest wait in the queue of a limited bandwidth, in milliseconds; what would wait longer is lost
    #[arg(long, default_value_t = 50.0)]
    pub(crate) queue_ms: f64,
}

/// What happens to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is lost at random.
    Lost,
    /// It finds the queue full.
    QueueFull,
    /// It goes on.
    Sent {
        /// When it leaves, since the beginning.
        at: Duration,
        /// It was held back.
        reordered: bool,
        /// When a copy of it leaves.
        copy_at: Option<Duration>,
        /// Which bit of it flips, counted from its first byte.
        corrupt_bit: Option<usize>,
    },
}

/// One direction of the relay.
#[derive(Clone, Debug)]
pub(crate) struct Direction {
    settings: Settings,
    random: Random,
    /// When the line is free again.
    line_free: Duration,
    /// When the last packet in order leaves.
    last_at: Duration,
}

/// Bytes of a frame that are never corrupted: a wrong address would only lose it.
const ETHERNET_BYTES: usize = 14;

impl Direction {
    /// A direction with nothing on its way.
    pub(crate) fn new(settings: &Settings, seed: u64) -> Self {
        let random = Random::new(seed);
        Self { settings: settings.clone(), random, line_free: Duration::ZERO, last_at: Duration::ZERO }
    }

    /// Decides about a frame of `len` bytes that arrives `now`, since the beginning.
    pub(crate) fn handle(&mut self, now: Duration, len: usize) -> Fate {
        if self.happens(self.settings.loss) {
            return Fate::Lost;
        }
        let mut at = now;
        if self.settings.rate_mbit > 0.0 {
            let begin = self.line_free.max(now);
            if begin - now > millis(self.settings.queue_ms) {
                return Fate::QueueFull;
            }
            self.line_free =
                begin + Duration::from_secs_f64(len as f64 * 8.0 / (self.settings.rate_mbit * 1e6));
            at = self.line_free;
        }
        at += self.delay();
        at = at.max(self.last_at);
        let reordered = self.happens(self.settings.reorder);
        if reordered {
            at += millis(self.settings.reorder_ms);
        } else {
            self.last_at = at;
        }
        let copy_at = self.happens(self.settings.duplicate).then_some(at);
        let corrupt_bit = (self.happens(self.settings.corrupt) && len > ETHERNET_BYTES)
            .then(|| ETHERNET_BYTES * 8 + self.random.below(((len - ETHERNET_BYTES) * 8) as u64) as usize);
        Fate::Sent { at, reordered, copy_at, corrupt_bit }
    }

    fn happens(&mut self, percent: f64) -> bool {
        // Nothing is drawn for what is off, so that switching one effect on leaves the others as they were.
        percent > 0.0 && self.random.chance(percent / 100.0)
    }

    fn delay(&mut self) -> Duration {
        let Settings { delay_ms, jitter_ms, .. } = self.settings;
        if jitter_ms <= 0.0 {
            return millis(delay_ms);
        }
        let share = self.random.below(2_000_001) as f64 / 1e6 - 1.0;
        millis(delay_ms + jitter_ms * share)
    }
}

fn millis(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms.max(0.0) / 1e3).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(settings: &Settings, count: u64, gap: Duration) -> Vec<(Duration, Fate)> {
        let mut direction = Direction::new(settings, 3);
        (0..count).map(|index| gap * index as u32).map(|now| (now, direction.handle(now, 1514))).collect()
    }

    fn off() -> Settings {
        Settings { reorder_ms: 1.0, queue_ms: 50.0, ..Settings::default() }
    }

    #[test]
    fn nothing_happens_when_everything_is_off() {
        for (now, fate) in run(&off(), 1000, Duration::from_micros(1)) {
            assert_eq!(fate, Fate::Sent { at: now, reordered: false, copy_at: None, corrupt_bit: None });
        }
    }

    #[test]
    fn loss_comes_as_often_as_asked_and_the_same_every_time() {
        let settings = Settings { loss: 1.0, ..off() };
        let first = run(&settings, 100_000, Duration::from_micros(1));
        let lost = first.iter().filter(|(_, fate)| *fate == Fate::Lost).count();
        assert!((850..1150).contains(&lost), "{lost}");
        assert_eq!(first, run(&settings, 100_000, Duration::from_micros(1)));
    }

    #[test]
    fn jitter_keeps_the_order_and_its_bounds() {
        let settings = Settings { delay_ms: 10.0, jitter_ms: 3.0, ..off() };
        let mut last = Duration::ZERO;
        for (now, fate) in run(&settings, 10_000, Duration::from_millis(1)) {
            let Fate::Sent { at, .. } = fate else { panic!("{fate:?}") };
            assert!(
                at >= last && at >= now + Duration::from_millis(7) && at <= now + Duration::from_millis(13)
            );
            last = at;
        }
    }

    #[test]
    fn a_reordered_packet_is_overtaken() {
        let settings = Settings { reorder: 10.0, ..off() };
        let fates = run(&settings, 1000, Duration::from_micros(100));
        let times: Vec<Duration> = fates
            .iter()
            .filter_map(|(_, fate)| if let Fate::Sent { at, .. } = fate { Some(*at) } else { None })
            .collect();
        let overtaken = times.windows(2).filter(|pair| pair[1] < pair[0]).count();
        assert!((50..150).contains(&overtaken), "{overtaken}");
    }

    #[test]
    fn bandwidth_is_kept_and_the_queue_is_bounded() {
        // 1514 bytes at 12.112 Mbit/s take 1 ms; one arrives every 0.5 ms.
        let settings = Settings { rate_mbit: 12.112, ..off() };
        let fates = run(&settings, 2000, Duration::from_micros(500));
        let full = fates.iter().filter(|(_, fate)| *fate == Fate::QueueFull).count();
        assert!((900..1000).contains(&full), "{full}");
        for (now, fate) in fates {
            if let Fate::Sent { at, .. } = fate {
                assert!(at - now <= Duration::from_millis(52));
            }
        }
    }

    #[test]
    fn corruption_spares_the_ethernet_header() {
        let settings = Settings { corrupt: 100.0, ..off() };
        for (_, fate) in run(&settings, 1000, Duration::from_micros(1)) {
            let Fate::Sent { corrupt_bit: Some(bit), .. } = fate else { panic!("{fate:?}") };
            assert!((14 * 8..1514 * 8).contains(&bit));
        }
    }
}
