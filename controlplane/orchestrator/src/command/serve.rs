//! `secbeat-orchestrator serve`: starts everything, waits for signals, stops in order.
//!
//! SIGTERM, SIGINT: streams end with a reason, listeners close, the store is flushed. SIGHUP: the log level,
//! `[[export]]` and certificates are read again.

use std::sync::Arc;
use std::time::Duration;

use secbeat_config::orchestrator::OrchestratorConfig;
use secbeat_export::Exports;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::timeout;

use super::{log, open_store, supervisor};
use crate::api::tls::accept::{Listener, is_open};
use crate::api::tls::{Face, Tls};
use crate::api::{grpc, rest};
use crate::cli::{Exit, ExitError, Options};
use crate::failure::Failure;
use crate::orchestrator::Orchestrator;
use crate::{metrics, task};

/// How long calls that are under way may take after SIGTERM.
const STOP_WAIT: Duration = Duration::from_secs(5);
/// Time between looks at certificates.
const RELOAD_PERIOD: Duration = Duration::from_secs(86_400);

/// Serves until a signal.
pub(super) fn run(options: &Options, config: OrchestratorConfig) -> anyhow::Result<Exit> {
    let level = log::start(&config.logging)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(options, config, &level))?;
    Ok(Exit::Ok)
}

async fn serve(options: &Options, config: OrchestratorConfig, level: &log::Level) -> anyhow::Result<()> {
    let o = Orchestrator::open(config.clone(), open_store(&config)?)?;
    o.exports.apply(&config.exports).map_err(|error| ExitError::config(error.to_string()))?;
    let tls = tls(&o)?;
    let (stop, stopping) = watch::channel(false);
    let tasks = task::start(&o);
    let mut serving = Vec::new();
    for face in [Face::Grpc, Face::Rest] {
        let listener =
            Listener::bind(&o, face, tls.clone()).await.map_err(|error| listen_error(face, &o, &error))?;
        tracing::info!(face = face.word(), address = %listener.address()?, "listens");
        let (o, until) = (o.clone(), until(stopping.clone()));
        serving.push(match face {
            Face::Grpc => tokio::spawn(grpc::serve(o, listener, until)),
            Face::Rest => tokio::spawn(async move {
                rest::serve(rest::router(&o), listener, until).await;
                Ok(())
            }),
        });
    }
    if o.config.metrics.enable {
        let address = o.config.metrics.bind_address;
        let listener = TcpListener::bind(address).await.map_err(|error| {
            ExitError::config(format!("[metrics] bind_address: cannot listen on {address}: {error}"))
        })?;
        serving.push(tokio::spawn(metrics::serve(o.clone(), listener, until(stopping))));
    }
    tracing::info!(orchestrator = %o.id, epoch = o.epoch, revision = o.policy.newest().revision, "serves");
    supervisor::tell_ready();
    let reports = tokio::spawn(supervisor::report(o.clone()));
    wait_for_signals(options, level, &o, tls.as_deref()).await?;
    tracing::info!("stopping");
    supervisor::tell_stopping();
    o.sessions.close_all(&Failure::Unavailable("the orchestrator stops; connect again".into()));
    stop.send_replace(true);
    for served in serving {
        match timeout(STOP_WAIT, served).await {
            Ok(ended) => ended??,
            Err(_) => tracing::warn!("calls were still under way"),
        }
    }
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    reports.abort();
    // Events that were not acknowledged come again; those of the orchestrator itself would not.
    o.events.write_waiting().await?;
    let exports = Arc::clone(&o.exports);
    tokio::task::spawn_blocking(move || exports.stop(Exports::STOP_TIME)).await?;
    Ok(o.access.tokens.save_uses().await?)
}

/// Certificates, unless both faces are open on loopback.
fn tls(o: &Orchestrator) -> anyhow::Result<Option<Arc<Tls>>> {
    if is_open(o, Face::Grpc) && is_open(o, Face::Rest) {
        return Ok(None);
    }
    let tls = Tls::open(o).map_err(|error| ExitError::config(format!("{error:#}")))?;
    Ok(Some(Arc::new(tls)))
}

fn listen_error(face: Face, o: &Orchestrator, error: &std::io::Error) -> ExitError {
    let (key, address) = match face {
        Face::Grpc => ("grpc_address", o.config.server.grpc_address),
        Face::Rest => ("bind_address", o.config.server.bind_address),
    };
    ExitError::config(format!("[server] {key}: cannot listen on {address}: {error}"))
}

async fn until(mut stopping: watch::Receiver<bool>) {
    // A sender that is gone means stopping, too.
    let _ = stopping.wait_for(|is_stopping| *is_stopping).await;
}

async fn wait_for_signals(
    options: &Options,
    level: &log::Level,
    o: &Orchestrator,
    tls: Option<&Tls>,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    // An issued certificate is renewed after two thirds of its life; a day is short against any.
    let mut day = tokio::time::interval(RELOAD_PERIOD);
    day.tick().await;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = day.tick() => reload_certificates(o, tls),
            _ = hang_up.recv() => {
                supervisor::tell_reloading();
                match options.load() {
                    Ok(config) => {
                        log::change(level, &config.logging);
                        change_exports(o, &config).await;
                    }
                    Err(error) => tracing::error!(%error, "the configuration is wrong; nothing of it changes"),
                }
                reload_certificates(o, tls);
                supervisor::tell_ready();
            }
        }
    }
}

/// Brings the sinks in line with the configuration, away from the threads that serve: files are opened.
async fn change_exports(o: &Orchestrator, config: &OrchestratorConfig) {
    let (exports, wanted) = (Arc::clone(&o.exports), config.exports.clone());
    match tokio::task::spawn_blocking(move || exports.apply(&wanted)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "exports stay as they were"),
        Err(error) => tracing::error!(%error, "exports"),
    }
}

fn reload_certificates(o: &Orchestrator, tls: Option<&Tls>) {
    let Some(tls) = tls else { return };
    match tls.reload(o) {
        Ok(()) => tracing::info!("certificates were read again"),
        Err(error) => tracing::error!(error = format!("{error:#}"), "certificates stay as they were"),
    }
}
