//! `secbeat`: the command line of a SecBeat fleet, over gRPC.
//!
//! Owns: what operators type, and how answers look. Does not own: any decision about a fleet, which is the
//! orchestrator's. Commands are noun and verb; every noun has a file under `command`. How a command ends stands in
//! `exit`, where results go in `output`.
#![forbid(unsafe_code)]

mod args;
mod client;
mod command;
mod context;
mod exit;
mod output;
mod word;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use args::Cli;
use client::App;
use exit::{Exit, Failure};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let app = match App::new(cli.global) {
        Ok(app) => app,
        Err(failure) => return end(&failure, false),
    };
    let has_color = app.output.has_error_color;
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let failure =
                Failure::new(Exit::Failed, format!("cannot start: {error}"), "are there free descriptors?");
            return end(&failure, has_color);
        }
    };
    let outcome = runtime.block_on(async {
        tokio::select! {
            biased;
            outcome = command::run(&app, cli.command) => outcome,
            _ = tokio::signal::ctrl_c() => {
                let hint = app.on_interrupt.borrow().clone();
                Err(Failure::new(Exit::Interrupted, "interrupted", hint))
            }
        }
    });
    // A question that nobody answered must not hold the process.
    runtime.shutdown_background();
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => end(&failure, has_color),
    }
}

fn end(failure: &Failure, has_color: bool) -> ExitCode {
    // A closed stderr changes nothing about how it ends.
    let _ = std::io::stderr().lock().write_all(failure.render(has_color).as_bytes());
    failure.exit.into()
}
