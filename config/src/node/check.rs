//! Checks that span several keys or sections.

use super::NodeConfig;
use super::backend::{Backend, Health};
use super::io::{Driver, Io, Want};
use super::limits::Lists;
use super::server::Mode;
use super::syn::SynCookiesAt;
use super::waf::CsrfCheck;
use crate::reader::Table;

mod resolve;

pub(super) use resolve::{resolve, routes};

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
        // A policy's listeners and backends stand beside those of the short form.
        self.bind_address = !t.is_composed() && t.has("bind_address");
        self.backend_address = !t.is_composed() && t.has("backend_address");
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
    drivers(t, config);
    if config.metrics.enable && !config.metrics.bind_address.ip().is_loopback() && !given.token {
        t.conflict(
            "metrics",
            &format!(
                "bind_address {} is not a loopback address: [api] token is required",
                config.metrics.bind_address
            ),
        );
    }
    let has_rules = config.waf.rules_path.is_some()
        || !config.waf.rules.is_empty()
        || config.waf.crs_path.is_some()
        || config.waf.csrf_check != CsrfCheck::Off;
    if config.waf.enable && !has_rules {
        t.conflict("waf", "enable = true needs rules_path, rules, crs_path or csrf_check");
    }
    if config.waf.enable && !config.has_l7() {
        t.conflict("waf", "enable = true needs [server] mode = \"l7\": other modes do not see requests");
    }
    if !config.routes.is_empty() && !config.has_l7() {
        t.conflict("routes", "no listener has mode = \"l7\": other modes do not see requests");
    }
    if config.geo.enable && config.geo.country_path.is_none() && config.geo.asn_path.is_none() {
        t.conflict("geo", "enable = true needs country_path or asn_path");
    }
}

/// What each driver cannot do.
fn drivers(t: &Table<'_>, config: &NodeConfig) {
    let driver = config.io.driver;
    if driver == Driver::Socket {
        if config.listeners.iter().any(|listener| listener.mode == Mode::Syn) {
            t.conflict("io", "driver = \"socket\" cannot answer SYNs: mode = \"syn\" needs `xdp` or `auto`");
        }
        if config.io.zero_copy == Want::Require {
            t.conflict("io", "zero_copy = \"require\" needs driver = \"xdp\"");
        }
        if config.syn_proxy.syn_cookies_at == SynCookiesAt::Xdp {
            t.conflict(
                "io",
                "driver = \"socket\" has no XDP program: [syn_proxy] syn_cookies_at must be \"auto\" or \"worker\"",
            );
        }
    }
    if config.syn_proxy.syn_cookies_at == SynCookiesAt::Xdp && config.limits.syn_rate.is_some() {
        t.conflict(
            "syn_proxy",
            "syn_cookies_at = \"xdp\": [limits] syn_rate is applied by workers; set it to 0, or this to \"auto\"",
        );
    }
    if driver == Driver::Xdp {
        // In mode `l7` the kernel makes the connections to backends, and it reaches its own loopback.
        let by_frames = |index: usize| {
            config
                .listeners
                .iter()
                .any(|listener| listener.mode != Mode::L7 && listener.backends.contains(&index))
        };
        for (index, backend) in config.backends.iter().enumerate() {
            if !is_loopback(backend) || !by_frames(index) {
                continue;
            }
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
    if config.io.transparent && config.listeners.iter().all(|listener| listener.mode == Mode::L7) {
        t.conflict("io", "transparent = true: mode = \"l7\" cannot keep the client's address as source");
    }
}

fn is_loopback(backend: &Backend) -> bool {
    backend.address.address().is_some_and(|address| address.ip().is_loopback())
}
