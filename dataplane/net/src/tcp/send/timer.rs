//! The one deadline of the sending side and what is done when it passes.
//!
//! Owns: which of the timers runs, retransmission timeouts (RFC 6298 §5, RFC 8985 §6.3), window probes (RFC 9293
//! §3.8.6.1), giving up (RFC 9293 §3.8.3), path MTU messages. Does not own: the wheel (`tcp::timer`).

use core::time::Duration;

use super::{Due, Fin, GiveUp, Sender, Shared, TRANSMISSIONS_MAX, TimeoutVerdict, Timer, micros, millis};
use crate::tcp::rack::Rack;
use crate::tcp::recovery::Phase;
use crate::tcp::rtt::RTO_US_MAX;
use crate::tcp::scoreboard::{Scoreboard, Standing};
use crate::tcp::seq::is_before;
use crate::time::Instant;

/// How long a connection with nothing in flight waits for a free record before it tries again. Others' ACKs free them
/// at the pace of round trips.
const STARVED_WAIT: Duration = Duration::from_millis(20);

impl Sender {
    /// Sets the deadline anew. `reorder` is RACK's wait; `is_probe_restarted`: something new was sent or acknowledged,
    /// so that the tail loss probe waits from now on.
    pub(super) fn arm(&mut self, reorder: Option<Duration>, is_probe_restarted: bool, now: Instant) {
        if !self.has_unacked() {
            if !matches!(self.timer, Timer::Persist | Timer::Starved | Timer::Pace) || !self.has_work() {
                self.timer = Timer::None;
            }
            return;
        }
        let kept = (self.timer, self.timer_at);
        (self.timer, self.timer_at) = (Timer::Retransmit, self.retransmit_at);
        let reorder_at = match (reorder, kept) {
            (Some(wait), _) => Some(now + wait),
            (None, (Timer::Reorder, at)) => Some(at),
            _ => None,
        };
        if let Some(at) = reorder_at.filter(|at| *at < self.timer_at) {
            (self.timer, self.timer_at) = (Timer::Reorder, at);
            return;
        }
        // While repairing, too, as in RFC 9002 §6.2: a hole whose repair is lost keeps everything behind it in the
        // queue, so that nothing is left to send whose arrival would tell of it.
        let is_due = match self.phase {
            Phase::Open => self.board.sacked() == 0,
            Phase::Recovery => true,
            Phase::Loss => false,
        };
        if !self.has_sack || !is_due || self.rack.is_probing() {
            return;
        }
        let at = match kept {
            (Timer::Tail, at) if !is_probe_restarted => at,
            _ if is_probe_restarted => now + Rack::probe_wait(&self.rtt, self.board.count() == 1),
            _ => return,
        };
        // Where the timeout would come first, the probe goes out in its place (RFC 8985 §7.2): it costs no window.
        (self.timer, self.timer_at) = (Timer::Tail, at.min(self.retransmit_at));
    }

    /// The next segment has its turn after `wait_us`: nothing is sent until then, unless something else is due earlier.
    pub(super) fn wait_for_turn(&mut self, wait_us: u32, now: Instant) {
        let at = now + Duration::from_micros(u64::from(wait_us));
        if self.timer == Timer::None || at < self.timer_at || self.timer == Timer::Pace {
            (self.timer, self.timer_at) = (Timer::Pace, at);
        }
    }

    /// The window is too small for what waits: probe it when nothing in flight will bring an ACK.
    pub(super) fn wait_for_window(&mut self, now: Instant) {
        if self.has_unacked() || self.timer == Timer::Persist {
            return;
        }
        self.timer = Timer::Persist;
        self.timer_at = now + self.persist_wait();
    }

    fn persist_wait(&self) -> Duration {
        let micros = u64::from(self.rtt.rto_base_us()) << self.window_probes.min(16);
        Duration::from_micros(micros.min(u64::from(RTO_US_MAX)))
    }

    /// All records are in use: try again soon when nothing in flight will bring an ACK.
    pub(super) fn wait_for_record(&mut self, now: Instant) {
        if !self.has_unacked() {
            self.timer = Timer::Starved;
            self.timer_at = now + STARVED_WAIT;
        }
    }

    /// Lets time pass.
    pub(in crate::tcp) fn handle_timeout(&mut self, shared: &mut Shared, now: Instant) -> TimeoutVerdict {
        if self.timer == Timer::None || now < self.timer_at {
            return TimeoutVerdict::Nothing;
        }
        let timer = core::mem::replace(&mut self.timer, Timer::None);
        match timer {
            Timer::None => return TimeoutVerdict::Nothing,
            Timer::Retransmit => return self.on_retransmit_timeout(shared, now),
            Timer::Persist => return self.on_persist_timeout(shared, now),
            Timer::Reorder => {
                let flight = self.flight();
                let losses = self.find_losses_by_rack(&mut shared.records, now);
                if losses.any && self.phase == Phase::Open {
                    self.begin_recovery(shared, flight);
                }
                if losses.any {
                    let (pipe, mss) = (self.pipe(), self.mss());
                    if self.phase == Phase::Recovery {
                        self.congestion.on_recovery(0, pipe, mss, false);
                    }
                }
                self.arm(losses.wait, self.phase == Phase::Recovery, now);
            }
            Timer::Tail => {
                self.due = Due::Tail;
                self.arm(None, false, now);
            }
            Timer::Pace => {
                // It stood in the place of the others; what of them is not known by itself is found anew.
                let losses = self.find_losses_by_rack(&mut shared.records, now);
                if losses.any && self.phase == Phase::Open {
                    self.begin_recovery(shared, self.flight());
                }
                self.arm(losses.wait, true, now);
            }
            Timer::Starved => {}
        }
        self.is_ready |= self.has_work();
        TimeoutVerdict::Transmit
    }

    fn on_retransmit_timeout(&mut self, shared: &mut Shared, now: Instant) -> TimeoutVerdict {
        let Some(head) = shared.records.get(self.board.head()).copied() else {
            return TimeoutVerdict::Nothing;
        };
        let silence = Duration::from_millis(u64::from(millis(now).wrapping_sub(self.progress_ms)));
        if silence >= shared.limits.user_timeout {
            return TimeoutVerdict::GiveUp(GiveUp::UserTimeout);
        }
        if head.transmissions >= TRANSMISSIONS_MAX {
            return TimeoutVerdict::GiveUp(GiveUp::Retransmissions);
        }
        shared.counters.timeouts += 1;
        self.rtt.back_off();
        self.rack.end_probe();
        let is_new = self.phase != Phase::Loss || !is_before(self.una, self.recovery_point);
        let payload = head.len - u16::from(self.fin == Fin::Sent && head.end() == self.next);
        if self.path.on_timeout(payload) {
            shared.counters.black_holes += 1;
        }
        self.congestion.on_timeout(self.mss(), is_new, self.phase == Phase::Open);
        (self.duplicates, self.duplicate_bytes) = (0, 0);
        (self.phase, self.recovery_point) = (Phase::Loss, self.next);
        self.mark_lost_by_timeout(shared, now);
        self.due = Due::Repair;
        self.retransmit_at = now + self.rtt.rto();
        self.arm(None, false, now);
        self.is_ready = true;
        TimeoutVerdict::Transmit
    }

    /// The first segment is lost, and with it everything sent long enough ago (RFC 8985 §6.3). If the first one was
    /// sacked, the peer has thrown away what it had: nothing it said counts any more (RFC 2018 §8).
    fn mark_lost_by_timeout(&mut self, shared: &mut Shared, now: Instant) {
        let head = self.board.head();
        let is_reneged = shared.records.get(head).is_some_and(|record| record.standing == Standing::Sacked);
        if is_reneged {
            self.board.mark_all_lost(&mut shared.records);
            return;
        }
        self.board.mark_lost(&mut shared.records, head);
        let round_trip = self.rtt.smoothed_us().unwrap_or(0);
        let mut index = self.board.oldest();
        while let Some(record) = shared.records.get(index).copied() {
            let next = Scoreboard::newer(&shared.records, index);
            if micros(now).wrapping_sub(record.sent_us) < round_trip {
                break;
            }
            self.board.mark_lost(&mut shared.records, index);
            index = next;
        }
    }

    fn on_persist_timeout(&mut self, shared: &mut Shared, now: Instant) -> TimeoutVerdict {
        if self.has_unacked() || !self.has_work() {
            self.arm(None, false, now);
            return TimeoutVerdict::Nothing;
        }
        if self.window_probes >= shared.limits.window_probes_max {
            return TimeoutVerdict::GiveUp(GiveUp::ZeroWindow);
        }
        self.window_probes += 1;
        self.due = if self.window > 0 { Due::Small } else { Due::Window };
        self.timer = Timer::Persist;
        self.timer_at = now + self.persist_wait();
        self.is_ready = true;
        TimeoutVerdict::Transmit
    }

    /// A router says that a packet which began with `seq` did not fit a link of `mtu` bytes. Believed only of what is
    /// in flight (RFC 5927 §4.1). Whether it was.
    pub(in crate::tcp) fn handle_too_big(
        &mut self,
        shared: &mut Shared,
        seq: u32,
        mtu: u16,
        now: Instant,
    ) -> bool {
        let is_in_flight = !is_before(seq, self.una) && is_before(seq, self.next);
        if !is_in_flight {
            return false;
        }
        if self.path.lower(mtu) {
            shared.counters.path_lowered += 1;
            self.send_large_again(shared);
            self.is_ready = true;
            self.arm(None, false, now);
        }
        true
    }

    /// What is larger than the path carries cannot have arrived. That is no sign of congestion.
    fn send_large_again(&mut self, shared: &mut Shared) {
        let mss = self.path.mss();
        let mut index = self.board.head();
        while let Some(record) = shared.records.get(index).copied() {
            if record.len > mss && record.standing == Standing::InFlight {
                self.board.mark_lost(&mut shared.records, index);
            }
            index = Scoreboard::next(&shared.records, index);
        }
        self.due = Due::Repair;
        self.congestion.raise_to(self.mss());
    }
}
