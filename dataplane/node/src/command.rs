//! What the commands of `secbeat-node` do.
//!
//! Each prints its result to standard output; the log goes to standard error.

use std::io::{self, Write};

use anyhow::Context;
use secbeat_config::NodeConfig;
use secbeat_config::node::Mode;

use crate::cli::{Cli, Command, ConfigSource, Exit, ExitError, Page, WafCommand};
use crate::{host, logging, start, telemetry, waf};

/// Longest request of `waf explain`, bytes.
const REQUEST_BYTES_MAX: u64 = 64 << 20;

/// Does what the command line asks for.
///
/// # Errors
/// What went wrong; [`crate::cli::exit_of`] tells its exit code.
pub fn execute(cli: &Cli) -> anyhow::Result<Exit> {
    let source = cli.options.source()?;
    if cli.options.validate_config {
        return validate(&source);
    }
    match cli.command.as_ref().unwrap_or(&Command::Run) {
        Command::Run => run(source),
        Command::Doctor { json, problems } => doctor(&source, *json, *problems),
        Command::Waf(command) => rules(&source, command),
        Command::Version => print(&version()),
        Command::Docs { page: Page::Config } => print(&secbeat_config::reference::markdown()),
        Command::Docs { page: Page::Metrics } => print(&telemetry::docs()),
    }
}

fn load(source: &ConfigSource) -> Result<NodeConfig, ExitError> {
    source.load().map_err(|error| ExitError::config(error.to_string()))
}

fn validate(source: &ConfigSource) -> anyhow::Result<Exit> {
    let config = load(source)?;
    let name = source.path.as_ref().map_or("defaults".into(), |path| path.display().to_string());
    let mode = mode_name(config.server.mode);
    print(&format!(
        "{name}: ok (mode {mode}, {} listeners, {} backends)\n",
        config.listeners.len(),
        config.backends.len()
    ))
}

fn run(source: ConfigSource) -> anyhow::Result<Exit> {
    let config = load(&source)?;
    // Before the log's thread is made: it must inherit the mask, or a SIGTERM it gets would end the process at once.
    let _signals = start::signal::Signals::block().context("taking over signals")?;
    let rust_log = source.environment.get("RUST_LOG").map(String::as_str);
    let _log = logging::Log::start(&config.logging, rust_log).context("starting the log")?;
    // Errors go to the log as well: under a supervisor nobody sees the last line on the terminal.
    start::run(config, source).inspect_err(|error| {
        tracing::error!(component = "node", event = "failed", "{error:#}");
    })?;
    Ok(Exit::Ok)
}

fn doctor(source: &ConfigSource, json: bool, problems: bool) -> anyhow::Result<Exit> {
    let config = load(source)?;
    let report = host::examine(&host::Machine::this(), &config);
    print(&if json { report.json() } else { report.table(problems) })?;
    Ok(if report.fails() { Exit::Host } else { Exit::Ok })
}

fn rules(source: &ConfigSource, command: &WafCommand) -> anyhow::Result<Exit> {
    let mut config = load(source)?.waf;
    let (WafCommand::Check { path } | WafCommand::Explain { path, .. }) = command;
    if let Some(path) = path {
        let is_json = path.extension().is_some_and(|ending| ending == "json");
        config.crs_path = (!is_json).then(|| path.clone());
        config.rules_path = is_json.then(|| path.clone());
    }
    let rules = waf::load(&config, &[], &std::sync::Arc::default())
        .map_err(|error| ExitError::config(error.to_string()))?;
    match command {
        WafCommand::Check { .. } => print(&waf::explain::summary(&rules)),
        WafCommand::Explain { request, .. } => {
            let raw = waf::files::read(request, REQUEST_BYTES_MAX)
                .map_err(|error| anyhow::anyhow!("{}: {error}", request.display()))?;
            let text = waf::explain::request(&rules, &raw)
                .map_err(|error| ExitError::config(format!("{}: {error}", request.display())))?;
            print(&text)
        }
    }
}

/// The name of a mode as users write it.
pub fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Tcp => "tcp",
        Mode::Syn => "syn",
        Mode::L7 => "l7",
    }
}

fn version() -> String {
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    format!(
        "secbeat-node {} ({build}, {}-{})\nmodes: tcp, syn, l7; drivers: xdp, socket\n",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH,
        std::env::consts::OS
    )
}

/// Prints a result. A reader that left early (`| head`) is no error.
fn print(text: &str) -> anyhow::Result<Exit> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("writing the result"),
        _ => Ok(Exit::Ok),
    }
}
