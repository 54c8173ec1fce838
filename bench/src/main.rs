//! `secbeat-bench`: lab, traffic generator, impairment relay and measurements.
//!
//! Owns: the command line. Each subcommand is a module of its own; what they share is the lab (`lab`), entering
//! a network namespace (`netns`), running tools (`tool`), numbers (`stats`), cores (`cpu`) and Ctrl-C (`interrupt`).
//! Nothing here ever touches an interface of the machine itself: see `guard`.
#![forbid(unsafe_code)]

mod cpu;
mod demo;
mod fleet;
mod flood;
mod guard;
mod handshake;
mod impair;
mod interrupt;
mod lab;
mod limit;
mod netns;
mod node;
mod peers;
mod regress;
mod scenario;
mod stats;
mod tls;
mod tool;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "secbeat-bench",
    version,
    about = "Lab, traffic generator, impairment relay and measurements"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Network namespaces attacker, client, edge and origin on this machine
    #[command(subcommand)]
    Lab(lab::Command),
    /// Forged packets at a fixed rate or as fast as possible, into the lab
    Flood(flood::Options),
    /// Relay between two interfaces with delay, loss, reordering and more
    Impair(impair::Options),
    /// This machine's ceilings: bare AF_XDP and bare XDP on the lab's veth
    Limit(limit::Options),
    /// What the node reaches of them
    CompareLimit(limit::CompareOptions),
    /// A lab, a node, floods and honest clients, from a file
    Scenario(scenario::Options),
    /// See it work: a web server, a flood, and the node between them
    Demo(demo::Options),
    /// The report: SecBeat beside its peers, floods, requests, connections, memory
    Peers(peers::Options),
    /// Pages and plots from a result of `peers`, and the README's figures
    Report(peers::report::Options),
    /// Two results, before and now: fails on a real regression, not on noise
    Regress(regress::Options),
    /// What one orchestrator carries: a real one, with hundreds of agents
    Fleet(fleet::load::Options),
    /// Memory of idle connections through the node
    Idle(peers::idle::Options),
    /// Holds connections for `idle`
    #[command(hide = true)]
    IdleHold(peers::idle::HoldOptions),
    /// Honest clients: many fresh connections and page fetches
    Handshake(handshake::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = interrupt::install().and_then(|()| match cli.command {
        Command::Lab(command) => lab::run(command),
        Command::Flood(options) => flood::run(&options),
        Command::Impair(options) => impair::run(&options),
        Command::Limit(options) => limit::run(&options),
        Command::CompareLimit(options) => limit::run_compare(&options),
        Command::Scenario(options) => scenario::run(&options),
        Command::Demo(options) => demo::run(&options),
        Command::Peers(options) => peers::run(&options),
        Command::Report(options) => peers::report::run(&options),
        Command::Regress(options) => regress::run(&options),
        Command::Fleet(options) => fleet::load::run(&options),
        Command::IdleHold(options) => peers::idle::run_hold(&options),
        Command::Idle(options) => peers::idle::run(&options),
        Command::Handshake(options) => handshake::run(&options),
    });
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("secbeat-bench: {error:#}");
            ExitCode::from(2)
        }
    }
}
