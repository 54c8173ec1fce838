//! `cargo xtask <check>`: the rules of this repository that a compiler cannot see.
//!
//! `arch` reads who depends on whom, `tidy` reads how files are written, `docs` renders the documents that are
//! generated from tables in the code. Each prints one line per violation, with the rule in words, and exits 1.
#![forbid(unsafe_code)]

mod arch;
mod docs;
mod finding;
mod source;
mod tidy;
mod tree;

use anyhow::Result;
use clap::{Parser, Subcommand};
use finding::Report;
use std::process::ExitCode;

/// Project checks of SecBeat.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    check: Check,
}

#[derive(Subcommand)]
enum Check {
    /// Dependency rules: which crate may use which, where unsafe, clocks and runtimes may stand.
    Arch,
    /// Writing rules: lengths, names, file heads, leftovers, links, binary files.
    Tidy,
    /// Renders the generated documents (docs/metrics.md, docs/configuration.md).
    Docs {
        /// Compare with what is committed instead of writing; exit 1 when they differ.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> Result<ExitCode> {
    let root = tree::root()?;
    let report = match Cli::parse().check {
        Check::Arch => arch::check(&root)?,
        Check::Tidy => tidy::check(&root)?,
        Check::Docs { check: true } => docs::run(&root, docs::Mode::Compare)?,
        Check::Docs { check: false } => docs::run(&root, docs::Mode::Write)?,
    };
    Ok(finish(&report))
}

fn finish(report: &Report) -> ExitCode {
    print!("{report}");
    if report.has_errors() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
