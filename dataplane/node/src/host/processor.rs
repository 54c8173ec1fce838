//! Cores: how many, whether they are left alone, how fast they may run.

use secbeat_config::NodeConfig;

use super::facts::Machine;
use super::{Findings, State};

pub(super) fn examine(machine: &Machine, config: &NodeConfig, findings: &mut Findings) {
    findings.area("cpu");
    let online =
        machine.text("/sys/devices/system/cpu/online").map(|text| parse_list(&text)).unwrap_or_default();
    if online.is_empty() {
        return findings.unknown("cores", "/sys/devices/system/cpu/online cannot be read");
    }
    cores(config, &online, findings);
    isolation(machine, config, findings);
    governor(machine, &online, findings);
    irqbalance(machine, findings);
}

/// `0-3,8` as numbers. Ranges beyond any machine are cut.
fn parse_list(text: &str) -> Vec<u32> {
    const CORE_MAX: u32 = 4_096;
    let mut cores = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<u32>(), last.trim().parse::<u32>()) {
            cores.extend(first..=last.min(CORE_MAX));
        }
    }
    cores
}

fn cores(config: &NodeConfig, online: &[u32], findings: &mut Findings) {
    let wanted = match config.io.cores.len() {
        0 => usize::from(config.server.worker_threads),
        count => count,
    };
    let found = format!("{} online", online.len());
    let absent: Vec<_> = config.io.cores.iter().filter(|core| !online.contains(&u32::from(**core))).collect();
    if !absent.is_empty() {
        let problem = format!("[io] cores names {absent:?}, which are not online");
        findings.add("cores", State::Fail, found, problem, None);
    } else if wanted > online.len() {
        let problem =
            format!("{wanted} workers on {} cores take turns: set worker_threads = 0", online.len());
        findings.add("cores", State::Warn, found, problem, None);
    } else if online.len() == 1 {
        let problem = "worker, kernel and backends share one core; under a flood they starve each other";
        findings.add("cores", State::Warn, found, problem, None);
    } else {
        findings.ok("cores", found);
    }
}

fn isolation(machine: &Machine, config: &NodeConfig, findings: &mut Findings) {
    let isolated = parse_list(&machine.text("/sys/devices/system/cpu/isolated").unwrap_or_default());
    let shared: Vec<_> =
        config.io.cores.iter().filter(|core| !isolated.contains(&u32::from(**core))).collect();
    if config.io.cores.is_empty() {
        let found = if isolated.is_empty() { "none".to_owned() } else { format!("{isolated:?}") };
        findings.ok("isolated cores", found);
    } else if shared.is_empty() {
        findings.ok("isolated cores", "all workers' cores");
    } else {
        let list: Vec<_> = config.io.cores.iter().map(ToString::to_string).collect();
        let list = list.join(",");
        let problem = format!("cores {shared:?} also run other programs: latency varies by milliseconds");
        let command =
            Some(format!("add isolcpus={list} nohz_full={list} rcu_nocbs={list} to the kernel command line"));
        findings.add("isolated cores", State::Warn, "", problem, command);
    }
}

fn governor(machine: &Machine, online: &[u32], findings: &mut Findings) {
    let of =
        |core: &u32| machine.text(&format!("/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor"));
    let governors: Vec<String> = online.iter().filter_map(of).collect();
    match governors.iter().find(|governor| *governor != "performance") {
        None if governors.is_empty() => {
            findings.ok("governor", "not ours to choose (virtual machine or fixed frequency)");
        }
        None => findings.ok("governor", "performance"),
        Some(governor) => {
            let problem = "cores slow down between bursts; the first packets of a flood pay for it";
            let command = Some("cpupower frequency-set -g performance".into());
            findings.add("governor", State::Warn, governor, problem, command);
        }
    }
}

fn irqbalance(machine: &Machine, findings: &mut Findings) {
    let runs = machine
        .names("/proc")
        .iter()
        .filter(|name| name.bytes().all(|b| b.is_ascii_digit()))
        .any(|pid| machine.text(&format!("/proc/{pid}/comm")).as_deref() == Some("irqbalance"));
    if runs {
        let problem = "moves queue interrupts onto the workers' cores and away again";
        let command = Some("systemctl disable --now irqbalance".into());
        findings.add("irqbalance", State::Warn, "running", problem, command);
    } else {
        findings.ok("irqbalance", "not running");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_lists_are_understood_and_bounded() {
        assert_eq!(parse_list("0-3,8"), [0, 1, 2, 3, 8]);
        assert_eq!(parse_list(""), [0u32; 0]);
        assert!(parse_list("0-4294967295").len() <= 4_097);
    }
}
