//! The command line of `secbeat-orchestrator`.
//!
//! Owns: arguments, exit codes, where the configuration comes from. Does not own: what keys mean (`secbeat-config`), or
//! what the commands do (`command`).

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use secbeat_config::orchestrator::OrchestratorConfig;

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Ok = 0,
    /// Something else failed.
    Failed = 1,
    /// The configuration or the command line is wrong.
    Config = 2,
    /// The store is damaged, locked or of a newer release.
    Store = 3,
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
    /// The configuration is wrong.
    pub fn config(message: impl Into<String>) -> Self {
        Self { exit: Exit::Config, message: message.into() }
    }

    /// The store cannot be used.
    pub fn store(error: &crate::store::Error) -> Self {
        Self { exit: Exit::Store, message: error.to_string() }
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

/// The control plane of a SecBeat fleet.
#[derive(Debug, Parser)]
#[command(name = "secbeat-orchestrator", version, about, disable_help_subcommand = true)]
#[command(
    after_help = "Exit codes: 0 ok, 1 failed, 2 configuration or command line wrong, 3 the store cannot be used."
)]
pub struct Cli {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub options: Options,
    /// What to do; without a command the orchestrator serves.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options of all commands.
#[derive(Clone, Debug, Default, Args)]
pub struct Options {
    /// Configuration file (TOML). Without one the defaults hold.
    #[arg(long, short, value_name = "PATH", env = "ORCHESTRATOR_CONFIG", global = true)]
    pub config: Option<PathBuf>,
    /// Check the configuration and exit.
    #[arg(long, global = true)]
    pub validate_config: bool,
}

/// What `secbeat-orchestrator` can do.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Serve the fleet (the default).
    Serve,
    /// Write the whole store to one file. The orchestrator must be stopped.
    Backup {
        /// The file; it must not exist.
        file: PathBuf,
    },
    /// Put a backup in the place of the store. The orchestrator must be stopped.
    Restore {
        /// What `backup` wrote.
        file: PathBuf,
        /// Also when there is a store already; it is kept beside the new one.
        #[arg(long)]
        force: bool,
    },
    /// Read everything in the store and say what is damaged. The orchestrator must be stopped.
    Check,
    /// The built-in certificate authority.
    #[command(subcommand)]
    Ca(CaCommand),
    /// Bearer tokens while the orchestrator is stopped: the first one.
    #[command(subcommand)]
    Token(TokenCommand),
}

/// What can be done with the authority.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum CaCommand {
    /// Make the first key and certificate; prints the certificate that nodes need.
    Init,
    /// Print every trusted certificate.
    Show,
    /// A certificate for a server; writes NAME.crt and NAME.key, NAME being the first one given.
    IssueServer {
        /// DNS names and addresses that clients will use.
        #[arg(required = true)]
        names: Vec<String>,
        /// Folder for the two files.
        #[arg(long, value_name = "FOLDER", default_value = ".")]
        out: PathBuf,
    },
    /// A certificate for a person or program; writes NAME.crt and NAME.key.
    Issue {
        /// Who, for the audit log.
        name: String,
        /// What it allows: read, policy:write, ban:write, event:write, fleet:write, audit:read, admin.
        #[arg(long = "scope", value_name = "SCOPE", required = true, value_delimiter = ',')]
        scopes: Vec<String>,
        /// Folder for the two files.
        #[arg(long, value_name = "FOLDER", default_value = ".")]
        out: PathBuf,
    },
    /// Make a new key; the old certificate stays trusted until what it signed has ended.
    Rotate,
}

/// What can be done with tokens.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum TokenCommand {
    /// Make one; it is shown once.
    Create {
        /// Whose, for the audit log.
        name: String,
        /// What it allows: read, policy:write, ban:write, event:write, fleet:write, audit:read, join, admin.
        #[arg(long = "scope", value_name = "SCOPE", required = true, value_delimiter = ',')]
        scopes: Vec<String>,
        /// Lifetime in days; 0: the longest that `[access] token_lifetime_max` allows.
        #[arg(long, value_name = "DAYS", default_value_t = 0)]
        days: u32,
    },
    /// Every token, without its secret.
    List,
    /// End one.
    Revoke {
        /// Its id, as `list` shows it.
        id: String,
    },
}

impl Options {
    /// Reads the configuration.
    ///
    /// # Errors
    /// [`Exit::Config`], with everything that is wrong.
    pub fn load(&self) -> Result<OrchestratorConfig, ExitError> {
        let (name, text) = match &self.config {
            None => ("defaults".to_owned(), String::new()),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| ExitError::config(format!("cannot read {}: {error}", path.display())))?;
                (path.display().to_string(), text)
            }
        };
        // Variables that are not Unicode cannot be part of a configuration; `vars()` would panic on them.
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        OrchestratorConfig::parse(&name, &text, &environment)
            .map_err(|errors| ExitError::config(errors.to_string()))
    }
}
