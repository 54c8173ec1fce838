//! The log: JSON or text lines on standard error.
//!
//! Owns: level and format, changing the level while running. `RUST_LOG` wins over the configuration.

use std::io::IsTerminal as _;

use secbeat_config::node::{LogFormat, LogLevel, Logging};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// Changes the level.
pub(super) type Level = reload::Handle<EnvFilter, Registry>;

fn filter(logging: &Logging) -> EnvFilter {
    let level = match logging.level {
        LogLevel::Off => "off",
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level))
}

/// Starts the log.
pub(super) fn start(logging: &Logging) -> anyhow::Result<Level> {
    let (filter, level) = reload::Layer::new(filter(logging));
    let registry = tracing_subscriber::registry().with(filter);
    let is_terminal = std::io::stderr().is_terminal();
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(is_terminal);
    match logging.format {
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init()?,
        LogFormat::Pretty => registry.with(layer).try_init()?,
    }
    Ok(level)
}

/// The level of a configuration that was read again.
pub(super) fn change(level: &Level, logging: &Logging) {
    if let Err(error) = level.reload(filter(logging)) {
        tracing::error!(%error, "the log level stays");
    }
}
