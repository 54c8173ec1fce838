//! Accepting connections of one face: limits, handshake, who is at the other end.
//!
//! Owns: the way from a socket to a [`Connection`]. Does not own: the protocol on it (`tonic`, `hyper`).
//!
//! Plaintext is spoken only when `[access] loopback_open` is set and the listener is bound to a loopback address;
//! whoever is there is the administrator. Cost: one task while a handshake runs. Limits: connections of a listener
//! (`[api] connections_max`), a quarter of them for one address, [`HANDSHAKES_MAX`], [`HANDSHAKE_TIMEOUT_MS`];
//! a connection beyond any of them is closed at once and counted.

use core::net::{IpAddr, SocketAddr};
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use super::{Face, Tls};
use crate::access::identity::Identity;
use crate::api::counters::Counter;
use crate::orchestrator::Orchestrator;

/// Handshakes at the same time for one listener: each costs a signature. More are closed.
pub const HANDSHAKES_MAX: usize = 256;
/// Longest handshake, in milliseconds.
pub const HANDSHAKE_TIMEOUT_MS: u64 = 10_000;
/// Finished handshakes that wait to be served; when full, the accepting waits.
const WAITING_MAX: usize = 64;
/// Pause, in milliseconds, after the system refused to accept: descriptors are scarce.
const ACCEPT_PAUSE_MS: u64 = 100;

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Through which face.
    pub face: Face,
    /// Where from.
    pub address: SocketAddr,
    /// The client certificate, verified and read.
    pub identity: Option<Arc<Identity>>,
    /// Whether it is on this machine and `[access] loopback_open` is set.
    pub is_open_loopback: bool,
}

/// A connection that can be served.
#[derive(Debug)]
pub struct Connection {
    io: Io,
    peer: Peer,
    _place: Place,
}

#[derive(Debug)]
enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A bound listener.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    face: Face,
    tls: Option<Arc<Tls>>,
    orchestrator: Orchestrator,
}

impl Listener {
    /// Binds the address of a face. `tls` is needed unless the face is open on loopback.
    ///
    /// # Errors
    /// An address that cannot be bound, or that would be open to others.
    pub async fn bind(orchestrator: &Orchestrator, face: Face, tls: Option<Arc<Tls>>) -> io::Result<Self> {
        let config = &orchestrator.config;
        let address = match face {
            Face::Grpc => config.server.grpc_address,
            Face::Rest => config.server.bind_address,
        };
        let is_open = is_open(orchestrator, face);
        if is_open {
            tracing::warn!(face = face.word(), %address, "[access] loopback_open: whoever is on this machine is the \
                administrator, without token and TLS");
        }
        if !is_open && tls.is_none() {
            return Err(io::Error::other(format!("{} on {address} needs TLS", face.word())));
        }
        let tcp = TcpListener::bind(address).await?;
        Ok(Self { tcp, face, tls: tls.filter(|_| !is_open), orchestrator: orchestrator.clone() })
    }

    /// Where it is bound.
    ///
    /// # Errors
    /// The system's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Connections as they come. Accepting ends when the stream is dropped.
    pub fn connections(self) -> ReceiverStream<io::Result<Connection>> {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        tokio::spawn(self.accept(sender));
        ReceiverStream::new(receiver)
    }

    async fn accept(self, sender: mpsc::Sender<io::Result<Connection>>) {
        let places = Places::new(self.orchestrator.config.api.connections_max as usize);
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        loop {
            let accepted = tokio::select! {
                accepted = self.tcp.accept() => accepted,
                () = sender.closed() => return,
            };
            let (tcp, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(face = self.face.word(), %error, "accept");
                    tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                    continue;
                }
            };
            let counters = &self.orchestrator.access.counters;
            let Some(place) = places.take(address.ip()) else {
                counters.add(Counter::ConnectionsRefused);
                continue;
            };
            let Ok(handshake) = handshakes.clone().try_acquire_owned() else {
                counters.add(Counter::HandshakesRefused);
                continue;
            };
            let _ = tcp.set_nodelay(true);
            let peer =
                Peer { face: self.face, address, identity: None, is_open_loopback: self.tls.is_none() };
            let tls = self.tls.as_ref().map(|tls| tls.config(self.face));
            let (sender, orchestrator) = (sender.clone(), self.orchestrator.clone());
            tokio::spawn(async move {
                let timeout = Duration::from_millis(HANDSHAKE_TIMEOUT_MS);
                let result = tokio::time::timeout(timeout, shake(tcp, peer, tls, place)).await;
                drop(handshake);
                match result.unwrap_or_else(|_| Err("it took too long".into())) {
                    Ok(connection) => drop(sender.send(Ok(connection)).await),
                    Err(why) => {
                        orchestrator.access.counters.add(Counter::HandshakesFailed);
                        tracing::debug!(%address, %why, "handshake");
                    }
                }
            });
        }
    }
}

/// Whether a face speaks plaintext to its own machine.
pub fn is_open(orchestrator: &Orchestrator, face: Face) -> bool {
    let server = &orchestrator.config.server;
    let address = match face {
        Face::Grpc => server.grpc_address,
        Face::Rest => server.bind_address,
    };
    orchestrator.config.access.loopback_open && address.ip().is_loopback()
}

async fn shake(
    tcp: TcpStream,
    mut peer: Peer,
    tls: Option<Arc<rustls::ServerConfig>>,
    place: Place,
) -> Result<Connection, String> {
    let Some(config) = tls else {
        return Ok(Connection { io: Io::Plain(tcp), peer, _place: place });
    };
    let stream = TlsAcceptor::from(config).accept(tcp).await.map_err(|error| error.to_string())?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    if let Some(certificate) = certificate {
        peer.identity = Some(Arc::new(Identity::read(certificate)?));
    }
    Ok(Connection { io: Io::Tls(Box::new(stream)), peer, _place: place })
}

/// How many connections there may be.
#[derive(Clone, Debug)]
struct Places {
    all: Arc<Semaphore>,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
    address_max: usize,
}

/// The right to one connection.
#[derive(Debug)]
struct Place {
    _permit: OwnedSemaphorePermit,
    address: IpAddr,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Places {
    fn new(connections_max: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(connections_max)),
            by_address: Arc::default(),
            address_max: (connections_max / 4).max(1),
        }
    }

    fn take(&self, address: IpAddr) -> Option<Place> {
        let permit = self.all.clone().try_acquire_owned().ok()?;
        let mut counts = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= self.address_max {
            return None;
        }
        *count += 1;
        Some(Place { _permit: permit, address, by_address: self.by_address.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

impl Connection {
    /// Who is at the other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_read(cx, buffer),
            Io::Tls(io) => Pin::new(io.as_mut()).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_write(cx, bytes),
            Io::Tls(io) => Pin::new(io.as_mut()).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_write_vectored(cx, parts),
            Io::Tls(io) => Pin::new(io.as_mut()).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(io) => io.is_write_vectored(),
            Io::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_flush(cx),
            Io::Tls(io) => Pin::new(io.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Io::Tls(io) => Pin::new(io.as_mut()).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests;
