//! What a worker must know to judge a packet: compiled from configuration, lists, backends and the kernel's tables;
//! immutable; replaced whole between two turns.
//!
//! Owns: [`Policy`] and how it is compiled. Does not own: tables that change packet by packet (limiters, flows), or
//! the decision to compile a new one (`start::control`). A policy that cannot be compiled is an error and the
//! running one stays. Cost: compiling takes a millisecond or so in the control thread; adopting is one atomic load.

pub mod filter;
pub mod l7;
pub mod listener;
pub mod rules;
pub mod target;
pub mod view;

use core::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use arrayvec::ArrayVec;
use secbeat_config::NodeConfig;
use secbeat_config::node::{Mode, ProxyProtocol, SynCookies, Transport};
use secbeat_net::filter::Filter;
use secbeat_net::flow::{Endpoint, Protocol};
use secbeat_net::link::{Link, PortId};
use secbeat_net::neighbor::Resolution;
use secbeat_net::splice::target::SOURCE_ADDRS_MAX;
use secbeat_net::splice::{BackendId, BackendTarget, Backends, PortRange, Source};
use secbeat_net::syncookie::{Keys, Offer};
use secbeat_pktio::program::{CookieKeys, CookieOffer, CookieSlot, ListenerKey, SnatRange};

use crate::attack::{OffencePolicy, Thresholds};
use crate::event::{ListenerId, WorkerId};
use crate::session::L7Policy;
use crate::upstream::{self, BackendsSnapshot};
use l7::Resources;
use listener::ListenerTable;
use rules::Limits;
use target::{TargetIds, TargetKey};
use view::View;

/// Interfaces of a node; one per bit of nothing, but the XDP program and the configuration agree on it.
pub const PORTS_MAX: usize = 16;

/// Why a policy could not be compiled. The running one stays in force.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The listeners are bound to too many addresses.
    #[error("listeners times local addresses are more than {max}; bind listeners to single addresses", max = listener::BINDINGS_MAX)]
    TooManyBindings,
    /// More backends than the workers took memory for.
    #[error("more backends than the node was started for; restart it to use them all")]
    TooManyTargets,
    /// The filter rules or lists cannot be compiled.
    #[error("filter: {0}")]
    Filter(#[from] secbeat_net::filter::Error),
}

/// Who answers a client's SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// The node, when a half-open table or cookies take it (`syn` mode).
    Proxied(SynCookies),
    /// The backend; the node takes over with cookies while it is attacked, unless `Never` (`tcp` mode).
    PassThrough(SynCookies),
}

impl Handshake {
    /// Whether an ACK may carry a cookie of ours.
    pub fn may_use_cookies(self) -> bool {
        let (Self::Proxied(cookies) | Self::PassThrough(cookies)) = self;
        cookies != SynCookies::Never
    }
}

/// One listener.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name.
    pub name: Arc<str>,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Who answers a SYN.
    pub handshake: Handshake,
    /// Whether its connections end here, in a session.
    pub is_l7: bool,
    /// Its group of backends in [`Policy::backends`].
    pub group: usize,
    /// What a SYN-ACK may offer: no more than every backend supports.
    pub offer: Offer,
    /// The number that splice and udp know a backend of the group by, per `upstream::BackendId`.
    targets: Box<[Option<BackendId>]>,
}

impl Listener {
    /// The number that splice knows this backend by.
    pub fn target(&self, backend: upstream::BackendId) -> Option<BackendId> {
        self.targets.get(usize::from(backend.0)).copied().flatten()
    }
}

/// The source ports towards backends and which worker owns which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnatPorts {
    first: u16,
    per_worker: u16,
    workers: u16,
}

impl SnatPorts {
    /// Divides `first..=last` among `workers` workers; what does not divide evenly is not used.
    pub fn new(first: u16, last: u16, workers: u16) -> Self {
        let count = u32::from(last).saturating_sub(u32::from(first)) + 1;
        let workers = workers.max(1);
        Self {
            first,
            per_worker: (count / u32::from(workers)).max(1).min(u32::from(u16::MAX)) as u16,
            workers,
        }
    }

    /// The ports of one worker.
    pub fn slice(&self, worker: WorkerId) -> PortRange {
        let first = self.first.saturating_add(self.per_worker.saturating_mul(worker));
        PortRange { first, last: first.saturating_add(self.per_worker - 1) }
    }

    /// The worker that owns `port`.
    pub fn owner(&self, port: u16) -> Option<WorkerId> {
        let worker = port.checked_sub(self.first)? / self.per_worker;
        (worker < self.workers).then_some(worker)
    }

    /// All ports together.
    pub fn all(&self) -> core::ops::RangeInclusive<u16> {
        let last = self.slice(self.workers - 1).last;
        self.first..=last
    }
}

/// One generation of everything that is decided outside the packet path.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its number; grows by one with every policy of this process.
    pub generation: u64,
    /// The listeners, by [`ListenerId`].
    pub listeners: Vec<Listener>,
    /// Their addresses.
    pub bindings: ListenerTable,
    /// Allowlist, blocklist, rules.
    pub filter: Arc<Filter>,
    /// Limits per source, prefix and listener.
    pub limits: Limits,
    /// When a source that breaks limits is banned.
    pub offences: OffencePolicy,
    /// When traffic is called an attack.
    pub thresholds: Thresholds,
    /// Keys of SYN cookies.
    pub keys: Keys,
    /// Backends by number, with their links.
    pub targets: Backends,
    /// Health, weights, shares.
    pub backends: Arc<BackendsSnapshot>,
    /// Backends tried for one connection.
    pub backend_tries: u32,
    /// Ports towards backends.
    pub snat_ports: SnatPorts,
    /// Our addresses towards backends.
    pub snat_addresses: Vec<IpAddr>,
    /// Clients' addresses are kept towards backends.
    pub transparent: bool,
    /// MTU per port, bytes.
    pub mtus: ArrayVec<u16, PORTS_MAX>,
    /// No new connection is taken.
    pub draining: bool,
    /// What sessions must know.
    pub l7: Arc<L7Policy>,
    /// Slots of the listeners that may be answered before the workers, by listener; set once the program gave them.
    pub front_slots: Vec<(ListenerId, CookieSlot)>,
    /// Which backend a number stands for now.
    owners: Vec<Option<upstream::BackendId>>,
    /// Addresses of backends, sorted: in transparent mode what comes from one is an answer.
    backend_endpoints: Vec<Endpoint>,
}

/// What a policy is compiled from.
#[derive(Debug)]
pub struct Sources<'a> {
    /// The configuration in force.
    pub config: &'a NodeConfig,
    /// The surroundings.
    pub view: &'a View,
    /// Backends and their health.
    pub backends: Arc<BackendsSnapshot>,
    /// Allowlist, blocklist and bans as compiled for the packet path.
    pub filter: Arc<Filter>,
    /// Keys of SYN cookies now.
    pub keys: Keys,
    /// What sessions need of files.
    pub resources: &'a Resources,
    /// Workers of this node.
    pub workers: u16,
    /// Whether the node is draining.
    pub draining: bool,
}

impl Policy {
    /// Compiles a policy.
    ///
    /// # Errors
    /// [`Error`], when it exceeds what the node was started for.
    pub fn compile(sources: Sources<'_>, ids: &mut TargetIds, generation: u64) -> Result<Self, Error> {
        let Sources { config, view, backends, filter, keys, resources, workers, draining } = sources;
        let mut compiled = Targets::default();
        let mut listeners = Vec::with_capacity(config.listeners.len());
        for (group, listener) in config.listeners.iter().enumerate() {
            let proxy_protocol = listener.proxy_protocol == ProxyProtocol::V2;
            let is_l7 = l7::is_l7(listener);
            // Sessions speak to backends through the kernel.
            let targets = if is_l7 {
                Box::default()
            } else {
                compiled.add_group(config, view, &backends, group, proxy_protocol, ids, generation)?
            };
            listeners.push(Listener {
                name: listener.name.as_str().into(),
                protocol: protocol(listener.protocol),
                handshake: handshake(config, listener),
                is_l7,
                group,
                offer: if is_l7 {
                    rules::own_offer(config, view)
                } else {
                    rules::offer(config, &backends, group, view)
                },
                targets,
            });
        }
        let bindings = ListenerTable::new(&bindings(config, view)).ok_or(Error::TooManyBindings)?;
        let ports = config.io.snat_ports;
        compiled.finish();
        Ok(Self {
            generation,
            listeners,
            bindings,
            filter,
            limits: Limits::compile(config),
            offences: rules::offences(config),
            thresholds: rules::thresholds(config),
            keys,
            targets: compiled.targets,
            backends,
            backend_tries: u32::from(config.syn_proxy.backend_tries),
            snat_ports: SnatPorts::new(ports.low, ports.high, workers),
            snat_addresses: compiled.sources,
            transparent: config.io.transparent,
            mtus: view.ports.iter().take(PORTS_MAX).map(|port| port.mtu).collect(),
            draining,
            l7: Arc::new(l7::compile(config, resources, generation, |index, _| Some(index as ListenerId))),
            front_slots: Vec::new(),
            owners: compiled.owners,
            backend_endpoints: compiled.endpoints,
        })
    }

    /// A listener by its number.
    pub fn listener(&self, id: ListenerId) -> Option<&Listener> {
        self.listeners.get(usize::from(id))
    }

    /// The backend that a number of splice or udp stands for, if it still does.
    pub fn backend_of(&self, target: BackendId) -> Option<upstream::BackendId> {
        self.owners.get(usize::from(target.0)).copied().flatten()
    }

    /// The MTU of a port in bytes.
    pub fn mtu(&self, port: PortId) -> u16 {
        self.mtus.get(usize::from(port.0)).copied().unwrap_or(MTU_DEFAULT)
    }

    /// Whether a packet with these ends can only be an answer of a backend: it is addressed to one of our ports
    /// towards backends, or (transparent) comes from a backend's address.
    pub fn is_from_backend(&self, source: Endpoint, destination: Endpoint) -> bool {
        if self.transparent {
            return self.backend_endpoints.binary_search(&source).is_ok();
        }
        self.snat_ports.owner(destination.port).is_some() && self.snat_addresses.contains(&destination.addr)
    }

    /// The service addresses for the XDP program, with their listeners.
    pub fn listener_keys(&self) -> Vec<(ListenerKey, ListenerId)> {
        let keys = self.bindings.iter().map(|(protocol, endpoint, listener)| {
            let addr = SocketAddr::new(endpoint.addr, endpoint.port);
            (ListenerKey { addr, protocol: protocol as u8 }, listener)
        });
        let mut keys: Vec<(ListenerKey, ListenerId)> = keys.collect();
        keys.sort_unstable();
        keys
    }

    /// What the XDP program may offer for a listener, when it may answer its SYNs at all: they may get cookies, and no
    /// rate is to be kept that only workers know. `has_sessions`: connections can end here.
    pub fn front_offer(&self, listener: ListenerId, has_sessions: bool) -> Option<CookieOffer> {
        let listener = self.listener(listener).filter(|listener| listener.protocol == Protocol::Tcp)?;
        let may_answer = listener.handshake.may_use_cookies() && (has_sessions || !listener.is_l7);
        let offer = &listener.offer;
        (may_answer && self.limits.syn_rate.is_none()).then_some(CookieOffer {
            mss_v4: offer.mss_v4,
            mss_v6: offer.mss_v6,
            window: offer.window,
            window_scale: offer.window_scale,
            timestamps: offer.timestamps,
            sack: offer.sack,
            ecn: offer.ecn,
        })
    }

    /// The keys of cookies for the XDP program.
    pub fn cookie_keys(&self) -> CookieKeys {
        let keys = self.keys.around().map(|key| (key.0[0], key.0[1]));
        CookieKeys { epoch: self.keys.epoch(), keys }
    }

    /// The ports towards backends for the XDP program.
    pub fn snat_ranges(&self) -> Vec<SnatRange> {
        let range = |&addr: &IpAddr| {
            [Protocol::Tcp, Protocol::Udp].map(|protocol| SnatRange {
                addr,
                protocol: protocol as u8,
                ports: self.snat_ports.all(),
            })
        };
        self.snat_addresses.iter().flat_map(range).collect()
    }
}

/// Assumed for a port whose MTU is not known: Ethernet's.
const MTU_DEFAULT: u16 = 1_500;

/// Backends as they are collected from the listeners.
#[derive(Debug, Default)]
struct Targets {
    targets: Backends,
    owners: Vec<Option<upstream::BackendId>>,
    sources: Vec<IpAddr>,
    endpoints: Vec<Endpoint>,
}

impl Targets {
    #[expect(clippy::too_many_arguments, reason = "the one place that joins all of them")]
    fn add_group(
        &mut self,
        config: &NodeConfig,
        view: &View,
        backends: &BackendsSnapshot,
        group: usize,
        proxy_protocol: bool,
        ids: &mut TargetIds,
        generation: u64,
    ) -> Result<Box<[Option<BackendId>]>, Error> {
        let mut targets = vec![None; backends.backends.len()].into_boxed_slice();
        let members = backends.groups.get(group).map_or(&[][..], |group| &group.members);
        for &member in members {
            let Some(address) = backends.backend(member).and_then(|backend| backend.address) else {
                continue;
            };
            let key = TargetKey { address, proxy_protocol };
            let id = ids.assign(key, generation).ok_or(Error::TooManyTargets)?;
            self.add(config, view, id, key, member);
            if let Some(slot) = targets.get_mut(usize::from(member.0)) {
                *slot = Some(id);
            }
        }
        Ok(targets)
    }

    fn add(
        &mut self,
        config: &NodeConfig,
        view: &View,
        id: BackendId,
        key: TargetKey,
        member: upstream::BackendId,
    ) {
        let endpoint = Endpoint { addr: key.address.ip(), port: key.address.port() };
        let (link, preferred) = way_to(view, endpoint.addr);
        let source = if config.io.transparent {
            Source::Transparent
        } else {
            let sources = snat_sources(config, view, endpoint.addr, link.as_ref(), preferred);
            self.sources.extend_from_slice(&sources);
            Source::Snat(sources)
        };
        let target = BackendTarget { endpoint, link, source, proxy_protocol: key.proxy_protocol };
        self.targets.set(id, Some(target));
        let index = usize::from(id.0);
        if index >= self.owners.len() {
            self.owners.resize(index + 1, None);
        }
        self.owners[index] = Some(member);
        self.endpoints.push(endpoint);
    }

    fn finish(&mut self) {
        self.sources.sort_unstable();
        self.sources.dedup();
        self.endpoints.sort_unstable();
        self.endpoints.dedup();
    }
}

fn way_to(view: &View, addr: IpAddr) -> (Option<Link>, Option<IpAddr>) {
    match view.neighbors.resolve(addr) {
        Resolution::Reachable { link, source } => (Some(link), source),
        Resolution::Unresolved { port, .. } => (None, view.source_for(port, addr)),
        Resolution::Unreachable => (None, None),
    }
}

fn snat_sources(
    config: &NodeConfig,
    view: &View,
    backend: IpAddr,
    link: Option<&Link>,
    preferred: Option<IpAddr>,
) -> ArrayVec<IpAddr, SOURCE_ADDRS_MAX> {
    let configured = config.io.snat_addresses.iter().filter(|addr| addr.is_ipv4() == backend.is_ipv4());
    let sources: ArrayVec<IpAddr, SOURCE_ADDRS_MAX> = configured.copied().take(SOURCE_ADDRS_MAX).collect();
    if !sources.is_empty() {
        return sources;
    }
    preferred.or_else(|| view.source_for(link?.port, backend)).into_iter().collect()
}

fn protocol(transport: Transport) -> Protocol {
    match transport {
        Transport::Tcp => Protocol::Tcp,
        Transport::Udp => Protocol::Udp,
    }
}

fn handshake(config: &NodeConfig, listener: &secbeat_config::node::Listener) -> Handshake {
    let is_proxied = match listener.mode {
        Mode::L7 => true,
        Mode::Syn => config.syn_proxy.enable,
        Mode::Tcp => false,
    };
    let cookies = listener.syn_cookies;
    if is_proxied { Handshake::Proxied(cookies) } else { Handshake::PassThrough(cookies) }
}

/// Every listener on every local address it is bound to. Exact addresses come first: they win over wildcards.
fn bindings(config: &NodeConfig, view: &View) -> Vec<(Protocol, Endpoint, ListenerId)> {
    let local = view.local_addresses();
    let mut exact = Vec::new();
    let mut wildcard = Vec::new();
    for (index, listener) in config.listeners.iter().enumerate() {
        let id = index as ListenerId;
        let (addr, port) = (listener.bind_address.ip(), listener.bind_address.port());
        let protocol = protocol(listener.protocol);
        if !addr.is_unspecified() {
            exact.push((protocol, Endpoint { addr, port }, id));
            continue;
        }
        for &addr in local.iter().filter(|local| local.is_ipv4() == addr.is_ipv4()) {
            wildcard.push((protocol, Endpoint { addr, port }, id));
        }
    }
    exact.append(&mut wildcard);
    exact
}

#[cfg(test)]
mod tests;
