//! Taking connections in: limits first, then a place in the table, then a backend.

use core::net::SocketAddr;
use std::io;
use std::sync::atomic::Ordering;

use mio::Interest;
use mio::net::TcpStream;
use nix::errno::Errno;
use secbeat_net::flow::Protocol;
use secbeat_net::limit::Refusal as Limited;
use secbeat_net::verdict::DropReason;

use super::{ACCEPT_PAUSE, Connection, Ending, KIND_CLIENT, Worker, reset, token};
use crate::event::Offence;
use crate::front::socket::l7::{Arrival, NotOpened};
use crate::front::socket::settings::Service;
use crate::front::socket::shared::{Admitted, Wish};
use crate::session::Refusal;
use crate::telemetry::counters::Counter;

/// Connections taken from one listener per turn: a flood of connections must not starve those that are open.
const ACCEPTS_PER_TURN_MAX: usize = 64;

impl Worker {
    /// Takes what waits at the listeners, a bounded number each.
    pub(super) fn accept(&mut self) {
        match self.accept_paused_until {
            Some(until) if until > self.now => return,
            _ => self.accept_paused_until = None,
        }
        for index in 0..self.listeners.len() {
            for _ in 0..ACCEPTS_PER_TURN_MAX {
                let Some(listener) = self.listeners.get_mut(index).filter(|listener| listener.is_ready)
                else {
                    break;
                };
                let number = listener.index;
                match listener.socket.accept() {
                    Ok((stream, source)) => self.on_accepted(stream, source, number),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => listener.is_ready = false,
                    Err(error) if is_exhausted(&error) => {
                        self.pause(&error);
                        return;
                    }
                    // The connection died in the queue (accept(2) passes such errors on); the next one may live.
                    Err(_) => {}
                }
            }
        }
    }

    /// Descriptors or memory ran out: clients wait in the kernel's queue until something ends.
    fn pause(&mut self, error: &io::Error) {
        self.accept_paused_until = Some(self.now + ACCEPT_PAUSE);
        if self.shared.accept_pauses.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(%error, "accepting pauses: raise LimitNOFILE or lower max_connections");
        }
    }

    fn on_accepted(&mut self, stream: TcpStream, source: SocketAddr, listener: u16) {
        let admitted = match self.take_in(&stream, source, listener) {
            Ok(admitted) => admitted,
            Err(reason) => {
                self.counters.count_drop(reason);
                reset(&stream);
                return;
            }
        };
        if self.plan.listener(listener).is_some_and(|listener| listener.service == Service::Http) {
            self.open_l7(stream, source, listener, admitted.is_exempt);
            return;
        }
        let now = self.now;
        let inserted = self.connections.insert_with(|_| Connection::new(stream, source, listener, now));
        // `take_in` saw a free place.
        let Some(key) = inserted else { return };
        self.counters.count(Counter::ConnectionsOpened);
        if let Err(reason) = self.start(key) {
            self.counters.count_drop(reason);
            self.counters.count(Counter::ConnectionsFailed);
            self.close(key, Ending::Reset);
        }
    }

    /// Hands a connection that was let in to the sessions.
    fn open_l7(&mut self, stream: TcpStream, source: SocketAddr, listener: u16, exempt: bool) {
        let bound = self.plan.listener(listener).map(|listener| listener.bind_address);
        let destination = match bound {
            Some(bound) if !bound.ip().is_unspecified() => bound,
            // A request may be told which of our addresses it came to.
            _ => stream.local_addr().unwrap_or(source),
        };
        self.counters.count(Counter::ConnectionsOpened);
        let arrival = Arrival { stream, source, destination, listener, exempt };
        let opened = match &mut self.l7 {
            Some(l7) => l7.open(arrival, self.poll.registry(), self.now),
            None => Err(NotOpened::Full),
        };
        let reason = match opened {
            Ok(()) => {
                self.counters.count(Counter::ConnectionsEstablished);
                return;
            }
            Err(NotOpened::Refused(Refusal::Draining)) => DropReason::Draining,
            Err(NotOpened::Refused(Refusal::HandshakeRate)) => DropReason::ConnectionRate,
            Err(NotOpened::Refused(Refusal::NoListener)) => DropReason::NotOurs,
            Err(NotOpened::Refused(Refusal::Full) | NotOpened::Full) => DropReason::ConnectionLimit,
            Err(NotOpened::Io(error)) => {
                tracing::debug!(%error, "a client's socket cannot be polled");
                DropReason::ConnectionLimit
            }
        };
        self.counters.count_drop(reason);
        self.counters.count(Counter::ConnectionsFailed);
        self.counters.count(Counter::ConnectionsClosed);
        self.shared.counts.release(source.ip(), &self.policy.connections);
    }

    /// Whether a connection may come in; counts it if so.
    fn take_in(
        &mut self,
        stream: &TcpStream,
        source: SocketAddr,
        listener: u16,
    ) -> Result<Admitted, DropReason> {
        if self.wish != Wish::Serve {
            return Err(DropReason::Draining);
        }
        if self.connections_count() >= self.connections_max {
            return Err(DropReason::ConnectionLimit);
        }
        let bound = self.plan.listener(listener).map(|listener| listener.bind_address);
        let destination = match bound {
            Some(bound) if !bound.ip().is_unspecified() || self.policy.filter.rules_count() == 0 => bound,
            // Rules may ask which of our addresses it came to.
            _ => stream.local_addr().map_err(|_| DropReason::NotOurs)?,
        };
        let policy = &self.policy;
        let admitted = match self.shared.admit(policy, Protocol::Tcp, source, destination, self.now) {
            Ok(admitted) => admitted,
            Err(reason) => {
                if reason == DropReason::ConnectionRate {
                    self.on_offence(source, Offence::ConnectionRate);
                }
                return Err(reason);
            }
        };
        match self.shared.counts.acquire(source.ip(), &policy.connections, admitted.is_exempt) {
            Ok(()) => Ok(admitted),
            Err(refusal) => {
                // Only what the source itself did is held against it.
                if refusal == Limited::Source {
                    self.on_offence(source, Offence::ConnectionLimit);
                }
                Err(DropReason::ConnectionLimit)
            }
        }
    }

    fn start(&mut self, key: super::Key) -> Result<(), DropReason> {
        let Some(connection) = self.connections.get_mut(key) else { return Err(DropReason::NoBackend) };
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered = self.poll.registry().register(
            &mut connection.client,
            token(KIND_CLIENT, key.to_bits()),
            interest,
        );
        if registered.is_err() {
            return Err(DropReason::ConnectionLimit);
        }
        self.dial(key)
    }

    fn on_offence(&mut self, source: SocketAddr, offence: Offence) {
        let hash = self.shared.source_hash(source.ip());
        let policy = self.policy.offences;
        if let Some(what) = self.offenders.handle_offence(source.ip(), hash, offence, &policy, self.now) {
            self.report(what);
        }
    }
}

fn is_exhausted(error: &io::Error) -> bool {
    error
        .raw_os_error()
        .map(Errno::from_raw)
        .is_some_and(|errno| matches!(errno, Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM))
}
