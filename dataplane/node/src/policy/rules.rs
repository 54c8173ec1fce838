//! The small parts of a policy: limits, offences, what a SYN-ACK may offer.
//!
//! Owns: their compiled form. Does not own: the tables they are checked against (`pipeline::limits`).

use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

use secbeat_config::NodeConfig;
use secbeat_net::limit::{ConnectionLimits, Rate, RateLimit};
use secbeat_net::syncookie::{Offer, WINDOW_OURS_BYTES, WINDOW_SCALE_OURS};

use super::view::View;
use crate::attack::{OffencePolicy, Thresholds};
use crate::upstream::BackendsSnapshot;

/// IP and TCP header without options: what the MTU leaves less than the MSS. Bytes.
const HEADERS_V4_BYTES: u16 = 40;
/// The same for IPv6.
const HEADERS_V6_BYTES: u16 = 60;
/// Smallest MSS that is offered, whatever an MTU says (RFC 9293 §3.7.1).
const MSS_MIN: u16 = 536;

/// What the kernel keeps free in front of a frame (`XDP_PACKET_HEADROOM`), bytes.
const HEADROOM_BYTES: u32 = 256;
/// Ethernet header and two VLAN tags, bytes.
const LINK_HEADER_BYTES_MAX: u32 = 22;

/// Limits, ready for the packet path; `None` = no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// New connections of one source.
    pub source_rate: Option<RateLimit>,
    /// New connections of one prefix.
    pub prefix_rate: Option<RateLimit>,
    /// SYNs to one listener.
    pub syn_rate: Option<RateLimit>,
    /// Datagrams of one source.
    pub udp_rate: Option<RateLimit>,
    /// ICMP errors looked at, per worker.
    pub icmp_rate: RateLimit,
    /// Connections at once.
    pub connections: ConnectionLimits,
}

impl Limits {
    /// The limits of a configuration.
    pub fn compile(config: &NodeConfig) -> Self {
        let limits = &config.limits;
        let rate = |count: u32, burst: u32| {
            RateLimit::new(Rate { count: u64::from(count), interval: Duration::from_secs(1), burst })
        };
        Self {
            source_rate: limits.source_rate.map(|count| rate(count, limits.source_burst)),
            // A prefix is many sources: a second's worth at once is no burst.
            prefix_rate: limits.prefix_rate.map(|count| rate(count, count)),
            syn_rate: limits.syn_rate.map(|count| rate(count, (count / 10).max(1))),
            udp_rate: limits.udp_rate.map(|count| rate(count, limits.udp_burst)),
            icmp_rate: rate(limits.icmp_rate, limits.icmp_rate),
            connections: ConnectionLimits {
                per_source: limits.source_connections.unwrap_or(u32::MAX),
                per_prefix: limits.prefix_connections.unwrap_or(u32::MAX),
                total: config.server.connections_max,
                prefix_len_v4: limits.prefix_v4_bits,
                prefix_len_v6: limits.prefix_v6_bits,
                source_len_v6: limits.source_v6_bits,
            },
        }
    }

    /// What counts as the source of an address: all of an IPv4 address, the network of an IPv6 address.
    #[inline]
    pub fn source(&self, addr: IpAddr) -> IpAddr {
        match addr {
            IpAddr::V4(_) => addr,
            IpAddr::V6(addr) => mask_v6(addr, self.connections.source_len_v6).into(),
        }
    }

    /// The prefix of an address.
    #[inline]
    pub fn prefix(&self, addr: IpAddr) -> IpAddr {
        match addr {
            IpAddr::V4(addr) => {
                let bits = u32::from(self.connections.prefix_len_v4.min(32));
                let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
                core::net::Ipv4Addr::from(addr.to_bits() & mask).into()
            }
            IpAddr::V6(addr) => mask_v6(addr, self.connections.prefix_len_v6).into(),
        }
    }
}

fn mask_v6(addr: Ipv6Addr, bits: u8) -> Ipv6Addr {
    let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
    Ipv6Addr::from(addr.to_bits() & mask)
}

pub(super) fn offences(config: &NodeConfig) -> OffencePolicy {
    let lists = &config.lists;
    OffencePolicy {
        offences_max: if lists.auto_ban { lists.offences_max } else { 0 },
        window: lists.offence_window,
    }
}

pub(super) fn thresholds(config: &NodeConfig) -> Thresholds {
    let attack = &config.attack;
    Thresholds {
        syn_pps: u64::from(attack.syn_pps),
        ack_pps: u64::from(attack.ack_pps),
        rst_pps: u64::from(attack.rst_pps),
        udp_pps: u64::from(attack.udp_pps),
        fragment_pps: u64::from(attack.fragment_pps),
        syn_completed_percent_max: u64::from(attack.completed_percent),
    }
}

/// Window of our own SYN-ACKs in front of sessions, bytes: all that an unscaled field can say, and what every
/// connection of our own TCP has room for.
const WINDOW_L7_BYTES: u16 = u16::MAX;

/// What SYN-ACKs in front of sessions offer: everything our own TCP does, as far as configured.
pub(super) fn own_offer(config: &NodeConfig, view: &View) -> Offer {
    let proxy = &config.syn_proxy;
    let mtu = view.ports.iter().map(|port| port.mtu).min().unwrap_or(1_500);
    let mtu = mtu.min(packet_bytes_max(config.io.frame_bytes));
    let mss = |headers: u16| proxy.mss_max.min(mtu.saturating_sub(headers)).max(MSS_MIN);
    Offer {
        mss_v4: mss(HEADERS_V4_BYTES),
        mss_v6: mss(HEADERS_V6_BYTES),
        window: WINDOW_L7_BYTES,
        window_scale: proxy.window_scaling.then_some(WINDOW_SCALE_OURS),
        timestamps: proxy.timestamps,
        sack: proxy.sack,
        ecn: proxy.ecn,
    }
}

/// Largest IP packet that a frame of packet memory holds: headroom before it and a link header with two tags taken off.
pub(crate) fn packet_bytes_max(frame_bytes: u32) -> u16 {
    let bytes = frame_bytes.saturating_sub(HEADROOM_BYTES + LINK_HEADER_BYTES_MAX);
    u16::try_from(bytes).unwrap_or(u16::MAX)
}

/// What SYN-ACKs of a group may offer: what is configured, the backends support and the links carry.
pub(super) fn offer(config: &NodeConfig, backends: &BackendsSnapshot, group: usize, view: &View) -> Offer {
    let proxy = &config.syn_proxy;
    let learnt = backends.groups.get(group).and_then(|group| group.offer);
    let mtu = view.ports.iter().map(|port| port.mtu).min().unwrap_or(1_500);
    let mss_max = proxy.mss_max.min(learnt.map_or(u16::MAX, |options| options.mss));
    let mss = |headers: u16| mss_max.min(mtu.saturating_sub(headers)).max(MSS_MIN);
    let scaling = proxy.window_scaling && learnt.is_none_or(|options| options.window_scale.is_some());
    Offer {
        mss_v4: mss(HEADERS_V4_BYTES),
        mss_v6: mss(HEADERS_V6_BYTES),
        window: WINDOW_OURS_BYTES,
        window_scale: scaling.then_some(WINDOW_SCALE_OURS),
        timestamps: proxy.timestamps && learnt.is_none_or(|options| options.timestamps),
        sack: proxy.sack && learnt.is_none_or(|options| options.sack),
        ecn: proxy.ecn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_source_is_its_network_and_ipv4_source_the_address() {
        let limits = Limits::compile(&NodeConfig::default());
        let addr = |text: &str| text.parse::<IpAddr>().expect("address");
        assert_eq!(limits.source(addr("2001:db8:1:2:3::4")), addr("2001:db8:1:2::"));
        assert_eq!(limits.prefix(addr("2001:db8:1:2:3::4")), addr("2001:db8:1::"));
        assert_eq!(limits.source(addr("192.0.2.7")), addr("192.0.2.7"));
        assert_eq!(limits.prefix(addr("192.0.2.7")), addr("192.0.2.0"));
    }

    #[test]
    fn zero_turns_a_limit_off() {
        let text = "[limits]\nsource_rate = 0\nsource_connections = 0\n[lists]\nauto_ban = false\n";
        let config = secbeat_config::parse(text).expect("configuration");
        let limits = Limits::compile(&config);
        assert_eq!(limits.source_rate, None);
        assert_eq!(limits.connections.per_source, u32::MAX);
        assert_eq!(offences(&config).offences_max, 0);
    }
}
