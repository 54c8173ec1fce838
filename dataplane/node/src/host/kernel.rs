//! The kernel: version, AF_XDP, BPF, and what this process may do.

use caps::{CapSet, Capability};
use secbeat_config::NodeConfig;

use super::facts::Machine;
use super::{Findings, Needs, State};

/// Oldest kernel that works: BPF links for XDP, which keep the program attached over a restart, came with 5.9.
const VERSION_MIN: (u32, u32) = (5, 9);
/// Oldest kernel that works well: preferred busy polling (5.11), BPF memory no longer counted against memlock
/// (5.11), and years of fixes to copy-mode transmit.
const VERSION_GOOD: (u32, u32) = (5, 15);

/// What the privileged set-up needs, and why.
const CAPABILITIES: &[(Capability, &str)] = &[
    (Capability::CAP_NET_ADMIN, "attach XDP programs"),
    (Capability::CAP_NET_RAW, "open AF_XDP sockets"),
    (Capability::CAP_BPF, "load programs and maps"),
    (Capability::CAP_PERFMON, "load programs that do pointer arithmetic"),
];

pub(super) fn examine(machine: &Machine, config: &NodeConfig, needs: Needs, findings: &mut Findings) {
    findings.area("kernel");
    version(machine, needs, findings);
    if needs.xdp_wanted {
        af_xdp(machine, needs, findings);
        bpf(machine, config, findings);
        if machine.is_live() {
            capabilities(needs, findings);
        }
    }
    clocksource(machine, findings);
}

fn version(machine: &Machine, needs: Needs, findings: &mut Findings) {
    let Some(release) = machine.text("/proc/sys/kernel/osrelease") else {
        return findings.unknown("version", "/proc/sys/kernel/osrelease cannot be read");
    };
    let Some(version) = parse_version(&release) else {
        return findings.unknown("version", format!("`{release}` is no version"));
    };
    if needs.xdp_wanted && version < VERSION_MIN {
        let problem =
            format!("AF_XDP with links that survive a restart needs {}.{}", VERSION_MIN.0, VERSION_MIN.1);
        findings.add("version", needs.missing_for_xdp(), release, problem, None);
    } else if needs.xdp_wanted && version < VERSION_GOOD {
        let problem = format!(
            "works; {}.{} and newer are faster and need less memlock",
            VERSION_GOOD.0, VERSION_GOOD.1
        );
        findings.add("version", State::Warn, release, problem, None);
    } else {
        findings.ok("version", release);
    }
}

fn parse_version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// A protocol called XDP is registered exactly when AF_XDP is built in.
fn af_xdp(machine: &Machine, needs: Needs, findings: &mut Findings) {
    let Some(protocols) = machine.text("/proc/net/protocols") else {
        return findings.unknown("AF_XDP", "/proc/net/protocols cannot be read");
    };
    if protocols.lines().any(|line| line.split_whitespace().next() == Some("XDP")) {
        return findings.ok("AF_XDP", "available");
    }
    let problem =
        "the kernel is built without CONFIG_XDP_SOCKETS; use a distribution kernel, or driver = \"socket\"";
    findings.add("AF_XDP", needs.missing_for_xdp(), "missing", problem, None);
}

fn bpf(machine: &Machine, config: &NodeConfig, findings: &mut Findings) {
    match machine.number("/proc/sys/net/core/bpf_jit_enable") {
        Some(1) => findings.ok("BPF JIT", "on"),
        Some(value) => {
            let problem = "the XDP program is interpreted, several times slower";
            let command = Some("sysctl -w net.core.bpf_jit_enable=1".into());
            findings.add("BPF JIT", State::Warn, value.to_string(), problem, command);
        }
        // Kernels with CONFIG_BPF_JIT_ALWAYS_ON have the file as well; without it there is no JIT.
        None => findings.unknown("BPF JIT", "/proc/sys/net/core/bpf_jit_enable cannot be read"),
    }
    let pin_dir = config.io.pin_dir.to_string_lossy().into_owned();
    let mounts = machine.text("/proc/self/mounts").unwrap_or_default();
    let mounted = mounts.lines().any(|line| {
        let mut fields = line.split(' ').skip(1);
        let (place, kind) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        kind == "bpf" && std::path::Path::new(&pin_dir).starts_with(place)
    });
    if mounted {
        findings.ok("bpffs", pin_dir);
    } else {
        let problem = format!("{pin_dir} is not on a BPF file system: the node mounts one if it may");
        let command = Some("mount -t bpf bpf /sys/fs/bpf".into());
        findings.add("bpffs", State::Warn, "not mounted", problem, command);
    }
    if !machine.has("/sys/kernel/btf/vmlinux") {
        findings.add(
            "BTF",
            State::Warn,
            "missing",
            "no type information: tools show less of the XDP program",
            None,
        );
    }
}

fn capabilities(needs: Needs, findings: &mut Findings) {
    let Ok(held) = caps::read(None, CapSet::Effective) else {
        return findings.unknown("capabilities", "cannot be read");
    };
    let missing: Vec<_> = CAPABILITIES.iter().filter(|(cap, _)| !held.contains(cap)).collect();
    if missing.is_empty() {
        return findings.ok("capabilities", "all that set-up needs");
    }
    let names: Vec<_> = missing.iter().map(|(cap, _)| cap.to_string()).collect();
    let reasons: Vec<_> = missing.iter().map(|(cap, why)| format!("{cap} to {why}")).collect();
    let all: Vec<_> = CAPABILITIES.iter().map(|(cap, _)| cap.to_string().to_lowercase()).collect();
    let command =
        Some(format!("setcap {}+ep $(command -v secbeat-node)   # or start as root", all.join(",")));
    let found = format!("without {}", names.join(", "));
    findings.add(
        "capabilities",
        needs.missing_for_xdp(),
        found,
        format!("needed: {}", reasons.join("; ")),
        command,
    );
}

fn clocksource(machine: &Machine, findings: &mut Findings) {
    let directory = "/sys/devices/system/clocksource/clocksource0";
    let Some(current) = machine.text(&format!("{directory}/current_clocksource")) else {
        return findings.unknown("clocksource", "cannot be read");
    };
    // Those that are read without a system call.
    if matches!(
        current.as_str(),
        "tsc" | "kvm-clock" | "arch_sys_counter" | "hyperv_clocksource_tsc_page" | "riscv_clocksource"
    ) {
        return findings.ok("clocksource", current);
    }
    let available = machine.text(&format!("{directory}/available_clocksource")).unwrap_or_default();
    let better = available.split_whitespace().find(|name| matches!(*name, "tsc" | "kvm-clock"));
    let command = better.map(|name| format!("echo {name} > {directory}/current_clocksource"));
    let problem = "reading the time takes a system call; the worker reads it every turn";
    findings.add("clocksource", State::Warn, current, problem, command);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_distributions_are_understood() {
        assert_eq!(parse_version("6.1.0-18-amd64"), Some((6, 1)));
        assert_eq!(parse_version("5.15.0"), Some((5, 15)));
        assert_eq!(parse_version("6.18+"), Some((6, 18)));
        assert_eq!(parse_version("unknown"), None);
    }
}
