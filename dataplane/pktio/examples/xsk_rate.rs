//! What an AF_XDP worker can do at most on a veth: receive and drop, and receive and send back. The generator runs on
//! core 0, the worker on core 1. Needs root; everything happens in a network namespace of its own.
//!
//! ```text
//! cargo run --release -p secbeat-pktio --example xsk_rate
//! ```

use std::error::Error;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, CpuSet, sched_setaffinity, unshare};
use nix::unistd::Pid;
use secbeat_pktio::live::{LiveGenerator, Randomize};
use secbeat_pktio::program::{AttachMode, BarePass, BareXsk, ifindex};
use secbeat_pktio::xsk::{XskConfig, XskInterface, XskIo};
use secbeat_pktio::{BURST_FRAMES_MAX, Burst, PacketIo};

/// Time of one measurement.
const MEASURE: Duration = Duration::from_secs(2);

fn pin(core: usize) -> Result<(), Box<dyn Error>> {
    let mut cores = CpuSet::new();
    cores.set(core)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &cores)?)
}

/// Turns the worker's loop for a while: millions of frames per second, and the median time of a frame in turns with
/// full bursts, which others on the machine disturb less.
fn turn(io: &mut XskIo, send_back: bool) -> (f64, u128) {
    let mut burst = Burst::new();
    let mut frames = 0u64;
    let mut turns = Vec::with_capacity(1 << 20);
    let start = Instant::now();
    while start.elapsed() < MEASURE {
        for _ in 0..16 {
            let turn_start = Instant::now();
            let received = io.receive(0, &mut burst);
            frames += received as u64;
            for mut frame in burst.drain(..) {
                if send_back {
                    let start = frame.start();
                    let (destination, source) = io.chunk_mut(&mut frame)[start..].split_at_mut(6);
                    destination.swap_with_slice(&mut source[..6]);
                    if let Err(frame) = io.transmit(0, frame) {
                        io.release(frame);
                    }
                } else {
                    io.release(frame);
                }
            }
            io.flush();
            if received == BURST_FRAMES_MAX && turns.len() < turns.capacity() {
                turns.push(turn_start.elapsed().as_nanos());
            }
        }
    }
    turns.sort_unstable();
    let median = turns.get(turns.len() / 2).copied().unwrap_or_default();
    (frames as f64 / start.elapsed().as_secs_f64() / 1e6, median / BURST_FRAMES_MAX as u128)
}

fn main() -> Result<(), Box<dyn Error>> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    for line in [
        "ip link add v0 numrxqueues 1 numtxqueues 1 type veth peer name v1 numrxqueues 1 numtxqueues 1",
        "ip link set v0 up",
        "ip link set v1 up",
    ] {
        let mut words = line.split(' ');
        assert!(Command::new(words.next().unwrap_or_default()).args(words).status()?.success(), "{line}");
    }
    // Frames redirected into v0 come out of v1 because v1 has a native program, and the other way round.
    let _pass = BarePass::attach(ifindex("v0")?, AttachMode::Native)?;
    let mut program = BareXsk::attach(ifindex("v1")?, AttachMode::Native)?;
    let interfaces = vec![XskInterface { name: "v1".into(), queue: 0 }];
    let (mut io, report) = XskIo::open(&XskConfig { interfaces, ..XskConfig::default() })?;
    println!("{report}");
    for (_, queue, socket) in io.sockets() {
        program.bind_queue(queue, socket)?;
    }
    let mut template = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]].concat();
    template.extend([0x88, 0xb5]);
    template.resize(60, 0);
    let mut generator = LiveGenerator::open(ifindex("v0")?, &[template], &Randomize::default(), 1)?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let result = pin(0);
            while result.is_ok() && !stop.load(Ordering::Relaxed) && generator.run(100_000).is_ok() {}
        });
        let pinned = pin(1);
        for (what, send_back) in [("receive and drop", false), ("receive and send back", true)] {
            let before = io.counters(0);
            let (rate, median_ns) = turn(&mut io, send_back);
            let after = io.counters(0);
            println!(
                "{what}: {rate:.2} Mpps, {median_ns} ns per frame of a full burst (rx ring full {}, fill ring empty {}, transmitted {}, lost {})",
                after.rx_ring_full - before.rx_ring_full,
                after.fill_ring_empty - before.fill_ring_empty,
                after.transmitted - before.transmitted,
                after.transmit_lost - before.transmit_lost,
            );
        }
        stop.store(true, Ordering::Relaxed);
        pinned
    })?;
    println!("{:?}", io.chunk_counts());
    Ok(())
}
