//! The baselines: programs that do nothing but move or drop, so nothing on this machine can be faster.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use nix::net::if_::if_nametoindex;
use secbeat_pktio::program::{AttachMode, BareDrop, BareXsk};
use secbeat_pktio::xsk::{XskConfig, XskInterface, XskIo};
use secbeat_pktio::{Burst, PacketIo, Port};

use super::{Load, rate_under};
use crate::flood::{Addresses, Kind, Segment, flag, tcp};
use crate::lab::{ATTACK, DefenderReceives, EDGE_ATTACK, Lab, vip};
use crate::{cpu, netns};

const PORT: Port = 0;
/// A source within what the generator draws random sources from, and so within the blocklist.
const BLOCKED_SOURCE: Ipv4Addr = Ipv4Addr::new(33, 1, 2, 3);

/// A bare program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bare {
    /// AF_XDP: receive and forget.
    XskDrop,
    /// AF_XDP: receive, swap addresses, transmit.
    XskEcho,
    /// XDP: drop in the driver, every packet from one source.
    XdpDrop,
    /// XDP: drop in the driver, every packet from another source, and received on the other core than it was
    /// written on. A program that reads the packet then probably waits for the other core's cache, as it would
    /// not for a network card's; the ratio moved by a factor of two between runs on one virtual machine.
    XdpDropMany,
}

impl Bare {
    /// Every baseline.
    pub(crate) const ALL: [Self; 4] = [Self::XskDrop, Self::XskEcho, Self::XdpDrop, Self::XdpDropMany];

    /// For reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::XskDrop => "bare AF_XDP receive and drop",
            Self::XskEcho => "bare AF_XDP echo",
            Self::XdpDrop => "bare XDP_DROP",
            Self::XdpDropMany => "bare XDP_DROP, random sources, other core",
        }
    }

    /// Its rate in packets per second.
    pub(crate) fn measure(self, lab: &Lab, window: Duration) -> Result<f64> {
        match self {
            Self::XskDrop => xsk(lab, window, false),
            Self::XskEcho => xsk(lab, window, true),
            Self::XdpDrop => xdp_drop(lab, window, false),
            Self::XdpDropMany => xdp_drop(lab, window, true),
        }
    }
}

/// Drops everything that arrives at an interface, cheaply, and counts it.
#[derive(Debug)]
pub(crate) struct Sink(BareDrop);

impl Sink {
    /// Attaches to an interface of a namespace until dropped.
    pub(crate) fn attach(netns: &str, interface: &str) -> Result<Self> {
        let program = netns::inside(netns, || {
            let index = if_nametoindex(interface).with_context(|| format!("no interface `{interface}`"))?;
            BareDrop::attach(index, AttachMode::Native).with_context(|| format!("attach to {interface}"))
        })?;
        Ok(Self(program))
    }

    /// Packets seen so far.
    pub(crate) fn packets(&self) -> f64 {
        self.0.packets() as f64
    }
}

fn xdp_drop(lab: &Lab, window: Duration, many: bool) -> Result<f64> {
    let sink = Sink::attach(&lab.topology.edge(), EDGE_ATTACK)?;
    let receives = many.then(|| DefenderReceives::begin(&lab.topology)).transpose()?;
    let engine = receives.as_ref().map(|receives| &receives.thread);
    rate_under(lab, &forged_syns(many), window, engine, || Ok(sink.packets()))
}

/// Forged ACKs to the VIP, each from another source.
pub(super) fn forged_acks() -> Load {
    let ack =
        Segment { flags: flag::ACK, sequence: 1, acknowledgement: 1, window: 64240, ..Segment::default() };
    Load::Sources(vec![forged(&ack)])
}

/// Forged SYNs to the VIP, from one source or from a different one each. The shortest frame there is, so that
/// the generator is not what is measured.
pub(super) fn forged_syns(many: bool) -> Load {
    let syn = Segment { flags: flag::SYN, sequence: 1, window: 64240, ..Segment::default() };
    let frames = vec![forged(&syn)];
    if many { Load::Sources(frames) } else { Load::Frames(frames) }
}

fn forged(segment: &Segment<'_>) -> Vec<u8> {
    let addresses = Addresses {
        mac_source: ATTACK.far_mac(),
        mac_destination: ATTACK.edge_mac(),
        source: BLOCKED_SOURCE.into(),
        destination: vip(4),
        source_port: 40_000,
        destination_port: 80,
    };
    tcp(&addresses, segment)
}

fn xsk(lab: &Lab, window: Duration, echo: bool) -> Result<f64> {
    let sink = Sink::attach(&lab.topology.attacker(), ATTACK.far_if)?;
    let (stop, received) = (AtomicBool::new(false), AtomicU64::new(0));
    let load = if echo { Load::Flood(Kind::Syn) } else { forged_acks() };
    let (tell_thread, thread) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let engine = scope.spawn(|| {
            netns::enter(&lab.topology.edge())?;
            cpu::pin(0, cpu::defence_core())?;
            tell_thread.send(cpu::Thread::current())?;
            turn_until(&stop, &received, echo)
        });
        let thread = thread.recv_timeout(Duration::from_secs(5)).context("the bare engine did not start")?;
        let rate = rate_under(lab, &load, window, Some(&thread), || {
            if engine.is_finished() {
                return Err(anyhow!("the bare engine ended early"));
            }
            Ok(if echo { sink.packets() } else { received.load(Ordering::Relaxed) as f64 })
        });
        stop.store(true, Ordering::Relaxed);
        engine.join().map_err(|_| anyhow!("the bare engine panicked"))??;
        rate
    })
}

fn turn_until(stop: &AtomicBool, received: &AtomicU64, echo: bool) -> Result<()> {
    let interface = XskInterface { name: EDGE_ATTACK.to_owned(), queue: 0 };
    let config = XskConfig { interfaces: vec![interface], ..XskConfig::default() };
    let (mut io, _) = XskIo::open(&config).context("AF_XDP socket of the bare engine")?;
    let mut program = BareXsk::attach(if_nametoindex(EDGE_ATTACK)?, AttachMode::Native)?;
    for (_, queue, socket) in io.sockets() {
        program.bind_queue(queue, socket)?;
    }
    let mut burst = Burst::new();
    while !stop.load(Ordering::Relaxed) {
        let count = io.receive(PORT, &mut burst);
        for mut frame in burst.drain(..) {
            if !echo {
                io.release(frame);
                continue;
            }
            let start = frame.start();
            if let Some(addresses) = io.chunk_mut(&mut frame).get_mut(start..start + 12) {
                let (destination, source) = addresses.split_at_mut(6);
                destination.swap_with_slice(source);
            }
            if let Err(frame) = io.transmit(PORT, frame) {
                io.release(frame);
            }
        }
        io.flush();
        if count > 0 {
            // One writer: a plain store is enough.
            received.store(received.load(Ordering::Relaxed) + count as u64, Ordering::Relaxed);
        }
    }
    Ok(())
}
