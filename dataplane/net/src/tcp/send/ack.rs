//! What an acknowledgment says: what arrived, how long it took, what is lost, how much more may be sent.
//!
//! Owns: the checks of RFC 5961 §5, the window update (RFC 9293 §3.10.7.4), SACK and D-SACK (RFC 2018, 2883),
//! duplicate ACKs of peers without SACK (RFC 5681 §3.2, 6582), the begin and end of a recovery. Does not own:
//! arithmetic of the parts.

use super::{AckVerdict, Acknowledgment, Due, Fin, SendCounters, Sender, Shared, micros, millis};
use crate::tcp::congestion::Growth;
use crate::tcp::congestion::bbr::{ModelAck, RateSample};
use crate::tcp::rack::{DUPLICATES, Losses, ProbeAnswer};
use crate::tcp::recovery::Phase;
use crate::tcp::scoreboard::{Record, RecordPool, Scoreboard, Standing};
use crate::tcp::seq::{is_after, is_before};
use crate::time::Instant;
use crate::wire::tcp::SackBlock;

/// SACK blocks that fit into one segment's options.
const SACK_BLOCKS_MAX: usize = 4;

/// What one acknowledgment proves.
#[derive(Clone, Copy, Debug, Default)]
struct Evidence {
    /// Sequence numbers newly acknowledged.
    acked: u32,
    /// Bytes that were not known to have arrived.
    delivered: u32,
    /// Round trip of the first newly arrived segment that was sent once.
    sample_us: Option<u32>,
    /// Whether the peer received something twice.
    is_duplicate_sack: bool,
    has_sack: bool,
    is_window_moved: bool,
    /// Bytes in flight before.
    flight: u32,
    /// What it says of the rate of the path.
    rate: RateSample,
}

impl Sender {
    /// Processes the acknowledgment of an acceptable segment.
    pub(in crate::tcp) fn handle_ack(
        &mut self,
        shared: &mut Shared,
        ack: &Acknowledgment<'_>,
        now: Instant,
    ) -> AckVerdict {
        if is_after(ack.ack, self.next) || is_before(ack.ack, self.una.wrapping_sub(self.window_max)) {
            return AckVerdict::Unacceptable;
        }
        if is_before(ack.ack, self.una) {
            return AckVerdict::Accepted { bytes: 0, fin: false, has_room: false };
        }
        let mut evidence = Evidence { flight: self.flight(), ..Evidence::default() };
        evidence.is_window_moved = self.update_window(ack);
        self.take_cumulative(shared, ack, &mut evidence, now);
        self.take_sacks(shared, ack, &mut evidence, now);
        self.take_sample(ack, &evidence, now);
        let (bytes, fin) = self.advance(shared, &evidence, now);
        self.take_back_mistakes(shared, ack, &evidence);
        let losses = self.find_losses(shared, ack, &evidence, now);
        self.change_phase(shared, ack, &evidence, losses, now);
        self.is_ready |= self.has_work();
        if evidence.acked > 0 || losses.wait.is_some() || evidence.is_window_moved {
            self.arm(losses.wait, evidence.acked > 0, now);
        }
        let has_room = self.fin == Fin::Open && self.queue.len() <= self.queue_bytes_max(shared) / 4 * 3;
        AckVerdict::Accepted { bytes, fin, has_room }
    }

    /// Takes the window if its segment is not older than the one that set the last. Whether it differs from the last.
    ///
    /// RFC 9293 §3.10.7.4 goes by sequence numbers first; an ACK that was overtaken would then move SND.UNA and leave
    /// the window, whose edge would move with it further than the peer ever allowed. So, as in Linux, what
    /// acknowledges more is newer; and of what is equally new, a window that only shrinks was overtaken.
    fn update_window(&mut self, ack: &Acknowledgment<'_>) -> bool {
        let is_newer = !self.is_window_known
            || is_after(ack.ack, self.una)
            || is_after(ack.seq, self.window_seq)
            || (ack.seq == self.window_seq && (ack.window > self.window || ack.window == 0));
        if !is_newer {
            return false;
        }
        let is_moved = ack.window != self.window;
        self.is_window_known = true;
        (self.window, self.window_seq) = (ack.window, ack.seq);
        self.window_max = self.window_max.max(ack.window);
        is_moved
    }

    /// Takes what is cumulatively acknowledged off the scoreboard.
    fn take_cumulative(
        &mut self,
        shared: &mut Shared,
        ack: &Acknowledgment<'_>,
        evidence: &mut Evidence,
        now: Instant,
    ) {
        evidence.acked = ack.ack.wrapping_sub(self.una);
        let mut is_repaired = false;
        while let Some(record) = shared.records.get(self.board.head()).copied() {
            if is_after(record.end(), ack.ack) {
                let part = ack.ack.wrapping_sub(record.seq);
                // A part can only be acknowledged by who cuts segments in two; it is no sample of anything.
                if is_after(ack.ack, record.seq) {
                    self.board.trim_head(&mut shared.records, part as u16);
                    if record.standing != Standing::Sacked {
                        evidence.delivered += part;
                        self.congestion.on_arrived(&record, part, micros(now), &mut evidence.rate);
                    }
                }
                break;
            }
            self.board.pop(&mut shared.records);
            self.on_arrived(&record, ack, evidence, now);
            is_repaired |= record.is_retransmitted();
        }
        if is_repaired {
            // What lies behind a repaired hole arrived long before it was acknowledged.
            evidence.sample_us = None;
        }
    }

    /// Marks what SACK blocks cover whole.
    fn take_sacks(
        &mut self,
        shared: &mut Shared,
        ack: &Acknowledgment<'_>,
        evidence: &mut Evidence,
        now: Instant,
    ) {
        if !self.has_sack || ack.sack.is_empty() {
            return;
        }
        let (blocks, count) = self.valid_blocks(ack, evidence, &mut shared.counters);
        let mut blocks = blocks.iter().take(count).peekable();
        evidence.has_sack |= count > 0;
        let mut index = self.board.head();
        while let (Some(record), Some(block)) = (shared.records.get(index).copied(), blocks.peek()) {
            if !is_before(record.seq, block.right) {
                blocks.next();
                continue;
            }
            let is_covered = !is_before(record.seq, block.left) && !is_after(record.end(), block.right);
            if is_covered && record.standing != Standing::Sacked {
                self.board.mark_sacked(&mut shared.records, index);
                self.on_arrived(&record, ack, evidence, now);
            }
            index = Scoreboard::next(&shared.records, index);
        }
    }

    /// The blocks that lie between the acknowledgment and SND.NXT, in order. A first block at or below the
    /// acknowledgment or within the second is a D-SACK (RFC 2883 §4).
    fn valid_blocks(
        &self,
        ack: &Acknowledgment<'_>,
        evidence: &mut Evidence,
        counters: &mut SendCounters,
    ) -> ([SackBlock; SACK_BLOCKS_MAX], usize) {
        let mut valid = [SackBlock { left: 0, right: 0 }; SACK_BLOCKS_MAX];
        let mut count = 0;
        for (index, block) in ack.sack.iter().take(SACK_BLOCKS_MAX).enumerate() {
            let is_below = !is_after(block.right, ack.ack);
            let is_within = ack.sack.get(1).is_some_and(|second| {
                !is_before(block.left, second.left) && !is_after(block.right, second.right)
            });
            if index == 0 && is_before(block.left, block.right) && (is_below || is_within) {
                evidence.is_duplicate_sack = true;
                counters.duplicate_sacks += 1;
            } else if is_before(block.left, block.right)
                && is_after(block.left, ack.ack)
                && !is_after(block.right, self.next)
            {
                if let Some(place) = valid.get_mut(count) {
                    (*place, count) = (*block, count + 1);
                }
            } else {
                counters.sack_blocks_invalid += u64::from(!is_below);
            }
        }
        // At most four, and nearly always in falling order: insertion sort by distance from the acknowledgment.
        if let Some(valid) = valid.get_mut(..count) {
            valid.sort_unstable_by_key(|block| block.left.wrapping_sub(ack.ack));
        }
        (valid, count)
    }

    /// `record` is newly known to have arrived, or (already sacked) leaves.
    fn on_arrived(
        &mut self,
        record: &Record,
        ack: &Acknowledgment<'_>,
        evidence: &mut Evidence,
        now: Instant,
    ) {
        if record.standing == Standing::Sacked {
            return;
        }
        evidence.delivered += u32::from(record.len);
        self.path.on_arrived(record.len);
        self.congestion.on_arrived(record, u32::from(record.len), micros(now), &mut evidence.rate);
        let age_us = micros(now).wrapping_sub(record.sent_us);
        if !record.is_retransmitted() && evidence.sample_us.is_none() {
            evidence.sample_us = Some(age_us);
        }
        if self.has_sack {
            // Our clock when it was last sent, at most a tick too late.
            let sent_clock = ack.clock.wrapping_sub(age_us / 1_000).wrapping_sub(1);
            let is_echo_old = ack.echo.is_some_and(|echo| is_before(echo, sent_clock));
            self.rack.on_arrived(record, is_echo_old, &self.rtt, micros(now));
        }
    }

    /// A round trip from a segment that was sent once (Karn), else from the timestamp (RFC 7323 §4.1).
    fn take_sample(&mut self, ack: &Acknowledgment<'_>, evidence: &Evidence, now: Instant) {
        let by_echo = || {
            let echo = ack.echo.filter(|_| evidence.acked > 0)?;
            let age_ms = ack.clock.wrapping_sub(echo);
            // An echo from the future is none; one below a tick counts as half of it.
            (age_ms as i32 >= 0).then(|| age_ms.saturating_mul(1_000).max(500))
        };
        match evidence.sample_us.or_else(by_echo) {
            Some(sample) => self.rtt.sample(sample, millis(now)),
            None if evidence.acked > 0 => self.rtt.on_progress(),
            None => {}
        }
    }

    /// Moves SND.UNA and frees what lies below. The data bytes acknowledged, and whether the FIN was.
    fn advance(&mut self, shared: &mut Shared, evidence: &Evidence, now: Instant) -> (u32, bool) {
        if evidence.acked == 0 {
            return (0, false);
        }
        let bytes = evidence.acked.min(self.queue.len() as u32);
        self.una = self.una.wrapping_add(evidence.acked);
        self.queue.consume(&mut shared.chunks, self.owner, bytes as usize);
        let is_fin = self.fin == Fin::Sent && self.una == self.next;
        if is_fin {
            self.fin = Fin::Acked;
        }
        self.progress_ms = millis(now);
        self.retransmit_at = now + self.rtt.rto();
        self.window_probes = 0;
        self.path.on_progress();
        self.rack.on_advanced(self.una);
        (bytes, is_fin)
    }

    /// A proof that the last reduction was needless (RFC 3522, RFC 3708) brings the old window back.
    fn take_back_mistakes(&mut self, shared: &mut Shared, ack: &Acknowledgment<'_>, evidence: &Evidence) {
        let mut is_proven = evidence.acked > 0
            && self.phase != Phase::Open
            && ack.echo.is_some_and(|echo| self.congestion.is_proven_mistake(echo));
        if evidence.is_duplicate_sack {
            self.rack.on_duplicate_sack(self.next);
            is_proven |= self.congestion.on_duplicate_sack();
        }
        if is_proven {
            self.congestion.undo();
            self.board.forgive(&mut shared.records);
            self.phase = Phase::Open;
            shared.counters.undone += 1;
        }
    }

    fn find_losses(
        &mut self,
        shared: &mut Shared,
        ack: &Acknowledgment<'_>,
        evidence: &Evidence,
        now: Instant,
    ) -> Losses {
        if !self.has_sack {
            return self.find_losses_by_duplicates(&mut shared.records, ack, evidence);
        }
        let is_bare = evidence.acked == 0 && !evidence.has_sack && !ack.carries_data;
        let answer = self.rack.on_probe_answer(ack.ack, evidence.is_duplicate_sack, is_bare);
        if answer == ProbeAnswer::Repaired {
            shared.counters.tail_probes_useful += 1;
            if self.phase == Phase::Open {
                self.congestion.reduce_at_once(self.mss());
            }
        }
        if evidence.delivered == 0 {
            return Losses::default();
        }
        self.find_losses_by_rack(&mut shared.records, now)
    }

    /// Marks what RACK thinks lost by now.
    pub(super) fn find_losses_by_rack(&mut self, records: &mut RecordPool, now: Instant) -> Losses {
        let (is_recovering, mss) = (self.phase != Phase::Open, self.mss());
        self.rack.find_losses(&mut self.board, records, &self.rtt, is_recovering, mss, micros(now))
    }

    /// Three duplicate ACKs mean that the first segment is lost; in a recovery, an ACK of less than all means that the
    /// next one is (RFC 6582 §3.2).
    fn find_losses_by_duplicates(
        &mut self,
        records: &mut RecordPool,
        ack: &Acknowledgment<'_>,
        evidence: &Evidence,
    ) -> Losses {
        let mss = self.mss();
        let mut is_lost = false;
        if evidence.acked > 0 {
            self.duplicates = 0;
            let is_partial = self.phase == Phase::Recovery && is_before(self.una, self.recovery_point);
            // Of what is acknowledged now, all but the repaired segment was counted when it arrived.
            let counted = evidence.acked.saturating_sub(mss);
            self.duplicate_bytes =
                if is_partial { self.duplicate_bytes.saturating_sub(counted).min(self.flight()) } else { 0 };
            is_lost = is_partial;
        } else if self.has_unacked() && !ack.carries_data && !evidence.is_window_moved {
            self.duplicates = self.duplicates.saturating_add(1);
            // The first segment is what is missing: it cannot have arrived. Before a recovery only limited transmit
            // counts (RFC 3042); after a timeout nothing does, since what is sent twice makes duplicates of its own.
            let most = match self.phase {
                Phase::Open => mss * (DUPLICATES - 1),
                Phase::Recovery => u32::MAX,
                Phase::Loss => 0,
            };
            let most = most.min(self.flight().saturating_sub(mss));
            is_lost = u32::from(self.duplicates) == DUPLICATES
                && self.phase == Phase::Open
                && !is_before(self.una, self.recovery_point);
            self.duplicate_bytes = (self.duplicate_bytes + mss).min(most);
        }
        let head = self.board.head();
        let is_waiting = records.get(head).is_some_and(|record| record.standing == Standing::InFlight);
        if is_lost && is_waiting {
            self.board.mark_lost(records, head);
        }
        Losses { any: is_lost && is_waiting, wait: None }
    }

    /// Ends or begins a recovery, and sets the congestion window.
    fn change_phase(
        &mut self,
        shared: &mut Shared,
        ack: &Acknowledgment<'_>,
        evidence: &Evidence,
        losses: Losses,
        now: Instant,
    ) {
        let is_dup_ack = !self.has_sack && evidence.acked == 0 && self.duplicates > 0 && !ack.carries_data;
        let delivered = if is_dup_ack { self.mss() } else { evidence.delivered };
        if self.phase != Phase::Open && !is_before(self.una, self.recovery_point) {
            self.end_recovery();
        }
        if losses.any && self.phase == Phase::Open {
            self.begin_recovery(shared, evidence.flight);
        }
        match self.phase {
            Phase::Recovery if delivered > 0 => {
                let is_safe = evidence.acked > 0 && !losses.any;
                self.congestion.on_recovery(delivered, self.pipe(), self.mss(), is_safe);
            }
            Phase::Open | Phase::Loss if evidence.acked > 0 => {
                self.open_window(shared.limits.queue_bytes_max, evidence, now);
            }
            _ => {}
        }
        self.congestion.on_model_ack(&ModelAck {
            sample: evidence.rate,
            delivered: evidence.delivered,
            pipe: self.pipe(),
            rtt_us: evidence.sample_us,
            is_loss: losses.any,
            mss: self.mss(),
            cap: shared.limits.queue_bytes_max,
            now_us: micros(now),
            now_ms: millis(now),
        });
    }

    /// Something is lost: the window goes down (RFC 5681 §3.2, RFC 6675 §5).
    pub(super) fn begin_recovery(&mut self, shared: &mut Shared, flight: u32) {
        self.congestion.begin_recovery(flight, self.mss());
        self.recovery_point = self.next;
        self.phase = Phase::Recovery;
        self.due = Due::Repair;
        shared.counters.recoveries += 1;
    }

    /// All that was in flight at its begin is acknowledged.
    fn end_recovery(&mut self) {
        self.congestion.end_recovery(self.phase == Phase::Recovery);
        if self.phase == Phase::Recovery {
            self.rack.on_recovered();
        }
        self.phase = Phase::Open;
        self.duplicate_bytes = 0;
    }

    /// The window grows when it was what held us back (RFC 7661).
    fn open_window(&mut self, cap: u32, evidence: &Evidence, now: Instant) {
        let (cwnd, mss) = (self.congestion.cwnd(), self.mss());
        let is_filled = self.is_window_full
            || evidence.flight + mss > cwnd
            || (self.congestion.is_slow_start() && evidence.flight.saturating_mul(2) > cwnd);
        let growth = Growth {
            // Not all that is acknowledged: what was sacked before, the recovery has lived on.
            acked: evidence.delivered,
            mss,
            cwnd,
            rtt_ms: self.rtt.smoothed_us().unwrap_or(0) / 1_000,
            now_ms: millis(now),
        };
        self.congestion.on_acked(&growth, is_filled, self.phase == Phase::Loss, cap);
    }
}
