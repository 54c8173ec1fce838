//! Where a result comes from: machine, kernel, versions of everybody measured, how the lab was set, the command line.
//!
//! Owns: asking. What a machine does not say is `unknown`, never a failure: a result without it is still a result.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::{cpu, node, tool};

/// The machine and the programs of a result.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Host {
    /// Model of the processor.
    pub(crate) cpu: String,
    /// Number of cores.
    pub(crate) cores: usize,
    /// Who decides the clock rate; `none` where the machine has no say.
    pub(crate) governor: String,
    /// Whether it is a virtual machine.
    pub(crate) hypervisor: bool,
    /// Memory in MiB.
    pub(crate) memory_mib: u64,
    /// Kernel release.
    pub(crate) kernel: String,
    /// Distribution.
    pub(crate) system: String,
    /// Mitigations that the kernel has on against faults of the processor.
    pub(crate) mitigations: BTreeMap<String, String>,
    /// Load average of the last minute when it began: a busy machine measures something else.
    pub(crate) load_average: f64,
    /// `git describe` of the source, where it was measured from a checkout.
    pub(crate) source: String,
    /// Versions by program.
    pub(crate) versions: BTreeMap<String, String>,
    /// How the lab was set.
    pub(crate) lab: BTreeMap<String, String>,
    /// The command line.
    pub(crate) command: String,
}

impl Host {
    /// Asks this machine.
    pub(crate) fn ask(lab: &[(&str, String)]) -> Self {
        let cpuinfo = read("/proc/cpuinfo");
        let field = |name: &str| {
            let line = cpuinfo.lines().find(|line| line.split(':').next().map(str::trim) == Some(name));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
        };
        Self {
            cpu: processor(&field),
            cores: cpu::count(),
            governor: fs::read_to_string("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
                .map_or("none".to_owned(), |name| name.trim().to_owned()),
            hypervisor: field("flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
            memory_mib: cpu::memory_kib("MemTotal") / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            system: read("/etc/os-release")
                .lines()
                .find_map(|line| line.strip_prefix("PRETTY_NAME="))
                .map_or("unknown".to_owned(), |name| name.trim_matches('"').to_owned()),
            mitigations: mitigations(),
            load_average: read("/proc/loadavg")
                .split(' ')
                .next()
                .and_then(|word| word.parse().ok())
                .unwrap_or(0.0),
            source: said("git", &["describe", "--always", "--dirty", "--tags"])
                .unwrap_or("unknown".to_owned()),
            versions: versions(),
            lab: lab.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
            command: ["secbeat-bench".to_owned()]
                .into_iter()
                .chain(std::env::args().skip(1))
                .collect::<Vec<_>>()
                .join(" "),
        }
    }
}

/// Virtual machines often hide the model's name; family and model number stay.
fn processor(field: &dyn Fn(&str) -> Option<String>) -> String {
    let named = field("model name").or_else(|| field("CPU part")).unwrap_or("unknown".to_owned());
    match (field("cpu family"), field("model")) {
        (Some(family), Some(model)) => format!("{named}, family {family} model {model}"),
        _ => named,
    }
}

fn mitigations() -> BTreeMap<String, String> {
    let folder = fs::read_dir("/sys/devices/system/cpu/vulnerabilities").into_iter().flatten().flatten();
    let all = folder.filter_map(|entry| {
        let value = fs::read_to_string(entry.path()).ok()?;
        value.starts_with("Mitigation").then(|| {
            (
                entry.file_name().to_string_lossy().into_owned(),
                value.trim_start_matches("Mitigation: ").trim().to_owned(),
            )
        })
    });
    all.collect()
}

/// Programs that tell their version, and how they are asked.
const TOLD: &[(&str, &str, &[&str])] = &[
    ("nginx", "nginx", &["-v"]),
    ("HAProxy", "haproxy", &["-v"]),
    ("nftables", "nft", &["--version"]),
    ("wrk", "wrk", &["-v"]),
    ("h2load", "h2load", &["--version"]),
    ("openssl", "openssl", &["version"]),
];
/// Packages that have no program to ask.
const PACKAGED: &[(&str, &str)] = &[
    ("libmodsecurity", "libmodsecurity3"),
    ("nginx ModSecurity connector", "libnginx-mod-http-modsecurity"),
    ("Core Rule Set", "modsecurity-crs"),
];

fn versions() -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (name, program, arguments) in TOLD {
        all.extend(said(program, arguments).map(|version| ((*name).to_owned(), version)));
    }
    for (name, package) in PACKAGED {
        let version = said("dpkg-query", &["-W", "-f", "${Version}", package]);
        all.extend(version.map(|version| ((*name).to_owned(), version)));
    }
    if let Ok(binary) = node::binary() {
        let version = said(&binary.display().to_string(), &["version"]);
        all.extend(version.map(|version| ("secbeat-node".to_owned(), version)));
    }
    all
}

/// The first line that a program says, on either output; `wrk -v` and its like end with a failure and still say it.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let path = if program.contains('/') { program.into() } else { tool::find(program)? };
    let output = Command::new(path).args(arguments).stdin(Stdio::null()).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    let failed = line.contains("no packages found") || line.starts_with("fatal:");
    (!failed).then(|| line.to_owned())
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_says_who_it_is() {
        let host = Host::ask(&[("pinned", "yes".to_owned())]);
        assert!(host.cores >= 1 && host.memory_mib > 0, "{host:?}");
        assert!(host.kernel.starts_with(|letter: char| letter.is_ascii_digit()), "{host:?}");
        assert_eq!(host.lab["pinned"], "yes");
        assert!(host.command.starts_with("secbeat-bench"), "no path of this machine is in a result");
    }

    #[test]
    fn a_program_that_is_not_there_says_nothing() {
        assert_eq!(said("no-such-program", &[]), None);
    }
}
