//! One sender under a script. Sequence numbers in scripts count from the first byte; the real ones wrap within them.

use core::time::Duration;

use crate::tcp::CongestionKind;
use crate::tcp::send::{
    AckVerdict, Acknowledgment, Outgoing, SendLimits, Sender, SenderSetup, Shared, TimeoutVerdict,
};
use crate::time::Instant;
use crate::wire::tcp::SackBlock;

/// Bytes of a full segment in these scripts.
pub(super) const MSS: u32 = 1_000;
/// Number of the first byte.
const FIRST: u32 = 0xffff_f000;

/// A segment, as a script writes it: where it begins, how long it is, and marks: `P` PSH, `F` FIN, `R` sent again,
/// `W` window probe.
pub(super) type Seen = (u32, u16, String);

pub(super) fn seen(seq: u32, len: u16, marks: &str) -> Seen {
    (seq, len, marks.to_owned())
}

pub(super) struct Script {
    pub(super) sender: Sender,
    pub(super) shared: Shared,
    pub(super) now: Instant,
    /// The window that the peer tells.
    pub(super) window: u32,
    has_timestamps: bool,
    written: u32,
}

impl Script {
    /// A peer with SACK, without timestamps, with a window of 60,000 bytes.
    pub(super) fn new() -> Self {
        Self::with(SendLimits::default(), true, false)
    }

    pub(super) fn without_sack() -> Self {
        Self::with(SendLimits::default(), false, false)
    }

    /// These scripts are about loss-based control, unless they say otherwise.
    pub(super) fn with(limits: SendLimits, has_sack: bool, has_timestamps: bool) -> Self {
        Self::with_kind(CongestionKind::Cubic, limits, has_sack, has_timestamps)
    }

    pub(super) fn with_kind(
        congestion: CongestionKind,
        limits: SendLimits,
        has_sack: bool,
        has_timestamps: bool,
    ) -> Self {
        let limits = SendLimits { congestion, ..limits };
        let options = if has_timestamps { 12 } else { 0 };
        let setup = SenderSetup {
            isn: FIRST.wrapping_sub(1),
            mss: MSS as u16 + options,
            mtu: 1_500,
            ip_header_len: 20,
            window: 60_000,
            has_timestamps,
            has_sack,
            owner: 3,
        };
        let now = Instant::from_millis(10_000);
        Self {
            sender: Sender::new(&setup, &limits, now),
            shared: Shared::new(&limits, 4 << 20),
            now,
            window: 60_000,
            has_timestamps,
            written: 0,
        }
    }

    fn check(&self) {
        self.sender.check(&self.shared).expect("the sender's parts agree");
    }

    pub(super) fn pass(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
    }

    /// Our timestamp clock.
    pub(super) fn clock(&self) -> u32 {
        self.now.as_millis() as u32
    }

    /// Writes bytes whose value is their place modulo 251.
    pub(super) fn write(&mut self, len: u32) -> usize {
        let bytes: Vec<u8> = (self.written..self.written + len).map(|at| (at % 251) as u8).collect();
        let taken = self.sender.write(&mut self.shared, &bytes, self.now);
        self.written += taken as u32;
        self.check();
        taken
    }

    pub(super) fn finish(&mut self) {
        self.sender.finish(self.now);
        self.check();
    }

    /// Everything that may be sent now; the payloads are compared with what was written.
    pub(super) fn sends(&mut self) -> Vec<Seen> {
        let mut all = Vec::new();
        let options_len = if self.has_timestamps { 12 } else { 0 };
        let clock = self.clock();
        while let Some(segment) = self.sender.poll_segment(&mut self.shared, options_len, clock, self.now) {
            all.push(self.look_at(&segment));
            self.check();
        }
        assert!(!self.sender.wants_transmit(), "after None it wants nothing");
        all
    }

    fn look_at(&self, segment: &Outgoing) -> Seen {
        use crate::tcp::send::OutgoingKind::{New, Probe, Retransmission};
        let seq = segment.seq.wrapping_sub(FIRST);
        let mut payload = vec![0; usize::from(segment.len)];
        self.sender.copy_payload(&self.shared, segment, &mut payload);
        for (offset, byte) in payload.iter().enumerate() {
            assert_eq!(u32::from(*byte), (seq + offset as u32) % 251, "payload of {segment:?} at {offset}");
        }
        let kind = match segment.kind {
            New => "",
            Retransmission => "R",
            Probe => "W",
        };
        let push = if segment.push { "P" } else { "" };
        let fin = if segment.fin { "F" } else { "" };
        (seq, segment.len, format!("{push}{fin}{kind}"))
    }

    /// As [`Script::sends`], only how many full segments, when nothing else may come.
    pub(super) fn sends_full(&mut self) -> usize {
        let all = self.sends();
        assert!(all.iter().all(|(_, len, marks)| u32::from(*len) == MSS && !marks.contains('R')), "{all:?}");
        all.len()
    }

    /// The peer acknowledges up to `ack` and has the ranges of `sack`.
    pub(super) fn acked(&mut self, ack: u32, sack: &[(u32, u32)]) -> AckVerdict {
        self.acked_with(ack, sack, None)
    }

    /// The same with the timestamp `echo`.
    pub(super) fn acked_with(&mut self, ack: u32, sack: &[(u32, u32)], echo: Option<u32>) -> AckVerdict {
        let at = |number: u32| number.wrapping_add(FIRST);
        let blocks: Vec<SackBlock> =
            sack.iter().map(|(left, right)| SackBlock { left: at(*left), right: at(*right) }).collect();
        let clock = self.clock();
        let verdict = self.sender.handle_ack(
            &mut self.shared,
            &Acknowledgment {
                seq: 77,
                ack: at(ack),
                window: self.window,
                sack: &blocks,
                echo,
                clock,
                carries_data: false,
            },
            self.now,
        );
        self.check();
        verdict
    }

    /// Time goes on to the next deadline; how many milliseconds that took, and what came of it.
    pub(super) fn waits(&mut self) -> (u64, TimeoutVerdict) {
        let at = self.sender.poll_timeout().expect("a timer runs");
        let millis = (at - self.now).as_millis() as u64;
        self.now = self.now.max(at);
        let verdict = self.sender.handle_timeout(&mut self.shared, self.now);
        if !matches!(verdict, TimeoutVerdict::GiveUp(_)) {
            self.check();
        }
        (millis, verdict)
    }

    /// Sends and acknowledges until the round trip is known to be `rtt_ms` and nothing is in flight.
    pub(super) fn warm_up(&mut self, rtt_ms: u64) {
        for _ in 0..8 {
            self.write(MSS);
            self.sends();
            self.pass(rtt_ms);
            let written = self.written;
            self.acked(written, &[]);
        }
    }

    /// Number of the next byte to be written.
    pub(super) fn written(&self) -> u32 {
        self.written
    }
}
