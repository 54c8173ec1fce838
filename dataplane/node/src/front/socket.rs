//! `tcp` and `l7` mode over kernel sockets; needs no privilege.
//!
//! ```text
//!  worker thread (one per core)                                       shared (atomic, or replaced whole)
//!  poll --> accept --> admit? --tcp--> Connection --> pump, pump ...   policy, limiter, counts, upstream
//!                        '------l7---> Client <--> session
//!             SO_REUSEPORT: each worker has its own listeners
//! ```
//! `tcp`: accept, choose a backend, move bytes with `splice(2)`. `l7`: accept, read, hand the bytes to a session.
//!
//! Owns: listeners, connections, UDP flows, pipes, their limits; clients of sessions (`l7`). Does not own: health of
//! backends (`upstream`), the lists (`lists`), what sessions do (`crate::session`), privileges: [`SocketFront::new`]
//! binds, so that low ports can be had before they are given up.
//! Cost: about 400 bytes a `tcp` connection, two descriptors, and up to four more while bytes are in flight; 150 bytes
//! and a descriptor an `l7` client, beside its session.

mod connection;
mod datagram;
mod l7;
mod listen;
mod pipe;
mod plan;
mod settings;
mod shared;
mod worker;

use core::net::SocketAddr;
use core::sync::atomic::Ordering;
use core::time::Duration;
use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{SockaddrStorage, getsockname};
use secbeat_net::flow::HashKey;

pub use settings::{ListenerSettings, Policy, Protocol, Service, Settings};

use crate::event::{EventQueue, WorkerId};
use crate::session;
use crate::telemetry::counters::WorkerCounters;
use crate::upstream::Upstream;
use crate::worker::clock::Clock;
use listen::Options;
use plan::{Change, Plan};
use shared::{Shared, Wish};
use worker::Worker;

/// Descriptors a connection needs at most: two sockets and a pipe each way.
const DESCRIPTORS_PER_CONNECTION: u64 = 6;
/// Descriptors that the rest of the node needs.
const DESCRIPTORS_SPARE: u64 = 256;

/// Why the front cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A listener could not be bound.
    #[error("listener {name:?} cannot listen on {address}: {source}")]
    Bind {
        /// The listener.
        name: String,
        /// Its address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A listener has no backend group of its name.
    #[error("listener {name:?} has no backends")]
    UnknownGroup {
        /// The listener.
        name: String,
    },
    /// Reloads brought more new listeners than one process can number.
    #[error("too many listeners came and went: restart the node")]
    SlotsExhausted,
    /// A poll or thread could not be made.
    #[error("socket front: {0}")]
    Io(#[from] std::io::Error),
}

/// What the front works with besides its settings.
#[derive(Debug)]
pub struct Environment {
    /// The backends; a group per listener, of the same name.
    pub upstream: Arc<Upstream>,
    /// Where offenders and the end of draining are reported.
    pub events: Arc<EventQueue>,
    /// The node's clock: expiry of bans is told by it.
    pub clock: Clock,
    /// One page per worker; their number is the number of workers.
    pub counters: Vec<Arc<WorkerCounters>>,
    /// A random secret: strangers must not be able to aim at slots of the limiter.
    pub key: HashKey,
    /// What the sessions of all workers share.
    pub sessions: Arc<session::Shared>,
}

/// The socket front with its listeners bound, not yet serving.
pub struct SocketFront {
    shared: Arc<Shared>,
    counters: Vec<Arc<WorkerCounters>>,
    addresses: Vec<SocketAddr>,
}

impl SocketFront {
    /// Binds all listeners for all workers and raises the limit of open descriptors as far as the system lets it.
    ///
    /// # Errors
    /// When a listener cannot be bound or has no backends.
    pub fn new(settings: Settings, policy: Policy, environment: Environment) -> Result<Self, Error> {
        let counters = environment.counters.clone();
        raise_descriptor_limit(u64::from(settings.connections_max) * DESCRIPTORS_PER_CONNECTION);
        let empty = Plan::empty(settings.clone());
        let shared = Arc::new(Shared::new(empty, policy.clone(), environment, counters.len()));
        Handle { shared: Arc::clone(&shared) }.reload(settings)?;
        // Once more, now that the plan has listeners.
        shared.set_policy(policy);
        let addresses = shared.plan.load().addresses();
        Ok(Self { shared, counters, addresses })
    }

    /// Addresses the listeners are bound to, in their order (port 0 replaced by the real one).
    pub fn local_addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Starts one thread per worker.
    ///
    /// # Errors
    /// When a poll or a thread cannot be made; workers already started are stopped.
    pub fn run(self) -> Result<Running, Error> {
        let mut running =
            Running { handle: Handle { shared: Arc::clone(&self.shared) }, threads: Vec::new() };
        for (id, counters) in self.counters.into_iter().enumerate() {
            let id = WorkerId::try_from(id).unwrap_or(WorkerId::MAX);
            let started = Worker::new(id, Arc::clone(&self.shared), counters).and_then(|worker| {
                std::thread::Builder::new().name(format!("socket-{id}")).spawn(move || worker.run())
            });
            match started {
                Ok(thread) => running.threads.push(thread),
                Err(error) => {
                    running.handle.stop();
                    running.join();
                    return Err(Error::Io(error));
                }
            }
        }
        Ok(running)
    }
}

impl core::fmt::Debug for SocketFront {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SocketFront").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// Speaks to a running front from any thread.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// Replaces the policy (after [`Handle::reload`], when both change: sessions' listeners are found by its names);
    /// within 100 ms every worker has it, and connections of sources it blocks are cut.
    pub fn set_policy(&self, policy: Policy) {
        self.shared.set_policy(policy);
    }

    /// How often bans refused something.
    pub fn blocked(&self) -> Arc<crate::lists::BlockHits> {
        Arc::clone(&self.shared.blocked)
    }

    /// Number of the policy in force, as workers report it.
    pub fn policy_generation(&self) -> u64 {
        self.shared.policy_generation.load(Ordering::Acquire)
    }

    /// Replaces the settings; within 100 ms every worker has them. Listeners that stay keep their sockets and
    /// connections, new ones are bound here, and those that go refuse new connections while old ones go on. Sizes of
    /// tables and pipes stay as they were at start.
    ///
    /// # Errors
    /// When a new listener cannot be bound or has no backends; nothing changes then.
    pub fn reload(&self, settings: Settings) -> Result<(), Error> {
        let shared = &self.shared;
        let _planning = shared.planning.lock().unwrap_or_else(PoisonError::into_inner);
        let backends = shared.upstream.snapshot();
        if let Some(listener) =
            settings.listeners.iter().find(|listener| backends.group(&listener.name).is_none())
        {
            return Err(Error::UnknownGroup { name: listener.name.clone() });
        }
        let (mut plan, step) = shared.plan.load().next(settings).ok_or(Error::SlotsExhausted)?;
        let mut changes: Vec<(usize, Change)> = Vec::new();
        for slot in step.added {
            for worker in 0..shared.inboxes.len() {
                let Some(listener) = plan.listener(slot) else { continue };
                let (socket, address) = bind(listener, Options::of(&plan.settings, listener))?;
                changes.push((worker, Change::Listen { slot, protocol: listener.protocol, socket }));
                // Port 0: the first worker's socket chooses, the others follow.
                plan.set_bound(slot, address);
            }
        }
        for slot in step.removed {
            changes.extend((0..shared.inboxes.len()).map(|worker| (worker, Change::Unlisten { slot })));
        }
        for (worker, change) in changes {
            shared.post(worker, change);
        }
        shared.plan.store(Arc::new(plan));
        shared.plan_generation.fetch_add(1, Ordering::AcqRel);
        shared.wake();
        Ok(())
    }

    /// Takes no new connection; workers end with their last connection, at the latest after `timeout`.
    pub fn drain(&self, timeout: Duration) {
        self.shared.set_drain_timeout(timeout);
        self.shared.set_wish(Wish::Drain);
    }

    /// Cuts all connections and ends.
    pub fn stop(&self) {
        self.shared.set_wish(Wish::Stop);
    }

    /// TCP connections open now.
    pub fn connections(&self) -> u32 {
        self.shared.counts.total()
    }

    /// Times that accepting paused because the process had no descriptors left.
    pub fn accept_pauses(&self) -> u64 {
        self.shared.accept_pauses.load(Ordering::Relaxed)
    }
}

impl core::fmt::Debug for Handle {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Handle").field("connections", &self.connections()).finish_non_exhaustive()
    }
}

/// The running front. Dropping it lets the workers run on.
#[derive(Debug)]
pub struct Running {
    handle: Handle,
    threads: Vec<JoinHandle<()>>,
}

impl Running {
    /// Speaks to the workers.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Whether all workers have ended.
    pub fn is_finished(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Waits for the workers to end, after [`Handle::drain`] or [`Handle::stop`].
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker of the socket front panicked");
            }
        }
    }
}

fn bind(listener: &ListenerSettings, options: Options) -> Result<(OwnedFd, SocketAddr), Error> {
    let error = |source| Error::Bind { name: listener.name.clone(), address: listener.bind_address, source };
    let fd = listen::open(listener.protocol, listener.bind_address, options).map_err(error)?;
    let local = {
        use std::os::fd::AsRawFd;
        getsockname::<SockaddrStorage>(fd.as_raw_fd()).map_err(|errno| error(errno.into()))?
    };
    let port = local
        .as_sockaddr_in()
        .map(|addr| addr.port())
        .or_else(|| local.as_sockaddr_in6().map(|addr| addr.port()))
        .unwrap_or_default();
    Ok((fd, SocketAddr::new(listener.bind_address.ip(), port)))
}

/// Without enough descriptors accepting pauses at the peak; the limit may be raised to the hard one without privilege.
fn raise_descriptor_limit(wanted: u64) {
    let wanted = wanted.saturating_add(DESCRIPTORS_SPARE);
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let reachable = wanted.min(hard);
    if soft < reachable && setrlimit(Resource::RLIMIT_NOFILE, reachable, hard).is_err() {
        tracing::debug!(soft, reachable, "the limit of open descriptors cannot be raised");
    }
    if reachable < wanted {
        tracing::warn!(
            hard,
            wanted,
            "open descriptors (LimitNOFILE) limit connections before max_connections does"
        );
    }
}

#[cfg(test)]
mod tests;
