//! From a client to a backend: the first choice, the next one when it refuses, the moment it accepts.

use std::io;

use mio::net::TcpStream;
use mio::{Interest, Poll};
use secbeat_net::verdict::DropReason;

use super::{Ending, KIND_BACKEND, Key, Worker, token};
use crate::front::socket::connection::{BackendSide, Stage};
use crate::telemetry::counters::Counter;
use crate::upstream::{BackendOutcome, Outcome as Fate};

impl Worker {
    /// The backend accepted. False when the connection ended over it.
    pub(super) fn on_connected(&mut self, key: Key) -> bool {
        let Some(connection) = self.connections.get_mut(key) else { return false };
        let settings = &self.plan.settings;
        let proxy_protocol =
            self.plan.listener(connection.listener).is_some_and(|listener| listener.proxy_protocol);
        let opened = connection.open(settings.nodelay, proxy_protocol, self.now);
        let backend = connection.backend.as_ref().map(|backend| backend.id);
        if let Err(error) = opened {
            self.on_refused(key, &error);
            return false;
        }
        if let Some(backend) = backend {
            self.shared.upstream.report(BackendOutcome { backend, outcome: Fate::Established });
        }
        self.counters.count(Counter::ConnectionsEstablished);
        self.timers.schedule(key.index, self.now + settings.half_closed_timeout.min(settings.idle_timeout));
        true
    }

    /// The backend refused, or did not answer in time: the next one, or the end.
    pub(super) fn on_refused(&mut self, key: Key, error: &io::Error) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.stage = Stage::ExpectBackend;
        if let Some(backend) = connection.backend.take() {
            tracing::debug!(backend = backend.id.0, %error, "backend does not accept");
            self.shared.upstream.report(BackendOutcome { backend: backend.id, outcome: Fate::Failed });
            self.shared.upstream.report(BackendOutcome { backend: backend.id, outcome: Fate::Closed });
        }
        connection.attempt += 1;
        if connection.attempt < self.plan.settings.backend_tries && self.dial(key).is_ok() {
            self.counters.count(Counter::ConnectionsRetried);
            return;
        }
        self.counters.count(Counter::ConnectionsFailed);
        self.close(key, Ending::Reset);
    }

    /// Starts the connection to a backend; each failure on the spot leads to the next one.
    pub(super) fn dial(&mut self, key: Key) -> Result<(), DropReason> {
        let snapshot = self.shared.upstream.snapshot();
        let Some(connection) = self.connections.get_mut(key) else { return Err(DropReason::NoBackend) };
        let settings = &self.plan.settings;
        let listener = self.plan.listener(connection.listener).ok_or(DropReason::NoBackend)?;
        let group = snapshot.group(&listener.name).ok_or(DropReason::NoBackend)?;
        let hash = self.shared.backend_hash(connection.source.ip());
        while connection.attempt < settings.backend_tries.max(1) {
            let id = snapshot.pick(group, hash, connection.attempt).ok_or(DropReason::NoBackend)?;
            let address = snapshot.backend(id).and_then(|backend| backend.address);
            if let Some(address) = address.filter(|_| snapshot.reserve(id)) {
                match connect(&self.poll, key, address) {
                    Ok(stream) => {
                        connection.backend = Some(BackendSide { stream, id });
                        connection.connect_by = self.now + settings.connect_timeout;
                        self.timers.schedule(key.index, connection.connect_by);
                        return Ok(());
                    }
                    Err(error) => {
                        // Want of descriptors or local ports is not the backend's fault.
                        if error.kind() == io::ErrorKind::ConnectionRefused {
                            self.shared
                                .upstream
                                .report(BackendOutcome { backend: id, outcome: Fate::Failed });
                        }
                        self.shared.upstream.report(BackendOutcome { backend: id, outcome: Fate::Closed });
                        tracing::debug!(backend = id.0, %error, "no connection to a backend can be started");
                    }
                }
            }
            connection.attempt += 1;
        }
        Err(DropReason::NoBackend)
    }
}

fn connect(poll: &Poll, key: Key, address: core::net::SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    let interest = Interest::READABLE | Interest::WRITABLE;
    poll.registry().register(&mut stream, token(KIND_BACKEND, key.to_bits()), interest)?;
    Ok(stream)
}
