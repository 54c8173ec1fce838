//! Checks that span several keys or sections.

use core::net::SocketAddr;

use super::NodeConfig;
use super::backend::{Backend, Health, Listener, ListenerEntry, ProxyProtocol, Transport};
use super::io::{Driver, Io, Want};
use super::limits::Lists;
use super::server::{Mode, Server};
use super::syn::SynProxy;
use crate::reader::Table;

/// Fewest SNAT ports: below this a worker's slice is used up by a handful of clients.
const SNAT_PORTS_MIN: u32 = 1_024;
/// First port that a SNAT range may hold: below are the services of the host.
const SNAT_PORT_FIRST_MIN: u16 = 1_024;

/// Which keys were written, whatever became of their values.
#[derive(Default)]
pub(super) struct Given {
    bind_address: bool,
    backend_address: bool,
    token: bool,
}

impl Given {
    pub(super) fn note_server(&mut self, t: &Table<'_>) {
        self.bind_address = t.has("bind_address");
        self.backend_address = t.has("backend_address");
    }

    pub(super) fn note_api(&mut self, t: &Table<'_>) {
        self.token = t.has("token");
    }
}

/// `[io]` by itself.
pub(super) fn io(t: &Table<'_>, io: &Io) {
    for (key, ring) in [("rx_ring", io.rx_ring), ("tx_ring", io.tx_ring), ("fill_ring", io.fill_ring)] {
        if !ring.is_power_of_two() {
            t.invalid(
                key,
                &ring.to_string(),
                &format!("is not a power of two; the next one is {}", ring.next_power_of_two()),
            );
        }
    }
    if io.fill_ring < io.rx_ring {
        t.conflict(
            "fill_ring",
            &format!(
                "{} is below rx_ring = {}: received frames would find no room",
                io.fill_ring, io.rx_ring
            ),
        );
    }
    if u64::from(io.frames) < u64::from(io.fill_ring) + u64::from(io.tx_ring) {
        t.conflict(
            "frames",
            &format!(
                "{} frames cannot fill one port's rings: at least fill_ring + tx_ring = {}",
                io.frames,
                u64::from(io.fill_ring) + u64::from(io.tx_ring)
            ),
        );
    }
    if !matches!(io.frame_bytes, 2_048 | 4_096) {
        t.invalid("frame_bytes", &io.frame_bytes.to_string(), "must be 2048 or 4096");
    }
    if io.snat_ports.low < SNAT_PORT_FIRST_MIN || io.snat_ports.count() < SNAT_PORTS_MIN {
        t.invalid(
            "snat_ports",
            &io.snat_ports.to_string(),
            &format!("must start at {SNAT_PORT_FIRST_MIN} or above and hold at least {SNAT_PORTS_MIN} ports"),
        );
    }
    for name in &io.interfaces {
        // The kernel's IFNAMSIZ is 16 with the NUL; a slash or a space cannot be in a name.
        if name.is_empty() || name.len() > 15 || name.contains(['/', ' ']) {
            t.invalid(
                "interfaces",
                name,
                "is not an interface name (1 to 15 characters, no slash, no space)",
            );
        }
    }
    repeated(t, "interfaces", io.interfaces.iter());
    repeated(t, "cores", io.cores.iter());
    for addr in &io.snat_addresses {
        if addr.is_unspecified() || addr.is_multicast() {
            t.invalid("snat_addresses", &addr.to_string(), "cannot be the source of a connection");
        }
    }
    if io.transparent && !io.snat_addresses.is_empty() {
        t.conflict("snat_addresses", "is given although `transparent` keeps the client's address");
    }
}

fn repeated<T: PartialEq + ToString>(t: &Table<'_>, key: &str, items: impl Iterator<Item = T>) {
    let items: Vec<T> = items.collect();
    for (index, item) in items.iter().enumerate() {
        if items.iter().take(index).any(|other| other == item) {
            t.invalid(key, &item.to_string(), "is listed twice");
        }
    }
}

/// `[health]` by itself.
pub(super) fn health(t: &Table<'_>, health: &Health) {
    if health.timeout > health.interval {
        t.conflict("timeout", "is longer than `interval`: probes of one backend would overlap");
    }
    if health.ejection_time > health.ejection_time_max {
        t.conflict("ejection_time", "is longer than `ejection_time_max`");
    }
}

/// `[lists]` by itself.
pub(super) fn lists(t: &Table<'_>, lists: &Lists) {
    if lists.ban_time > lists.ban_time_max {
        t.conflict("ban_time", "is longer than `ban_time_max`");
    }
    for net in &lists.block {
        if let Some(allowed) = lists.allow.iter().find(|allowed| allowed.contains(net)) {
            t.invalid(
                "block",
                &net.to_string(),
                &format!("is inside the allowlisted {allowed}, which wins: the entry would never act"),
            );
        }
    }
    let written = lists.allow.len() + lists.block.len();
    if written > lists.entries_max as usize {
        t.conflict(
            "max_entries",
            &format!("{} is below the {written} entries written here", lists.entries_max),
        );
    }
}

/// Listeners and backends: short forms become entries, names become indexes.
pub(super) fn resolve(
    t: &Table<'_>,
    given: &Given,
    server: &Server,
    syn: &SynProxy,
    entries: Vec<ListenerEntry>,
    mut backends: Vec<Backend>,
) -> (Vec<Listener>, Vec<Backend>) {
    if !entries.is_empty() && given.bind_address {
        t.conflict("listeners", "[server] bind_address is given as well; keep one of the two");
    }
    if !backends.is_empty() && given.backend_address {
        t.conflict("backends", "[server] backend_address is given as well; keep one of the two");
    }
    if backends.is_empty() {
        let address = server.backend_address.clone();
        backends.push(Backend {
            name: "default".into(),
            group: None,
            address,
            weight: 1,
            connections_max: None,
        });
    }
    check_backends(t, &backends);
    let entries = if entries.is_empty() { vec![default_listener(server)] } else { entries };
    let mut listeners: Vec<Listener> = Vec::with_capacity(entries.len());
    for entry in entries {
        let line = entry.line;
        let listener = resolve_listener(t, syn, &backends, entry);
        if listeners.iter().any(|other| other.name == listener.name) {
            t.conflict_on(line, "[[listeners]]", &format!("two listeners are called `{}`", listener.name));
        }
        let address = (listener.protocol, listener.bind_address);
        if let Some(other) = listeners.iter().find(|other| (other.protocol, other.bind_address) == address) {
            t.conflict_on(
                line,
                "[[listeners]]",
                &format!("`{}` and `{}` both accept on {}", other.name, listener.name, listener.bind_address),
            );
        }
        listeners.push(listener);
    }
    (listeners, backends)
}

fn default_listener(server: &Server) -> ListenerEntry {
    ListenerEntry {
        name: Some("default".into()),
        protocol: Transport::Tcp,
        bind_address: server.bind_address,
        syn_cookies: None,
        backends: Vec::new(),
        proxy_protocol: ProxyProtocol::Off,
        line: None,
    }
}

fn check_backends(t: &Table<'_>, backends: &[Backend]) {
    for (index, backend) in backends.iter().enumerate() {
        let others = backends.iter().take(index);
        if others.clone().any(|other| other.name == backend.name) {
            t.conflict("backends", &format!("two backends are called `{}`", backend.name));
        }
        if backends
            .iter()
            .any(|other| other.group.as_deref() == Some(&backend.name) && other.name != backend.name)
        {
            t.conflict("backends", &format!("`{}` is the name of a backend and of a group", backend.name));
        }
        let Some(address) = backend.address.address() else { continue };
        if address.ip().is_unspecified() || address.ip().is_multicast() || address.port() == 0 {
            let why = format!("`{}` has the address {address}, which nobody can connect to", backend.name);
            t.conflict("backends", &why);
        }
    }
}

fn resolve_listener(t: &Table<'_>, syn: &SynProxy, backends: &[Backend], entry: ListenerEntry) -> Listener {
    let protocol = match entry.protocol {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    };
    let at = entry.bind_address;
    let name = entry.name.unwrap_or_else(|| format!("{protocol}-{}-{}", at.ip(), at.port()));
    let fail = |why: String| t.conflict_on(entry.line, "[[listeners]]", &format!("listener `{name}`: {why}"));
    if at.port() == 0 {
        fail(format!("{at} has port 0"));
    }
    let mut chosen = Vec::new();
    for wanted in &entry.backends {
        let mut found = false;
        for (index, backend) in backends.iter().enumerate() {
            if backend.name != *wanted && backend.group.as_deref() != Some(wanted) {
                continue;
            }
            found = true;
            if let Some(address) = other_family(backend, &at) {
                fail(format!(
                    "{at} is {} but backend `{}` is {} at {address}",
                    family(&at),
                    backend.name,
                    family(&address)
                ));
            } else if !chosen.contains(&index) {
                chosen.push(index);
            }
        }
        if !found {
            fail(format!("no backend or group is called `{wanted}`"));
        }
    }
    if entry.backends.is_empty() {
        chosen = (0..backends.len())
            .filter(|i| backends.get(*i).is_some_and(|backend| other_family(backend, &at).is_none()))
            .collect();
        if chosen.is_empty() {
            fail(format!("{at} is {} but no backend is", family(&at)));
        }
    }
    if entry.protocol == Transport::Udp && entry.proxy_protocol != ProxyProtocol::Off {
        fail("PROXY protocol is for TCP".into());
    }
    Listener {
        name,
        protocol: entry.protocol,
        bind_address: at,
        syn_cookies: entry.syn_cookies.unwrap_or(syn.syn_cookies),
        backends: chosen,
        proxy_protocol: entry.proxy_protocol,
    }
}

/// The backend's address if its family is not that of `at`. Of a name it is known only at run time.
fn other_family(backend: &Backend, at: &SocketAddr) -> Option<SocketAddr> {
    backend.address.address().filter(|address| address.is_ipv4() != at.is_ipv4())
}

fn family(addr: &SocketAddr) -> &'static str {
    if addr.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// What spans sections.
pub(super) fn whole(t: &Table<'_>, given: &Given, config: &NodeConfig) {
    let Io { snat_ports, .. } = config.io;
    for listener in &config.listeners {
        if config.io.driver != Driver::Socket && snat_ports.contains(listener.bind_address.port()) {
            t.conflict(
                "io",
                &format!(
                    "snat_ports {snat_ports} contain the port of listener `{}` ({})",
                    listener.name, listener.bind_address
                ),
            );
        }
    }
    if config.io.driver == Driver::Socket {
        if config.server.mode == Mode::Syn {
            t.conflict("io", "driver = \"socket\" cannot answer SYNs: mode = \"syn\" needs `xdp` or `auto`");
        }
        if config.io.zero_copy == Want::Require {
            t.conflict("io", "zero_copy = \"require\" needs driver = \"xdp\"");
        }
    }
    if config.io.driver == Driver::Xdp {
        for backend in config
            .backends
            .iter()
            .filter(|b| b.address.address().is_some_and(|address| address.ip().is_loopback()))
        {
            t.conflict(
                "io",
                &format!(
                    "driver = \"xdp\" cannot reach backend `{}` at {}: no interface leads to a loopback \
                 address",
                    backend.name, backend.address
                ),
            );
        }
    }
    if config.metrics.enable && !config.metrics.bind_address.ip().is_loopback() && !given.token {
        t.conflict(
            "metrics",
            &format!(
                "bind_address {} is not a loopback address: [api] token is required",
                config.metrics.bind_address
            ),
        );
    }
    if config.server.mode == Mode::L7 {
        for (key, path) in [("cert_path", &config.tls.cert_path), ("key_path", &config.tls.key_path)] {
            if path.is_none() {
                t.conflict("tls", &format!("mode = \"l7\" needs {key}"));
            }
        }
    }
    if config.waf.enable && config.waf.rules_path.is_none() && config.waf.crs_path.is_none() {
        t.conflict("waf", "enable = true needs rules_path or crs_path");
    }
    if config.waf.enable && config.server.mode != Mode::L7 {
        t.conflict("waf", "enable = true needs [server] mode = \"l7\": other modes do not see requests");
    }
    if config.geo.enable && config.geo.country_path.is_none() && config.geo.asn_path.is_none() {
        t.conflict("geo", "enable = true needs country_path or asn_path");
    }
}
