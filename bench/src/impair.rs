//! A relay between two interfaces that behaves like a bad network (the kernel here has no netem).
//!
//! Frames come in and go out through AF_XDP and wait in the packet memory they arrived in; only a duplicate is
//! copied. What is not IP (ARP) is relayed unharmed. Cost: about 1 us per packet, well beyond 1 Gbit/s.
//! Cannot: frames above 1792 bytes, GSO super-frames (the lab switches TSO off), partial checksums.

mod model;

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use secbeat_pktio::program::{AttachMode, BareXsk};
use secbeat_pktio::xsk::{XskConfig, XskInterface, XskIo};
use secbeat_pktio::{Burst, Frame, PacketIo, Port};

use crate::guard::{self, Place};
use crate::{interrupt, netns};
pub(crate) use model::Settings;
use model::{Direction, Fate};

/// Chunks of packet memory, 2 KiB each: 64 MiB. Holds 100 ms of 3.6 Gbit/s in full frames.
const FRAMES: u32 = 32_768;
/// Longest sleep while idle; bounds how late Ctrl-C is seen.
const IDLE_WAIT: Duration = Duration::from_millis(20);

/// Options of `impair`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// One interface
    pub(crate) first: String,
    /// The other
    pub(crate) second: String,
    /// Namespace of both
    #[arg(long)]
    pub(crate) netns: Option<String>,
    /// For interfaces outside a lab: repeats the name of the first; everything it receives is taken from the kernel
    #[arg(long, value_name = "NAME")]
    pub(crate) i_own_this_interface: Option<String>,
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// Seed of everything random
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Stop after so many seconds (0: when told)
    #[arg(long, default_value_t = 0)]
    pub(crate) seconds: u64,
}

/// What the relay did to the packets of both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Stats {
    /// Packets that came in.
    pub(crate) received: u64,
    /// Packets that went out, copies included.
    pub(crate) sent: u64,
    /// Lost on purpose.
    pub(crate) lost: u64,
    /// Lost to the queue of a limited bandwidth.
    pub(crate) queue_full: u64,
    /// Held back behind later ones.
    pub(crate) reordered: u64,
    /// Sent twice.
    pub(crate) duplicated: u64,
    /// Sent with a flipped bit.
    pub(crate) corrupted: u64,
    /// Lost for want of memory or room in a ring: the relay's own fault; should be zero.
    pub(crate) overflow: u64,
}

/// Runs the `impair` subcommand until Ctrl-C or its time is over.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    guard::permit(&options.second, options.netns.as_deref(), Some(&options.second))?;
    let owned = options.i_own_this_interface.as_deref();
    let stats = match guard::permit(&options.first, options.netns.as_deref(), owned)? {
        Place::Lab { netns } => netns::inside(&netns, || relay(options))?,
        Place::Here => relay(options)?,
    };
    println!("{}", serde_json::to_string(&stats)?);
    Ok(ExitCode::SUCCESS)
}

fn relay(options: &Options) -> Result<Stats> {
    let names = [&options.first, &options.second];
    let interfaces = names.map(|name| XskInterface { name: name.clone(), queue: 0 });
    let config = XskConfig { interfaces: interfaces.to_vec(), frames: FRAMES, ..XskConfig::default() };
    let (io, report) = XskIo::open(&config).context("AF_XDP sockets of the relay")?;
    let mut programs = Vec::new();
    for (port, queue, socket) in io.sockets() {
        let name = names[usize::from(port)];
        let index =
            nix::net::if_::if_nametoindex(name.as_str()).with_context(|| format!("no interface `{name}`"))?;
        let mut program =
            BareXsk::attach(index, AttachMode::Auto).with_context(|| format!("attach to {name}"))?;
        program.bind_queue(queue, socket)?;
        programs.push(program);
    }
    let directions = [0, 1].map(|port| Direction::new(&options.settings, options.seed.wrapping_add(port)));
    let mut relay = Relay {
        io,
        directions,
        held: BinaryHeap::new(),
        held_max: report.frames_spare as usize,
        sequence: 0,
        stats: Stats::default(),
    };
    let started = Instant::now();
    let end = (options.seconds > 0).then(|| Duration::from_secs(options.seconds));
    while !interrupt::requested() && end.is_none_or(|end| started.elapsed() < end) {
        relay.turn(started);
    }
    Ok(relay.stats)
}

struct Relay {
    io: XskIo,
    directions: [Direction; 2],
    held: BinaryHeap<Held>,
    held_max: usize,
    sequence: u64,
    stats: Stats,
}

struct Held {
    at: Duration,
    sequence: u64,
    port: Port,
    frame: Frame,
}

impl Relay {
    fn turn(&mut self, started: Instant) {
        let mut moved = 0;
        for port in [0, 1] {
            let mut burst = Burst::new();
            self.io.receive(port, &mut burst);
            moved += burst.len();
            let now = started.elapsed();
            for frame in burst {
                self.handle(port, frame, now);
            }
        }
        moved += self.send_due(started.elapsed());
        self.io.flush();
        if moved == 0 {
            let now = started.elapsed();
            let until = self.held.peek().map_or(IDLE_WAIT, |next| next.at.saturating_sub(now));
            // Below a millisecond sleeping is too coarse: a packet would leave late.
            if until >= Duration::from_millis(1) {
                self.io.wait(until.min(IDLE_WAIT));
            }
        }
    }

    fn handle(&mut self, port: Port, frame: Frame, now: Duration) {
        self.stats.received += 1;
        let out = 1 - port;
        if !is_ip(self.io.bytes(&frame)) {
            self.send(out, frame);
            return;
        }
        match self.directions[usize::from(port)].handle(now, frame.len()) {
            Fate::Lost => {
                self.stats.lost += 1;
                self.io.release(frame);
            }
            Fate::QueueFull => {
                self.stats.queue_full += 1;
                self.io.release(frame);
            }
            Fate::Sent { at, reordered, copy_at, corrupt_bit } => {
                self.stats.reordered += u64::from(reordered);
                if let Some(copy_at) = copy_at
                    && let Some(copy) = self.copy(&frame)
                {
                    self.stats.duplicated += 1;
                    self.hold(copy_at, now, out, copy);
                }
                let mut frame = frame;
                if let Some(bit) = corrupt_bit {
                    self.stats.corrupted += 1;
                    let at = frame.start() + bit / 8;
                    if let Some(byte) = self.io.chunk_mut(&mut frame).get_mut(at) {
                        *byte ^= 1 << (bit % 8);
                    }
                }
                self.hold(at, now, out, frame);
            }
        }
    }

    fn copy(&mut self, frame: &Frame) -> Option<Frame> {
        let mut copy = self.io.allocate()?;
        let bytes = self.io.bytes(frame).to_vec();
        let start = copy.start();
        copy.set_bounds(start, bytes.len());
        if let Some(room) = self.io.chunk_mut(&mut copy).get_mut(start..start + bytes.len()) {
            room.copy_from_slice(&bytes);
        }
        Some(copy)
    }

    fn hold(&mut self, at: Duration, now: Duration, port: Port, frame: Frame) {
        if at <= now {
            self.send(port, frame);
        } else if self.held.len() >= self.held_max {
            self.stats.overflow += 1;
            self.io.release(frame);
        } else {
            self.sequence += 1;
            self.held.push(Held { at, sequence: self.sequence, port, frame });
        }
    }

    fn send_due(&mut self, now: Duration) -> usize {
        let mut count = 0;
        while self.held.peek().is_some_and(|next| next.at <= now) {
            let Some(next) = self.held.pop() else { break };
            self.send(next.port, next.frame);
            count += 1;
        }
        count
    }

    fn send(&mut self, port: Port, frame: Frame) {
        match self.io.transmit(port, frame) {
            Ok(()) => self.stats.sent += 1,
            Err(frame) => {
                self.io.flush();
                match self.io.transmit(port, frame) {
                    Ok(()) => self.stats.sent += 1,
                    Err(frame) => {
                        self.stats.overflow += 1;
                        self.io.release(frame);
                    }
                }
            }
        }
    }
}

fn is_ip(frame: &[u8]) -> bool {
    matches!(frame.get(12..14), Some([0x08, 0x00] | [0x86, 0xdd]))
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    /// The earliest is the greatest, since the heap gives the greatest first; equal times keep their order.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}
