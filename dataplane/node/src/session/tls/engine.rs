//! What one worker needs to serve TLS, shared by its connections.
//!
//! Owns: the worker's own copy of the configuration, so that counting its users never leaves the core; the limit on
//! its handshakes; a few record buffers to use again.

use core::net::IpAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use secbeat_net::limit::RateCell;
use secbeat_net::time::Instant;

use super::acceptor::{Acceptor, Settings};
use super::error::TlsError;
use super::resolver::Coverage;

/// Buffers of partial records kept for the next connection that needs one: as many as a burst of uploads has, each
/// at most [`SPARE_BYTES_MAX`], so a quarter of a megabyte at most.
const SPARES_MAX: usize = 16;
/// Largest buffer that is kept: one record.
const SPARE_BYTES_MAX: usize = 18 << 10;

/// TLS of one worker.
#[derive(Debug)]
pub struct Engine {
    acceptor: Arc<Acceptor>,
    generation: u64,
    settings: Arc<Settings>,
    config: Arc<ServerConfig>,
    worker_rate: RateCell,
    spares: Vec<Vec<u8>>,
    /// For a ClientHello that came in several records.
    pub(super) joined: Vec<u8>,
}

impl Engine {
    /// The worker's part of `acceptor`.
    pub fn new(acceptor: Arc<Acceptor>, now: Instant) -> Self {
        let generation = acceptor.generation();
        let settings = acceptor.settings();
        let config = Arc::new(ServerConfig::clone(&settings.config));
        let worker_rate = RateCell::new(now);
        let spares = Vec::with_capacity(SPARES_MAX);
        Self { acceptor, generation, settings, config, worker_rate, spares, joined: Vec::new() }
    }

    /// Serves connections from now on from another acceptor; the ones there are go on.
    pub fn adopt(&mut self, acceptor: Arc<Acceptor>) {
        if !Arc::ptr_eq(&self.acceptor, &acceptor) {
            self.acceptor = acceptor;
            self.take_settings();
        }
    }

    fn take_settings(&mut self) {
        // Read before the settings: a reload in between is noticed next time.
        self.generation = self.acceptor.generation();
        self.settings = self.acceptor.settings();
        self.config = Arc::new(ServerConfig::clone(&self.settings.config));
    }

    /// Begins a handshake for a ClientHello that is whole, if the limits allow one more.
    pub(super) fn begin(
        &mut self,
        source: IpAddr,
        exempt: bool,
        now: Instant,
    ) -> Result<Box<UnbufferedServerConnection>, TlsError> {
        if self.generation != self.acceptor.generation() {
            self.take_settings();
        }
        if !exempt {
            if !self.acceptor.admit(source, &self.settings, now) {
                return Err(TlsError::SourceLimit);
            }
            let limit = self.settings.worker_rate.as_ref();
            if limit.is_some_and(|limit| !self.worker_rate.hit(limit, 1, now).is_admitted()) {
                return Err(TlsError::WorkerLimit);
            }
        }
        Ok(Box::new(UnbufferedServerConnection::new(Arc::clone(&self.config))?))
    }

    /// Whether the certificate of a connection whose client asked for `asked` is for `host`, by the certificates that
    /// the worker's last handshake chose from.
    pub fn coverage(&self, asked: &str, host: &str) -> Coverage {
        self.settings.resolver.coverage(asked, host)
    }

    /// Most bytes of handshake messages that are kept until they are whole.
    pub(super) fn handshake_bytes_max(&self) -> usize {
        self.settings.handshake_bytes_max
    }

    /// An empty buffer.
    pub(super) fn spare(&mut self) -> Vec<u8> {
        self.spares.pop().unwrap_or_default()
    }

    /// Takes a buffer back.
    pub(super) fn recycle(&mut self, mut buffer: Vec<u8>) {
        if self.spares.len() < SPARES_MAX && (1..=SPARE_BYTES_MAX).contains(&buffer.capacity()) {
            buffer.clear();
            self.spares.push(buffer);
        }
    }
}
