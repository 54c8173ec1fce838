//! Memory: huge pages, what may be locked, what is there at all.

use nix::sys::resource::{Resource, getrlimit};
use secbeat_config::NodeConfig;
use secbeat_config::node::Want;

use super::facts::{Machine, bytes};
use super::{Findings, Needs, State};

/// Bytes of a TCP flow's entry with both its index slots; an upper bound for the estimate below.
const FLOW_BYTES: u64 = 320;
/// Bytes of a half-open connection's entry.
const HALF_OPEN_BYTES: u64 = 96;
/// What the process needs beside the tables: code, logs, events, lists.
const BASE_BYTES: u64 = 32 << 20;

pub(super) fn examine(machine: &Machine, config: &NodeConfig, needs: Needs, findings: &mut Findings) {
    findings.area("memory");
    let workers = workers(machine, config);
    let packets = workers * u64::from(config.io.frames) * u64::from(config.io.frame_bytes);
    let tables = workers
        * (u64::from(config.flows.flows_max) * FLOW_BYTES
            + u64::from(config.syn_proxy.syn_backlog_max) * HALF_OPEN_BYTES
            + u64::from(config.udp.flows_max) * FLOW_BYTES)
        + u64::from(config.limits.slots) * 8;
    available(machine, BASE_BYTES + tables + if needs.xdp_wanted { packets } else { 0 }, findings);
    if needs.xdp_wanted {
        hugepages(machine, config, packets, findings);
        if machine.is_live() {
            memlock(packets, needs, findings);
        }
    }
}

/// Workers that would run.
fn workers(machine: &Machine, config: &NodeConfig) -> u64 {
    let online = machine.names("/sys/devices/system/cpu");
    let is_core = |name: &&String| {
        name.strip_prefix("cpu").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    match (config.io.cores.len(), config.server.worker_threads) {
        (0, 0) => (online.iter().filter(is_core).count() as u64).max(1),
        (0, threads) => threads.into(),
        (cores, _) => cores as u64,
    }
}

fn available(machine: &Machine, needed: u64, findings: &mut Findings) {
    let info = machine.text("/proc/meminfo").unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let Some(kib) = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()) else {
        return findings.unknown("available", "/proc/meminfo cannot be read");
    };
    let there = kib * 1_024;
    let found = format!("{} there, about {} needed", bytes(there), bytes(needed));
    if needed > there {
        let problem = "lower [flows] max_per_worker, [syn_proxy] max_syn_backlog or [io] frames";
        findings.add("available", State::Fail, found, problem, None);
    } else {
        findings.ok("available", found);
    }
}

fn hugepages(machine: &Machine, config: &NodeConfig, needed: u64, findings: &mut Findings) {
    if config.io.hugepages == Want::Off {
        return findings.ok("huge pages", "not wanted ([io] hugepages = \"off\")");
    }
    let free =
        |kib: u64| machine.number(&format!("/sys/kernel/mm/hugepages/hugepages-{kib}kB/free_hugepages"));
    let (giant, large) = (free(1_048_576), free(2_048));
    if giant.is_none() && large.is_none() {
        let state = if config.io.hugepages == Want::Require { State::Fail } else { State::Warn };
        return findings.add(
            "huge pages",
            state,
            "none",
            "the kernel has no hugetlbfs; 4 KiB pages cost TLB misses",
            None,
        );
    }
    let (giant, large) = (giant.unwrap_or(0), large.unwrap_or(0));
    let found = format!("{giant} x 1 GiB, {large} x 2 MiB free; packet memory needs {}", bytes(needed));
    if giant * (1 << 30) >= needed || large * (2 << 20) >= needed {
        return findings.ok("huge pages", found);
    }
    let pages = needed.div_ceil(2 << 20);
    let reserved = machine.number("/proc/sys/vm/nr_hugepages").unwrap_or(0);
    let command = Some(format!("sysctl -w vm.nr_hugepages={}", reserved + pages.saturating_sub(large)));
    if config.io.hugepages == Want::Require {
        findings.add(
            "huge pages",
            State::Fail,
            found,
            "[io] hugepages = \"require\" and too few are free",
            command,
        );
    } else {
        findings.add(
            "huge pages",
            State::Warn,
            found,
            "smaller pages will be used, at the price of TLB misses",
            command,
        );
    }
}

/// Packet memory is registered with the kernel, which counts it against this limit.
fn memlock(needed: u64, needs: Needs, findings: &mut Findings) {
    let Ok((soft, _)) = getrlimit(Resource::RLIMIT_MEMLOCK) else {
        return findings.unknown("memlock", "the limit cannot be read");
    };
    let unlimited = soft == nix::libc::RLIM_INFINITY;
    let found = if unlimited { "unlimited".into() } else { bytes(soft) };
    let may_exceed =
        caps::has_cap(None, caps::CapSet::Effective, caps::Capability::CAP_IPC_LOCK).unwrap_or(false);
    if unlimited || soft >= needed || may_exceed {
        findings.ok("memlock", found);
    } else {
        let problem = format!("packet memory needs {}", bytes(needed));
        let command = Some("ulimit -l unlimited   # LimitMEMLOCK=infinity in a unit".into());
        findings.add("memlock", needs.missing_for_xdp(), found, problem, command);
    }
}
