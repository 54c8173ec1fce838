//! What UDP forwarding may use, and which source ports it refuses.
//!
//! Owns: [`UdpLimits`] with its defaults and reasons, [`PortSet`].

use core::time::Duration;

use crate::splice::PortRange;

/// Source ports of services that are abused to reflect and amplify (CISA TA14-017A and later additions): a datagram
/// *from* such a port to a listener is nearly always the answer to a forged request. DNS (53) and NTP (123) are
/// not here: resolvers and time servers behind us receive from these ports rightly; add them where none is.
pub const REFLECTION_PORTS: [u16; 18] = [
    17,     // quote of the day
    19,     // chargen
    69,     // TFTP
    111,    // portmap
    137,    // NetBIOS name service
    161,    // SNMP
    389,    // CLDAP
    520,    // RIP
    1900,   // SSDP
    3283,   // Apple remote desktop
    3478,   // STUN
    3702,   // WS-Discovery
    5093,   // Sentinel licence manager
    5353,   // mDNS
    10_001, // Ubiquiti discovery
    10_074, // Mitel
    11_211, // memcached
    37_810, // DHDiscover
];

/// A set of ports: one bit each, 8 KiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSet(Box<[u64; 1024]>);

impl PortSet {
    /// The set of these ports.
    pub fn new(ports: impl IntoIterator<Item = u16>) -> Self {
        let mut bits = Box::new([0; 1024]);
        for port in ports {
            bits[usize::from(port >> 6)] |= 1 << (port & 63);
        }
        Self(bits)
    }

    /// Whether `port` is in the set.
    #[inline]
    pub fn contains(&self, port: u16) -> bool {
        self.0[usize::from(port >> 6)] & (1 << (port & 63)) != 0
    }
}

/// Which datagrams carry the PROXY header, for backends that want one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UdpProxyHeader {
    /// The first ones of a flow, until the backend answers: a first one may be lost, and datagrams may overtake
    /// each other.
    #[default]
    UntilAnswered,
    /// All of a flow: what DNS servers that speak PROXY (dnsdist, PowerDNS) expect.
    Every,
}

/// Sizes and times of one worker's UDP forwarding. All memory is taken by `UdpForwarder::new`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpLimits {
    /// Slots for flows; an eighth of them, at most 1,024, rests, so that a flow's id is not used again within a
    /// turn. When all others are in use the oldest one-way flow goes; never a two-way one: then opening fails with
    /// `FlowTableFull`.
    pub flows_max: u32,
    /// Backends, at most this many ids (a port map each). An id beyond fails with `NoBackend`.
    pub backends_max: u16,
    /// This worker's source ports.
    pub ports: PortRange,
    /// Silence after which a flow that the backend never answered ends: longer than any answer takes, short
    /// because its source may be forged (Linux conntrack: 30 s).
    pub one_way: Duration,
    /// Silence after which a flow ends that the backend has answered (RFC 4787 REQ-5: at least 2 minutes).
    pub two_way: Duration,
    /// Bytes of answer per byte of request to a client that has not shown a conversation; 0 turns the filter
    /// off. 30 lets every DNS answer of 1,232 bytes to a question of 41 pass.
    pub amplification_factor: u32,
    /// Source ports whose datagrams open no flow.
    pub reflection_ports: PortSet,
    /// Which datagrams carry the PROXY header.
    pub proxy_header: UdpProxyHeader,
}

impl Default for UdpLimits {
    fn default() -> Self {
        Self {
            flows_max: 65_536,
            backends_max: 64,
            ports: PortRange { first: 32_768, last: 60_999 },
            one_way: Duration::from_secs(30),
            two_way: Duration::from_secs(120),
            amplification_factor: 30,
            reflection_ports: PortSet::new(REFLECTION_PORTS),
            proxy_header: UdpProxyHeader::default(),
        }
    }
}
