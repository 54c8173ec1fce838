//! Making the namespaces, their links, addresses and routes, and the edge's kernel path.

use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::topology::{
    ATTACK, ATTACK_IDLE_IF, CLIENT, EDGE_ATTACK, IMPAIR_CLIENT_IF, IMPAIR_EDGE_IF, ORIGIN, Segment, Topology,
    VIP4, VIP6, show_mac,
};
use super::{EdgePath, Options};
use crate::{netns, tool};

/// TCP ports of the VIP that the edge's kernel hands to the origin: web, web with PROXY protocol, TLS,
/// iperf3, web again (for scans).
pub(crate) const TCP_PORTS: [u16; 5] = [80, 81, 443, 5201, 8080];
/// UDP ports likewise: DNS, iperf3.
pub(crate) const UDP_PORTS: [u16; 2] = [53, 5201];

/// Makes all namespaces with links, addresses and routes.
pub(crate) fn namespaces(topology: &Topology, options: &Options) -> Result<()> {
    for name in topology.namespaces(options.impair.is_some()) {
        tool::run(&format!("ip netns add {name}"))?;
        // Forwarding is for the edge alone; duplicate address detection would keep IPv6 waiting for a second.
        let forward = u8::from(name == topology.edge());
        set_sysctls(
            &name,
            &[
                ("ipv4/ip_forward", forward),
                ("ipv4/conf/all/rp_filter", 0),
                ("ipv4/conf/default/rp_filter", 0),
                ("ipv4/conf/all/accept_local", 1),
                ("ipv4/tcp_syncookies", 1),
                ("ipv6/conf/all/forwarding", forward),
                ("ipv6/conf/all/accept_dad", 0),
                ("ipv6/conf/default/accept_dad", 0),
                ("ipv6/conf/default/accept_ra", 0),
            ],
        )?;
        tool::run(&format!("ip -n {name} link set lo up"))?;
    }
    for segment in Segment::ALL {
        link(topology, &segment, options)?;
    }
    tool::run(&format!(
        "ip -n {} link add {ATTACK_IDLE_IF} type veth peer name {ATTACK_IDLE_IF}p",
        topology.attacker()
    ))?;
    routes(topology)
}

fn set_sysctls(name: &str, values: &[(&str, u8)]) -> Result<()> {
    netns::inside(name, || {
        for (key, value) in values {
            let path = format!("/proc/sys/net/{key}");
            fs::write(&path, format!("{value}\n")).with_context(|| format!("set {path} in {name}"))?;
        }
        Ok(())
    })
}

fn link(topology: &Topology, segment: &Segment, options: &Options) -> Result<()> {
    let (edge, far) = (topology.edge(), topology.netns(segment.place));
    let (edge_if, far_if) = (segment.edge_if, segment.far_if);
    if *segment == CLIENT && options.impair.is_some() {
        let between = topology.impair();
        veth(&far, far_if, &between, IMPAIR_CLIENT_IF, options)?;
        veth(&edge, edge_if, &between, IMPAIR_EDGE_IF, options)?;
        // The relay speaks for others: its own kernel must stay silent on both sides.
        for interface in [IMPAIR_CLIENT_IF, IMPAIR_EDGE_IF] {
            let key = format!("ipv6/conf/{interface}/disable_ipv6");
            set_sysctls(&between, &[(key.as_str(), 1)])?;
            tool::run(&format!("ip -n {between} link set {interface} arp off up"))?;
        }
    } else {
        veth(&far, far_if, &edge, edge_if, options)?;
    }
    let ends = [
        (&edge, edge_if, segment.edge_mac(), segment.edge4(), segment.edge6()),
        (&far, far_if, segment.far_mac(), segment.far4(), segment.far6()),
    ];
    for (name, interface, mac, v4, v6) in ends {
        tool::run(&format!("ip -n {name} link set {interface} address {}", show_mac(mac)))?;
        tool::run(&format!("ip -n {name} link set {interface} up"))?;
        tool::run(&format!("ip -n {name} addr add {v4}/24 dev {interface}"))?;
        tool::run(&format!("ip -n {name} addr add {v6}/64 dev {interface} nodad"))?;
    }
    Ok(())
}

fn veth(netns: &str, interface: &str, peer_netns: &str, peer: &str, options: &Options) -> Result<()> {
    let queues = format!("numrxqueues {0} numtxqueues {0} mtu {1}", options.queues.max(1), options.mtu);
    tool::run(&format!(
        "ip link add {interface} netns {netns} {queues} type veth peer name {peer} netns {peer_netns} {queues}"
    ))?;
    Ok(())
}

fn routes(topology: &Topology) -> Result<()> {
    for segment in Segment::ALL {
        let far = topology.netns(segment.place);
        tool::run(&format!("ip -n {far} route add default via {}", segment.edge4()))?;
        tool::run(&format!("ip -n {far} -6 route add default via {}", segment.edge6()))?;
    }
    // While a flood runs, the attacker drops whatever comes back, ARP and ND too: the edge must know it already.
    let edge = topology.edge();
    for address in [ATTACK.far4().to_string(), ATTACK.far6().to_string()] {
        let mac = show_mac(ATTACK.far_mac());
        tool::run(&format!(
            "ip -n {edge} neigh replace {address} lladdr {mac} dev {EDGE_ATTACK} nud permanent"
        ))?;
    }
    // Forged sources are anywhere: answers to them go back to where they came from.
    tool::run(&format!("ip -n {edge} route add default via {}", ATTACK.far4()))?;
    tool::run(&format!("ip -n {edge} -6 route add default via {}", ATTACK.far6()))?;
    Ok(())
}

/// Gives the VIP to the edge (DNAT) or to the origin (route, SYNPROXY), replacing what was there.
pub(crate) fn edge_path(topology: &Topology, path: EdgePath) -> Result<()> {
    let (edge, origin) = (topology.edge(), topology.origin());
    let routed = path != EdgePath::Dnat;
    let (owner, other) = if routed { (&origin, &edge) } else { (&edge, &origin) };
    for (family, vip, bits) in [("-4", VIP4.to_string(), 32), ("-6", VIP6.to_string(), 128)] {
        // What was there before is taken away; nothing there is no failure.
        let _ = tool::run(&format!("ip -n {other} {family} addr del {vip}/{bits} dev lo"));
        let _ = tool::run(&format!("ip -n {edge} {family} route del {vip}/{bits}"));
        let nodad = if family == "-6" { "nodad" } else { "" };
        let _ = tool::run(&format!("ip -n {owner} {family} addr add {vip}/{bits} dev lo {nodad}"));
        if routed {
            let via = if family == "-6" { ORIGIN.far6().to_string() } else { ORIGIN.far4().to_string() };
            tool::run(&format!("ip -n {edge} {family} route add {vip}/{bits} via {via}"))?;
        }
    }
    nft(&edge, &rules(path))
}

/// The edge's nftables rules.
fn rules(path: EdgePath) -> String {
    let list = |ports: &[u16]| ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
    let (tcp, udp) = (list(&TCP_PORTS), list(&UDP_PORTS));
    let mut text = String::from("flush ruleset\n");
    match path {
        EdgePath::Route => {}
        EdgePath::Dnat => {
            text.push_str("table inet lab {\nchain pre {\ntype nat hook prerouting priority dstnat;\n");
            for (ip, vip, to) in [
                ("ip", VIP4.to_string(), ORIGIN.far4().to_string()),
                ("ip6", VIP6.to_string(), ORIGIN.far6().to_string()),
            ] {
                let _ = writeln!(text, "{ip} daddr {vip} tcp dport {{ {tcp} }} dnat {ip} to {to}");
                let _ = writeln!(text, "{ip} daddr {vip} udp dport {{ {udp} }} dnat {ip} to {to}");
            }
            text.push_str("}\n}\n");
        }
        EdgePath::Synproxy => {
            let _ = write!(
                text,
                "table inet lab {{
                   chain pre {{
                     type filter hook prerouting priority raw;
                     tcp dport {{ {tcp} }} tcp flags & (fin|syn|rst|ack) == syn notrack
                   }}
                   chain forward {{
                     type filter hook forward priority filter;
                     tcp dport {{ {tcp} }} ct state invalid,untracked synproxy mss 1460 wscale 7 timestamp sack-perm
                     ct state invalid drop
                   }}
                 }}\n"
            );
        }
    }
    text
}

fn nft(netns: &str, rules: &str) -> Result<()> {
    use std::io::Write as _;
    let mut child = Command::new("ip")
        .args(["netns", "exec", netns, "nft", "-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("start nft")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(rules.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("nft in {netns}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    // A connection that is looked at in its middle is no connection for SYNPROXY.
    set_sysctls(netns, &[("netfilter/nf_conntrack_tcp_loose", u8::from(!rules.contains("synproxy")))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_edge_path_replaces_the_one_before() {
        for path in [EdgePath::Dnat, EdgePath::Route, EdgePath::Synproxy] {
            assert!(rules(path).starts_with("flush ruleset\n"));
        }
        assert!(rules(EdgePath::Synproxy).contains("synproxy mss 1460"));
        assert!(
            rules(EdgePath::Dnat).contains("ip6 daddr fd99::1 tcp dport { 80, 81, 443, 5201, 8080 } dnat")
        );
    }
}
