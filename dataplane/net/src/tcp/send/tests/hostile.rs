//! A peer that says anything at all: nothing panics, nothing disagrees, nothing grows.

use proptest::prelude::*;

use super::harness::Script;
use crate::tcp::CongestionKind;
use crate::tcp::send::{SendLimits, TimeoutVerdict};

#[derive(Clone, Debug)]
enum Step {
    Write(u32),
    Send,
    /// Acknowledgment, SACK edges, window, echo: relative to what was sent, or anything.
    Ack(u32, Vec<(u32, u32)>, u32, Option<u32>),
    Pass(u64),
    Timer,
    TooBig(u32, u16),
    Finish,
}

fn number() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0u32..40_000, 1 => any::<u32>(), 2 => (0u32..40).prop_map(|n| n * 1_000)]
}

fn step() -> impl Strategy<Value = Step> {
    let sack = prop::collection::vec((number(), number()), 0..5);
    let window = prop_oneof![Just(0), Just(60_000), 0u32..2_000, any::<u32>()];
    prop_oneof![
        2 => (1u32..9_000).prop_map(Step::Write),
        4 => Just(Step::Send),
        6 => (number(), sack, window, proptest::option::of(any::<u32>()))
            .prop_map(|(ack, sack, window, echo)| Step::Ack(ack, sack, window, echo)),
        2 => (0u64..400).prop_map(Step::Pass),
        2 => Just(Step::Timer),
        1 => (number(), any::<u16>()).prop_map(|(seq, mtu)| Step::TooBig(seq, mtu)),
        1 => Just(Step::Finish),
    ]
}

fn run(steps: Vec<Step>, has_sack: bool, has_timestamps: bool, is_model: bool) {
    let limits = SendLimits { records_max: 64, queue_bytes_max: 30_000, ..SendLimits::default() };
    let kind = if is_model { CongestionKind::Bbr } else { CongestionKind::Cubic };
    let mut script = Script::with_kind(kind, limits, has_sack, has_timestamps);
    for step in steps {
        match step {
            Step::Write(len) => {
                script.write(len);
            }
            Step::Send => {
                // Every one of them may be sent again once per turn, and the FIN.
                assert!(script.sends().len() <= 64 + 2, "more than is in flight was sent");
            }
            Step::Ack(ack, sack, window, echo) => {
                script.window = window;
                script.acked_with(ack, &sack, echo);
            }
            Step::Pass(millis) => script.pass(millis),
            Step::Timer => {
                if script.sender.poll_timeout().is_some()
                    && matches!(script.waits().1, TimeoutVerdict::GiveUp(_))
                {
                    break;
                }
            }
            Step::TooBig(seq, mtu) => {
                let seq = script.sender.unacked().wrapping_add(seq);
                script.sender.handle_too_big(&mut script.shared, seq, mtu, script.now);
            }
            Step::Finish => script.finish(),
        }
        assert!(script.sender.queued() <= 30_000);
        assert!(script.sender.congestion.cwnd() <= 30_000 + 1_460);
    }
    script.sender.release(&mut script.shared);
    assert_eq!((script.shared.chunks.used(), script.shared.records.used()), (0, 0));
}

proptest! {
    #[test]
    fn peer_with_sack_may_say_anything(
        steps in prop::collection::vec(step(), 1..120),
        ts in any::<bool>(),
        is_model in any::<bool>(),
    ) {
        run(steps, true, ts, is_model);
    }

    #[test]
    fn peer_without_sack_may_say_anything(steps in prop::collection::vec(step(), 1..120), ts in any::<bool>()) {
        run(steps, false, ts, false);
    }
}

#[test]
fn crumbs_of_sack_neither_split_nor_mark_anything() {
    let mut script = Script::new();
    script.write(10_000);
    script.sends();
    let records = script.shared.records.used();
    for byte in (1..9_900).step_by(3) {
        script.acked(0, &[(byte, byte + 1), (byte + 40, byte + 41), (byte + 80, byte + 81)]);
    }
    assert_eq!((script.shared.records.used(), script.sender.board.sacked()), (records, 0));
}

#[test]
fn impossible_blocks_are_counted_and_ignored() {
    let mut script = Script::new();
    script.write(10_000);
    script.sends();
    script.acked(0, &[(2_000, 1_000), (9_000, 11_000), (5_000, 5_000)]);
    assert_eq!(script.sender.board.sacked(), 0);
    assert_eq!(script.shared.counters.sack_blocks_invalid, 3);
}
