//! The command line: nouns, and what every command takes.
//!
//! Owns: the global options and the tree of commands; verbs and their options stand with the noun they belong to.
//! `docs/cli.md` is made of this by `secbeat docs`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::command::{access, ban, event, fleet, login, node, policy, rules, top};
use crate::exit::EXIT_HELP;
use crate::output::{Format, When};

/// Commands a SecBeat fleet: policy, bans, nodes, events.
#[derive(Parser)]
#[command(name = "secbeat", version, propagate_version = false, after_help = EXIT_HELP)]
#[command(arg_required_else_help = true, subcommand_required = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Args, Clone)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The orchestrator: https://HOST:PORT, or http:// on the same machine
    #[arg(long, global = true, value_name = "URL", env = "SECBEAT_SERVER", hide_env_values = true)]
    pub(crate) server: Option<String>,
    /// Who calls (others can see a command line: the environment or a context is better)
    #[arg(long, global = true, env = "SECBEAT_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Certificate of the fleet's authority, PEM
    #[arg(long, global = true, value_name = "FILE", env = "SECBEAT_CA", hide_env_values = true)]
    pub(crate) ca: Option<PathBuf>,
    /// Certificate of this client, PEM
    #[arg(long, global = true, value_name = "FILE", env = "SECBEAT_CERT", hide_env_values = true)]
    pub(crate) cert: Option<PathBuf>,
    /// Private key of that certificate, PEM
    #[arg(long, global = true, value_name = "FILE", env = "SECBEAT_KEY", hide_env_values = true)]
    pub(crate) key: Option<PathBuf>,
    /// Which stored login to use [default: default]
    #[arg(long, global = true, value_name = "NAME", env = "SECBEAT_CONTEXT", hide_env_values = true)]
    pub(crate) context: Option<String>,
    /// How results are written
    #[arg(short, long, global = true, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) output: Format,
    /// When output has colours; NO_COLOR is honoured
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t)]
    pub(crate) color: When,
    /// How long a call may take [default: 30s]
    #[arg(long, global = true, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Why, for the audit log
    #[arg(long, global = true, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Names this change: the same id within a day is not done twice [default: a new UUID]
    #[arg(long, global = true, value_name = "ID")]
    pub(crate) request_id: Option<String>,
    /// Check everything and change nothing
    #[arg(long, global = true)]
    pub(crate) dry_run: bool,
    /// Ask nothing
    #[arg(short, long, global = true)]
    pub(crate) yes: bool,
}

/// Nouns.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// What the fleet is told to do: apply, compare, go back
    #[command(subcommand)]
    Policy(policy::Verb),
    /// Single rules of a filter set or WAF set
    #[command(subcommand)]
    Rules(rules::Verb),
    /// Addresses that are dropped everywhere
    #[command(subcommand)]
    Ban(ban::Verb),
    /// The nodes, and orders to them
    #[command(subcommand)]
    Node(node::Verb),
    /// Security events
    #[command(subcommand)]
    Event(event::Verb),
    /// Who attacks
    #[command(subcommand)]
    Threat(event::ThreatVerb),
    /// The fleet as a whole
    #[command(subcommand)]
    Fleet(fleet::Verb),
    /// Who did what, and why
    #[command(subcommand)]
    Audit(access::AuditVerb),
    /// Tokens of programs and people
    #[command(subcommand)]
    Token(access::TokenVerb),
    /// Everything that touches an address: lists, bans, limits, rules, recent events
    Explain(fleet::ExplainArgs),
    /// The fleet, live
    Top(top::Args),
    /// Remember a server and what opens it
    Login(login::Args),
    /// Completions for a shell, on stdout
    Completion {
        /// Which shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Versions of this program and of the orchestrator
    Version {
        /// Ask the orchestrator too, and who it takes us for
        #[arg(long)]
        remote: bool,
    },
    /// The reference of the command line, as Markdown
    #[command(hide = true)]
    Docs,
}

/// How many entries of a list.
#[derive(Args, Clone, Copy)]
pub(crate) struct Limit {
    /// At most this many; 0: all
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub(crate) limit: usize,
}

/// How many entries of a list that can be very long.
#[derive(Args, Clone, Copy)]
pub(crate) struct Newest {
    /// At most this many, the newest first; 0: all
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    pub(crate) limit: usize,
}

/// Entries of one page: what a server answers in one message.
pub(crate) const PAGE_SIZE: u32 = 1_000;

/// How many are still wanted: the size of the next page, or none.
pub(crate) fn next_page(limit: usize, have: usize) -> Option<u32> {
    if limit == 0 {
        return Some(PAGE_SIZE);
    }
    let rest = u32::try_from(limit.saturating_sub(have)).unwrap_or(PAGE_SIZE);
    (rest > 0).then_some(rest.min(PAGE_SIZE))
}

/// A point in time: `1h` ago, or RFC 3339. Milliseconds since 1970.
pub(crate) fn parse_time(text: &str) -> Result<u64, String> {
    if let Ok(duration) = humantime::parse_duration(text) {
        let ago_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        // 1 is before every event; 0 would mean that there is no bound.
        return Ok(crate::output::text::now_ms().saturating_sub(ago_ms).max(1));
    }
    let time = humantime::parse_rfc3339_weak(text)
        .map_err(|_| "write how long ago, as in 1h or 7d, or 2026-11-28T18:00:00Z".to_owned())?;
    let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Ok(u64::try_from(since.as_millis()).unwrap_or(u64::MAX).max(1))
}

/// Milliseconds of a duration, as the protocol has them.
pub(crate) fn ms(duration: Option<Duration>) -> u64 {
    duration.map_or(0, |duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn pages_add_up_to_the_limit() {
        assert_eq!(next_page(0, 5_000), Some(PAGE_SIZE));
        assert_eq!(next_page(1_500, 1_000), Some(500));
        assert_eq!(next_page(1_500, 1_500), None);
    }

    #[test]
    fn times_are_read_from_now_or_from_the_calendar() {
        assert_eq!(parse_time("1970-01-01T00:00:05Z"), Ok(5_000));
        let hour = parse_time("1h").unwrap();
        assert!(crate::output::text::now_ms() - hour >= 3_600_000);
        assert!(parse_time("yesterday").unwrap_err().contains("7d"));
    }
}
