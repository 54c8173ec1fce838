//! The network stack: ports, reverse-path filter, forwarding, limits of sockets, the state directory.

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{AccessFlags, access};
use secbeat_config::NodeConfig;
use secbeat_config::node::Driver;

use super::facts::Machine;
use super::local_ports::LocalPorts;
use super::{Findings, Needs, State};

/// Descriptors per forwarded connection: two sockets and two pipes of two ends each.
const DESCRIPTORS_PER_CONNECTION: u64 = 6;
/// Descriptors for everything else.
const DESCRIPTORS_BASE: u64 = 256;

pub(super) fn examine(machine: &Machine, config: &NodeConfig, needs: Needs, findings: &mut Findings) {
    findings.area("network");
    if needs.xdp_wanted {
        local_ports(machine, config, findings);
        reverse_path(machine, config, findings);
        if config.io.transparent {
            forwarding(machine, findings);
        }
    }
    if config.io.driver != Driver::Xdp {
        sockets(machine, config, findings);
    }
    if machine.is_live() {
        state_dir(config, findings);
    }
}

/// The kernel must not give a port of the SNAT range or of a listener to a program of this host: replies would go to
/// the node.
fn local_ports(machine: &Machine, config: &NodeConfig, findings: &mut Findings) {
    let ports = match LocalPorts::of(machine) {
        Ok(ports) => ports,
        Err(why) => return findings.unknown("local ports", why),
    };
    let found = format!("kernel {}, node {}", ports.range(), config.io.snat_ports);
    if ports.hands_out_any(config.io.snat_ports) {
        let problem = "the ranges overlap: connections of this host's own programs to a backend can break";
        findings.add("local ports", State::Warn, found, problem, Some(ports.command(config)));
    } else {
        findings.ok("local ports", found);
    }
    let clashing = ports.listeners(config);
    if clashing.is_empty() {
        return findings.ok("listener ports", format!("none in the kernel's {}", ports.range()));
    }
    let names: Vec<_> =
        clashing.iter().map(|l| format!("{} of `{}`", l.bind_address.port(), l.name)).collect();
    let found = format!("{} in the kernel's {}", names.join(", "), ports.range());
    let problem = "a connection of this host to a backend (mode l7, health checks) that is given such a port gets no \
                   answer: it goes to the listener";
    findings.add("listener ports", State::Warn, found, problem, Some(ports.command(config)));
}

/// Strict reverse-path filtering drops replies on the kernel's path when routes are not symmetric.
fn reverse_path(machine: &Machine, config: &NodeConfig, findings: &mut Findings) {
    let of = |name: &str| machine.number(&format!("/proc/sys/net/ipv4/conf/{name}/rp_filter")).unwrap_or(0);
    let all = of("all");
    let strict: Vec<_> = config.io.interfaces.iter().filter(|name| of(name).max(all) == 1).cloned().collect();
    if strict.is_empty() {
        return findings.ok("reverse path", if all == 1 { "strict" } else { "loose or off" });
    }
    let problem =
        "strict: while the node is down and the kernel takes over, packets on asymmetric routes are dropped";
    let commands: Vec<_> = strict.iter().map(|name| format!("net.ipv4.conf.{name}.rp_filter=2")).collect();
    let command = Some(format!("sysctl -w net.ipv4.conf.all.rp_filter=2 {}", commands.join(" ")));
    findings.add("reverse path", State::Warn, strict.join(", "), problem, command);
}

fn forwarding(machine: &Machine, findings: &mut Findings) {
    for (name, path, key) in [
        ("IPv4 forwarding", "/proc/sys/net/ipv4/ip_forward", "net.ipv4.ip_forward"),
        ("IPv6 forwarding", "/proc/sys/net/ipv6/conf/all/forwarding", "net.ipv6.conf.all.forwarding"),
    ] {
        match machine.number(path) {
            Some(0) => {
                let problem = "off: in transparent mode nothing reaches the backends while the node is down";
                findings.add(name, State::Warn, "off", problem, Some(format!("sysctl -w {key}=1")));
            }
            Some(_) => findings.ok(name, "on"),
            None => findings.unknown(name, format!("{key} cannot be read")),
        }
    }
}

fn sockets(machine: &Machine, config: &NodeConfig, findings: &mut Findings) {
    if let Some(somaxconn) = machine.number("/proc/sys/net/core/somaxconn") {
        let wanted = u64::from(config.performance.backlog);
        if somaxconn < wanted {
            let problem = format!("cuts [performance] backlog_size = {wanted}");
            let command = Some(format!("sysctl -w net.core.somaxconn={wanted}"));
            findings.add("accept backlog", State::Warn, somaxconn.to_string(), problem, command);
        } else {
            findings.ok("accept backlog", somaxconn.to_string());
        }
    }
    if config.performance.tcp_fastopen {
        let value = machine.number("/proc/sys/net/ipv4/tcp_fastopen").unwrap_or(0);
        if value & 2 == 0 {
            let problem = "[performance] enable_tcp_fastopen has no effect: the server side is off";
            findings.add(
                "TCP Fast Open",
                State::Warn,
                value.to_string(),
                problem,
                Some("sysctl -w net.ipv4.tcp_fastopen=3".into()),
            );
        }
    }
    if !machine.is_live() {
        return;
    }
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let needed = DESCRIPTORS_BASE + u64::from(config.server.connections_max) * DESCRIPTORS_PER_CONNECTION;
    let found = format!("{soft} (at most {hard}), {needed} needed");
    // The node raises its own limit up to the hard one.
    if hard >= needed {
        findings.ok("open files", found);
    } else {
        let problem = "socket I/O runs out of descriptors before max_connections is reached";
        let command = Some(format!("ulimit -n {needed}   # LimitNOFILE={needed} in a unit"));
        findings.add("open files", State::Warn, found, problem, command);
    }
}

fn state_dir(config: &NodeConfig, findings: &mut Findings) {
    let dir = &config.server.state_dir;
    let found = dir.display().to_string();
    // The first directory on the way that exists is where the rest would be made.
    let existing = dir.ancestors().find(|path| path.exists());
    match existing.map(|path| access(path, AccessFlags::W_OK)) {
        Some(Ok(())) => findings.ok("state directory", found),
        _ => {
            let problem = "cannot be written: bans and cookie keys are lost at a restart";
            let command = Some(format!("install -d -m 0750 {}", dir.display()));
            findings.add("state directory", State::Warn, found, problem, command);
        }
    }
}
