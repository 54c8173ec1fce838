//! What the XDP program costs: nanoseconds of each way through it (`BPF_PROG_RUN`), and the rate at which it drops
//! blocked traffic on a veth beside that of a program that only drops. Needs root; everything happens in a network
//! namespace of its own.
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
    AttachMode, BareDrop, CookieConfig, InterfaceConfig, ListenerKey, Program, ProgramConfig, Unbound,
    ifindex,
};

/// Runs of one packet: at some 50 ns each a tenth of a second.
const RUNS: u32 = 2_000_000;
/// Frames of one live measurement, and how many measurements a median is of.
const LIVE_FRAMES: u32 = 4_000_000;
const REPETITIONS: usize = 5;

fn frame(source: [u8; 4], destination: [u8; 4], port: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    frame.extend([0x45, 0, 0, 46, 0, 1, 0x40, 0, 64, 6, 0, 0]);
    frame.extend(source);
    frame.extend(destination);
    frame.extend([3, 232]);
    frame.extend(port.to_be_bytes());
    frame.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
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
        cookies: CookieConfig::default(),
    };
    let open = || -> Result<Program, Box<dyn Error>> {
        let mut program = Program::open(&config)?;
        let addr = ([198, 51, 100, 1], 80).into();
        program.set_listeners(&[ListenerKey { addr, protocol: 6 }])?;
        Ok(program)
    };
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
