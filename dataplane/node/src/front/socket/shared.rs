//! What all workers of the socket front share.
//!
//! Owns: the policy in force, the limiter tables, the wish to drain or stop. Does not own: connections. Everything is
//! atomic or replaced whole; no worker waits for another.

use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use core::time::Duration;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use mio::Waker;
use secbeat_net::filter::{RuleId, Verdict};
use secbeat_net::flow::{HashKey, Protocol, hash_addr};
use secbeat_net::limit::{ConnectionCounts, RateLimit, RateTable};
use secbeat_net::time::Instant;
use secbeat_net::verdict::DropReason;
use secbeat_net::wire::{Headers, IpVersion};

use super::Environment;
use super::plan::{Change, Plan};
use super::settings::Policy;
use crate::event::EventQueue;
use crate::lists::BlockHits;
use crate::session;
use crate::upstream::Upstream;
use crate::worker::clock::Clock;

/// Users of one hash key are kept apart by these numbers; filter rules follow from [`DOMAIN_RULES`] on.
const DOMAIN_SOURCE: u32 = 1;
const DOMAIN_PREFIX: u32 = 2;
const DOMAIN_UDP: u32 = 3;
const DOMAIN_BACKEND: u32 = 4;
const DOMAIN_RULES: u32 = 0x1_0000;

/// What workers are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Wish {
    Serve = 0,
    /// Take no new connection; end when the last one has.
    Drain = 1,
    /// End now.
    Stop = 2,
}

/// What all workers share.
pub(super) struct Shared {
    pub(super) plan: ArcSwap<Plan>,
    pub(super) plan_generation: AtomicU64,
    /// One plan follows another, never two at once.
    pub(super) planning: Mutex<()>,
    /// Per worker, what it has to do about its listeners.
    pub(super) inboxes: Vec<Mutex<Vec<Change>>>,
    pub(super) upstream: Arc<Upstream>,
    pub(super) policy: ArcSwap<Policy>,
    pub(super) policy_generation: AtomicU64,
    pub(super) counts: ConnectionCounts,
    pub(super) sessions: Arc<session::Shared>,
    rates: RateTable,
    key: HashKey,
    pub(super) events: Arc<EventQueue>,
    /// How often bans refused something.
    pub(super) blocked: Arc<BlockHits>,
    pub(super) clock: Clock,
    wish: AtomicU8,
    /// When a draining worker cuts what is left.
    drain_until: Mutex<Option<Instant>>,
    pub(super) wakers: Vec<OnceLock<Waker>>,
    /// Times that accepting paused because descriptors ran out.
    pub(super) accept_pauses: AtomicU64,
}

/// A source that was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Admitted {
    /// Allowlisted: no limit applied.
    pub(super) is_exempt: bool,
}

impl Shared {
    pub(super) fn new(plan: Plan, policy: Policy, environment: Environment, workers: usize) -> Self {
        let Environment { upstream, events, clock, key, sessions, counters: _ } = environment;
        Self {
            counts: ConnectionCounts::new(counted_max(policy.connections.total), key),
            rates: RateTable::new(plan.settings.limiter_slots),
            policy: ArcSwap::from_pointee(policy),
            policy_generation: AtomicU64::new(1),
            key,
            upstream,
            sessions,
            events,
            blocked: Arc::default(),
            clock,
            wish: AtomicU8::new(Wish::Serve as u8),
            drain_until: Mutex::new(None),
            wakers: (0..workers).map(|_| OnceLock::new()).collect(),
            accept_pauses: AtomicU64::new(0),
            plan: ArcSwap::from_pointee(plan),
            plan_generation: AtomicU64::new(1),
            planning: Mutex::new(()),
            inboxes: (0..workers).map(|_| Mutex::default()).collect(),
        }
    }

    /// Puts a policy in force, with the listeners of its sessions where this plan has theirs.
    pub(super) fn set_policy(&self, mut policy: Policy) {
        policy.l7 = Arc::new(self.plan.load().place(&policy.l7));
        self.policy.store(Arc::new(policy));
        self.policy_generation.fetch_add(1, Ordering::AcqRel);
        self.wake();
    }

    pub(super) fn wish(&self) -> Wish {
        match self.wish.load(Ordering::Acquire) {
            0 => Wish::Serve,
            1 => Wish::Drain,
            _ => Wish::Stop,
        }
    }

    /// A wish can only grow: who stops does not drain again.
    pub(super) fn set_wish(&self, wish: Wish) {
        self.wish.fetch_max(wish as u8, Ordering::AcqRel);
        self.wake();
    }

    pub(super) fn set_drain_timeout(&self, timeout: Duration) {
        let until = self.clock.now() + timeout;
        *self.drain_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    pub(super) fn drain_until(&self) -> Option<Instant> {
        *self.drain_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells a worker what to do about its listeners.
    pub(super) fn post(&self, worker: usize, change: Change) {
        if let Some(inbox) = self.inboxes.get(worker) {
            inbox.lock().unwrap_or_else(PoisonError::into_inner).push(change);
        }
    }

    /// What a worker was told.
    pub(super) fn take_posted(&self, worker: usize) -> Vec<Change> {
        let inbox = self.inboxes.get(worker);
        inbox.map_or_else(Vec::new, |inbox| {
            core::mem::take(&mut *inbox.lock().unwrap_or_else(PoisonError::into_inner))
        })
    }

    pub(super) fn wake(&self) {
        for waker in self.wakers.iter().filter_map(OnceLock::get) {
            // A waker only fails when its worker is gone.
            let _ = waker.wake();
        }
    }

    /// The keyed hash by which a client's backend is chosen.
    pub(super) fn backend_hash(&self, source: IpAddr) -> u64 {
        hash_addr(&self.key, source, DOMAIN_BACKEND)
    }

    /// The keyed hash by which a client's offences are counted.
    pub(super) fn source_hash(&self, source: IpAddr) -> u64 {
        hash_addr(&self.key, source, DOMAIN_SOURCE)
    }

    /// Whether a new connection or a datagram may come in: lists, rules, then rates. A TCP connection that the kernel
    /// accepted has a validated source; a datagram has not, and offends nobody.
    pub(super) fn admit(
        &self,
        policy: &Policy,
        protocol: Protocol,
        source: SocketAddr,
        destination: SocketAddr,
        now: Instant,
    ) -> Result<Admitted, DropReason> {
        match policy.filter.judge(&headers(protocol, source, destination), now) {
            Verdict::Exempt => return Ok(Admitted { is_exempt: true }),
            Verdict::Blocked { reason } => {
                self.blocked.count(reason);
                return Err(DropReason::Blocklisted);
            }
            Verdict::Drop(_) => return Err(DropReason::FilterRule),
            Verdict::Limit(RuleId(rule), limit) => {
                self.hit(
                    source.ip(),
                    DOMAIN_RULES + u32::from(rule),
                    Some(limit),
                    now,
                    DropReason::FilterRule,
                )?;
            }
            Verdict::Allow(_) | Verdict::Pass => {}
        }
        let limits = &policy.connections;
        match protocol {
            Protocol::Tcp => {
                let (rate, refused) = (policy.source_rate.as_ref(), DropReason::ConnectionRate);
                self.hit(cut(source.ip(), 32, limits.source_len_v6), DOMAIN_SOURCE, rate, now, refused)?;
                let prefix = cut(source.ip(), limits.prefix_len_v4, limits.prefix_len_v6);
                self.hit(prefix, DOMAIN_PREFIX, policy.prefix_rate.as_ref(), now, refused)?;
            }
            Protocol::Udp => {
                let (rate, refused) = (policy.udp_rate.as_ref(), DropReason::UdpRate);
                self.hit(cut(source.ip(), 32, limits.source_len_v6), DOMAIN_UDP, rate, now, refused)?;
            }
        }
        Ok(Admitted { is_exempt: false })
    }

    fn hit(
        &self,
        who: IpAddr,
        domain: u32,
        limit: Option<&RateLimit>,
        now: Instant,
        refused: DropReason,
    ) -> Result<(), DropReason> {
        match limit {
            Some(limit) if !self.rates.hit(hash_addr(&self.key, who, domain), limit, now).is_admitted() => {
                Err(refused)
            }
            _ => Ok(()),
        }
    }
}

/// Connections for which counters are made at start, 32 bytes each, when the policy names no total: 32 MiB. Sources
/// beyond are refused as `connection_limit`.
const COUNTED_MAX: u32 = 1 << 20;

fn counted_max(total: u32) -> u32 {
    if total == u32::MAX { COUNTED_MAX } else { total }
}

/// What a packet of this flow would look like to the filter.
fn headers(protocol: Protocol, source: SocketAddr, destination: SocketAddr) -> Headers {
    Headers {
        link_len: 0,
        l4: 0,
        payload: 0,
        end: 0,
        version: if source.is_ipv4() { IpVersion::V4 } else { IpVersion::V6 },
        protocol: protocol as u8,
        source: source.ip(),
        destination: destination.ip(),
        hop_limit: 64,
        dscp_ecn: 0,
        fragment: None,
        source_port: source.port(),
        destination_port: destination.port(),
        tcp_flags: secbeat_net::wire::tcp::Flags::default(),
    }
}

/// The network of `addr` with as many bits as its family's length says.
fn cut(addr: IpAddr, len_v4: u8, len_v6: u8) -> IpAddr {
    let len = if addr.is_ipv4() { len_v4.min(32) } else { len_v6.min(128) };
    ipnet::IpNet::new(addr, len).map_or(addr, |net| net.network())
}
