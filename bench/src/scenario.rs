//! Scenarios: a lab, a node, floods and honest clients, written down in TOML; and the same for its peers.
//!
//! Owns: the order of a run and where its result goes. The format is in `file`, one phase in `phase`, the table
//! and JSON in `report`. Attacker on one core; node, client, origin and the kernel's work for them on the other.

mod file;
mod phase;
mod report;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::lab::{self, EdgePath, Lab};
use crate::node::Node;
use crate::{cpu, interrupt};
use file::Scenario;
use report::{Report, Row};

/// Options of `scenario`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Scenario files (bench/scenarios/*.toml)
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Run the same with a peer in place of the node; may be given several times
    #[arg(long, value_enum)]
    pub(crate) peer: Vec<EdgePath>,
    /// Only the peers
    #[arg(long, requires = "peer")]
    pub(crate) without_node: bool,
    /// Prefix of the lab, which is made and removed
    #[arg(long, default_value = "sbscn")]
    pub(crate) prefix: String,
    /// Folder for the JSON results
    #[arg(long, default_value = "bench/results")]
    pub(crate) results: PathBuf,
    /// Print JSON as well
    #[arg(long)]
    pub(crate) json: bool,
}

/// Who defends the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defender {
    Node,
    Peer(EdgePath),
}

impl Defender {
    fn name(self) -> &'static str {
        match self {
            Self::Node => "secbeat",
            Self::Peer(EdgePath::Dnat) => "kernel, NAT only",
            Self::Peer(EdgePath::Route) => "kernel, routing only",
            Self::Peer(EdgePath::Synproxy) => "nftables SYNPROXY",
        }
    }
}

/// Runs the `scenario` subcommand; fails when an expectation about the node is not met.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let scenarios: Result<Vec<Scenario>> = options.files.iter().map(|path| Scenario::load(path)).collect();
    let mut passed = true;
    for scenario in scenarios? {
        println!("{}: {}", scenario.name, scenario.description);
        let report = play(&scenario, options)?;
        print!("{report}");
        if options.json {
            println!("{}", serde_json::to_string_pretty(&report)?);
        }
        save(&report, &options.results)?;
        passed &= report.passed();
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn play(scenario: &Scenario, options: &Options) -> Result<Report> {
    let _awake = cpu::AwakeCores::hold();
    let lab_options = lab::Options { prefix: options.prefix.clone(), ..scenario.lab.clone() };
    let lab = Lab::up(lab_options)?;
    let mut report = Report::begin(scenario);
    if !options.without_node {
        let mut node = Node::start(&lab, &scenario.node)?;
        for row in play_phases(scenario, &lab, Defender::Node, Some(&node))? {
            report.rows.push(row);
        }
        if !node.is_running() {
            bail!("the node ended during the scenario; its log: {}", lab.state.log_path("node").display());
        }
    }
    for peer in &options.peer {
        lab::set_edge_path(&lab.topology, *peer)?;
        report.rows.extend(play_phases(scenario, &lab, Defender::Peer(*peer), None)?);
    }
    Ok(report)
}

fn play_phases(scenario: &Scenario, lab: &Lab, defender: Defender, node: Option<&Node>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for step in scenario.steps() {
        if interrupt::requested() {
            bail!("interrupted");
        }
        let seen = phase::play(lab, &scenario.clients, &step, node)?;
        let row = Row::judge(defender.name(), &step, seen, node.is_some());
        eprintln!("{row}");
        rows.push(row);
    }
    Ok(rows)
}

fn save(report: &Report, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    let path = folder.join(format!("{}.json", report.name));
    fs::write(&path, serde_json::to_string_pretty(report)? + "\n")
        .with_context(|| format!("write {}", path.display()))?;
    println!("result: {}", path.display());
    Ok(())
}
