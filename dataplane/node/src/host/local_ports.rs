//! Ports that the kernel hands out to connections of this host, against those that the XDP program takes.
//!
//! What arrives for a listener's port, or for one of the SNAT range, is the node's and never reaches a socket. A
//! connection of this host (in mode `l7` those to backends above all, and health checks everywhere) that was given
//! such a port gets no answer. Owns: the comparison and the setting that ends it. Does not own: `local_ports` of
//! [`super::network`], which reports it, nor the ranges themselves.

use secbeat_config::NodeConfig;
use secbeat_config::node::{Listener, Mode};
use secbeat_config::units::PortRange;

use super::facts::Machine;

const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
const RESERVED: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";

/// Why it cannot be compared.
const UNREADABLE: &str = "net.ipv4.ip_local_port_range cannot be read";

/// What the kernel hands out; of both families.
pub(super) struct LocalPorts {
    low: u16,
    high: u16,
    /// Exempt from it, first and last.
    reserved: Vec<(u16, u16)>,
    /// The same as it is written.
    reserved_text: String,
}

impl LocalPorts {
    /// Those of a machine; else what is wrong.
    pub(super) fn of(machine: &Machine) -> Result<Self, String> {
        let text = machine.text(RANGE).ok_or_else(|| UNREADABLE.to_owned())?;
        let mut numbers = text.split_whitespace().filter_map(|word| word.parse::<u16>().ok());
        let (Some(low), Some(high)) = (numbers.next(), numbers.next()) else {
            return Err(format!("`{text}` is no range"));
        };
        let reserved_text = machine.text(RESERVED).unwrap_or_default();
        let part = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
        };
        let reserved = reserved_text.split(',').filter_map(part).collect();
        Ok(Self { low, high, reserved, reserved_text })
    }

    /// `32768-60999`.
    pub(super) fn range(&self) -> String {
        format!("{}-{}", self.low, self.high)
    }

    /// Whether a connection may be given this port.
    pub(super) fn hands_out(&self, port: u16) -> bool {
        (self.low..=self.high).contains(&port)
            && !self.reserved.iter().any(|(first, last)| (*first..=*last).contains(&port))
    }

    /// Whether it may be given any of these.
    pub(super) fn hands_out_any(&self, range: PortRange) -> bool {
        (range.low.max(self.low)..=range.high.min(self.high)).any(|port| self.hands_out(port))
    }

    /// The listeners whose ports it may be given.
    pub(super) fn listeners<'c>(&self, config: &'c NodeConfig) -> Vec<&'c Listener> {
        config.listeners.iter().filter(|listener| self.hands_out(listener.bind_address.port())).collect()
    }

    /// The setting after which none of the node's ports is handed out. What is reserved already stays: writing the
    /// setting replaces it.
    pub(super) fn command(&self, config: &NodeConfig) -> String {
        let mut parts = Vec::new();
        if !self.reserved_text.is_empty() {
            parts.push(self.reserved_text.clone());
        }
        if self.hands_out_any(config.io.snat_ports) {
            parts.push(config.io.snat_ports.to_string());
        }
        let mut ports: Vec<u16> = self.listeners(config).iter().map(|l| l.bind_address.port()).collect();
        ports.sort_unstable();
        ports.dedup();
        parts.extend(ports.iter().map(u16::to_string));
        format!("sysctl -w net.ipv4.ip_local_reserved_ports={}", parts.join(","))
    }
}

/// Says, one line per listener of mode `l7`, that the kernel may give its port to a connection towards a backend. For
/// a node whose packets the XDP program takes.
pub fn clashes(machine: &Machine, config: &NodeConfig) -> Vec<String> {
    let Ok(ports) = LocalPorts::of(machine) else { return Vec::new() };
    let (range, command) = (ports.range(), ports.command(config));
    let clashing = ports.listeners(config).into_iter().filter(|listener| listener.mode == Mode::L7);
    let line = |listener: &Listener| {
        format!(
            "port {} of listener `{}` is among the ports {range} that the kernel gives to connections of this host: \
             one to a backend that gets it has no answer; mend it with `{command}`",
            listener.bind_address.port(),
            listener.name
        )
    };
    clashing.map(line).collect()
}
