//! `secbeat-orchestrator`: the control plane of a fleet. Reads the command line, hands over.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use secbeat_orchestrator::cli::{Cli, exit_of};
use secbeat_orchestrator::command;

/// Two hundred nodes that take a large policy, or a flood of events, need some hundred megabytes for moments: this
/// allocator gives them back within seconds, the C library's keeps them.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // clap prints help and version to standard output with code 0, mistakes to standard error with code 2.
        Err(error) => error.exit(),
    };
    match command::execute(&cli) {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("secbeat-orchestrator: {error:#}");
            exit_of(&error).into()
        }
    }
}
