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
use crate::waf::{self, Lasting, Waf};
use crate::worker::shared::Shared;

/// Numbers of keys, far from those of workers.
const STACK_TABLE: u64 = 0x1_0000;
const STACK_CHALLENGE: u64 = 0x2_0000;
const REQUEST_RATES: u64 = 0x3_0000;
const REQUEST_IDS: u64 = 0x4_0000;

/// Notes on rules that are logged one by one at start.
const NOTES_SHOWN_MAX: usize = 20;

/// Poll tokens of sockets to backends: the packet front has no others.
const TOKENS: upstream::http::Tokens = upstream::http::Tokens { kind: 0, shift: 0 };

/// Reads what the configuration names for sessions; says what certificates there are.
///
/// # Errors
/// Which file is missing or wrong.
pub fn load(config: &NodeConfig, master: &Master) -> Result<Resources, Error> {
    let pages = load_pages(config)?;
    let lasting = Arc::default();
    let waf = load_waf(config, &lasting)?;
    if !has_tls(config) {
        return Ok(Resources { acceptor: None, pages, waf, lasting });
    }
    let (acceptor, loaded) =
        Acceptor::load(&config.tls, config.limits.source_v6_bits, &config.server.state_dir, master)?;
    report(&loaded);
    Ok(Resources { acceptor: Some(Arc::new(acceptor)), pages, waf, lasting })
}

/// Reads everything again, but for the rules, which were compiled before (`waf`). Certificates that were read are in
/// force for new connections when this returns.
///
/// # Errors
/// Which file is missing or wrong; nothing is changed then.
pub fn reload(
    old: &Resources,
    config: &NodeConfig,
    master: &Master,
    waf: Option<Arc<Waf>>,
) -> Result<Resources, Error> {
    let pages = load_pages(config)?;
    let lasting = Arc::clone(&old.lasting);
    if !has_tls(config) {
        return Ok(Resources { acceptor: None, pages, waf, lasting });
    }
    let limits = config.limits.source_v6_bits;
    let acceptor = match &old.acceptor {
        Some(acceptor) => {
            report(&acceptor.reload(&config.tls, limits, &config.server.state_dir, master)?);
            Arc::clone(acceptor)
        }
        None => {
            let (acceptor, loaded) = Acceptor::load(&config.tls, limits, &config.server.state_dir, master)?;
            report(&loaded);
            Arc::new(acceptor)
        }
    };
    Ok(Resources { acceptor: Some(acceptor), pages, waf, lasting })
}

/// Reads and compiles the rules: takes up to a second.
///
/// # Errors
/// Everything that is wrong with them.
pub fn load_waf(config: &NodeConfig, lasting: &Arc<Lasting>) -> Result<Option<Arc<Waf>>, Error> {
    if !config.waf.enable || !config.has_l7() {
        return Ok(None);
    }
    let added = waf::added::load(&config.server.state_dir);
    let waf = waf::load(&config.waf, &added, lasting)?;
    let set = &waf.ruleset;
    tracing::info!(
        rules = set.rules_len(),
        json_rules = waf.json.len(),
        bytes = set.bytes(),
        "rules compiled"
    );
    for note in waf.notes.iter().take(NOTES_SHOWN_MAX) {
        tracing::warn!("{note}");
    }
    Ok(Some(waf))
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

/// Starts the writer of the audit log, as [`write_access_log`].
///
/// # Errors
/// When the file cannot be opened.
pub fn write_audit_log(config: &NodeConfig, log: &Arc<AccessLog>) -> anyhow::Result<Option<Writer>> {
    let path = match &config.waf.audit_log {
        LogTarget::Off => return Ok(None),
        LogTarget::Stdout => None,
        LogTarget::File(path) => Some(path.as_path()),
    };
    Writer::start(Arc::clone(log), path).context("[waf] audit_log").map(Some)
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
        audit_log: AccessLog::new(),
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
