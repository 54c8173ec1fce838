//! Making a veth behave like a network card, and putting its receive work where it belongs.
//!
//! * TSO off: every packet crosses the 256-slot ring of the veth, as it would cross a card's ring.
//! * Transmit checksums in software: a veth otherwise hands over the bare pseudo-header sum.
//! * A veth has no interrupt: its receive work runs on the core that transmits, which flatters whoever receives.
//!   With NAPI in threads, pinned, the attacker pays for its side and the defender for its own.
//!   NAPI exists on a veth when GRO is on or an XDP program is attached, so GRO is switched on.

use anyhow::{Context, Result, bail};

use super::Options;
use super::topology::{ATTACK, IMPAIR_CLIENT_IF, IMPAIR_EDGE_IF, Segment, Topology};
use crate::{cpu, tool};

/// Every interface of the lab with its namespace.
fn ends(topology: &Topology, options: &Options) -> Vec<(String, &'static str)> {
    let mut all = Vec::new();
    for segment in Segment::ALL {
        all.push((topology.edge(), segment.edge_if));
        all.push((topology.netns(segment.place), segment.far_if));
    }
    if options.impair.is_some() {
        all.push((topology.impair(), IMPAIR_CLIENT_IF));
        all.push((topology.impair(), IMPAIR_EDGE_IF));
    }
    all
}

/// Sets the offloads of all interfaces.
pub(crate) fn offloads(topology: &Topology, options: &Options) -> Result<()> {
    let checksum = if options.partial_checksums { "on" } else { "off" };
    for (netns, interface) in ends(topology, options) {
        tool::run_script_in(
            &netns,
            &format!(
                "ethtool -K {interface} tx {checksum} >/dev/null
                 ethtool -K {interface} tso off tx-udp-segmentation off >/dev/null
                 ethtool -K {interface} gro on >/dev/null"
            ),
        )?;
    }
    Ok(())
}

/// Moves the receive work of all interfaces into kernel threads: the attacker's end on [`cpu::ATTACK_CORE`],
/// all others on [`cpu::defence_core`].
pub(crate) fn pin_receive_work(topology: &Topology, options: &Options) -> Result<Vec<ReceiveThread>> {
    let mut threads = Vec::new();
    for (netns, interface) in ends(topology, options) {
        let core = if interface == ATTACK.far_if { cpu::ATTACK_CORE } else { cpu::defence_core() };
        let pids = pin_one(&netns, interface, core)?;
        threads.extend(pids.into_iter().map(|pid| ReceiveThread { interface, pid }));
    }
    Ok(threads)
}

/// A kernel thread that does the receive work of an interface.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReceiveThread {
    /// The interface, in the namespace where it is.
    pub(crate) interface: &'static str,
    /// The thread.
    pub(crate) pid: i32,
}

/// Moves the receive work of one interface into kernel threads on `core`, and says which.
fn pin_one(netns: &str, interface: &str, core: usize) -> Result<Vec<i32>> {
    // Other labs have interfaces of the same name: the threads that appear now are this one's.
    let name = format!("napi/{interface}-");
    let before = cpu::kernel_threads(&name);
    tool::run_script_in(netns, &format!("echo 1 > /sys/class/net/{interface}/threaded"))
        .context("receive work in threads (kernel 5.12 and newer)")?;
    let new: Vec<i32> = cpu::kernel_threads(&name).into_iter().filter(|pid| !before.contains(pid)).collect();
    if new.is_empty() {
        bail!("{netns}: {interface} has no receive thread");
    }
    for pid in &new {
        cpu::pin(*pid, core)?;
    }
    Ok(new)
}

/// The attacker's packets are received on the defender's core while this lives, on the sender's core after it.
#[derive(Debug)]
pub(crate) struct DefenderReceives {
    edge: String,
    /// The thread that receives.
    pub(crate) thread: cpu::Thread,
}

impl DefenderReceives {
    /// Begins it.
    pub(crate) fn begin(topology: &Topology) -> Result<Self> {
        let edge = topology.edge();
        let threads = pin_one(&edge, ATTACK.edge_if, cpu::defence_core())?;
        Ok(Self { edge, thread: cpu::Thread::kernel(threads[0]) })
    }
}

impl Drop for DefenderReceives {
    fn drop(&mut self) {
        let script = format!("echo 0 > /sys/class/net/{}/threaded", ATTACK.edge_if);
        if let Err(error) = tool::run_script_in(&self.edge, &script) {
            eprintln!("secbeat-bench: {error:#}");
        }
    }
}
