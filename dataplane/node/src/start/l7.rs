//! What sessions are made from: certificates and pages, the access log, our own TCP, the client of backends.
//!
//! Owns: the translation of the configuration into these, and what the log says about certificates. Does not own: any
//! of them while the node runs, or the policy (`policy::l7`).

use std::io;
use std::sync::Arc;

use anyhow::Context;
use mio::Poll;
use secbeat_config::NodeConfig;
use secbeat_config::node::{LogTarget, TcpCongestion};
use secbeat_net::limit::{RateCell, RateTable};
use secbeat_net::tcp::{CongestionKind, Limits, SendLimits, Stack, StackKeys};
use secbeat_net::time::Instant;

use super::secret::{Master, Purpose};
use crate::event::{EventQueue, WorkerId};
use crate::front::packet::Terminator;
use crate::policy::l7::{Error, Resources, load_pages};
use crate::policy::rules::packet_bytes_max;
use crate::session::access_log::{AccessLog, Writer};
use crate::session::tls::{Acceptor, Loaded};
use crate::session::{self, Sessions};
use crate::upstream::{self, Upstream};
use crate::worker::shared::Shared;

/// Numbers of keys, far from those of workers.
const STACK_TABLE: u64 = 0x1_0000;
const STACK_CHALLENGE: u64 = 0x2_0000;
const REQUEST_RATES: u64 = 0x3_0000;
const REQUEST_IDS: u64 = 0x4_0000;

/// Poll tokens of sockets to backends: the packet front has no others.
const TOKENS: upstream::http::Tokens = upstream::http::Tokens { kind: 0, shift: 0 };

/// Reads what the configuration names for sessions; says what certificates there are.
///
/// # Errors
/// Which file is missing or wrong.
pub fn load(config: &NodeConfig, master: &Master) -> Result<Resources, Error> {
    let pages = load_pages(config)?;
    if !has_tls(config) {
        return Ok(Resources { acceptor: None, pages });
    }
    let (acceptor, loaded) =
        Acceptor::load(&config.tls, config.limits.source_v6_bits, &config.server.state_dir, master)?;
    report(&loaded);
    Ok(Resources { acceptor: Some(Arc::new(acceptor)), pages })
}

/// Reads everything again. Certificates that were read are in force for new connections when this returns.
///
/// # Errors
/// Which file is missing or wrong; nothing is changed then.
pub fn reload(old: &Resources, config: &NodeConfig, master: &Master) -> Result<Resources, Error> {
    let Some(acceptor) = old.acceptor.as_ref().filter(|_| has_tls(config)) else {
        return load(config, master);
    };
    let pages = load_pages(config)?;
    let loaded =
        acceptor.reload(&config.tls, config.limits.source_v6_bits, &config.server.state_dir, master)?;
    report(&loaded);
    Ok(Resources { acceptor: Some(Arc::clone(acceptor)), pages })
}

fn has_tls(config: &NodeConfig) -> bool {
    config.listeners.iter().any(|listener| listener.tls)
}

fn report(loaded: &Loaded) {
    for (file, names) in &loaded.certificates {
        tracing::info!(file, names = names.join(", "), "certificate");
    }
    if loaded.self_signed {
        let made = if loaded.self_signed_made { "made now" } else { "made at an earlier start" };
        tracing::warn!(
            made,
            "no certificate is configured: clients get a self-signed one, which none of them trusts"
        );
    }
}

/// What the log should say about what is configured and not there yet.
pub fn warn(config: &NodeConfig) {
    if config.waf.enable && config.has_l7() {
        tracing::warn!(
            "[waf] enable: this version limits and routes requests, but does not inspect them with rules"
        );
    }
}

/// Starts the writer of the access log, when lines are to be written. After privileges were given up: a thread has its
/// own, and a file that is opened again at a reload must be within reach then.
///
/// # Errors
/// When the file cannot be opened.
pub fn write_access_log(config: &NodeConfig, log: &Arc<AccessLog>) -> anyhow::Result<Option<Writer>> {
    let path = match &config.access_log.target {
        LogTarget::Off => return Ok(None),
        LogTarget::Stdout => None,
        LogTarget::File(path) => Some(path.as_path()),
    };
    let started = Writer::start(Arc::clone(log), path).with_context(|| {
        path.map_or_else(|| "access log".to_owned(), |path| format!("access log {}", path.display()))
    });
    started.map(Some)
}

/// What the sessions of all workers share.
pub fn shared(
    config: &NodeConfig,
    master: &Master,
    upstream: &Arc<Upstream>,
    events: &Arc<EventQueue>,
) -> Arc<session::Shared> {
    Arc::new(session::Shared {
        rates: RateTable::new(config.limits.slots as usize),
        global: RateCell::new(Instant::ZERO),
        key: master.derive(Purpose::Table, REQUEST_RATES),
        events: Arc::clone(events),
        reports: Arc::default(),
        upstream: Arc::clone(upstream),
        access_log: AccessLog::new(),
    })
}

/// Our own TCP of one worker. `connections_max` of the whole node may be on one worker, as far as its table holds them.
pub fn stack_limits(config: &NodeConfig) -> Limits {
    let connections_max = config.flows.flows_max.min(config.server.connections_max.max(1));
    Limits {
        connections_max,
        time_wait_max: config.flows.flows_max,
        time_wait: config.flows.time_wait,
        packet_bytes_max: packet_bytes_max(config.io.frame_bytes),
        send: SendLimits { congestion: congestion(config), ..SendLimits::default() },
        ..Limits::default()
    }
}

fn congestion(config: &NodeConfig) -> CongestionKind {
    match config.performance.tcp_congestion {
        TcpCongestion::Bbr => CongestionKind::Bbr,
        TcpCongestion::Cubic => CongestionKind::Cubic,
        TcpCongestion::NewReno => CongestionKind::NewReno,
    }
}

/// The `l7` connections of one worker.
///
/// # Errors
/// When the kernel gives no epoll descriptor.
pub fn terminator(
    config: &NodeConfig,
    master: &Master,
    shared: &Shared,
    sessions: &Arc<session::Shared>,
    worker: WorkerId,
    now: Instant,
) -> io::Result<Box<Terminator>> {
    let limits = stack_limits(config);
    let key = |purpose, number: u64| master.derive(purpose, number + u64::from(worker));
    let keys = StackKeys {
        table: key(Purpose::Table, STACK_TABLE),
        challenge: key(Purpose::Table, STACK_CHALLENGE),
    };
    let poll = Poll::new()?;
    let page = Arc::clone(&shared.pages[usize::from(worker)]);
    let settings = upstream::http::Settings {
        workers: shared.workers() as u32,
        ..upstream::http::Settings::from_config(config)
    };
    let client = upstream::http::Client::new(
        settings,
        Arc::clone(&shared.upstream),
        poll.registry().try_clone()?,
        TOKENS,
        Arc::clone(&page),
        now,
    );
    let setup = session::Setup {
        worker,
        sessions_max: limits.connections_max,
        policy: Arc::clone(&shared.policy().l7),
        shared: Arc::clone(sessions),
        page,
        client,
        // Different after every start, so that ids of requests are not used twice.
        seed: key(Purpose::Table, REQUEST_IDS).0[0] ^ now.as_nanos(),
    };
    let stack = Stack::new(limits, keys, now);
    let packet_bytes = packet_bytes_max(config.io.frame_bytes);
    Ok(Box::new(Terminator::new(stack, Sessions::new(setup, now), poll, packet_bytes, now)))
}
