//! How large everything is that a node takes at start.
//!
//! Owns: the translation of the configuration into sizes and keys of workers. Does not own: the memory.

use secbeat_config::NodeConfig;
use secbeat_config::node::{Listener, Mode, SynCookies, Transport};
use secbeat_net::fragment::FragmentLimits;
use secbeat_net::halfopen::HalfOpenKeys;
use secbeat_net::splice::{SpliceKeys, SpliceLimits, Timeouts};
use secbeat_net::udp::{PortSet, UdpLimits};

use super::secret::{Master, Purpose};
use crate::event::WorkerId;
use crate::pipeline::Setup;
use crate::policy::SnatPorts;
use crate::worker::shared::SharedSizes;

/// Numbers for backends beyond those configured at start: what reloads and changes of DNS may add before the numbers
/// of backends that are gone are used again. Each costs a port map per worker.
const TARGETS_SPARE: u16 = 16;

/// Size of a table that nothing is put into: the least it can be made for.
const FLOWS_UNUSED: u32 = 64;

pub(super) fn targets_max(config: &NodeConfig) -> u16 {
    // Every backend may be used with and without PROXY header.
    (config.backends.len() as u16).saturating_mul(2).saturating_add(TARGETS_SPARE)
}

pub(super) fn shared_sizes(config: &NodeConfig, workers: u16) -> SharedSizes {
    SharedSizes {
        workers,
        frame_bytes_max: config.io.frame_bytes as usize,
        limiter_slots: config.limits.slots as usize,
        connections_max: config.server.connections_max,
    }
}

/// TCP and UDP flows that a worker forwards: none to speak of when no listener does, so that a node that only serves
/// requests takes no memory for them.
fn forwarded_flows(config: &NodeConfig) -> (u32, u32) {
    let (tcp, udp) = forwards(config);
    (
        if tcp { config.flows.flows_max } else { FLOWS_UNUSED },
        if udp { config.udp.flows_max } else { FLOWS_UNUSED },
    )
}

/// Whether any listener forwards TCP, and UDP.
pub(super) fn forwards(config: &NodeConfig) -> (bool, bool) {
    let any = |wanted: Transport| {
        let mut listeners = config.listeners.iter();
        listeners.any(|listener| listener.mode != Mode::L7 && listener.protocol == wanted)
    };
    (any(Transport::Tcp), any(Transport::Udp))
}

/// Clients' flows that all workers may know at once, TIME-WAIT included: what the XDP program's table must hold.
pub(super) fn client_flows_max(config: &NodeConfig, workers: u16) -> usize {
    let (tcp, _) = forwarded_flows(config);
    let ended_here = if config.has_l7() {
        let limits = super::l7::stack_limits(config);
        limits.connections_max as usize + limits.time_wait_max as usize
    } else {
        0
    };
    usize::from(workers) * (tcp as usize + ended_here)
}

/// What a worker is made of.
pub(super) fn setup(config: &NodeConfig, master: &Master, worker: WorkerId, workers: u16) -> Setup {
    let flows = &config.flows;
    let ports = config.io.snat_ports;
    let key = |purpose, number: u16| master.derive(purpose, u64::from(number));
    let answers = |listener: &Listener| match listener.mode {
        Mode::L7 => true,
        Mode::Syn => config.syn_proxy.enable,
        Mode::Tcp => false,
    };
    let mut answering = config.listeners.iter().filter(|listener| answers(listener));
    let uses_table = answering.any(|listener| listener.syn_cookies != SynCookies::Always);
    // SYNs at 0, 1, 3, 7 .. times the first timeout: as many as fit into the time a backend has to answer.
    let ratio = flows.connect_timeout.as_millis() / config.syn_proxy.backend_syn_timeout.as_millis().max(1);
    let backend_syns_max = (ratio + 1).ilog2().clamp(1, 16) as u8;
    let (tcp_flows, udp_flows) = forwarded_flows(config);
    Setup {
        id: worker,
        splice: SpliceLimits {
            flows_max: tcp_flows,
            half_open_max: (tcp_flows / 4).max(16),
            backends_max: targets_max(config),
            ports: SnatPorts::new(ports.low, ports.high, workers).slice(worker),
            backend_syns_max,
            timeouts: Timeouts {
                established: flows.idle_timeout,
                half_closed: flows.half_closed_timeout,
                handshake: config.syn_proxy.handshake_timeout,
                time_wait: flows.time_wait,
                backend_syn: config.syn_proxy.backend_syn_timeout,
                ..Timeouts::default()
            },
        },
        udp: UdpLimits {
            flows_max: udp_flows,
            backends_max: targets_max(config),
            ports: SnatPorts::new(ports.low, ports.high, workers).slice(worker),
            two_way: config.udp.idle_timeout,
            amplification_factor: config.udp.amplification_ratio_max,
            reflection_ports: PortSet::new(config.udp.amplification_ports.iter().copied()),
            ..UdpLimits::default()
        },
        fragments: FragmentLimits {
            datagrams_max: config.udp.reassembly_max,
            timeout: config.udp.reassembly_timeout,
            ..FragmentLimits::default()
        },
        early_frames_max: flows.early_frames_max,
        splice_keys: SpliceKeys { table: key(Purpose::Table, worker), isn: key(Purpose::SequenceNumber, 0) },
        half_open_max: if uses_table { config.syn_proxy.syn_backlog_max } else { 0 },
        half_open_keys: HalfOpenKeys {
            table: key(Purpose::Table, worker),
            isn: key(Purpose::SequenceNumber, 1),
        },
        balance_key: key(Purpose::Balance, 0),
        hint_key: key(Purpose::Table, u16::MAX),
    }
}
