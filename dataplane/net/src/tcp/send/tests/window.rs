//! The peer's window, its probes, and acknowledgments that cannot be.

use super::harness::{MSS, Script, seen};
use crate::tcp::send::{AckVerdict, GiveUp, SendLimits, TimeoutVerdict};

#[test]
fn nothing_goes_beyond_the_window() {
    let mut script = Script::new();
    script.window = 2_500;
    script.acked(0, &[]);
    script.write(10_000);
    assert_eq!(script.sends(), [seen(0, 1_000, ""), seen(1_000, 1_000, "")], "500 bytes more would be silly");
    script.window = 1_500;
    script.acked(1_000, &[]);
    assert_eq!(script.sends(), []);
    script.window = 3_000;
    script.acked(1_000, &[]);
    assert_eq!(script.sends(), [seen(2_000, 1_000, ""), seen(3_000, 1_000, "")]);
}

#[test]
fn half_of_the_largest_window_is_worth_a_segment() {
    let mut script = Script::new();
    script.sender.window_max = 0;
    script.window = 600;
    script.acked(0, &[]);
    script.write(10_000);
    assert_eq!(script.sends(), [seen(0, 600, "")], "a peer with a tiny window gets what it takes");
}

#[test]
fn rest_of_a_silly_window_is_used_after_a_while() {
    let mut script = Script::new();
    script.warm_up(20);
    script.window = 300;
    script.write(MSS);
    script.sends();
    let at = script.written();
    script.acked(at, &[]);
    script.write(1_000);
    assert_eq!(script.sends(), []);
    let (millis, verdict) = script.waits();
    assert!((200..=260).contains(&millis), "{millis}");
    assert_eq!(verdict, TimeoutVerdict::Transmit);
    assert_eq!(script.sends(), [seen(at, 300, "")]);
}

#[test]
fn closed_window_is_probed_ever_more_slowly_until_it_opens() {
    let mut script = Script::new();
    script.warm_up(20);
    let at = script.written();
    script.window = 0;
    script.acked(at, &[]);
    script.write(1_000);
    assert_eq!(script.sends(), []);
    let mut waits = Vec::new();
    for _ in 0..4 {
        waits.push(script.waits().0);
        assert_eq!(script.sends(), [seen(at.wrapping_sub(1), 0, "W")]);
        script.acked(at, &[]);
    }
    assert!(waits.is_sorted_by(|a, b| a * 3 / 2 < *b), "{waits:?}");
    script.window = 5_000;
    script.acked(at, &[]);
    assert_eq!(script.sends(), [seen(at, 1_000, "P")]);
}

#[test]
fn window_that_never_opens_ends_the_connection() {
    let mut script = Script::new();
    script.window = 0;
    script.acked(0, &[]);
    script.write(1_000);
    script.sends();
    for probe in 0..10 {
        assert_eq!(script.waits().1, TimeoutVerdict::Transmit, "probe {probe}");
        assert_eq!(script.sends().len(), 1);
        script.acked(0, &[]);
    }
    assert_eq!(script.waits().1, TimeoutVerdict::GiveUp(GiveUp::ZeroWindow));
}

#[test]
fn fin_waits_for_the_window_too() {
    let mut script = Script::new();
    script.window = 0;
    script.acked(0, &[]);
    script.finish();
    assert_eq!(script.sends(), []);
    script.waits();
    assert_eq!(script.sends(), [seen(u32::MAX, 0, "W")]);
    script.window = 1;
    script.acked(0, &[]);
    assert_eq!(script.sends(), [seen(0, 0, "F")]);
}

#[test]
fn acknowledgment_of_what_was_never_sent_is_refused() {
    let mut script = Script::new();
    script.write(5_000);
    script.sends();
    for ack in [5_001, 6_000, 1 << 30] {
        assert_eq!(script.acked(ack, &[]), AckVerdict::Unacceptable, "{ack}");
    }
    assert_eq!(script.sender.queued(), 5_000);
    // RFC 5961 §5: as far back as the largest window, an old acknowledgment may be late; before that it cannot be.
    script.acked(5_000, &[]);
    assert_eq!(script.acked(4_000, &[]), AckVerdict::Accepted { bytes: 0, fin: false, has_room: false });
    assert_eq!(script.acked(5_000u32.wrapping_sub(60_001), &[]), AckVerdict::Unacceptable);
}

#[test]
fn overtaken_ack_does_not_shrink_or_stretch_the_window() {
    let mut script = Script::new();
    script.write(20_000);
    script.sends();
    script.window = 9_000;
    script.acked(1_000, &[]);
    script.window = 2_000;
    script.acked(1_000, &[]);
    assert_eq!(
        script.sender.window, 9_000,
        "same sequence number, same acknowledgment, less window: it is older"
    );
    script.window = 7_500;
    script.acked(2_500, &[]);
    assert_eq!(script.sender.window, 7_500);
}

#[test]
fn silence_is_endured_as_long_as_the_user_timeout_says() {
    let limits = SendLimits { user_timeout: core::time::Duration::from_secs(20), ..SendLimits::default() };
    let mut script = Script::with(limits, true, false);
    script.warm_up(20);
    let began = script.now;
    script.write(MSS);
    script.sends();
    loop {
        match script.waits().1 {
            TimeoutVerdict::GiveUp(why) => {
                assert_eq!(why, GiveUp::UserTimeout);
                break;
            }
            _ => assert_eq!(script.sends().len(), 1),
        }
    }
    let seconds = (script.now - began).as_secs();
    assert!((20..60).contains(&seconds), "{seconds}");
}
