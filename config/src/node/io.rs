//! `[io]`: how frames come in and go out.

use core::net::IpAddr;
use core::time::Duration;
use std::path::PathBuf;

use crate::reader::{Choice, Table, Unit};
use crate::units::PortRange;

/// The packet engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// `Xdp` where the machine can, else `Socket`.
    Auto,
    /// AF_XDP rings.
    Xdp,
    /// Kernel sockets.
    Socket,
}

impl Choice for Driver {
    const ALL: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("xdp", Self::Xdp), ("socket", Self::Socket)];
}

/// Where the XDP program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// `Native`, else `Generic`.
    Auto,
    /// In the driver.
    Native,
    /// In the kernel's receive path; any driver, slower.
    Generic,
}

impl Choice for Attach {
    const ALL: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("native", Self::Native), ("generic", Self::Generic)];
}

/// Whether something optional is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// When it can be had.
    Auto,
    /// Refuse to start without it.
    Require,
    /// Not used.
    Off,
}

impl Choice for Want {
    const ALL: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("require", Self::Require), ("off", Self::Off)];
}

/// What happens to our packets while no worker takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unbound {
    /// The kernel takes over.
    Pass,
    /// They are dropped.
    Drop,
}

impl Choice for Unbound {
    const ALL: &'static [(&'static str, Self)] = &[("pass", Self::Pass), ("drop", Self::Drop)];
}

/// `[io]`.
#[derive(Clone, Debug)]
pub struct Io {
    /// Packet engine.
    pub driver: Driver,
    /// Interfaces whose traffic the node takes; the index is the port number. Empty = those with a route to
    /// a backend or a listener's address.
    pub interfaces: Vec<String>,
    /// Receive queues used per interface; 0 = all.
    pub queues: u16,
    /// Where the XDP program runs.
    pub attach: Attach,
    /// What happens to our packets while no worker takes them.
    pub unbound: Unbound,
    /// TCP ports of this host that are never dropped, whatever the lists say.
    pub management_ports: Vec<u16>,
    /// AF_XDP zero-copy.
    pub zero_copy: Want,
    /// Huge pages for packet memory.
    pub hugepages: Want,
    /// Frames of packet memory per worker.
    pub frames: u32,
    /// Bytes per frame: 2048 or 4096.
    pub frame_bytes: u32,
    /// Entries of each receive ring; a power of two.
    pub rx_ring: u32,
    /// Entries of each transmit ring and of the completion ring beside it; a power of two.
    pub tx_ring: u32,
    /// Entries of each fill ring; a power of two, at least `rx_ring`.
    pub fill_ring: u32,
    /// Preferred busy polling of the socket.
    pub busy_poll: bool,
    /// How long an idle worker spins before it sleeps in `poll(2)`; `None` = for ever.
    pub idle_spin: Option<Duration>,
    /// Cores for workers, one worker each; empty = chosen by the node.
    pub cores: Vec<u16>,
    /// Keep the client's address towards the backend instead of SNAT.
    pub transparent: bool,
    /// Addresses used towards backends; empty = the address of the interface that leads there.
    pub snat_addresses: Vec<IpAddr>,
    /// Ports used towards backends, divided among the workers.
    pub snat_ports: PortRange,
    /// Directory on a BPF file system where program, link and maps are pinned.
    pub pin_dir: PathBuf,
}

impl Io {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        let (idle_spin, engine, memory) = (idle_spin(t), Engine::read(t), Memory::read(t));
        Self {
            driver: engine.driver,
            interfaces: engine.interfaces,
            queues: engine.queues,
            attach: engine.attach,
            unbound: engine.unbound,
            management_ports: engine.management_ports,
            zero_copy: memory.zero_copy,
            hugepages: memory.hugepages,
            frames: memory.frames,
            frame_bytes: memory.frame_bytes,
            rx_ring: ring(t, "rx_ring", "Entries of each receive ring; a power of two."),
            tx_ring: ring(
                t,
                "tx_ring",
                "Entries of each transmit ring and of the completion ring beside it; a power of two.",
            ),
            fill_ring: ring(t, "fill_ring", "Entries of each fill ring; a power of two, at least `rx_ring`."),
            busy_poll: t.boolean("busy_poll", true, "Preferred busy polling where the driver supports it."),
            idle_spin,
            cores: t.list(
                "cores",
                &[],
                256,
                "Cores for workers, one worker each; its length overrides `worker_threads`. Empty = \
                 chosen by the node.",
            ),
            transparent: t.boolean(
                "transparent",
                false,
                "Keep the client's address towards the backend (no SNAT). The backend's route back must \
                 lead through the node.",
            ),
            snat_addresses: t.list(
                "snat_addresses",
                &[],
                64,
                "Source addresses towards backends. Empty = the address of the interface that leads \
                 there.",
            ),
            snat_ports: t.value(
                "snat_ports",
                "10000-32767",
                "Source ports towards backends, divided among the workers. Must stay clear of the \
                 kernel's net.ipv4.ip_local_port_range.",
            ),
            pin_dir: t.value(
                "pin_dir",
                "/sys/fs/bpf/secbeat",
                "Directory on a BPF file system that keeps the XDP program attached while the node \
                 restarts.",
            ),
        }
    }
}

fn ring(t: &mut Table<'_>, key: &'static str, text: &'static str) -> u32 {
    t.integer(key, 2_048, 64..=65_536, "descriptors", text)
}

fn idle_spin(t: &mut Table<'_>) -> Option<Duration> {
    let spin: Duration = t.duration(
        "idle_spin",
        Duration::from_micros(50),
        Duration::ZERO..=Duration::from_secs(1),
        Unit::Microseconds,
        "How long an idle worker keeps polling before it sleeps until a frame comes. Longer = \
             lower latency, more power.",
    );
    let spin_always = t.boolean(
        "spin_always",
        false,
        "Never sleep: each worker burns its core. Only for cores that do nothing else.",
    );
    (!spin_always).then_some(spin)
}

/// Which engine runs where. A part of [`Io`] while it is read.
struct Engine {
    driver: Driver,
    interfaces: Vec<String>,
    queues: u16,
    attach: Attach,
    unbound: Unbound,
    management_ports: Vec<u16>,
}

impl Engine {
    fn read(t: &mut Table<'_>) -> Self {
        Self {
            driver: t.choice(
                "driver",
                Driver::Auto,
                "Packet engine: AF_XDP rings (`xdp`), kernel sockets (`socket`), or `xdp` where the \
                 machine can (`auto`).",
            ),
            interfaces: t.list(
                "interfaces",
                &[],
                16,
                "Interfaces whose traffic the node takes, towards clients and towards backends. Empty = \
                 those with a listener's address or a route to a backend.",
            ),
            queues: t.integer(
                "queues",
                0,
                0..=256,
                "queues",
                "Receive queues used per interface; 0 = all of them.",
            ),
            attach: t.choice(
                "attach",
                Attach::Auto,
                "Where the XDP program runs: in the driver (`native`) or in the kernel's receive path \
                 (`generic`, any driver, slower).",
            ),
            unbound: t.choice(
                "unbound",
                Unbound::Pass,
                "What happens to packets for our listeners while no worker takes them, after a crash for \
                 instance: the kernel gets them (`pass`) or they are dropped (`drop`).",
            ),
            management_ports: t.list(
                "management_ports",
                &["22"],
                16,
                "TCP ports of this host that no list and no limit ever closes, so that nobody locks \
                 himself out.",
            ),
        }
    }
}

/// Packet memory. A part of [`Io`] while it is read.
struct Memory {
    zero_copy: Want,
    hugepages: Want,
    frames: u32,
    frame_bytes: u32,
}

impl Memory {
    fn read(t: &mut Table<'_>) -> Self {
        Self {
            zero_copy: t.choice(
                "zero_copy",
                Want::Auto,
                "AF_XDP zero-copy: the card writes straight into packet memory. `require` refuses to \
                 start without it.",
            ),
            hugepages: t.choice(
                "hugepages",
                Want::Auto,
                "Huge pages for packet memory: 1 GiB, then 2 MiB, then transparent, then 4 KiB. \
                 `require` refuses the last two.",
            ),
            frames: t.integer(
                "frames",
                8_192,
                1_024..=1_048_576,
                "frames",
                "Frames of packet memory per worker, shared by its ports. At least the sum of the rings \
                 of one port.",
            ),
            frame_bytes: t.integer(
                "frame_bytes",
                2_048,
                2_048..=4_096,
                "bytes",
                "Bytes per frame, headroom included: 2048, or 4096 for an MTU above 1,700.",
            ),
        }
    }
}
