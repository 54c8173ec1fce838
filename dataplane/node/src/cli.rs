//! The command line of `secbeat-node`, and where its configuration comes from.
//!
//! Owns: arguments, exit codes, [`ConfigSource`] (which can be read again at a reload). Does not own: what keys
//! mean (`secbeat-config`), or what the commands do.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use secbeat_config::layers::Override;
use secbeat_config::node::FILE_BYTES_MAX;
use secbeat_config::{ConfigErrors, Layers, NodeConfig};

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Ok = 0,
    /// Something else failed.
    Failed = 1,
    /// The configuration or the command line is wrong.
    Config = 2,
    /// This machine cannot do what the configuration asks for.
    Host = 3,
    /// The orchestrator wants the node started again.
    Restart = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error with the exit code that belongs to it. Anything else ends with [`Exit::Failed`].
#[derive(Debug)]
pub struct ExitError {
    /// The code.
    pub exit: Exit,
    /// What to tell the operator.
    pub message: String,
}

impl ExitError {
    /// This machine cannot do what the configuration asks for.
    pub fn host(message: impl Into<String>) -> Self {
        Self { exit: Exit::Host, message: message.into() }
    }

    /// The configuration is wrong.
    pub fn config(message: impl Into<String>) -> Self {
        Self { exit: Exit::Config, message: message.into() }
    }
}

impl fmt::Display for ExitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ExitError {}

/// The exit code of an error: that of the [`ExitError`] in its chain.
pub fn exit_of(error: &anyhow::Error) -> Exit {
    error.chain().find_map(|cause| cause.downcast_ref::<ExitError>()).map_or(Exit::Failed, |error| error.exit)
}

/// A mitigation node: protects servers from floods.
#[derive(Debug, Parser)]
#[command(name = "secbeat-node", version, about, disable_help_subcommand = true)]
#[command(
    after_help = "Exit codes: 0 ok, 1 failed, 2 configuration or command line wrong, 3 this machine cannot do it."
)]
pub struct Cli {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub options: Options,
    /// What to do; without a command the node runs.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options of all commands.
#[derive(Clone, Debug, Default, Args)]
pub struct Options {
    /// Configuration file (TOML). Without one the defaults hold.
    #[arg(long, short, value_name = "PATH", env = "MITIGATION_CONFIG", global = true)]
    pub config: Option<PathBuf>,
    /// Check the configuration and exit.
    #[arg(long, global = true)]
    pub validate_config: bool,
    /// tcp, syn or l7.
    #[arg(long, value_name = "MODE", global = true)]
    pub mode: Option<String>,
    /// Where the node accepts.
    #[arg(long, value_name = "ADDRESS:PORT", global = true)]
    pub bind_address: Option<String>,
    /// The protected server.
    #[arg(long, value_name = "ADDRESS:PORT", global = true)]
    pub backend_address: Option<String>,
    /// Worker threads; 0 = one per usable core.
    #[arg(long, value_name = "COUNT", global = true)]
    pub worker_threads: Option<String>,
    /// Connections at once.
    #[arg(long, value_name = "COUNT", global = true)]
    pub max_connections: Option<String>,
    /// Bytes moved at once per direction.
    #[arg(long, value_name = "BYTES", global = true)]
    pub buffer_size: Option<String>,
    /// Packet engine: auto, xdp or socket.
    #[arg(long, value_name = "DRIVER", global = true)]
    pub driver: Option<String>,
    /// Least severe level of log lines.
    #[arg(long, value_name = "LEVEL", global = true)]
    pub log_level: Option<String>,
    /// json or pretty.
    #[arg(long, value_name = "FORMAT", global = true)]
    pub log_format: Option<String>,
    /// Sets any key, e.g. --set limits.source_rate=50. Lists are separated by commas. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", global = true)]
    pub set: Vec<String>,
}

/// What `secbeat-node` can do.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Run the node (the default).
    Run,
    /// Check whether this machine can run the configuration well, and say what to change.
    Doctor {
        /// One JSON object instead of a table.
        #[arg(long)]
        json: bool,
        /// Only what is not in order.
        #[arg(long)]
        problems: bool,
    },
    /// Rules of the WAF.
    #[command(subcommand)]
    Waf(WafCommand),
    /// Print version and build facts.
    Version,
    /// Print generated pages of the documentation.
    #[command(hide = true)]
    Docs {
        /// Which page.
        page: Page,
    },
}

/// What can be done with rules of the WAF.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum WafCommand {
    /// Read and compile rules; say what is wrong with them, or how many there are.
    Check {
        /// A SecLang file, a folder with the Core Rule Set, or JSON rules; without it what `[waf]` names.
        path: Option<PathBuf>,
    },
    /// Say which rules a request matches, and why.
    Explain {
        /// File with a raw HTTP/1.1 request.
        #[arg(long, value_name = "FILE")]
        request: PathBuf,
        /// As for `check`.
        path: Option<PathBuf>,
    },
}

/// A generated page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Page {
    /// docs/configuration.md
    Config,
    /// docs/metrics.md
    Metrics,
}

impl Options {
    /// Where the configuration comes from, with the environment of this process.
    ///
    /// # Errors
    /// When a `--set` is not `KEY=VALUE`.
    pub fn source(&self) -> Result<ConfigSource, ExitError> {
        // Variables that are not Unicode cannot be part of a configuration; `vars()` would panic on them.
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Ok(ConfigSource { path: self.config.clone(), environment, command_line: self.overrides()? })
    }

    fn overrides(&self) -> Result<Vec<Override>, ExitError> {
        let named = [
            ("--mode", "server.mode", &self.mode),
            ("--bind-address", "server.bind_address", &self.bind_address),
            ("--backend-address", "server.backend_address", &self.backend_address),
            ("--worker-threads", "server.worker_threads", &self.worker_threads),
            ("--max-connections", "server.max_connections", &self.max_connections),
            ("--buffer-size", "server.buffer_size", &self.buffer_size),
            ("--driver", "io.driver", &self.driver),
            ("--log-level", "logging.level", &self.log_level),
            ("--log-format", "logging.format", &self.log_format),
        ];
        // Named options come last, so they win over --set of the same key.
        let mut overrides = Vec::new();
        for set in &self.set {
            let Some((key, value)) = set.split_once('=') else {
                return Err(ExitError::config(format!(
                    "--set {set}: expected KEY=VALUE, e.g. limits.source_rate=50"
                )));
            };
            let (key, value) = (key.trim().into(), value.trim().into());
            overrides.push(Override { option: format!("--set {key}"), key, value });
        }
        for (option, key, value) in named {
            if let Some(value) = value {
                overrides.push(Override { option: option.into(), key: key.into(), value: value.clone() });
            }
        }
        Ok(overrides)
    }
}

/// Where a configuration comes from; can be read again.
#[derive(Clone, Debug)]
pub struct ConfigSource {
    /// The file, if there is one.
    pub path: Option<PathBuf>,
    /// The environment as it was at the start of the process.
    pub environment: BTreeMap<String, String>,
    /// Overrides of the command line.
    pub command_line: Vec<Override>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is wrong.
    #[error(transparent)]
    Wrong(#[from] ConfigErrors),
}

impl ConfigSource {
    /// Reads file, environment and command line.
    ///
    /// # Errors
    /// When the file cannot be read, or everything that is wrong with the configuration.
    pub fn load(&self) -> Result<NodeConfig, LoadError> {
        Ok(NodeConfig::load(&self.layers()?)?)
    }

    /// What a configuration is read from: file, environment and command line as they are now.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn layers(&self) -> Result<Layers, LoadError> {
        let file = match &self.path {
            Some(path) => {
                let text =
                    read_text(path).map_err(|source| LoadError::Read { path: path.clone(), source })?;
                Some((path.display().to_string(), text))
            }
            None => None,
        };
        Ok(Layers { file, environment: self.environment.clone(), command_line: self.command_line.clone() })
    }
}

/// The text of a file, one byte more than allowed at most, so that the reader can refuse it by its size.
fn read_text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use secbeat_config::node::Mode;

    use super::*;

    fn options(arguments: &[&str]) -> Options {
        Cli::try_parse_from([&["secbeat-node"], arguments].concat()).unwrap().options
    }

    fn source(arguments: &[&str], path: Option<&Path>, environment: &[(&str, &str)]) -> ConfigSource {
        ConfigSource {
            path: path.map(Into::into),
            environment: environment.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            command_line: options(arguments).overrides().unwrap(),
        }
    }

    #[test]
    fn command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn options_stand_before_and_after_the_command() {
        let cli = Cli::try_parse_from(["secbeat-node", "--mode", "syn", "doctor", "--json", "--config", "x"])
            .unwrap();
        assert_eq!(cli.command, Some(Command::Doctor { json: true, problems: false }));
        assert_eq!((cli.options.mode.as_deref(), cli.options.config), (Some("syn"), Some("x".into())));
    }

    #[test]
    fn each_layer_wins_over_the_one_below() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.toml");
        std::fs::write(&path, "[server]\nmode = \"syn\"\nworker_threads = 2\nbuffer_size = 4096\n").unwrap();
        let environment = [("WORKER_THREADS", "3"), ("BUFFER_SIZE", "16384")];
        let load = |args: &[&str], path, env: &[(&str, &str)]| source(args, path, env).load().unwrap().server;
        let file = load(&[], Some(&path), &[]);
        assert_eq!(
            (file.mode, file.worker_threads, file.buffer_bytes, file.connections_max),
            (Mode::Syn, 2, 4096, 1_000)
        );
        let env = load(&[], Some(&path), &environment);
        assert_eq!((env.mode, env.worker_threads, env.buffer_bytes), (Mode::Syn, 3, 16_384));
        let all = load(&["--worker-threads", "4", "--mode", "tcp"], Some(&path), &environment);
        assert_eq!((all.mode, all.worker_threads, all.buffer_bytes), (Mode::Tcp, 4, 16_384));
        let set = load(&["--set", "server.worker_threads=5"], Some(&path), &environment);
        assert_eq!(set.worker_threads, 5);
    }

    #[test]
    fn mistakes_name_the_layer_they_are_in() {
        let error =
            source(&["--worker-threads", "many"], None, &[("MAX_CONNECTIONS", "0")]).load().unwrap_err();
        let expected = "environment variable MAX_CONNECTIONS: [server] max_connections: 0 is out of range: must be 1 to 16777216 connections\n\
                        command line --worker-threads: [server] worker_threads: `many` is not a whole number";
        assert_eq!(error.to_string(), expected);
        let error = source(&["--set", "server.worker_thread=5"], None, &[]).load().unwrap_err();
        assert_eq!(
            error.to_string(),
            "command line --set server.worker_thread: server.worker_thread: unknown key; did you mean `server.worker_threads`?"
        );
        assert!(options(&["--set", "x"]).overrides().is_err());
    }

    #[test]
    fn absent_file_is_named() {
        let error = source(&[], Some(Path::new("/nonexistent/node.toml")), &[]).load().unwrap_err();
        assert!(error.to_string().starts_with("cannot read /nonexistent/node.toml: No such file"));
    }

    #[test]
    fn exit_code_is_found_in_the_chain_of_causes() {
        let error = anyhow::Error::new(ExitError::host("no AF_XDP")).context("starting");
        assert_eq!(exit_of(&error), Exit::Host);
        assert_eq!(exit_of(&anyhow::anyhow!("x")), Exit::Failed);
    }
}
