//! RACK: loss is what was sent long enough before something that arrived (RFC 8985).
//!
//! Owns: the most recently sent segment known to have arrived, the reordering window and its adaptation to D-SACK,
//! when the tail loss probe goes out and what its answer means. Does not own: what follows from a loss (`recovery`),
//! timers.
//!
//! ```text
//!   sent   ─────x────────────A─────────B──────►            x is lost when, reo_wnd after B was acknowledged or
//!                                      │ arrived           sacked (and B was sent after x), x still is not
//!   lost at                            B.ack + reo_wnd
//! ```
//! Without SACK none of this applies; duplicate ACKs decide there (RFC 8985 §3.1).
//! Cost: 24 bytes; an ACK looks only at records sent before the one it acknowledges.

use core::time::Duration;

use super::rtt::Rtt;
use super::scoreboard::{Record, RecordPool, Scoreboard};
use super::seq::{is_after, is_before, later};

/// Duplicate ACKs, or sacked segments, that mean loss while no reordering was seen (RFC 5681 §3.2, RFC 8985 §6.2).
pub(super) const DUPLICATES: u32 = 3;

/// Round trips with loss for which a widened reordering window is kept (RFC 8985 §6.2 step 4).
const PERSIST_ROUNDS: u8 = 16;

/// Widest reordering window, in quarters of the least round trip; it is never above the smoothed one anyway.
const QUARTERS_MAX: u8 = 64;

/// How long a peer may delay the ACK of a single segment (RFC 8985 §7.2, Linux's value), microseconds.
const ACK_DELAY_US_MAX: u32 = 200_000;

/// Wait for the probe before there is a sample of the round trip (RFC 8985 §7.2), microseconds.
const PROBE_US_INITIAL: u32 = 1_000_000;

/// Shortest wait for the probe, microseconds: two ticks of the timers.
const PROBE_US_MIN: u32 = 2_000;

/// What RACK knows of one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rack {
    /// When the most recently sent segment that has arrived was sent, microseconds.
    sent_us: u32,
    /// Its end.
    end: u32,
    /// Its round trip, microseconds; zero while nothing has arrived.
    rtt_us: u32,
    /// The highest sequence number that has arrived.
    forward: u32,
    /// SND.NXT when a D-SACK last widened the window: once per round trip.
    round: u32,
    /// End of the flight that a tail loss probe was sent for.
    probe_end: u32,
    probe: Probe,
    is_reordering_seen: bool,
    is_round_open: bool,
    /// Width of the reordering window in quarters of the least round trip.
    quarters: u8,
    persist: u8,
}

/// The state of the tail loss probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    None,
    /// It was new data: an answer ends the episode.
    New,
    /// It was sent again: its answer tells whether the original was lost.
    Retransmission,
}

/// What the answer to a tail loss probe shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProbeAnswer {
    /// Nothing yet, or nothing was lost.
    NoLoss,
    /// The probe repaired a loss that nobody saw: the window must be reduced as for any other (RFC 8985 §7.4).
    Repaired,
}

/// What a search for losses found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Losses {
    /// Whether any record was newly marked lost.
    pub(super) any: bool,
    /// Time until the next record could be lost, if any waits.
    pub(super) wait: Option<Duration>,
}

impl Rack {
    /// Nothing has arrived; the first sequence number is `seq`.
    pub(super) fn new(seq: u32) -> Self {
        Self {
            sent_us: 0,
            end: seq,
            rtt_us: 0,
            forward: seq,
            round: seq,
            probe_end: seq,
            probe: Probe::None,
            is_reordering_seen: false,
            is_round_open: false,
            quarters: 1,
            persist: 0,
        }
    }

    /// `record` has arrived, by cumulative ACK or SACK (RFC 8985 §6.2 steps 2 and 3). `is_echo_old`: the timestamp that
    /// was echoed is from before the record was last sent, so an earlier copy arrived.
    pub(super) fn on_arrived(&mut self, record: &Record, is_echo_old: bool, rtt: &Rtt, now_us: u32) {
        if !record.is_retransmitted() && is_before(record.end(), self.forward) {
            self.is_reordering_seen = true;
        }
        self.forward = later(self.forward, record.end());
        let rtt_us = now_us.wrapping_sub(record.sent_us);
        if record.is_retransmitted() {
            let is_too_soon = rtt.minimum_us().is_some_and(|minimum| rtt_us < minimum);
            if is_echo_old || is_too_soon {
                return;
            }
        }
        if self.rtt_us == 0 || is_sent_after(record.sent_us, record.end(), self.sent_us, self.end) {
            (self.sent_us, self.end, self.rtt_us) = (record.sent_us, record.end(), rtt_us.max(1));
        }
    }

    /// A D-SACK arrived: something was sent twice without need, so wait longer (RFC 8985 §6.2 step 4).
    pub(super) fn on_duplicate_sack(&mut self, next: u32) {
        if self.is_round_open {
            return;
        }
        (self.round, self.is_round_open) = (next, true);
        self.quarters = (self.quarters + 1).min(QUARTERS_MAX);
        self.persist = PERSIST_ROUNDS;
    }

    /// SND.UNA is now `una`: a round trip after a D-SACK the next one counts again.
    pub(super) fn on_advanced(&mut self, una: u32) {
        if self.is_round_open && !is_before(una, self.round) {
            self.is_round_open = false;
        }
    }

    /// A recovery has ended: a window widened long ago narrows again.
    pub(super) fn on_recovered(&mut self) {
        self.persist = self.persist.saturating_sub(1);
        if self.persist == 0 {
            self.quarters = 1;
        }
    }

    /// The reordering window (RFC 8985 §6.2 step 4), microseconds.
    fn window_us(&self, rtt: &Rtt, is_recovering: bool, sacked_segments: u32) -> u32 {
        if !self.is_reordering_seen && (is_recovering || sacked_segments >= DUPLICATES) {
            return 0;
        }
        let minimum = u64::from(rtt.minimum_us().unwrap_or(0));
        let window = minimum * u64::from(self.quarters) / 4;
        (window as u32).min(rtt.smoothed_us().unwrap_or(0))
    }

    /// Marks what is lost (RFC 8985 §6.2 step 5). `mss` turns sacked bytes into segments.
    pub(super) fn find_losses(
        &self,
        board: &mut Scoreboard,
        pool: &mut RecordPool,
        rtt: &Rtt,
        is_recovering: bool,
        mss: u32,
        now_us: u32,
    ) -> Losses {
        let mut losses = Losses::default();
        if self.rtt_us == 0 {
            return losses;
        }
        let window = self.window_us(rtt, is_recovering, board.sacked().div_ceil(mss.max(1)));
        let mut wait_us = 0;
        let mut index = board.oldest();
        while let Some(record) = pool.get(index).copied() {
            let next = Scoreboard::newer(pool, index);
            if is_after(record.sent_us, self.sent_us) {
                break;
            }
            if is_sent_after(self.sent_us, self.end, record.sent_us, record.end()) {
                let due = record.sent_us.wrapping_add(self.rtt_us).wrapping_add(window);
                let remaining = due.wrapping_sub(now_us) as i32;
                if remaining <= 0 {
                    board.mark_lost(pool, index);
                    losses.any = true;
                } else {
                    wait_us = wait_us.max(remaining as u32);
                }
            }
            index = next;
        }
        losses.wait = (wait_us > 0).then(|| Duration::from_micros(u64::from(wait_us)));
        losses
    }

    /// How long after the last transmission a probe is due (RFC 8985 §7.2). `is_single`: one segment is in flight,
    /// whose ACK the peer may delay.
    pub(super) fn probe_wait(rtt: &Rtt, is_single: bool) -> Duration {
        let micros = match rtt.smoothed_us() {
            None => PROBE_US_INITIAL,
            Some(smoothed) => {
                let delay = if is_single { ACK_DELAY_US_MAX } else { 0 };
                (2 * smoothed + delay).max(PROBE_US_MIN)
            }
        };
        Duration::from_micros(u64::from(micros))
    }

    /// Whether a probe is under way; then there is no other.
    pub(super) fn is_probing(&self) -> bool {
        self.probe != Probe::None
    }

    /// A probe was sent; `next` is SND.NXT after it.
    pub(super) fn on_probe_sent(&mut self, next: u32, is_retransmission: bool) {
        self.probe_end = next;
        self.probe = if is_retransmission { Probe::Retransmission } else { Probe::New };
    }

    /// A timeout overrules the probe.
    pub(super) fn end_probe(&mut self) {
        self.probe = Probe::None;
    }

    /// An ACK of `ack` arrived (RFC 8985 §7.4.2). `is_duplicate_sack`: it reports that the probe arrived twice;
    /// `is_bare_duplicate`: it acknowledges nothing new and carries no SACK.
    pub(super) fn on_probe_answer(
        &mut self,
        ack: u32,
        is_duplicate_sack: bool,
        is_bare_duplicate: bool,
    ) -> ProbeAnswer {
        if self.probe == Probe::None || is_before(ack, self.probe_end) {
            return ProbeAnswer::NoLoss;
        }
        if self.probe == Probe::New || is_duplicate_sack || (ack == self.probe_end && is_bare_duplicate) {
            self.probe = Probe::None;
            return ProbeAnswer::NoLoss;
        }
        if is_after(ack, self.probe_end) {
            // More than the probed flight is acknowledged, and nobody complained of a duplicate: the original was lost.
            self.probe = Probe::None;
            return ProbeAnswer::Repaired;
        }
        ProbeAnswer::NoLoss
    }
}

/// Whether (`sent`, `end`) was sent after (`than`, `than_end`): at one time the higher sequence number is the later
/// one (RFC 8985 §6.1).
fn is_sent_after(sent: u32, end: u32, than: u32, than_end: u32) -> bool {
    is_after(sent, than) || (sent == than && is_after(end, than_end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::scoreboard::{Stamp, Standing};

    const MSS: u16 = 1_000;

    /// Records 0, 1, 2 ... of 1,000 bytes, sent at the given times in microseconds.
    struct Flight {
        pool: RecordPool,
        board: Scoreboard,
        rack: Rack,
        rtt: Rtt,
    }

    impl Flight {
        fn sent_at(times: &[u32]) -> Self {
            let mut flight = Self {
                pool: RecordPool::new(64),
                board: Scoreboard::EMPTY,
                rack: Rack::new(0),
                rtt: Rtt::UNKNOWN,
            };
            flight.rtt.sample(20_000, 0);
            for (index, time) in times.iter().enumerate() {
                assert!(flight.board.push(
                    &mut flight.pool,
                    index as u32 * 1_000,
                    MSS,
                    *time,
                    Stamp::default()
                ));
            }
            flight
        }

        fn index_of(&self, number: u32) -> u32 {
            let mut index = self.board.head();
            while self.pool.get(index).unwrap().seq != number * 1_000 {
                index = Scoreboard::next(&self.pool, index);
            }
            index
        }

        fn sack(&mut self, number: u32, now_us: u32) {
            let index = self.index_of(number);
            let record = *self.pool.get(index).unwrap();
            self.rack.on_arrived(&record, false, &self.rtt, now_us);
            self.board.mark_sacked(&mut self.pool, index);
        }

        fn find(&mut self, is_recovering: bool, now_us: u32) -> Losses {
            let Self { pool, board, rack, rtt } = self;
            rack.find_losses(board, pool, rtt, is_recovering, u32::from(MSS), now_us)
        }

        fn is_lost(&self, number: u32) -> bool {
            self.pool.get(self.index_of(number)).unwrap().standing == Standing::Lost
        }
    }

    #[test]
    fn segment_sent_before_one_that_arrived_is_lost_after_the_reordering_window() {
        let mut flight = Flight::sent_at(&[0, 1_000, 2_000]);
        flight.sack(1, 21_000);
        // 0 was sent 1 ms before 1: it has 20 ms + a quarter of the least round trip from its own sending.
        let losses = flight.find(false, 21_000);
        assert_eq!(losses, Losses { any: false, wait: Some(Duration::from_micros(4_000)) });
        let losses = flight.find(false, 25_000);
        assert_eq!(losses, Losses { any: true, wait: None });
        assert!(flight.is_lost(0) && !flight.is_lost(2), "2 was sent later");
    }

    #[test]
    fn three_sacked_segments_leave_no_window_unless_reordering_was_seen() {
        for is_reordered in [false, true] {
            let mut flight = Flight::sent_at(&[0, 0, 0, 0, 0]);
            if is_reordered {
                flight.sack(2, 20_000);
                flight.sack(1, 20_000);
            }
            [2, 3, 4].into_iter().for_each(|number| flight.sack(number, 20_000));
            assert_eq!(flight.find(false, 20_000).any, !is_reordered);
        }
    }

    #[test]
    fn lost_retransmission_is_found_by_what_was_sent_after_it() {
        let mut flight = Flight::sent_at(&[0, 1_000]);
        flight.sack(1, 21_000);
        assert!(flight.find(true, 21_000).any);
        let zero = flight.index_of(0);
        flight.board.mark_sent(&mut flight.pool, zero, 22_000, Stamp::default());
        assert!(flight.board.push(&mut flight.pool, 2_000, MSS, 23_000, Stamp::default()));
        flight.sack(2, 43_000);
        assert!(flight.find(true, 43_000).any, "sent again at 22 ms, 2 sent at 23 ms arrived");
        assert!(flight.is_lost(0));
    }

    #[test]
    fn ack_of_an_earlier_copy_does_not_move_the_clock() {
        let mut flight = Flight::sent_at(&[0, 1_000, 2_000]);
        let zero = flight.index_of(0);
        flight.board.mark_sent(&mut flight.pool, zero, 20_000, Stamp::default());
        // The answer comes 1 ms after the retransmission, far below the least round trip: it is the original's.
        flight.sack(0, 21_000);
        assert_eq!(flight.find(true, 21_000), Losses::default());
    }

    #[test]
    fn duplicate_sacks_widen_the_window_once_per_round_trip_and_calm_narrows_it() {
        let mut flight = Flight::sent_at(&[0]);
        flight.rack.is_reordering_seen = true;
        let window = |flight: &Flight| flight.rack.window_us(&flight.rtt, true, 9);
        assert_eq!(window(&flight), 5_000);
        flight.rack.on_duplicate_sack(5_000);
        flight.rack.on_duplicate_sack(6_000);
        assert_eq!(window(&flight), 10_000);
        flight.rack.on_advanced(5_000);
        (0..200).for_each(|_| {
            flight.rack.on_duplicate_sack(6_000);
            flight.rack.on_advanced(6_000);
        });
        assert_eq!(window(&flight), 20_000, "never above the smoothed round trip");
        (0..16).for_each(|_| flight.rack.on_recovered());
        assert_eq!(window(&flight), 5_000);
    }

    #[test]
    fn probe_waits_two_round_trips_and_longer_for_a_single_segment() {
        let mut rtt = Rtt::UNKNOWN;
        assert_eq!(Rack::probe_wait(&rtt, true), Duration::from_secs(1));
        rtt.sample(20_000, 0);
        assert_eq!(Rack::probe_wait(&rtt, false), Duration::from_millis(40));
        assert_eq!(Rack::probe_wait(&rtt, true), Duration::from_millis(240));
    }

    #[test]
    fn probe_that_repaired_a_loss_is_told_from_one_that_was_not_needed() {
        let probed = || {
            let mut rack = Rack::new(0);
            rack.on_probe_sent(5_000, true);
            rack
        };
        assert_eq!(probed().on_probe_answer(4_000, false, false), ProbeAnswer::NoLoss);
        assert!(probed().is_probing());
        let mut rack = probed();
        assert_eq!(rack.on_probe_answer(5_000, true, false), ProbeAnswer::NoLoss);
        assert!(!rack.is_probing());
        let mut rack = probed();
        assert_eq!(rack.on_probe_answer(5_000, false, false), ProbeAnswer::NoLoss);
        assert!(rack.is_probing(), "the original or the probe: the next ACK tells");
        assert_eq!(rack.on_probe_answer(6_000, false, false), ProbeAnswer::Repaired);
    }
}
