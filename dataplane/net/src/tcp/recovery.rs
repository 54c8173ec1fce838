//! From a loss to its repair: phases, proportional rate reduction (RFC 6937), and taking a reduction back (RFC 4015).
//!
//! Owns: [`Phase`], how many bytes may be sent per ACK while repairing ([`Reduction`]), what the window was before
//! ([`Undo`]). Does not own: which segments are lost (`rack`, `scoreboard`), how far to reduce (`congestion`).
//!
//! ```text
//!             loss found                    all acknowledged that was in flight then
//!    OPEN ───────────────► RECOVERY ──────────────────────────────────────────────► OPEN
//!      └──── timeout ────► LOSS ──────────────────────────────────────────────────────┘
//!              a proof that nothing was lost leads from both straight back, with the old window
//! ```
//! Cost: 36 bytes, a division per ACK while repairing.

use super::seq::is_before;

/// What the sender is doing about loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing is known to be lost.
    Open,
    /// Fast recovery: loss was found by what arrived.
    Recovery,
    /// A timeout: everything is in doubt, slow start from one segment.
    Loss,
}

/// Proportional rate reduction (RFC 6937): the window goes down to the threshold over one round trip, in step with what
/// leaves the network, and what is lost beyond that is refilled as in slow start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reduction {
    /// Bytes that left the network since recovery began.
    delivered: u32,
    /// Bytes sent since.
    out: u32,
    /// Bytes in flight when it began.
    flight: u32,
}

impl Reduction {
    /// Recovery begins with `flight` bytes outstanding.
    pub(super) fn begin(flight: u32) -> Self {
        Self { delivered: 0, out: 0, flight: flight.max(1) }
    }

    /// `len` bytes were sent.
    pub(super) fn on_sent(&mut self, len: u32) {
        self.out = self.out.saturating_add(len);
    }

    /// An ACK told of `delivered` bytes; the new window. `is_safe`: it advanced and showed no further loss.
    pub(super) fn on_ack(
        &mut self,
        delivered: u32,
        pipe: u32,
        ssthresh: u32,
        mss: u32,
        is_safe: bool,
    ) -> u32 {
        self.delivered = self.delivered.saturating_add(delivered);
        let budget = if pipe > ssthresh {
            let due =
                (u64::from(self.delivered) * u64::from(ssthresh)).div_ceil(u64::from(self.flight.max(1)));
            u32::try_from(due).unwrap_or(u32::MAX).saturating_sub(self.out)
        } else {
            // PRR-SSRB when safe, PRR-CRB else.
            let owed = self.delivered.saturating_sub(self.out);
            let bound = if is_safe { owed.max(delivered).saturating_add(mss) } else { owed };
            bound.min(ssthresh - pipe)
        };
        pipe.saturating_add(budget)
    }
}

/// What must come back when a reduction proves to have been a mistake: the peer had everything, only late.
#[derive(Clone, Copy, Debug)]
pub(super) struct Undo {
    cwnd: u32,
    ssthresh: u32,
    /// Our timestamp clock at the first retransmission.
    clock: u32,
    /// Retransmissions whose duplicate the peer has not reported; above 255 none is waited for.
    pending: u8,
    is_armed: bool,
    is_clock_set: bool,
}

impl Undo {
    /// Nothing to take back.
    pub(super) const NONE: Self =
        Self { cwnd: 0, ssthresh: 0, clock: 0, pending: 0, is_armed: false, is_clock_set: false };

    /// A reduction from `cwnd` and `ssthresh` begins.
    pub(super) fn begin(cwnd: u32, ssthresh: u32) -> Self {
        Self { cwnd, ssthresh, is_armed: true, ..Self::NONE }
    }

    /// A segment was sent again, when our timestamp clock said `clock`.
    pub(super) fn on_retransmitted(&mut self, clock: u32) {
        self.pending = self.pending.saturating_add(1);
        if !self.is_clock_set {
            (self.clock, self.is_clock_set) = (clock, true);
        }
    }

    /// A D-SACK arrived. Whether with it every retransmission proves to have been needless (RFC 3708).
    pub(super) fn on_duplicate_sack(&mut self) -> bool {
        if !self.is_armed || self.pending == 0 || self.pending == u8::MAX {
            return false;
        }
        self.pending -= 1;
        self.pending == 0
    }

    /// New data was acknowledged with the timestamp `echo`. Whether that proves the acknowledged copy to be older than
    /// the first retransmission (Eifel detection, RFC 3522).
    pub(super) fn is_proven_by(&self, echo: u32) -> bool {
        self.is_armed && self.is_clock_set && is_before(echo, self.clock)
    }

    /// The window and threshold to go back to; afterwards there is nothing to take back.
    pub(super) fn take(&mut self) -> (u32, u32) {
        let before = (self.cwnd, self.ssthresh);
        *self = Self::NONE;
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1_000;

    #[test]
    fn window_goes_down_in_proportion_over_one_round_trip() {
        // RFC 6937 §4, first figure: flight of 20, threshold 10, one segment lost. Half a segment per ACK.
        let mut reduction = Reduction::begin(20 * MSS);
        let (mut pipe, mut sent) = (19 * MSS, 0);
        for _ in 0..18 {
            pipe -= MSS;
            let cwnd = reduction.on_ack(MSS, pipe, 10 * MSS, MSS, true);
            let count = (cwnd - pipe) / MSS;
            reduction.on_sent(count * MSS);
            pipe += count * MSS;
            sent += count;
        }
        assert_eq!(sent, 9, "half of what was delivered");
        assert_eq!(pipe, 10 * MSS);
    }

    #[test]
    fn heavy_loss_is_refilled_by_slow_start_up_to_the_threshold() {
        // 20 in flight, 15 of them lost: pipe is below the threshold of 10.
        let mut reduction = Reduction::begin(20 * MSS);
        let mut pipe = 4 * MSS;
        for expected in [6, 8, 10, 10] {
            let cwnd = reduction.on_ack(MSS, pipe, 10 * MSS, MSS, true);
            reduction.on_sent(cwnd - pipe);
            pipe = cwnd;
            assert_eq!(pipe, expected * MSS);
            pipe = pipe.saturating_sub(if expected == 10 { MSS } else { 0 });
        }
    }

    #[test]
    fn further_loss_allows_only_what_was_delivered() {
        let mut reduction = Reduction::begin(20 * MSS);
        assert_eq!(reduction.on_ack(MSS, 4 * MSS, 10 * MSS, MSS, false), 5 * MSS);
    }

    #[test]
    fn echo_from_before_the_retransmission_proves_the_mistake() {
        let mut undo = Undo::begin(50_000, u32::MAX);
        assert!(!undo.is_proven_by(1), "nothing was sent again");
        undo.on_retransmitted(1_000);
        undo.on_retransmitted(1_005);
        assert!(undo.is_proven_by(999));
        assert!(!undo.is_proven_by(1_000));
        assert_eq!(undo.take(), (50_000, u32::MAX));
        assert!(!undo.is_proven_by(999));
    }

    #[test]
    fn duplicates_of_every_retransmission_prove_the_mistake() {
        let mut undo = Undo::begin(50_000, u32::MAX);
        undo.on_retransmitted(0);
        undo.on_retransmitted(0);
        assert!(!undo.on_duplicate_sack());
        assert!(undo.on_duplicate_sack());
        assert!(!undo.on_duplicate_sack());
    }
}
