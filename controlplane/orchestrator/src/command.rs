//! What the commands of `secbeat-orchestrator` do.
//!
//! Owns: the process: log, runtime, store, signals, the order of starting and stopping. Does not own: anything that
//! is served.

use std::path::Path;

use secbeat_config::orchestrator::OrchestratorConfig;

use crate::cli::{Cli, Command, Exit, ExitError};
use crate::store::{self, Store};

mod authority;
mod log;
mod serve;
mod supervisor;
mod token;

/// Carries out a command line.
///
/// # Errors
/// With an [`ExitError`] in the chain when another exit code than 1 belongs to it.
pub fn execute(cli: &Cli) -> anyhow::Result<Exit> {
    let config = cli.options.load()?;
    if cli.options.validate_config {
        println!("the configuration is valid");
        return Ok(Exit::Ok);
    }
    let dir = config.server.state_dir.clone();
    match cli.command.clone().unwrap_or(Command::Serve) {
        Command::Serve => serve::run(&cli.options, config),
        Command::Backup { file } => backup(&dir, &file),
        Command::Restore { file, force } => restore(&dir, &file, force),
        Command::Check => check(&dir),
        Command::Ca(command) => authority::run(&config, &command),
        Command::Token(command) => token::run(config, &command),
    }
}

fn of_store(error: store::Error) -> anyhow::Error {
    ExitError::store(&error).into()
}

fn backup(dir: &Path, file: &Path) -> anyhow::Result<Exit> {
    let report = store::backup_of(dir, file).map_err(of_store)?;
    println!(
        "{} holds {} records of store {}, {} bytes",
        file.display(),
        report.records,
        report.id,
        report.bytes
    );
    Ok(told(report.damaged, &report.damaged_named))
}

fn restore(dir: &Path, file: &Path, force: bool) -> anyhow::Result<Exit> {
    let report = store::restore(file, dir, force).map_err(of_store)?;
    println!("{} holds {} records of store {} again", dir.display(), report.records, report.id);
    Ok(told(report.damaged, &report.damaged_named))
}

fn check(dir: &Path) -> anyhow::Result<Exit> {
    let report = store::check(dir).map_err(of_store)?;
    println!("store {}, schema {}", report.id, report.schema);
    for (table, records) in &report.records {
        println!("{:<12} {records:>10} records", table.name());
    }
    Ok(told(report.damaged, &report.damaged_named))
}

/// Names damaged records; they make the exit code.
fn told(damaged: u64, named: &[String]) -> Exit {
    if damaged == 0 {
        return Exit::Ok;
    }
    eprintln!("{damaged} damaged records:");
    named.iter().for_each(|record| eprintln!("  {record}"));
    Exit::Store
}

/// Opens the store and says what was found.
pub(crate) fn open_store(config: &OrchestratorConfig) -> anyhow::Result<Store> {
    let dir = &config.server.state_dir;
    let (store, opened) = Store::open(dir).map_err(of_store)?;
    tracing::info!(
        dir = %dir.display(),
        schema = opened.schema,
        migrated_from = opened.migrated_from,
        repaired = opened.repaired,
        "the store is open"
    );
    Ok(store)
}
