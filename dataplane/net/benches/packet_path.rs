//! What each step of the packet path costs, in nanoseconds per packet.
//!
//! `cargo bench -p secbeat-net [-- name]`. Each line is the median of 15 runs over 1,024 different packets, so that
//! neither branch prediction nor a cached input flatters the result; "best" is the fastest run. Numbers
//! depend on the machine; compare two commits on one.
#![expect(clippy::unwrap_used, reason = "the input is our own")]

use core::hint::black_box;
use core::net::IpAddr;
use core::time::Duration;
use std::time::Instant as Clock;

use secbeat_net::filter::{Action, Block, Filter, Lpm, Parts, Prefix, RULES_MAX, Rule, Rules};
use secbeat_net::flow::{FlowKey, HashKey, hash_addr};
use secbeat_net::halfopen::{HalfOpen, HalfOpenKeys, SynIngress};
use secbeat_net::limit::{ConnectionCounts, ConnectionLimits, Rate, RateCell, RateLimit, RateTable};
use secbeat_net::link::PortId;
use secbeat_net::packet::PacketBuf;
use secbeat_net::syncookie::{KeySchedule, Keys, Offer, answer_syn, check, make};
use secbeat_net::time::Instant;
use secbeat_net::wire::checksum::{complete_l4, internet, verify_l4};
use secbeat_net::wire::tcp::{Flags, Options, Repr, Segment, SynOptions, Timestamps};
use secbeat_net::wire::{Headers, ipv4, ipv6, parse, protocol};

/// Packets per round: enough that the branch predictor cannot learn them, few enough to stay in the first-level cache
/// as a burst does.
const PACKETS: usize = 1024;
const ROUNDS: usize = 200;
const RUNS: usize = 15;
const NOW: Instant = Instant::from_millis(1_000_000);
const KEY: HashKey = HashKey([0x0123_4567_89ab_cdef, 0x1122_3344_5566_7788]);

struct Bench {
    filter: Option<String>,
}

impl Bench {
    /// Measures `step`, called with the numbers 0..PACKETS over and over.
    fn run(&self, name: &str, mut step: impl FnMut(usize)) {
        if self.filter.as_ref().is_some_and(|filter| !name.contains(filter.as_str())) {
            return;
        }
        let mut nanos: Vec<f64> = (0..RUNS)
            .map(|_| {
                let start = Clock::now();
                for _ in 0..ROUNDS {
                    for packet in 0..PACKETS {
                        step(packet);
                    }
                }
                start.elapsed().as_nanos() as f64 / (ROUNDS * PACKETS) as f64
            })
            .collect();
        nanos.sort_by(f64::total_cmp);
        println!("{name:<44} {:>8.1} ns   best {:>8.1} ns", nanos[RUNS / 2], nanos[0]);
    }
}

fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 29)
}

/// Frames from random sources to one listener.
fn frames(is_v6: bool, flags: Flags, options: &SynOptions, payload: usize) -> Vec<Vec<u8>> {
    let mut state = 1;
    (0..PACKETS)
        .map(|_| {
            let mut bytes = [0; 40];
            let len = options.emit(&mut bytes);
            let mut tcp = vec![0; 20 + len + payload];
            let seq = random(&mut state) as u32;
            let source_port = random(&mut state) as u16 | 1024;
            let header =
                Repr { source_port, destination_port: 443, seq, ack: seq ^ 0x5555, flags, window: 64_240 };
            header.emit(&mut tcp, &bytes[..len]).unwrap();
            let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
            let payload_len = tcp.len() as u16;
            if is_v6 {
                frame.extend([0x86, 0xdd]);
                frame.resize(54, 0);
                let source = 0x2001_0db8u128 << 96 | u128::from(random(&mut state));
                let repr = ipv6::Repr {
                    source: source.into(),
                    destination: (0x2001_0db8u128 << 96 | 1).into(),
                    next_header: protocol::TCP,
                    payload_len,
                    hop_limit: 60,
                    traffic_class: 0,
                    flow_label: 7,
                };
                repr.emit(&mut frame[14..]).unwrap();
            } else {
                frame.extend([8, 0]);
                frame.resize(34, 0);
                let repr = ipv4::Repr {
                    source: (0x0b00_0000 | random(&mut state) as u32 >> 8).into(),
                    destination: [203, 0, 113, 1].into(),
                    protocol: protocol::TCP,
                    payload_len,
                    ttl: 60,
                    dscp_ecn: 0,
                    ident: 7,
                    dont_fragment: true,
                };
                repr.emit(&mut frame[14..]).unwrap();
            }
            frame.extend_from_slice(&tcp);
            let headers = parse(&frame).unwrap();
            assert!(complete_l4(&headers, &mut frame));
            frame
        })
        .collect()
}

fn linux_syn() -> SynOptions {
    SynOptions {
        mss: Some(1460),
        window_scale: Some(7),
        sack_permitted: true,
        timestamps: Some(Timestamps { value: 1, echo: 0 }),
    }
}

fn main() {
    // Cargo passes `--bench`; anything else is a part of the names to run.
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let bench = Bench { filter };
    wire(&bench);
    cookies(&bench);
    limits(&bench);
    lists(&bench);
    rules(&bench);
    half_open(&bench);
    whole_paths(&bench);
}

fn wire(bench: &Bench) {
    for (name, is_v6) in [("IPv4", false), ("IPv6", true)] {
        let syns = frames(is_v6, Flags::SYN, &linux_syn(), 0);
        let headers: Vec<Headers> = syns.iter().map(|frame| parse(frame).unwrap()).collect();
        bench.run(&format!("parse {name} SYN"), |at| {
            black_box(parse(black_box(&syns[at])).ok());
        });
        bench.run(&format!("verify checksum {name} SYN"), |at| {
            black_box(verify_l4(&headers[at], black_box(&syns[at])));
        });
        bench.run(&format!("flow hash {name}"), |at| {
            black_box(headers[at].flow_key().map(|flow| flow.hash(&KEY)));
        });
    }
    let syns = frames(false, Flags::SYN, &linux_syn(), 0);
    bench.run("TCP options of a SYN", |at| {
        black_box(Segment::new_checked(&syns[at][34..]).unwrap().options().ok());
    });
    let bytes = vec![7u8; 1460];
    bench.run("checksum of 1,460 bytes", |_| {
        black_box(internet(black_box(&bytes)));
    });
}

fn flows(frames: &[Vec<u8>]) -> Vec<(FlowKey, u32, Options)> {
    let flow = |frame: &Vec<u8>| {
        let headers = parse(frame).unwrap();
        let segment = Segment::new_checked(&frame[headers.l4..headers.end]).unwrap();
        (headers.flow_key().unwrap(), segment.seq(), segment.options().unwrap())
    };
    frames.iter().map(flow).collect()
}

fn keys() -> Keys {
    KeySchedule::new(KEY).keys(1000)
}

/// A buffer with room around a frame, as packet memory has.
struct Memory([u8; 512]);

impl Memory {
    fn load(&mut self, frame: &[u8]) -> PacketBuf<'_> {
        self.0[128..128 + frame.len()].copy_from_slice(frame);
        PacketBuf::new(&mut self.0, 128, frame.len())
    }
}

fn cookies(bench: &Bench) {
    let (keys, offer) = (keys(), Offer::default());
    for (name, is_v6) in [("IPv4", false), ("IPv6", true)] {
        let syns = frames(is_v6, Flags::SYN, &linux_syn(), 0);
        let flows = flows(&syns);
        bench.run(&format!("cookie make {name}"), |at| {
            let (flow, isn, options) = &flows[at];
            black_box(make(&keys, flow, *isn, options, false, &offer, NOW));
        });
        let answers: Vec<_> = flows
            .iter()
            .map(|(flow, isn, options)| {
                let syn_ack = make(&keys, flow, *isn, options, false, &offer, NOW);
                (syn_ack.isn, syn_ack.options.timestamps.map(|timestamps| timestamps.value))
            })
            .collect();
        bench.run(&format!("cookie check {name}, valid"), |at| {
            let ((flow, isn, _), (cookie, echo)) = (&flows[at], answers[at]);
            assert!(check(&keys, flow, *isn, cookie, echo).is_some());
        });
        bench.run(&format!("cookie check {name}, forged"), |at| {
            let (flow, isn, _) = &flows[at];
            black_box(check(&keys, flow, *isn, isn.rotate_left(7), None));
        });
        let headers: Vec<Headers> = syns.iter().map(|frame| parse(frame).unwrap()).collect();
        let mut memory = Memory([0; 512]);
        bench.run(&format!("answer SYN in place {name} (and 74 B copy)"), |at| {
            let mut packet = memory.load(&syns[at]);
            answer_syn(&mut packet, &headers[at], &keys, &offer, NOW).unwrap();
            black_box(packet.len());
        });
    }
}

fn limits(bench: &Bench) {
    let limit = RateLimit::new(Rate { count: 1_000_000, interval: Duration::from_secs(1), burst: 1000 });
    let table = RateTable::new(1 << 12);
    let mut clock = 1_000_000_000_000u64;
    bench.run("rate limit hit, 1,024 known keys", |at| {
        clock += 100;
        let hash = (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        black_box(table.hit(hash, &limit, Instant::from_nanos(clock)).is_admitted());
    });
    let table = RateTable::new(1 << 20);
    let mut state = 5;
    bench.run("rate limit hit, random keys in 8 MiB", |_| {
        clock += 100;
        black_box(table.hit(random(&mut state), &limit, Instant::from_nanos(clock)).is_admitted());
    });
    let cell = RateCell::new(NOW);
    bench.run("rate limit of a listener", |_| {
        clock += 100;
        black_box(cell.hit(&limit, 1, Instant::from_nanos(clock)).is_admitted());
    });
    bench.run("hash of an address", |at| {
        black_box(hash_addr(&KEY, IpAddr::from((at as u32).to_be_bytes()), 1));
    });
    let counts = ConnectionCounts::new(100_000, KEY);
    let limits = ConnectionLimits::NONE;
    bench.run("connection acquire and release", |at| {
        let source = IpAddr::from((at as u32).to_be_bytes());
        let _ = black_box(counts.acquire(source, &limits, false));
        counts.release(source, &limits);
    });
}

fn lists(bench: &Bench) {
    for count in [10, 10_000, 1_000_000] {
        let mut state = 9;
        let prefixes = (0..count).map(|_| {
            let addr = IpAddr::from((random(&mut state) as u32).to_be_bytes());
            (Prefix::new(addr, 24 + (random(&mut state) % 9) as u8).unwrap(), ())
        });
        let table = Lpm::new(prefixes).unwrap();
        bench.run(&format!("longest prefix, {count} IPv4 prefixes"), |_| {
            black_box(table.contains(IpAddr::from((random(&mut state) as u32).to_be_bytes())));
        });
    }
    let mut state = 9;
    let prefixes = (0..100_000).map(|_| {
        let bits = 0x2001u128 << 112 | u128::from(random(&mut state)) << 48;
        (Prefix::new(IpAddr::V6(bits.into()), 64).unwrap(), ())
    });
    let table = Lpm::new(prefixes).unwrap();
    bench.run("longest prefix, 100000 IPv6 prefixes", |_| {
        let bits = 0x2001u128 << 112 | u128::from(random(&mut state)) << 48;
        black_box(table.contains(IpAddr::V6(bits.into())));
    });
}

/// Rules as fleets have them, each with two conditions or more: no packet of [`frames`] matches one of them, but many
/// conditions hold.
fn mixed_rules(count: usize) -> Vec<Rule> {
    let mut state = 5;
    let mut network = |bits: u32, len| {
        Prefix::new(IpAddr::from((bits | (random(&mut state) as u32 >> 8)).to_be_bytes()), len).unwrap()
    };
    (0..count)
        .map(|at| match at % 4 {
            0 => Rule {
                protocol: Some(protocol::UDP),
                source_ports: vec![(at % 1024) as u16..=(at % 1024) as u16],
                ..Rule::any(Action::Drop)
            },
            1 => Rule {
                sources: vec![network(0x0b00_0000, 24)],
                destination_ports: vec![22..=22, 1000 + at as u16..=1010 + at as u16],
                ..Rule::any(Action::Drop)
            },
            2 => Rule {
                protocol: Some(protocol::TCP),
                sources: vec![network(0x0b00_0000, 32), network(0x0c00_0000, 20)],
                destinations: vec!["203.0.114.0/24".parse().unwrap()],
                ..Rule::any(Action::Drop)
            },
            _ => Rule {
                destinations: vec![network(0xcb00_0000, 32)],
                destination_ports: vec![443..=443],
                fragment: Some(false),
                ..Rule::any(Action::Drop)
            },
        })
        .collect()
}

/// Rules whose conditions all hold for the packets in some rule of every 64, but never all in one rule: the worst there
/// is.
fn near_misses(count: usize) -> Vec<Rule> {
    (0..count)
        .map(|at| {
            let (source, destination) =
                if at % 2 == 0 { ("10.0.0.0/8", "203.0.113.0/24") } else { ("11.0.0.0/8", "203.0.114.0/24") };
            Rule {
                protocol: Some(protocol::TCP),
                sources: vec![source.parse().unwrap()],
                destinations: vec![destination.parse().unwrap()],
                source_ports: vec![1024..=65_535],
                destination_ports: vec![at as u16..=at as u16, 443..=443],
                ..Rule::any(Action::Drop)
            }
        })
        .collect()
}

fn rules(bench: &Bench) {
    let v4 = frames(false, Flags::SYN, &linux_syn(), 0);
    let v6 = frames(true, Flags::SYN, &linux_syn(), 0);
    let parsed = |frames: &[Vec<u8>]| frames.iter().map(|frame| parse(frame).unwrap()).collect::<Vec<_>>();
    let (v4, v6) = (parsed(&v4), parsed(&v6));
    let rule = Rule { protocol: Some(protocol::UDP), ..Rule::any(Action::Drop) };
    let judge = |name: &str, headers: &[Headers], rules: Vec<Rule>| {
        let filter = Filter::new(Parts {
            allow: vec!["10.0.0.0/8".parse().unwrap()],
            block: vec![Block { prefix: "192.0.2.0/24".parse().unwrap(), expires: None, reason: 0 }],
            rules,
        })
        .unwrap();
        bench.run(&format!("filter: two lists, {name}"), |at| {
            let _ = black_box(filter.judge(&headers[at], NOW));
        });
    };
    judge("no rules", &v4, Vec::new());
    judge("16 rules", &v4, vec![rule; 16]);
    for count in [1, 4, 16, 64, 256, 1_000, 10_000, RULES_MAX] {
        judge(&format!("{count} mixed rules"), &v4, mixed_rules(count));
        judge(&format!("{count} mixed rules, IPv6"), &v6, mixed_rules(count));
        judge(&format!("{count} near misses"), &v4, near_misses(count));
    }
    compiling();
}

/// How long it takes to compile rules, and what memory they need then: as people write them, and as few would.
fn compiling() {
    let mut state = 3;
    let mut ranges = || {
        let (a, b) = (random(&mut state) as u16, random(&mut state) as u16);
        vec![a.min(b)..=a.max(b)]
    };
    let overlapping: Vec<Rule> = (0..10_000)
        .map(|_| Rule { source_ports: ranges(), destination_ports: ranges(), ..Rule::any(Action::Drop) })
        .collect();
    for (name, rules) in [("mixed", mixed_rules(10_000)), ("overlapping", overlapping)] {
        let start = Clock::now();
        let rules = Rules::new(&rules).unwrap();
        println!("filter: 10000 {name} rules compiled in {:?}, {} bytes", start.elapsed(), rules.bytes());
    }
}

fn half_open(bench: &Bench) {
    let offer = Offer::default();
    let syns = frames(false, Flags::SYN, &linux_syn(), 0);
    let headers: Vec<Headers> = syns.iter().map(|frame| parse(frame).unwrap()).collect();
    let ingress = SynIngress { port: PortId(0), mtu: 1500, listener: 0 };
    let mut memory = Memory([0; 512]);
    let mut table = HalfOpen::new(1 << 14, HalfOpenKeys { table: KEY, isn: KEY });
    bench.run("half-open: SYN answered, RST", |at| {
        let mut packet = memory.load(&syns[at]);
        table.handle_syn(&mut packet, &headers[at], ingress, &offer, NOW).unwrap();
        let seq = Segment::new_checked(&syns[at][34..]).unwrap().seq();
        assert!(table.handle_rst(&headers[at], seq.wrapping_add(1)));
    });
}

fn whole_paths(bench: &Bench) {
    let (keys, offer) = (keys(), Offer::default());
    let limit = RateLimit::new(Rate { count: 1_000_000, interval: Duration::from_secs(1), burst: 1000 });
    let filter =
        Filter::new(Parts { allow: vec!["10.0.0.0/8".parse().unwrap()], ..Parts::default() }).unwrap();
    let cell = RateCell::new(NOW);
    for (name, is_v6) in [("IPv4", false), ("IPv6", true)] {
        let syns = frames(is_v6, Flags::SYN, &linux_syn(), 0);
        let mut memory = Memory([0; 512]);
        let mut clock = 1_000_000_000_000u64;
        bench.run(&format!("whole SYN path {name}"), |at| {
            clock += 1000;
            let now = Instant::from_nanos(clock);
            let mut packet = memory.load(&syns[at]);
            let headers = parse(packet.bytes()).unwrap();
            headers.sanity().unwrap();
            black_box(verify_l4(&headers, packet.bytes()));
            let _ = black_box(filter.judge(&headers, now));
            black_box(cell.hit(&limit, 1, now).is_admitted());
            answer_syn(&mut packet, &headers, &keys, &offer, now).unwrap();
            black_box(packet.len());
        });
        let acks = frames(
            is_v6,
            Flags::ACK,
            &SynOptions { timestamps: linux_syn().timestamps, ..SynOptions::default() },
            0,
        );
        bench.run(&format!("whole path of a forged ACK {name}"), |at| {
            let frame = &acks[at][..];
            let headers = parse(frame).unwrap();
            headers.sanity().unwrap();
            black_box(verify_l4(&headers, frame));
            let _ = black_box(filter.judge(&headers, NOW));
            let segment = Segment::new_checked(&frame[headers.l4..headers.end]).unwrap();
            let echo = segment.options().unwrap().timestamps.map(|timestamps| timestamps.echo);
            let flow = headers.flow_key().unwrap();
            black_box(check(
                &keys,
                &flow,
                segment.seq().wrapping_sub(1),
                segment.ack().wrapping_sub(1),
                echo,
            ));
        });
    }
}
