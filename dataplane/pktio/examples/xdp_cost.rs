//! What the XDP program costs: nanoseconds of each way through it (`BPF_PROG_RUN`), the rate at which it drops blocked
//! traffic on a veth beside that of a program that only drops, and the rate at which it answers SYNs beside that of one
//! that only sends back. Needs root; everything happens in a network namespace of its own.
//!
//! ```text
//! cargo run --release -p secbeat-pktio --example xdp_cost
//! ```

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::time::Instant;

use ipnet::IpNet;
use nix::sched::{CloneFlags, unshare};
use secbeat_pktio::live::{LiveGenerator, Randomize};
use secbeat_pktio::program::{
    AttachMode, BareDrop, BareTx, CookieConfig, CookieKeys, CookieOffer, GateFlow, InterfaceConfig,
    ListenerKey, Program, ProgramConfig, Unbound, ifindex,
};
use secbeat_pktio::xsk::{XskConfig, XskInterface, XskIo};

/// Runs of one packet: at some 50 ns each a tenth of a second.
const RUNS: u32 = 2_000_000;
/// Frames of one live measurement, and how many measurements a median is of.
const LIVE_FRAMES: u32 = 4_000_000;
const REPETITIONS: usize = 5;

const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;
/// The options of a SYN of Linux and of Windows, and of an ACK with timestamps.
const LINUX: [u8; 20] = [2, 4, 5, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7];
const WINDOWS: [u8; 12] = [2, 4, 5, 0xb4, 1, 3, 3, 8, 1, 1, 4, 2];
const TIMESTAMPS: [u8; 12] = [1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8];
/// A layout that no stack has: the general walk.
const STRANGE: [u8; 20] = [1, 1, 2, 4, 5, 0xb4, 3, 3, 7, 1, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0];

/// A TCP segment over IPv4; its checksums are those of the generator's templates where that matters.
fn segment(source: [u8; 4], destination: [u8; 4], port: u16, flags: u8, options: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    let header = 20 + options.len() as u8;
    frame.extend([0x45, 0, 0, 20 + header, 0, 1, 0x40, 0, 64, 6, 0, 0]);
    frame.extend(source);
    frame.extend(destination);
    frame.extend([3, 232]);
    frame.extend(port.to_be_bytes());
    // An acknowledgment number of an epoch that is accepted, so that a forged cookie costs its hash.
    frame.extend([0, 0, 0, 1, 0, 0, 0, 1, header << 2, flags, 255, 255, 0, 0, 0, 0]);
    frame.extend(options);
    frame
}

/// A SYN without options, as short as Ethernet has them.
fn frame(source: [u8; 4], destination: [u8; 4], port: u16) -> Vec<u8> {
    let mut frame = segment(source, destination, port, SYN, &[]);
    frame.resize(60, 0);
    frame
}

/// Scattered addresses, the same each time.
fn scattered(count: u32) -> impl Iterator<Item = IpNet> {
    (0..count).map(|i| {
        let addr = Ipv4Addr::from_bits(0x2000_0000 | (i.wrapping_mul(0x9e37_79b1) >> 3));
        IpNet::new_assert(IpAddr::V4(addr), 32)
    })
}

fn costs(program: &Program, what: &str) -> Result<(), Box<dyn Error>> {
    let cases = [
        ("blocked /8", frame([10, 1, 2, 3], [198, 51, 100, 1], 80)),
        ("blocked /32", frame([192, 0, 2, 1], [198, 51, 100, 1], 80)),
        ("to a listener", frame([203, 0, 113, 1], [198, 51, 100, 1], 80)),
        ("to the kernel", frame([203, 0, 113, 1], [198, 51, 100, 9], 80)),
    ];
    for (case, frame) in cases {
        let (action, time) = program.dry_run(0, &frame, RUNS)?;
        println!("  {case:<16} {:>4} ns  (action {action}, {what})", time.as_nanos());
    }
    Ok(())
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn rate(generator: &mut LiveGenerator) -> Result<f64, Box<dyn Error>> {
    let start = Instant::now();
    generator.run(LIVE_FRAMES)?;
    Ok(f64::from(LIVE_FRAMES) / start.elapsed().as_secs_f64() / 1e6)
}

/// The program with cookies answered and checked at the listener.
fn open_with_cookies(config: &ProgramConfig) -> Result<(Program, XskIo), Box<dyn Error>> {
    let mut program = Program::open(config)?;
    let interfaces = vec![XskInterface { name: "v1".into(), queue: 0 }];
    let (io, _) = XskIo::open(&XskConfig { interfaces, ..XskConfig::default() })?;
    for (port, queue, fd) in io.sockets() {
        program.bind_queue(port, queue, fd)?;
    }
    program.set_cookie_keys(&CookieKeys { epoch: 9, keys: [(1, 2), (3, 4), (5, 6)] });
    let offer = CookieOffer {
        mss_v4: 1460,
        mss_v6: 1440,
        window: 14_600,
        window_scale: Some(7),
        timestamps: true,
        sack: true,
        ecn: true,
    };
    let listener = ListenerKey { addr: ([198, 51, 100, 1], 80).into(), protocol: 6 };
    let slots = program.set_listeners_with_cookies(&[(listener, Some(offer))])?;
    let gate = program.cookie_gate();
    for slot in slots.into_iter().flatten() {
        gate.set_answering(slot, true);
        gate.set_gate(slot, true);
    }
    Ok((program, io))
}

/// Nanoseconds of what is not answered. A SYN cannot be run again and again: the second run sees the answer.
fn gate_costs(config: &ProgramConfig) -> Result<(), Box<dyn Error>> {
    let (program, _io) = open_with_cookies(config)?;
    let (client, service) = ([203, 0, 113, 1], [198, 51, 100, 1]);
    let of = |flags, options: &[u8]| segment(client, service, 80, flags, options);
    let flow = GateFlow { client: (client, 1000).into(), service: (service, 80).into() };
    let cases = [
        ("forged ACK", of(ACK, &[]), false),
        ("  with timestamps", of(ACK, &TIMESTAMPS), false),
        ("RST of no flow", of(RST, &[]), false),
        ("established ACK", of(ACK, &TIMESTAMPS), true),
    ];
    for (case, frame, is_open) in cases {
        if is_open {
            program.cookie_gate().insert(&flow);
        }
        let (action, time) = program.dry_run(0, &frame, RUNS)?;
        println!("  {case:<18} {:>4} ns  (action {action})", time.as_nanos());
    }
    Ok(())
}

/// How many SYNs are answered per second, beside a program that only sends back. Sources are random: each has a bucket
/// of its own in the flow table.
fn answer_rates(config: &ProgramConfig, from: u32, to: u32) -> Result<(), Box<dyn Error>> {
    // What comes back is dropped on arrival, by a program: without one a veth takes nothing from `XDP_TX`.
    let _peer = BareDrop::attach(from, AttachMode::Native)?;
    let randomize = Randomize { source: Some("10.0.0.0/8".parse()?), sequence: true, ..Randomize::default() };
    let of = |options: &[u8]| segment([10, 1, 2, 3], [198, 51, 100, 1], 80, SYN, options);
    let cases = [
        ("no options", of(&[])),
        ("Linux", of(&LINUX)),
        ("Windows", of(&WINDOWS)),
        ("strange", of(&STRANGE)),
    ];
    for (case, template) in cases {
        let mut generator = LiveGenerator::open(from, &[template], &randomize, 1)?;
        let (mut bare, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..REPETITIONS {
            let program = BareTx::attach(to, AttachMode::Native)?;
            bare.push(rate(&mut generator)?);
            assert!(program.packets() >= u64::from(LIVE_FRAMES) * 99 / 100, "{} arrived", program.packets());
            drop(program);
            let (program, _io) = open_with_cookies(config)?;
            ours.push(rate(&mut generator)?);
            let counters = program.counters()?;
            let answered = counters.iter().find(|(name, _)| *name == "tx_syn_cookie").map(|c| c.1);
            assert!(answered >= Some(u64::from(LIVE_FRAMES) * 99 / 100), "{counters:?}");
        }
        let (bare, ours) = (median(bare), median(ours));
        let (share, more) = (ours / bare * 100.0, 1e3 / ours - 1e3 / bare);
        println!(
            "SYN, {case}: bare reflector {bare:.2} Mpps, answered {ours:.2} Mpps, {share:.0} %, {more:.0} ns more"
        );
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    for line in [
        "ip link add v0 numrxqueues 1 numtxqueues 1 type veth peer name v1 numrxqueues 1 numtxqueues 1",
        "ip link set v0 up",
        "ip link set v1 up",
    ] {
        let mut words = line.split(' ');
        let status = Command::new(words.next().unwrap_or_default()).args(words).status()?;
        assert!(status.success(), "{line}");
    }
    let (from, to) = (ifindex("v0")?, ifindex("v1")?);
    let config = ProgramConfig {
        pin_dir: None,
        interfaces: vec![InterfaceConfig { name: "v1".into(), mode: AttachMode::Native }],
        unbound: Unbound::Pass,
        cookies: CookieConfig { clock_base_ns: 0, flows_max: 1_000_000 },
    };
    let open = || -> Result<Program, Box<dyn Error>> {
        let mut program = Program::open(&config)?;
        let addr = ([198, 51, 100, 1], 80).into();
        program.set_listeners(&[ListenerKey { addr, protocol: 6 }])?;
        Ok(program)
    };
    gate_costs(&config)?;
    answer_rates(&config, from, to)?;
    let mut program = open()?;
    costs(&program, "empty list")?;
    program.block("10.0.0.0/8".parse()?, None)?;
    program.block("192.0.2.1/32".parse()?, None)?;
    costs(&program, "2 entries")?;
    for prefix in scattered(100_000) {
        program.block(prefix, None)?;
    }
    costs(&program, "100,002 entries")?;
    drop(program);

    let random = Randomize { source: Some("10.0.0.0/8".parse()?), ..Randomize::default() };
    for (what, randomize) in [("one source", Randomize::default()), ("random sources", random)] {
        let template = frame([10, 1, 2, 3], [198, 51, 100, 1], 80);
        let mut generator = LiveGenerator::open(from, &[template], &randomize, 1)?;
        for entries in [1, 100_000] {
            // Alternately, so that a slow moment of the machine falls on both.
            let (mut bare, mut ours) = (Vec::new(), Vec::new());
            for _ in 0..REPETITIONS {
                let program = BareDrop::attach(to, AttachMode::Native)?;
                bare.push(rate(&mut generator)?);
                assert!(
                    program.packets() >= u64::from(LIVE_FRAMES) * 99 / 100,
                    "{} arrived",
                    program.packets()
                );
                drop(program);
                let mut program = open()?;
                program.block("10.0.0.0/8".parse()?, None)?;
                for prefix in scattered(entries - 1) {
                    program.block(prefix, None)?;
                }
                ours.push(rate(&mut generator)?);
                let dropped =
                    program.counters()?.iter().find(|(name, _)| *name == "drop_blocklist").map(|c| c.1);
                assert!(dropped >= Some(u64::from(LIVE_FRAMES) * 99 / 100), "{dropped:?} dropped");
            }
            let (bare, ours) = (median(bare), median(ours));
            let share = ours / bare * 100.0;
            println!(
                "{what}, {entries} entries: bare drop {bare:.2} Mpps, blocklist {ours:.2} Mpps, {share:.0} %"
            );
        }
    }
    Ok(())
}
