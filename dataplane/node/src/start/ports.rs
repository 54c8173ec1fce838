//! Which interfaces, queues and cores the node works with.
//!
//! Owns: the choice where the configuration leaves it open. Does not own: the interfaces' state (`neighbor`), the
//! sockets on them (`packet`).

use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::UdpSocket;

use nix::ifaddrs::getifaddrs;
use secbeat_config::NodeConfig;
use secbeat_config::units::Target;

use crate::policy::l7;

/// Addresses of this host by interface.
pub fn addresses() -> io::Result<BTreeMap<String, Vec<IpAddr>>> {
    let mut found: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    for entry in getifaddrs()? {
        let Some(address) = entry.address else { continue };
        let addr = if let Some(v4) = address.as_sockaddr_in() {
            IpAddr::V4(v4.ip())
        } else if let Some(v6) = address.as_sockaddr_in6() {
            IpAddr::V6(v6.ip())
        } else {
            continue;
        };
        found.entry(entry.interface_name).or_default().push(addr);
    }
    Ok(found)
}

/// The interfaces to take packets from: those configured, else every one with a listener's address or a route to a
/// backend, in the order of their names.
///
/// # Errors
/// What the kernel says when its addresses cannot be listed.
pub fn interfaces(config: &NodeConfig) -> io::Result<Vec<String>> {
    if !config.io.interfaces.is_empty() {
        return Ok(config.io.interfaces.clone());
    }
    let addresses = addresses()?;
    let towards_backends: Vec<IpAddr> = config
        .backends
        .iter()
        .filter_map(|backend| backend.address.address())
        .filter_map(|address| source_towards(address).ok())
        .collect();
    let serves = |addr: &IpAddr| {
        config.listeners.iter().any(|listener| {
            let bound = listener.bind_address.ip();
            bound == *addr || (bound.is_unspecified() && bound.is_ipv4() == addr.is_ipv4())
        })
    };
    let wanted = addresses.iter().filter(|(_, addrs)| {
        let mut usable = addrs.iter().filter(|addr| !addr.is_loopback());
        usable.any(|addr| serves(addr) || towards_backends.contains(addr))
    });
    Ok(wanted.map(|(name, _)| name.clone()).collect())
}

/// The address the kernel would speak from to `destination`. Sends nothing.
fn source_towards(destination: SocketAddr) -> io::Result<IpAddr> {
    let any: SocketAddr = if destination.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.connect(destination)?;
    Ok(socket.local_addr()?.ip())
}

/// A backend on this very host, which packets cannot reach: the kernel would have to receive what we send. Sessions
/// reach it, through the kernel.
pub fn local_backend(config: &NodeConfig) -> Option<String> {
    let own: Vec<IpAddr> = addresses().ok()?.into_values().flatten().collect();
    let is_local = |target: &Target| {
        target.address().is_some_and(|address| address.ip().is_loopback() || own.contains(&address.ip()))
    };
    let forwarding = config.listeners.iter().filter(|listener| !l7::is_l7(listener));
    let mut backends =
        forwarding.flat_map(|listener| &listener.backends).filter_map(|&at| config.backends.get(at));
    backends.find(|backend| is_local(&backend.address)).map(|backend| backend.name.clone())
}

/// Receive queues of an interface; `None` when sysfs does not say, as in a network namespace whose sysfs is another's.
pub fn queues(interface: &str) -> Option<u16> {
    let entries = fs::read_dir(format!("/sys/class/net/{interface}/queues")).ok()?;
    let rx = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with("rx-"));
    u16::try_from(rx.count()).ok().filter(|&count| count > 0)
}

/// How many workers: one per queue that all interfaces have, within what the configuration and the cores allow. Queues
/// that are not known do not limit it: the sockets will show how many there are.
pub fn workers(config: &NodeConfig, interfaces: &[String]) -> u16 {
    let queues = interfaces.iter().filter_map(|name| queues(name)).min().unwrap_or(u16::MAX);
    let queues = if config.io.queues == 0 { queues } else { queues.min(config.io.queues) };
    let wanted = match (config.io.cores.len(), config.server.worker_threads) {
        (0, 0) => usable_cores().len(),
        (0, threads) => usize::from(threads),
        (cores, _) => cores,
    };
    queues.min(u16::try_from(wanted).unwrap_or(u16::MAX)).max(1)
}

/// What is to be said when an interface has more queues than there are workers: packets on the others take the
/// kernel's way past the node.
pub fn unserved(interfaces: &[String], workers: u16) -> Vec<String> {
    let more = interfaces
        .iter()
        .filter_map(|name| Some((name, queues(name)?)))
        .filter(|(_, count)| *count > workers);
    more.map(|(name, count)| {
        format!(
            "{name} has {count} receive queues, {workers} are served: ethtool -L {name} combined {workers}"
        )
    })
    .collect()
}

/// The core of each worker: as configured, else from the last core downwards, so that the first, where the kernel does
/// most of its own work, is taken last.
pub fn cores(config: &NodeConfig, workers: u16) -> Vec<Option<usize>> {
    let configured = config.io.cores.iter().map(|&core| usize::from(core));
    let chosen: Vec<usize> = if config.io.cores.is_empty() {
        let mut cores = usable_cores();
        cores.reverse();
        cores
    } else {
        configured.collect()
    };
    (0..usize::from(workers)).map(|worker| chosen.get(worker).copied()).collect()
}

fn usable_cores() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configured_interfaces_and_cores_are_taken_as_they_are() {
        let text = "[io]\ninterfaces = [\"a0\", \"b0\"]\ncores = [3, 5]\n";
        let config = secbeat_config::parse(text).expect("configuration");
        assert_eq!(interfaces(&config).expect("interfaces"), ["a0", "b0"]);
        assert_eq!(cores(&config, 2), [Some(3), Some(5)]);
        assert_eq!(cores(&config, 3), [Some(3), Some(5), None], "more workers than cores");
    }

    #[test]
    fn worker_count_is_never_more_than_queues_and_never_zero() {
        let config = NodeConfig::default();
        assert_eq!(queues("no-such-interface"), None);
        assert!(workers(&config, &["no-such-interface".into()]) >= 1, "unknown queues do not limit");
        let limited = secbeat_config::parse("[io]\nqueues = 1\n").expect("configuration");
        assert_eq!(workers(&limited, &["no-such-interface".into()]), 1);
        assert!(unserved(&["no-such-interface".into()], 1).is_empty());
    }

    #[test]
    fn backend_on_loopback_is_local() {
        let config = NodeConfig::default();
        assert_eq!(config.backends.len(), 1, "127.0.0.1:8080 by default");
        assert!(local_backend(&config).is_some());
    }
}
