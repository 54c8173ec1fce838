//! Names and help texts of the program's counters, in the order of `enum reason` in `bpf/consts.h`.

use crate::skel::xdp::types::reason as of;

/// One counter: its index in the map, its name in metrics, what it means.
pub(super) struct Reason {
    pub(super) index: u32,
    pub(super) name: &'static str,
    pub(super) help: &'static str,
}

const fn new(reason: of, name: &'static str, help: &'static str) -> Reason {
    Reason { index: reason.0, name, help }
}

/// All counters.
pub(super) const REASONS: [Reason; of::REASON_COUNT.0 as usize] = [
    new(of::PASS_NOT_OURS, "pass_not_ours", "not for a listener: passed to the kernel"),
    new(
        of::PASS_NO_WORKER,
        "pass_no_worker",
        "ours, but no worker is bound to the queue: passed to the kernel",
    ),
    new(of::PASS_MANAGEMENT, "pass_management", "to a management port: passed to the kernel"),
    new(
        of::PASS_PROTECTED,
        "pass_protected",
        "from a blocked source but never droppable (neighbour discovery, unreachables); handled like others",
    ),
    new(of::WORKER, "worker", "redirected to a worker"),
    new(of::WORKER_FRAGMENT, "worker_fragment", "fragment redirected to a worker"),
    new(of::WORKER_ICMP, "worker_icmp", "ICMP error about one of our packets, redirected to a worker"),
    new(of::DROP_BLOCKLIST, "drop_blocklist", "source address is blocked"),
    new(of::DROP_NO_WORKER, "drop_no_worker", "ours, no worker, and configured to fail closed"),
    new(of::DROP_IPV4_HEADER, "drop_ipv4_header", "IPv4 header cut short, of another version or too short"),
    new(of::DROP_IPV4_LENGTH, "drop_ipv4_length", "IPv4 total length outside header and frame"),
    new(of::DROP_IPV6_HEADER, "drop_ipv6_header", "IPv6 header cut short or of another version"),
    new(of::DROP_IPV6_LENGTH, "drop_ipv6_length", "IPv6 payload length longer than the frame"),
    new(of::DROP_SOURCE, "drop_source", "source address that no packet on a wire has"),
    new(of::DROP_LAND, "drop_land", "source address equals the destination"),
    new(
        of::DROP_TCP_HEADER,
        "drop_tcp_header",
        "TCP header cut short or with a data offset outside the packet",
    ),
    new(
        of::DROP_TCP_FLAGS,
        "drop_tcp_flags",
        "TCP flags that no sender has: none, SYN+FIN, SYN+RST, FIN without ACK",
    ),
    new(of::DROP_UDP_LENGTH, "drop_udp_length", "UDP header cut short or with a length outside the packet"),
    new(of::DROP_PORT_ZERO, "drop_port_zero", "TCP source port 0"),
    new(of::TX_COOKIE, "tx_syn_cookie", "SYN answered with a SYN cookie, by the program itself"),
    new(
        of::DROP_COOKIE,
        "drop_cookie_invalid",
        "ACK of no open flow whose SYN cookie is not ours or too old, of a listener gated here",
    ),
    new(
        of::DROP_NO_FLOW,
        "drop_no_flow",
        "segment of no open flow that can open none (RST, SYN with ACK, no ACK), of a listener gated here",
    ),
    new(
        of::DROP_TCP_OPTIONS,
        "drop_tcp_options",
        "SYN or ACK with broken TCP options, of a listener answered here",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (position, reason) in REASONS.iter().enumerate() {
            assert_eq!(reason.index as usize, position, "{}", reason.name);
            assert!(!reason.help.is_empty());
        }
    }
}
