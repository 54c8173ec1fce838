//! `secbeat-node`: the mitigation node. Reads the command line, starts the log, hands over.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use secbeat_node::cli::{Cli, exit_of};
use secbeat_node::command;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // clap prints help and version to standard output with code 0, mistakes to standard error with code 2.
        Err(error) => error.exit(),
    };
    match command::execute(&cli) {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("secbeat-node: {error:#}");
            exit_of(&error).into()
        }
    }
}
