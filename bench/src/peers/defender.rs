//! Who defends the origin in the lab: SecBeat, its peers, and bare programs that nothing can be faster than.
//!
//! Owns: putting one of them in front of the origin, waiting until a page comes through, taking it away again. Each has
//! one core, [`cpu::defence_core`]. How nginx and HAProxy are configured is in `config`.
//! Does not own: the lab, the measurement.

mod config;

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::net::if_::if_nametoindex;
use secbeat_pktio::program::{AttachMode, BareDrop, BareTx};

use super::rules;
use crate::lab::{EDGE_ATTACK, EdgePath, Lab, set_edge_path, vip};
use crate::node::{Node, Settings};
use crate::{cpu, handshake, interrupt, netns, tool};

/// A rule set takes nginx a second to read; a loaded machine gets more.
const START_SECONDS_MAX: u64 = 10;
/// A page must come through within this, or it is asked for again.
const PAGE_DEADLINE_MS: u64 = 500;

/// Settings of an edge that forwards. A client that uses a port again within a minute would otherwise meet what an
/// earlier connection left behind: a closed socket of the listener that was here before, which is found ahead of
/// routing, or an old entry of the connection table.
const FORWARDING: &str = "sysctl -qw net.ipv4.ip_early_demux=0 net.netfilter.nf_conntrack_tcp_timeout_time_wait=1 \
     net.netfilter.nf_conntrack_tcp_timeout_close=1";
/// Settings of an edge that listens: the kernel's own.
const LISTENING: &str = "sysctl -qw net.ipv4.ip_early_demux=1";

/// A defender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Defender {
    /// XDP: sends every packet of the attacker back; a ceiling, not a defence
    XdpTx,
    /// XDP: drops every packet that the attacker sends; a ceiling, not a defence
    XdpDrop,
    /// nginx on the kernel's TCP with SYN cookies, the page served there
    Kernel,
    /// nftables SYNPROXY, forwarding
    Synproxy,
    /// HAProxy in TCP mode on the kernel's SYN cookies
    Haproxy,
    /// nginx as a reverse proxy on the kernel's SYN cookies
    Nginx,
    /// The same with libmodsecurity and the Core Rule Set
    Modsecurity,
    /// SecBeat, mode `syn`
    SecbeatSyn,
    /// SecBeat, mode `l7`
    SecbeatL7,
}

impl Defender {
    /// Everybody, in the order of the tables.
    pub(crate) const ALL: [Self; 9] = [
        Self::XdpTx,
        Self::XdpDrop,
        Self::Kernel,
        Self::Synproxy,
        Self::Haproxy,
        Self::Nginx,
        Self::Modsecurity,
        Self::SecbeatSyn,
        Self::SecbeatL7,
    ];

    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::XdpTx => "bare XDP_TX reflector",
            Self::XdpDrop => "bare XDP_DROP of the flood",
            Self::Kernel => "kernel listener, SYN cookies",
            Self::Synproxy => "nftables SYNPROXY",
            Self::Haproxy => "HAProxy, TCP mode",
            Self::Nginx => "nginx, reverse proxy",
            Self::Modsecurity => "nginx + ModSecurity + CRS",
            Self::SecbeatSyn => "SecBeat syn",
            Self::SecbeatL7 => "SecBeat l7",
        }
    }

    /// Whether it only shows what the machine can do.
    pub(crate) fn is_ceiling(self) -> bool {
        matches!(self, Self::XdpTx | Self::XdpDrop)
    }

    /// Puts it in front of the origin.
    ///
    /// # Errors
    /// When a program is missing or does not start, or no page comes through; with the end of its log.
    pub(crate) fn start(self, lab: &Lab, family: u8) -> Result<Standing> {
        let path = if self == Self::Synproxy { EdgePath::Synproxy } else { EdgePath::Dnat };
        set_edge_path(&lab.topology, path)?;
        if !matches!(self, Self::Synproxy | Self::SecbeatSyn | Self::SecbeatL7) {
            // The edge owns the VIP; without rules nothing is handed on, and connections are not tracked.
            tool::run(&format!("ip netns exec {} nft flush ruleset", lab.topology.edge()))?;
        }
        let edge = if self == Self::Synproxy { FORWARDING } else { LISTENING };
        tool::run_script_in(&lab.topology.edge(), edge)?;
        let runs = match self {
            Self::Synproxy => Runs::Kernel,
            Self::SecbeatSyn => Runs::Node(Node::start(lab, &Settings::default())?),
            Self::SecbeatL7 => {
                Runs::Node(Node::start(lab, &Settings { mode: "l7".to_owned(), ..Settings::default() })?)
            }
            Self::XdpTx | Self::XdpDrop | Self::Kernel | Self::Nginx | Self::Modsecurity | Self::Haproxy => {
                Runs::Process(self.start_process(lab)?)
            }
        };
        let mut standing = Standing { name: self.name(), runs, ceiling: None };
        standing.wait_for_page(lab, family)?;
        // Attached last: a page through the client's interface is needed from those as well.
        standing.ceiling = self.attach(lab)?;
        Ok(standing)
    }

    fn attach(self, lab: &Lab) -> Result<Option<Ceiling>> {
        if !self.is_ceiling() {
            return Ok(None);
        }
        let attached = netns::inside(&lab.topology.edge(), || {
            let index = if_nametoindex(EDGE_ATTACK)?;
            Ok(match self {
                Self::XdpTx => Ceiling::Reflect(BareTx::attach(index, AttachMode::Native)?),
                _ => Ceiling::Drop(BareDrop::attach(index, AttachMode::Native)?),
            })
        });
        attached.with_context(|| format!("attach to {EDGE_ATTACK}")).map(Some)
    }

    fn start_process(self, lab: &Lab) -> Result<tool::Process> {
        let (program, text) = match self {
            Self::Haproxy => ("haproxy", config::haproxy()),
            Self::Nginx => ("nginx", config::nginx_proxy(lab, None)),
            Self::Modsecurity => {
                let rules = rules::write(&lab.state.files().join("modsecurity.conf"))?;
                ("nginx", config::nginx_proxy(lab, Some(&rules)))
            }
            _ => ("nginx", config::nginx_listener(lab)),
        };
        ensure!(tool::find(program).is_some(), "no {program}; scripts/setup.sh installs it");
        let file = lab.state.files().join("defender.conf");
        fs::write(&file, text)?;
        let log = lab.state.log("defender")?;
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &lab.topology.edge(), "taskset", "-c"]);
        command.args([&cpu::defence_core().to_string(), program]);
        match program {
            "haproxy" => command.arg("-f").arg(&file),
            _ => command.arg("-c").arg(&file).arg("-e").arg(lab.state.log_path("defender.err")),
        };
        command.stdout(log.try_clone()?).stderr(log);
        tool::Process::start(&mut command, Some(&lab.state.record("defender")))
    }
}

#[derive(Debug)]
enum Runs {
    /// Nothing but rules in the kernel.
    Kernel,
    Process(tool::Process),
    Node(Node),
}

/// What is attached to the attacker's interface; it goes with this value.
#[derive(Debug)]
#[expect(dead_code, reason = "held for what dropping them does")]
enum Ceiling {
    Reflect(BareTx),
    Drop(BareDrop),
}

/// A defender that stands in front of the origin, until dropped.
#[derive(Debug)]
pub(crate) struct Standing {
    name: &'static str,
    // Taken off before the process ends.
    ceiling: Option<Ceiling>,
    runs: Runs,
}

impl Standing {
    /// Its process; none when the kernel alone does the work.
    pub(crate) fn pid(&self) -> Option<u32> {
        match &self.runs {
            Runs::Kernel => None,
            Runs::Process(process) => Some(process.pid()),
            Runs::Node(node) => Some(node.pid()),
        }
    }

    /// Memory of its processes in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let family = self.pid().map(cpu::family).unwrap_or_default();
        family.into_iter().filter_map(cpu::resident_kib).sum()
    }

    /// Processor time of its processes so far.
    pub(crate) fn time_used(&self) -> Duration {
        self.pid().map(cpu::time_used).unwrap_or_default()
    }

    /// # Errors
    /// When its process has ended; with the end of its log.
    pub(crate) fn check(&mut self, lab: &Lab) -> Result<()> {
        let (runs, log) = match &mut self.runs {
            Runs::Kernel => return Ok(()),
            Runs::Process(process) => (process.is_running(), "defender"),
            Runs::Node(node) => (node.is_running(), "node"),
        };
        if !runs {
            bail!("{} ended: {}", self.name, log_tail(lab, log));
        }
        Ok(())
    }

    fn wait_for_page(&mut self, lab: &Lab, family: u8) -> Result<()> {
        let page = handshake::Options {
            to: (vip(family), 80).into(),
            deadline_ms: PAGE_DEADLINE_MS,
            ..handshake::Options::one_page()
        };
        let end = Instant::now() + Duration::from_secs(START_SECONDS_MAX);
        loop {
            let report = netns::inside(&lab.topology.client(), || handshake::fetch_all(&page))?;
            if report.succeeded > 0 {
                return Ok(());
            }
            self.check(lab)?;
            if interrupt::requested() {
                bail!("interrupted");
            }
            if Instant::now() > end {
                bail!(
                    "{}: no page comes through ({:?}): {}",
                    self.name,
                    report.failures,
                    log_tail(lab, "defender")
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn log_tail(lab: &Lab, name: &str) -> String {
    let read = |name: &str| fs::read_to_string(lab.state.log_path(name)).unwrap_or_default();
    let text = read(name) + &read(&format!("{name}.err"));
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        for (index, one) in Defender::ALL.iter().enumerate() {
            assert!(Defender::ALL[..index].iter().all(|other| other.name() != one.name()));
        }
    }
}
