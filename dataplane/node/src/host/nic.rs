//! Interfaces: driver, queues, rings, offloads, MTU.

use std::collections::BTreeMap;

use secbeat_config::NodeConfig;
use secbeat_config::node::{Attach, Want};

use super::facts::Machine;
use super::{Findings, Needs, State};

/// What a driver can do, as far as is known from its source.
struct Driver {
    name: &'static str,
    native: bool,
    zero_copy: bool,
}

const fn driver(name: &'static str, native: bool, zero_copy: bool) -> Driver {
    Driver { name, native, zero_copy }
}

/// Drivers by what they support in a current kernel. Others run in generic mode, or better than listed.
const DRIVERS: &[Driver] = &[
    driver("atlantic", true, false),
    driver("bnxt_en", true, false),
    driver("ena", true, false),
    driver("gve", true, true),
    driver("hv_netvsc", true, false),
    driver("i40e", true, true),
    driver("ice", true, true),
    driver("igb", true, true),
    driver("igc", true, true),
    driver("ixgbe", true, true),
    driver("ixgbevf", true, false),
    driver("mlx4_en", true, false),
    driver("mlx5_core", true, true),
    driver("mvneta", true, false),
    driver("nfp", true, true),
    driver("qede", true, false),
    driver("sfc", true, false),
    driver("stmmac", true, true),
    driver("tun", true, false),
    driver("veth", true, false),
    driver("virtio_net", true, true),
    driver("vmxnet3", true, false),
    driver("xen-netfront", true, false),
];

/// Bytes in front of a packet that the kernel reserves for XDP, and the longest Ethernet header with two tags.
const HEADROOM_BYTES: u64 = 256;
const ETHERNET_BYTES: u64 = 22;

pub(super) fn examine(machine: &Machine, config: &NodeConfig, needs: Needs, findings: &mut Findings) {
    let names = match config.io.interfaces.is_empty() {
        false => config.io.interfaces.clone(),
        true => candidates(machine),
    };
    if names.is_empty() {
        findings.area("interfaces");
        return findings.add(
            "present",
            needs.missing_for_xdp(),
            "none",
            "there is no interface but loopback",
            None,
        );
    }
    for name in names {
        findings.area(name.as_str());
        interface(machine, config, needs, &name, findings);
    }
}

/// Interfaces that are up and not loopback: what the node would look at when none are named.
fn candidates(machine: &Machine) -> Vec<String> {
    let is_candidate = |name: &String| {
        name != "lo"
            && machine.text(&format!("/sys/class/net/{name}/operstate")).is_some_and(|state| state != "down")
    };
    machine.names("/sys/class/net").into_iter().filter(is_candidate).collect()
}

fn interface(machine: &Machine, config: &NodeConfig, needs: Needs, name: &str, findings: &mut Findings) {
    let at = format!("/sys/class/net/{name}");
    if !machine.has(&at) {
        let problem = "[io] interfaces names an interface that does not exist";
        return findings.add("present", State::Fail, "no", problem, None);
    }
    match machine.text(&format!("{at}/operstate")).as_deref() {
        // Virtual interfaces say "unknown" and are up.
        Some(state @ ("up" | "unknown")) => findings.ok("link", state),
        state => {
            let command = Some(format!("ip link set {name} up"));
            findings.add("link", State::Warn, state.unwrap_or("?"), "is not up", command);
        }
    }
    let driver = driver_of(machine, name);
    modes(config, needs, driver.as_deref(), findings);
    queues(machine, config, name, findings);
    mtu(machine, config, &at, findings);
    if let Some(text) = machine.ask("ethtool", &["-g", name]) {
        rings(config, name, &text, findings);
    }
    if let Some(text) = machine.ask("ethtool", &["-k", name]) {
        offloads(name, driver.as_deref(), &text, findings);
    }
    if let Some(text) = machine.ask("ip", &["-j", "link", "show", "dev", name]) {
        attached(name, &text, findings);
    }
}

fn driver_of(machine: &Machine, name: &str) -> Option<String> {
    machine.link_name(&format!("/sys/class/net/{name}/device/driver")).or_else(|| {
        // Virtual interfaces have no device; ethtool knows them all the same.
        let text = machine.ask("ethtool", &["-i", name])?;
        text.lines().find_map(|line| line.strip_prefix("driver: ")).map(|driver| driver.trim().to_owned())
    })
}

fn modes(config: &NodeConfig, needs: Needs, name: Option<&str>, findings: &mut Findings) {
    let Some(name) = name else {
        return findings.unknown("driver", "neither sysfs nor ethtool names it");
    };
    let Some(driver) = DRIVERS.iter().find(|driver| driver.name == name) else {
        let state = if config.io.attach == Attach::Native { needs.missing_for_xdp() } else { State::Warn };
        let problem =
            "not known to run XDP natively; generic mode works everywhere and is several times slower";
        return findings.add("driver", state, name, problem, None);
    };
    let found = format!(
        "{name}: {}, {}",
        if driver.native { "native XDP" } else { "generic XDP" },
        if driver.zero_copy { "zero-copy possible" } else { "frames are copied" }
    );
    if config.io.zero_copy == Want::Require && !driver.zero_copy {
        findings.add(
            "driver",
            State::Fail,
            found,
            "[io] zero_copy = \"require\", which this driver does not have",
            None,
        );
    } else {
        findings.ok("driver", found);
    }
}

fn queues(machine: &Machine, config: &NodeConfig, name: &str, findings: &mut Findings) {
    let entries = machine.names(&format!("/sys/class/net/{name}/queues"));
    let count = entries.iter().filter(|entry| entry.starts_with("rx-")).count();
    let wanted = usize::from(config.io.queues);
    let workers = config.io.cores.len().max(config.server.worker_threads.into());
    let found = format!("{count} receive");
    if count == 0 {
        findings.unknown("queues", "sysfs shows none");
    } else if wanted > count {
        let problem = format!("[io] queues = {wanted}");
        let command = Some(format!("ethtool -L {name} combined {wanted}"));
        findings.add("queues", State::Fail, found, problem, command);
    } else if workers > count {
        let problem = format!("fewer than the {workers} workers: some get no traffic from here");
        let command = Some(format!("ethtool -L {name} combined {workers}"));
        findings.add("queues", State::Warn, found, problem, command);
    } else {
        findings.ok("queues", found);
    }
}

fn mtu(machine: &Machine, config: &NodeConfig, at: &str, findings: &mut Findings) {
    let Some(mtu) = machine.number(&format!("{at}/mtu")) else {
        return findings.unknown("MTU", "cannot be read");
    };
    let needed = mtu + HEADROOM_BYTES + ETHERNET_BYTES;
    let frame = u64::from(config.io.frame_bytes);
    if needed <= frame {
        return findings.ok("MTU", mtu.to_string());
    }
    let fits = needed <= 4_096;
    let problem = match fits {
        true => {
            "[io] frame_bytes = 2048 is too small for it: longer packets are lost. Set frame_bytes = 4096"
                .into()
        }
        false => format!("packets of up to {mtu} bytes do not fit into a frame: longer ones are lost"),
    };
    let command = (!fits).then(|| format!("ip link set {} mtu 1500", findings.area));
    findings.add("MTU", State::Fail, mtu.to_string(), problem, command);
}

/// `ethtool -g`: the second block holds what is set, the first what is possible.
fn rings(config: &NodeConfig, name: &str, text: &str, findings: &mut Findings) {
    let values: Vec<u64> = text
        .lines()
        .filter_map(|line| line.strip_prefix("RX:"))
        .filter_map(|value| value.trim().parse().ok())
        .collect();
    let (Some(most), Some(now)) = (values.first(), values.get(1)) else { return };
    let wanted = u64::from(config.io.rx_ring).min(*most);
    if *now >= wanted {
        return findings.ok("hardware ring", format!("{now} of {most}"));
    }
    let problem = "short: a burst is lost before the worker sees it";
    let command = Some(format!("ethtool -G {name} rx {wanted}"));
    findings.add("hardware ring", State::Warn, format!("{now} of {most}"), problem, command);
}

/// What the card or the kernel does with packets before XDP or after it sees them.
fn offloads(name: &str, driver: Option<&str>, text: &str, findings: &mut Findings) {
    let features: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.trim().split_once(": "))
        .map(|(key, value)| (key, value.trim()))
        .collect();
    let is_on = |key: &str| features.get(key).is_some_and(|value| value.starts_with("on"));
    let mut bad = Vec::new();
    for (key, short, why) in [
        ("large-receive-offload", "lro", "LRO merges packets: native XDP refuses to attach"),
        ("rx-gro-hw", "rx-gro-hw", "hardware GRO merges packets before XDP sees them"),
        ("rx-vlan-offload", "rxvlan", "the card strips VLAN tags: listeners on tagged traffic are missed"),
    ] {
        // A tag on veth is stripped by nobody.
        if is_on(key) && !(short == "rxvlan" && driver == Some("veth")) {
            bad.push((short, why));
        }
    }
    if driver == Some("veth") {
        for (key, short) in [("tx-checksumming", "tx"), ("tcp-segmentation-offload", "tso")] {
            if is_on(key) {
                bad.push((short, "veth hands over unfinished checksums and segments larger than the MTU"));
            }
        }
    }
    if bad.is_empty() {
        return findings.ok("offloads", "nothing in the way");
    }
    let found: Vec<_> = bad.iter().map(|(short, _)| *short).collect();
    let mut why: Vec<_> = bad.iter().map(|(_, why)| *why).collect();
    why.dedup();
    let switches: Vec<_> = bad.iter().map(|(short, _)| format!("{short} off")).collect();
    let command = Some(format!("ethtool -K {name} {}", switches.join(" ")));
    findings.add("offloads", State::Warn, format!("on: {}", found.join(", ")), why.join("; "), command);
}

/// A program of somebody else on the interface would be in the way.
fn attached(name: &str, text: &str, findings: &mut Findings) {
    let Ok(links) = serde_json::from_str::<serde_json::Value>(text) else { return };
    let program = links.get(0).and_then(|link| link.get("xdp")).and_then(|xdp| xdp.get("prog"));
    let Some(program) = program else {
        return findings.ok("XDP program", "none attached");
    };
    let label = program.get("name").and_then(|name| name.as_str()).unwrap_or("?");
    let id = program.get("id").and_then(serde_json::Value::as_u64).unwrap_or(0);
    if label.starts_with("secbeat") {
        return findings.ok("XDP program", format!("ours (id {id})"));
    }
    let problem = "another program is attached; the node cannot attach beside it";
    let command = Some(format!("ip link set dev {name} xdp off"));
    findings.add("XDP program", State::Warn, format!("{label} (id {id})"), problem, command);
}
