//! `secbeat-orchestrator serve`: starts everything, waits for signals, stops in order.
//!
//! SIGTERM, SIGINT: streams end with a reason, listeners close, the store is flushed. SIGHUP: the log level (and
//! certificates) are read again.

use std::time::Duration;

use secbeat_config::orchestrator::OrchestratorConfig;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::timeout;

use super::{log, open_store};
use crate::api::grpc;
use crate::cli::{Exit, ExitError, Options};
use crate::failure::Failure;
use crate::orchestrator::Orchestrator;
use crate::{metrics, task};

/// How long calls that are under way may take after SIGTERM.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// Serves until a signal.
pub(super) fn run(options: &Options, config: OrchestratorConfig) -> anyhow::Result<Exit> {
    let level = log::start(&config.logging)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(options, config, &level))?;
    Ok(Exit::Ok)
}

async fn serve(options: &Options, config: OrchestratorConfig, level: &log::Level) -> anyhow::Result<()> {
    let address = config.server.grpc_address;
    if !grpc::is_loopback(address) {
        return Err(ExitError::config(format!("[server] grpc_address: {address} needs TLS")).into());
    }
    let metrics_address = config.metrics.enable.then_some(config.metrics.bind_address);
    let o = Orchestrator::open(config.clone(), open_store(&config)?)?;
    let tasks = task::start(&o);
    let (stop, stopping) = watch::channel(false);
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| listen_error("[server] grpc_address", address, &error))?;
    tracing::info!(%address, orchestrator = %o.id, epoch = o.epoch, "gRPC listens");
    let mut serving = vec![tokio::spawn(grpc::serve(o.clone(), listener, until(stopping.clone())))];
    if let Some(address) = metrics_address {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| listen_error("[metrics] bind_address", address, &error))?;
        serving.push(tokio::spawn(metrics::serve(o.clone(), listener, until(stopping))));
    }
    wait_for_signals(options, level).await?;
    tracing::info!("stopping");
    o.sessions.close_all(&Failure::Unavailable("the orchestrator stops; connect again".into()));
    stop.send_replace(true);
    for served in serving {
        match timeout(STOP_WAIT, served).await {
            Ok(ended) => ended??,
            Err(_) => tracing::warn!("calls were still under way"),
        }
    }
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(())
}

fn listen_error(key: &str, address: std::net::SocketAddr, error: &std::io::Error) -> ExitError {
    ExitError::config(format!("{key}: cannot listen on {address}: {error}"))
}

async fn until(mut stopping: watch::Receiver<bool>) {
    // A sender that is gone means stopping, too.
    let _ = stopping.wait_for(|is_stopping| *is_stopping).await;
}

async fn wait_for_signals(options: &Options, level: &log::Level) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hang_up.recv() => match options.load() {
                Ok(config) => log::change(level, &config.logging),
                Err(error) => tracing::error!(%error, "the configuration is wrong; nothing changes"),
            },
        }
    }
}
