//! What a worker does ten times a second: a new policy, bans on open connections, drain, gauges.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mio::Interest;
use mio::net::TcpListener;
use secbeat_net::filter::Listed;
use secbeat_net::verdict::DropReason;

use super::{Ending, KIND_BACKEND_L7, KIND_BITS, Key, Listener, Worker, listener_token};
use crate::event::What;
use crate::front::socket::Protocol;
use crate::front::socket::l7::L7;
use crate::front::socket::plan::Change;
use crate::front::socket::settings::Service;
use crate::front::socket::shared::Wish;
use crate::session::{Sessions, Setup};
use crate::telemetry::counters::{Counter, Gauge};
use crate::upstream::http::{self, Tokens};
use crate::upstream::random::Random;

impl Worker {
    pub(super) fn keep_house(&mut self) {
        self.offenders.handle_tick();
        self.adopt_plan();
        self.adopt_policy();
        for key in std::mem::take(&mut self.starved) {
            self.enqueue(key);
        }
        if self.wish < self.shared.wish() {
            self.on_wish();
        }
        if let Some(l7) = &mut self.l7 {
            l7.keep_house(self.now);
        }
        self.counters.set(Gauge::ConnectionsActive, u64::from(self.connections_count()));
        self.counters.set(Gauge::FlowsUsed, u64::from(self.connections_count()));
        self.counters.set(Gauge::UdpFlows, u64::from(self.datagrams.len()));
    }

    /// New settings, and what they change about the listeners.
    fn adopt_plan(&mut self) {
        let generation = self.shared.plan_generation.load(Ordering::Acquire);
        if generation == self.plan_generation {
            return;
        }
        self.plan_generation = generation;
        self.plan = self.shared.plan.load_full();
        // Time-outs may be shorter now: every timer is looked at again.
        for (key, _) in self.connections.iter() {
            self.timers.schedule(key.index, self.now);
        }
        self.datagrams.reschedule(self.now);
        for change in self.shared.take_posted(usize::from(self.id)) {
            match change {
                Change::Listen { .. } if self.wish != Wish::Serve => {}
                Change::Listen { slot, protocol, socket } => {
                    if self.plan.listener(slot).is_some_and(|listener| listener.service == Service::Http) {
                        self.start_l7();
                    }
                    if let Err(error) = self.listen(slot, protocol, socket) {
                        tracing::error!(slot, %error, "a listener cannot be polled");
                    }
                }
                Change::Unlisten { slot } => {
                    self.listeners.retain(|listener| listener.index != slot);
                    self.datagrams.unlisten(slot, &self.shared, &self.counters);
                }
            }
        }
    }

    /// Makes the sessions, unless they are there.
    fn start_l7(&mut self) {
        if self.l7.is_some() {
            return;
        }
        let registry = match self.poll.registry().try_clone() {
            Ok(registry) => registry,
            Err(error) => {
                tracing::error!(worker = self.id, %error, "no sessions: their sockets cannot be polled");
                return;
            }
        };
        let workers = u32::try_from(self.shared.wakers.len()).unwrap_or(1);
        let client = http::Client::new(
            http::Settings { workers, ..self.plan.settings.upstream.clone() },
            Arc::clone(&self.shared.upstream),
            registry,
            Tokens { kind: KIND_BACKEND_L7, shift: KIND_BITS },
            Arc::clone(&self.counters),
            self.now,
        );
        let setup = Setup {
            worker: self.id,
            sessions_max: self.connections_max,
            policy: Arc::clone(&self.policy.l7),
            shared: Arc::clone(&self.shared.sessions),
            page: Arc::clone(&self.counters),
            client,
            seed: Random::new().next(),
        };
        self.l7 = Some(L7::new(Sessions::new(setup, self.now), self.connections_max, self.now));
    }

    fn listen(&mut self, slot: u16, protocol: Protocol, fd: OwnedFd) -> io::Result<()> {
        match protocol {
            Protocol::Tcp => {
                let mut socket = TcpListener::from(fd);
                self.poll.registry().register(&mut socket, listener_token(slot), Interest::READABLE)?;
                self.listeners.push(Listener { socket, index: slot, is_ready: true });
                Ok(())
            }
            Protocol::Udp => self.datagrams.listen(self.poll.registry(), slot, fd),
        }
    }

    /// A new policy applies to open connections too: whoever is banned now is cut off now.
    fn adopt_policy(&mut self) {
        let generation = self.shared.policy_generation.load(Ordering::Acquire);
        if generation == self.policy_generation {
            return;
        }
        let old = std::mem::replace(&mut self.policy, self.shared.policy.load_full());
        self.policy_generation = generation;
        if let Some(l7) = &mut self.l7 {
            l7.sessions_mut().adopt(Arc::clone(&self.policy.l7));
        }
        self.counters.count(Counter::PoliciesAdopted);
        self.counters.set(Gauge::PolicyGeneration, generation);
        self.recount(&old);
        self.cut_banned();
        self.report(What::PolicyAdopted { generation });
    }

    /// Counts open connections under the new prefix lengths, if those changed.
    fn recount(&self, old: &crate::front::socket::Policy) {
        let (was, is) = (&old.connections, &self.policy.connections);
        let lengths = |limits: &secbeat_net::limit::ConnectionLimits| {
            (limits.source_len_v6, limits.prefix_len_v4, limits.prefix_len_v6)
        };
        if lengths(was) == lengths(is) {
            return;
        }
        let l7 = self.l7.iter().flat_map(L7::sources);
        for source in self.connections.iter().map(|(_, connection)| connection.source.ip()).chain(l7) {
            self.shared.counts.release(source, was);
            // An open connection is counted whatever the new limits say.
            let _ = self.shared.counts.acquire(source, is, true);
        }
    }

    fn cut_banned(&mut self) {
        let filter = &self.policy.filter;
        let banned = |source| matches!(filter.listed(source, self.now), Listed::Blocked { .. });
        let keys: Vec<Key> = self
            .connections
            .iter()
            .filter(|(_, connection)| banned(connection.source.ip()))
            .map(|(key, _)| key)
            .collect();
        let l7 = self.l7.as_mut().map_or(0, |l7| {
            l7.cut(|source| matches!(filter.listed(source, self.now), Listed::Blocked { .. }), self.now)
        });
        self.counters.add_drops(DropReason::Blocklisted, keys.len() as u64 + l7);
        for key in keys {
            self.close(key, Ending::Reset);
        }
        self.datagrams.cut_banned(&self.shared, &self.policy.filter, &self.counters, self.now);
    }

    /// Told to drain: what waits at the listeners is refused and the sockets go, so that the kernel gives new
    /// connections to whoever else listens there.
    fn on_wish(&mut self) {
        self.wish = self.shared.wish();
        for listener in &mut self.listeners {
            listener.is_ready = true;
        }
        self.accept_paused_until = None;
        self.accept();
        self.listeners.clear();
        self.datagrams.drain();
        if let Some(l7) = &mut self.l7 {
            l7.drain(self.now);
        }
    }

    /// Whether the worker has nothing left to do.
    pub(super) fn is_over(&self) -> bool {
        match self.wish {
            Wish::Serve => false,
            Wish::Stop => true,
            Wish::Drain => {
                let is_late = self.shared.drain_until().is_some_and(|until| self.now >= until);
                is_late || self.connections_count() == 0 && self.datagrams.len() == 0
            }
        }
    }

    /// Cuts what is left.
    pub(super) fn end(&mut self) {
        let keys: Vec<Key> = self.connections.iter().map(|(key, _)| key).collect();
        let l7 = self.l7.as_mut().map_or(0, |l7| l7.cut(|_| true, self.now));
        let cut = keys.len() as u64 + l7;
        for key in keys {
            self.close(key, Ending::Reset);
        }
        self.serve_l7();
        self.datagrams.close_all(&self.shared, &self.counters);
        self.counters.set(Gauge::ConnectionsActive, 0);
        self.counters.set(Gauge::UdpFlows, 0);
        self.report(What::Drained { cut });
    }
}
