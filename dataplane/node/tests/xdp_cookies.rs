//! The XDP program beside `net::syncookie`, which it must equal: SYNs of every kind through both, bit for bit; cookies of
//! one checked by the other; what the gate lets through.
//!
//! By `BPF_PROG_RUN` on the loopback of an empty network namespace: needs root, prints a line and passes without. Random
//! frames come from a fixed seed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "xdp_cookies/bench.rs"]
mod bench;
#[path = "xdp_cookies/frames.rs"]
mod frames;

use bench::{Bench, OFFERS, XDP_DROP, XDP_REDIRECT, XDP_TX, on_bench};
use frames::{Frame, Random, addr};
use secbeat_net::syncookie::{Offer, mss};

/// SYNs compared for each offer, by one test.
const ROUNDS: u32 = 4000;

#[test]
fn any_syn_is_answered_as_a_worker_would_or_dropped_by_both() {
    on_bench("any_syn_is_answered_as_a_worker_would_or_dropped_by_both", |bench| {
        let mut random = Random::new(1);
        let (mut answered, mut broken) = (0, 0);
        for offer in OFFERS {
            bench.offer(&offer);
            for round in 0..ROUNDS {
                let frame = Frame::random_syn(&mut random).bytes();
                match bench.expect_as_worker(&frame, &offer) {
                    true => answered += 1,
                    false => broken += 1,
                }
                if round % 1024 == 0 {
                    bench.next_epoch();
                }
            }
        }
        // The generator makes enough of both, or this test says nothing.
        assert!(answered > ROUNDS && broken > ROUNDS, "{answered} answered, {broken} dropped");
        let counts = bench.gate.counts(bench.slot_v4).answered + bench.gate.counts(bench.slot_v6).answered;
        assert_eq!(counts, u64::from(answered));
    });
}

#[test]
fn every_option_layout_of_real_stacks_and_its_neighbours_is_read_alike() {
    on_bench("every_option_layout_of_real_stacks_and_its_neighbours_is_read_alike", |bench| {
        let offer = Offer::default();
        for layout in frames::LAYOUTS {
            for v6 in [false, true] {
                let frame =
                    |options: &[u8]| Frame { v6, options: options.to_vec(), ..Frame::default() }.bytes();
                assert!(bench.expect_as_worker(&frame(layout), &offer), "{layout:02x?}");
                // One byte changed at a time: the short ways must not take what only looks like their layout.
                for at in 0..layout.len() {
                    for byte in [0, 1, 2, 3, 4, 8, 10, 14, 15, 0x7f, 0xff] {
                        let mut changed = layout.to_vec();
                        changed[at] = byte;
                        bench.expect_as_worker(&frame(&changed), &offer);
                    }
                }
            }
        }
    });
}

#[test]
fn every_segment_size_falls_into_its_class() {
    on_bench("every_segment_size_falls_into_its_class", |bench| {
        let offer = Offer::default();
        for (v6, table) in [(false, &mss::TABLE_V4), (true, &mss::TABLE_V6)] {
            let edges = table.iter().flat_map(|size| [size - 1, *size, size + 1]);
            for size in edges.chain([0, 1, u16::MAX]).chain((0..u16::MAX).step_by(97)) {
                let [high, low] = size.to_be_bytes();
                let options = vec![2, 4, high, low];
                assert!(bench.expect_as_worker(&Frame { v6, options, ..Frame::default() }.bytes(), &offer));
            }
        }
    });
}

#[test]
fn what_is_no_plain_syn_goes_to_a_worker() {
    on_bench("what_is_no_plain_syn_goes_to_a_worker", |bench| {
        let plain = Frame { v6: true, ..Frame::default() };
        // A destination-options header before TCP.
        let mut bytes = plain.bytes();
        bytes.splice(54..54, [6, 0, 1, 4, 0, 0, 0, 0]);
        bytes[20] = 60;
        let length = u16::from_be_bytes([bytes[18], bytes[19]]) + 8;
        bytes[18..20].copy_from_slice(&length.to_be_bytes());
        bench.expect("extension header", &bytes, XDP_REDIRECT, "worker");
        // The first fragment of a SYN.
        let mut bytes = Frame::default().bytes();
        bytes[20] |= 0x20;
        bench.expect("fragment", &bytes, XDP_REDIRECT, "worker_fragment");
        let syn = Frame::default();
        bench.gate.set_answering(bench.slot_v4, false);
        bench.expect("not answering", &syn.bytes(), XDP_REDIRECT, "worker");
        bench.gate.set_answering(bench.slot_v4, true);
        bench.expect("answering", &syn.bytes(), XDP_TX, "tx_syn_cookie");
        bench.gate.insert(&syn.flow());
        bench.expect("an open flow", &syn.bytes(), XDP_REDIRECT, "worker");
        bench.gate.remove(&syn.flow());
        bench.expect("closed", &syn.bytes(), XDP_TX, "tx_syn_cookie");
        for source in ["0.1.2.3", "240.0.0.1", "255.255.255.254"] {
            let frame = Frame { source_v4: addr(source), ..Frame::default() };
            bench.expect(source, &frame.bytes(), XDP_DROP, "drop_source");
        }
        for source in ["::2", "::10.0.0.1", "::ffff:10.0.0.1"] {
            let frame = Frame { v6: true, source_v6: addr(source), ..Frame::default() };
            bench.expect(source, &frame.bytes(), XDP_DROP, "drop_source");
        }
        bench.unbind();
        bench.expect("no worker", &syn.bytes(), bench::XDP_PASS, "pass_no_worker");
    });
}

#[test]
fn cookies_of_one_are_valid_for_the_other() {
    on_bench("cookies_of_one_are_valid_for_the_other", |bench| {
        let mut random = Random::new(2);
        let mut seen = [0; 6];
        for offer in OFFERS {
            bench.offer(&offer);
            for round in 0..300 {
                let syn = Frame { flags: 2, ..Frame::random_syn(&mut random) };
                // Made by a worker, or here.
                let reply = if round % 2 == 0 {
                    bench.worker_answer(&syn.bytes(), &offer, bench.now())
                } else {
                    let (action, reply) = bench.run(&syn.bytes());
                    (action == XDP_TX).then_some(reply)
                };
                let Some(reply) = reply else { continue };
                let ack = syn.ack_of(&reply, &mut random).bytes();
                // Valid in the epochs before, of and after its making. Once it was valid, what follows of the same flow
                // passes for a moment, so that comes last.
                for (epoch, is_valid) in [(-2, false), (2, false), ([-1, 0, 1][round % 3], true)] {
                    bench.set_epoch_offset(epoch);
                    assert_eq!(bench.worker_accepts(&ack), is_valid, "epoch {epoch}");
                    let (action, reason) =
                        if is_valid { (XDP_REDIRECT, "worker") } else { (XDP_DROP, "drop_cookie_invalid") };
                    bench.expect("an epoch", &ack, action, reason);
                }
                bench.set_epoch_offset(0);
                seen[round % 6] += 1;
            }
        }
        assert!(seen.iter().all(|count| *count > 50), "{seen:?}");
    });
}

#[test]
fn what_follows_a_valid_ack_passes_for_a_moment() {
    on_bench("what_follows_a_valid_ack_passes_for_a_moment", |bench| {
        let mut random = Random::new(4);
        for v6 in [false, true] {
            let syn = Frame { v6, ..Frame::default() };
            let (_, reply) = bench.run(&syn.bytes());
            let ack = syn.ack_of(&reply, &mut random);
            let next =
                Frame { seq: ack.seq.wrapping_add(1000), payload: vec![1; 9], flags: 0x18, ..ack.clone() };
            let reset = Frame { flags: 0x04, ..next.clone() };
            bench.expect("nothing before", &next.bytes(), XDP_DROP, "drop_cookie_invalid");
            bench.expect("the ACK", &ack.bytes(), XDP_REDIRECT, "worker");
            bench.expect("data behind it", &next.bytes(), XDP_REDIRECT, "worker");
            bench.expect("a reset behind it", &reset.bytes(), XDP_REDIRECT, "worker");
            let other = Frame { port: next.port ^ 1, ..next.clone() };
            bench.expect("another flow", &other.bytes(), XDP_DROP, "drop_cookie_invalid");
            std::thread::sleep(std::time::Duration::from_millis(1200));
            bench.expect("no worker opened it", &next.bytes(), XDP_DROP, "drop_cookie_invalid");
            bench.expect("nor wants its reset", &reset.bytes(), XDP_DROP, "drop_no_flow");
        }
    });
}

#[test]
fn a_forged_ack_passes_neither() {
    on_bench("a_forged_ack_passes_neither", |bench| {
        let mut random = Random::new(3);
        let mut differ = 0;
        for _ in 0..400 {
            let syn = Frame { flags: 2, ..Frame::random_syn(&mut random) };
            let (action, reply) = bench.run(&syn.bytes());
            if action != XDP_TX {
                continue;
            }
            let good = syn.ack_of(&reply, &mut random);
            for forged in good.one_bit_changed(&mut random) {
                let bytes = forged.bytes();
                let (action, _) = bench.run(&bytes);
                assert_eq!(action == XDP_REDIRECT, bench.worker_accepts(&bytes), "{bytes:02x?}");
                differ += u32::from(action == XDP_DROP);
            }
        }
        assert!(differ > 1000, "{differ} were dropped");
        // Random ones, as a flood sends them.
        for round in 0..20_000u32 {
            let ack = Frame { flags: 0x10, ack: random.next() as u32, ..Frame::random_syn(&mut random) };
            let bytes = ack.bytes();
            let (action, _) = bench.run(&bytes);
            assert_eq!(action == XDP_REDIRECT, bench.worker_accepts(&bytes), "{round}: {bytes:02x?}");
        }
    });
}

#[test]
fn segments_of_no_flow_are_dropped_while_the_gate_is_shut() {
    on_bench("segments_of_no_flow_are_dropped_while_the_gate_is_shut", |bench| {
        for v6 in [false, true] {
            let slot = if v6 { bench.slot_v6 } else { bench.slot_v4 };
            let mut seen = bench.gate.counts(slot);
            for (flags, reason) in [
                (0x04, "drop_no_flow"),
                (0x14, "drop_no_flow"),
                (0x12, "drop_no_flow"),
                (0x08, "drop_tcp_flags"),
                (0x10, "drop_cookie_invalid"),
                (0x11, "drop_cookie_invalid"),
                (0x18, "drop_cookie_invalid"),
            ] {
                let frame = Frame { v6, flags, ..Frame::default() };
                bench.expect("shut", &frame.bytes(), XDP_DROP, reason);
                seen.no_flow += u64::from(reason == "drop_no_flow");
                seen.forged += u64::from(reason == "drop_cookie_invalid");
                assert_eq!(bench.gate.counts(slot), seen);
                bench.gate.insert(&frame.flow());
                if flags != 0x08 {
                    bench.expect("open flow", &frame.bytes(), XDP_REDIRECT, "worker");
                    // Other flows are not meant.
                    let other = Frame { port: frame.port + 1, ..frame.clone() };
                    bench.expect("other port", &other.bytes(), XDP_DROP, reason);
                    seen = bench.gate.counts(slot);
                }
                bench.gate.remove(&frame.flow());
                bench.gate.set_gate(slot, false);
                if flags != 0x08 {
                    bench.expect("open gate", &frame.bytes(), XDP_REDIRECT, "worker");
                }
                bench.gate.set_gate(slot, true);
            }
            let broken = Frame { v6, flags: 0x10, options: vec![8, 10, 0, 0], ..Frame::default() };
            bench.expect("broken options", &broken.bytes(), XDP_DROP, "drop_tcp_options");
            assert_eq!(bench.gate.counts(slot).broken, seen.broken + 1);
        }
    });
}

#[test]
fn a_full_bucket_loses_no_flow() {
    on_bench("a_full_bucket_loses_no_flow", |bench| {
        // More than the 64 buckets of 15 places hold.
        let frame = |port: u16| Frame { port, flags: 0x10, ..Frame::default() };
        let ports = 1000..3500u16;
        for port in ports.clone() {
            bench.gate.insert(&frame(port).flow());
        }
        assert!(bench.gate.overflowed() > 1000);
        for port in ports.clone() {
            bench.expect("open", &frame(port).bytes(), XDP_REDIRECT, "worker");
        }
        for port in ports.clone() {
            bench.gate.remove(&frame(port).flow());
        }
        for port in ports {
            bench.expect("closed", &frame(port).bytes(), XDP_DROP, "drop_cookie_invalid");
        }
    });
}

#[test]
fn slots_follow_their_listeners() {
    on_bench("slots_follow_their_listeners", Bench::slots_follow_their_listeners);
}
