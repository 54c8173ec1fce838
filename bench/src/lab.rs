//! The lab: four network namespaces on one machine, joined like a client, an attacker, an edge and an origin.
//!
//! ```text
//! attacker att1 --- att0 \                        VIP 10.99.0.1, fd99::1
//!                         edge org0 --- org1 origin (nginx: 80, 81 with PROXY protocol, 443 TLS, 8080)
//! client   cli1 --- cli0 /
//! ```
//!
//! Attacker and client reach the VIP through the edge. The edge forwards it to the origin in the kernel, so a
//! node that is not there (yet, or any more) leaves a working path; a node on att0, cli0 and org0 takes over.
//! Owns: making and removing all of this, and nothing else on the machine. State lies in `/run/secbeat-bench`.

mod build;
mod origin;
mod state;
mod topology;
mod tune;

use std::process::{Command as Program, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::node::{Node, Settings};
use crate::{cpu, handshake, interrupt, netns, tool};

pub(crate) use build::edge_path as set_edge_path;
pub(crate) use origin::{BIG_PATH, SMALL_PATH, make_big_file};
pub(crate) use state::State;
pub(crate) use topology::{
    ATTACK, ATTACK_IDLE_IF, CLIENT, EDGE_ATTACK, EDGE_CLIENT, EDGE_ORIGIN, ORIGIN, Topology, VIP4, VIP6, vip,
};
pub(crate) use tune::{DefenderReceives, ReceiveThread};

/// How the edge treats the VIP in the kernel, while no node takes it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum EdgePath {
    /// The edge owns the VIP and rewrites its destination to the origin (nftables DNAT).
    #[default]
    Dnat,
    /// The origin owns the VIP; the edge only routes.
    Route,
    /// As `route`, with nftables SYNPROXY in front.
    Synproxy,
}

/// Options of `lab up`.
#[derive(Args, Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Options {
    /// Prefix of the namespaces' names, so that several labs can stand side by side
    #[arg(long, default_value = "sb")]
    #[serde(skip)]
    pub(crate) prefix: String,
    /// Queues of each interface
    #[arg(long, default_value_t = 1)]
    pub(crate) queues: u8,
    /// Receive work of the attacker's side on core 0, everything of the defender on core 1
    #[arg(long)]
    pub(crate) pin: bool,
    /// Leave transmit checksums to the receiver, as a local sender does (partial checksums on the wire)
    #[arg(long)]
    pub(crate) partial_checksums: bool,
    /// Largest IP packet of each interface, in bytes
    #[arg(long, default_value_t = 1500)]
    pub(crate) mtu: u16,
    /// What the kernel of the edge does with the VIP
    #[arg(long, value_enum, default_value_t)]
    pub(crate) edge: EdgePath,
    /// Put a relay between client and edge: options of `impair`, e.g. "--loss 1 --reorder 1"
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) impair: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            prefix: "sb".to_owned(),
            queues: 1,
            pin: false,
            partial_checksums: false,
            mtu: 1500,
            edge: EdgePath::Dnat,
            impair: None,
        }
    }
}

/// Subcommands of `lab`.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Make the namespaces (anew, when they exist)
    Up(Options),
    /// Remove everything that `up` made
    Down {
        /// Prefix given to `up`
        #[arg(long, default_value = "sb")]
        prefix: String,
    },
    /// Run a command inside a namespace: attacker, client, edge, origin or impair
    Exec {
        /// Prefix given to `up`
        #[arg(long, default_value = "sb")]
        prefix: String,
        /// Which namespace
        place: String,
        /// The command and its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<String>,
    },
    /// Say what is there, and whether the client reaches the origin
    Status {
        /// Prefix given to `up`
        #[arg(long, default_value = "sb")]
        prefix: String,
    },
    /// Start a node in the edge, or replace the one that runs there
    Node {
        /// Prefix given to `up`
        #[arg(long, default_value = "sb")]
        prefix: String,
        /// syn, tcp or l7
        #[arg(long, default_value = "syn")]
        mode: String,
        /// xdp, socket or auto
        #[arg(long, default_value = "xdp")]
        driver: String,
        /// auto, always or never
        #[arg(long, default_value = "always")]
        syn_cookies: String,
        /// Only end the one that runs
        #[arg(long)]
        stop: bool,
    },
    /// Make a file of so many MiB on the origin, served as /big
    Big {
        /// Prefix given to `up`
        #[arg(long, default_value = "sb")]
        prefix: String,
        /// Size in MiB
        mib: u32,
    },
}

/// Runs a `lab` subcommand.
pub(crate) fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Up(options) => {
            let lab = Lab::up(options)?;
            print_status(&lab.topology);
            lab.keep();
        }
        Command::Down { prefix } => {
            let removed = down(&prefix)?;
            println!("lab `{prefix}`: {}", if removed { "removed" } else { "was not there" });
        }
        Command::Exec { prefix, place, command } => return exec(&prefix, &place, &command),
        Command::Status { prefix } => {
            if State::load(&prefix).is_none() {
                println!("lab `{prefix}`: not there");
                return Ok(ExitCode::FAILURE);
            }
            print_status(&Topology::new(&prefix));
        }
        Command::Node { prefix, mode, driver, syn_cookies, stop } => {
            let state = State::load(&prefix).with_context(|| format!("lab `{prefix}` is not there"))?;
            tool::end_recorded(&state.record("node"));
            if !stop {
                let lab =
                    Lab { topology: Topology::new(&prefix), state, receive_threads: Vec::new(), keep: true };
                let settings = Settings { mode, driver, syn_cookies, ..Settings::default() };
                let node = Node::start(&lab, &settings)?;
                println!("pid {}, log {}", node.pid(), lab.state.log_path("node").display());
                node.detach();
            }
        }
        Command::Big { prefix, mib } => {
            let state = State::load(&prefix).with_context(|| format!("lab `{prefix}` is not there"))?;
            make_big_file(&state, u64::from(mib) << 20)?;
            println!("http://{VIP4}{BIG_PATH}: {mib} MiB");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A lab that stands; it is removed when this is dropped, unless [`Lab::keep`] was called.
#[derive(Debug)]
pub(crate) struct Lab {
    /// Names and addresses.
    pub(crate) topology: Topology,
    /// Where its files and records lie.
    pub(crate) state: State,
    /// Who receives on its interfaces, when they were pinned.
    pub(crate) receive_threads: Vec<ReceiveThread>,
    keep: bool,
}

impl Lab {
    /// Makes a lab; one with the same prefix is removed first.
    ///
    /// # Errors
    /// With the name of whatever is missing (root, a tool), or of a namespace that is somebody else's.
    pub(crate) fn up(options: Options) -> Result<Self> {
        require_tools()?;
        topology::check_prefix(&options.prefix)?;
        if options.impair.is_some() && options.partial_checksums {
            bail!(
                "the relay forwards frames as they are: --impair and --partial-checksums exclude each other"
            );
        }
        down(&options.prefix)?;
        let topology = Topology::new(&options.prefix);
        let wanted = topology.namespaces(options.impair.is_some());
        if let Some(taken) = wanted.iter().find(|name| netns::exists(name)) {
            bail!("namespace `{taken}` exists and is not from this lab: choose another --prefix");
        }
        // Written before anything is made: whatever happens now, `down` knows what to remove.
        let state = State::create(&options.prefix, &options, &wanted)?;
        let mut lab = Self { topology, state, receive_threads: Vec::new(), keep: false };
        tool::run(&format!("mount -t bpf bpf {}", lab.state.bpf().display()))?;
        build::namespaces(&lab.topology, &options)?;
        build::edge_path(&lab.topology, options.edge)?;
        tune::offloads(&lab.topology, &options)?;
        if options.pin {
            lab.receive_threads = tune::pin_receive_work(&lab.topology, &options)?;
        }
        origin::start_nginx(&lab.topology, &lab.state)?;
        if let Some(impair) = &options.impair {
            start_relay(&lab, impair)?;
        }
        if interrupt::requested() {
            bail!("interrupted");
        }
        Ok(lab)
    }

    /// Lets the lab stand when this value goes away.
    pub(crate) fn keep(mut self) {
        self.keep = true;
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = down(&self.topology.prefix)
        {
            eprintln!("secbeat-bench: lab `{}` was not removed completely: {error:#}", self.topology.prefix);
        }
    }
}

/// Removes the lab with this prefix: recorded processes, namespaces, files. False when there is none.
pub(crate) fn down(prefix: &str) -> Result<bool> {
    let Some(state) = State::load(prefix) else { return Ok(false) };
    state.end_processes();
    let mut failed = Vec::new();
    for name in &state.namespaces {
        if netns::exists(name)
            && let Err(error) = tool::run(&format!("ip netns del {name}"))
        {
            failed.push(format!("{error:#}"));
        }
    }
    if !failed.is_empty() {
        bail!("{}", failed.join("; "));
    }
    state.remove()?;
    Ok(true)
}

fn exec(prefix: &str, place: &str, command: &[String]) -> Result<ExitCode> {
    let name = Topology::new(prefix).netns(place);
    if !State::made_namespace(&name) {
        bail!("`{name}` is not a namespace of the lab `{prefix}`");
    }
    let status = Program::new("ip").args(["netns", "exec", &name]).args(command).status()?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

fn start_relay(lab: &Lab, options: &str) -> Result<()> {
    let mut command = Program::new(std::env::current_exe()?);
    command
        .args(["impair", topology::IMPAIR_CLIENT_IF, topology::IMPAIR_EDGE_IF])
        .args(["--netns", &lab.topology.impair()])
        .args(options.split_whitespace())
        .stdout(lab.state.log("impair")?)
        .stderr(lab.state.log("impair.err")?);
    let mut process = tool::Process::start(&mut command, Some(&lab.state.record("impair")))?;
    // It is there when the client's first page comes through; with losses, one of the first.
    let page = handshake::Options { deadline_ms: 200, ..handshake::Options::one_page() };
    let end = Instant::now() + Duration::from_secs(5);
    let client = lab.topology.client();
    while netns::inside(&client, || handshake::fetch_all(&page))?.succeeded == 0 {
        if !process.is_running() || Instant::now() > end {
            let log = std::fs::read_to_string(lab.state.log_path("impair.err")).unwrap_or_default();
            bail!("the relay did not start: {}", log.trim());
        }
    }
    process.detach();
    Ok(())
}

fn require_tools() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("the lab needs root (network namespaces); run it with sudo");
    }
    let missing: Vec<&str> = ["ip", "ethtool", "nft", "nginx", "openssl"]
        .into_iter()
        .filter(|name| tool::find(name).is_none())
        .collect();
    if !missing.is_empty() {
        bail!(
            "missing programs: {} (Debian: apt install iproute2 ethtool nftables nginx openssl)",
            missing.join(", ")
        );
    }
    Ok(())
}

fn print_status(topology: &Topology) {
    for name in topology.namespaces(netns::exists(&topology.impair())) {
        let counted = netns::counters(&name).unwrap_or_default();
        let shown: Vec<String> = counted
            .iter()
            .filter(|(interface, _)| *interface != "lo")
            .map(|(interface, seen)| format!("{interface} rx {} tx {}", seen.rx_packets, seen.tx_packets))
            .collect();
        println!("{name:<14} {}", if shown.is_empty() { "gone".to_owned() } else { shown.join(", ") });
    }
    println!("VIP {VIP4} and {VIP6}; cores: {}", cpu::count());
}
