//! The way out, whatever it is: opened, written to, closed.
//!
//! Owns: the choice among file, UDP, TCP, TLS, and what a call to send answers. Does not own: retries.

use std::io;
use std::sync::Arc;

use secbeat_config::export::{Export, ExportTarget};

use super::SinkError;
use super::file::FileOut;
use super::stream::TcpOut;
use super::tls::{Material, TlsOut};
use super::udp::UdpOut;

/// What became of some frames. What is neither done nor lost is to be sent again.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// Frames, from the first, that the kernel has whole.
    pub(super) done: usize,
    /// Frames after these that are lost.
    pub(super) lost: usize,
    /// The receiver's host said that an earlier datagram found nobody.
    pub(super) was_refused: bool,
    /// The connection is of no more use.
    pub(super) error: Option<io::Error>,
}

/// Opens connections of one sink.
#[derive(Debug)]
pub(super) enum Opener {
    File(Option<FileOut>),
    Udp,
    Tcp,
    Tls(Arc<Material>),
}

impl Opener {
    /// Looks at what the configuration names, and opens a file: mistakes are found before anything changes.
    pub(super) fn prepare(export: &Export) -> Result<Self, SinkError> {
        match &export.target {
            ExportTarget::File(path) => match FileOut::open(path, export) {
                Ok(file) => Ok(Self::File(Some(file))),
                Err(error) => {
                    let (name, path) = (export.name.clone(), path.clone());
                    Err(SinkError::File { name, path, reason: error.to_string() })
                }
            },
            ExportTarget::Udp(_) => Ok(Self::Udp),
            ExportTarget::Tcp(_) => Ok(Self::Tcp),
            ExportTarget::Tls(_) => Ok(Self::Tls(Arc::new(Material::read(export)?))),
        }
    }

    pub(super) fn open(&mut self, export: &Export) -> io::Result<Connection> {
        match (&export.target, self) {
            (ExportTarget::File(path), Self::File(first)) => match first.take() {
                Some(file) => Ok(Connection::File(file)),
                None => FileOut::open(path, export).map(Connection::File),
            },
            (ExportTarget::Udp(to), Self::Udp) => UdpOut::open(to).map(Connection::Udp),
            (ExportTarget::Tcp(to), Self::Tcp) => TcpOut::open(to).map(Connection::Tcp),
            (ExportTarget::Tls(to), Self::Tls(material)) => {
                // Files are read again: certificates are renewed while we run. Unreadable ones: the last good ones.
                if let Ok(fresh) = Material::read(export) {
                    *material = Arc::new(fresh);
                }
                TlsOut::open(to, material).map(|tls| Connection::Tls(Box::new(tls)))
            }
            _ => Err(io::Error::other("not prepared")),
        }
    }
}

/// An open way out.
pub(super) enum Connection {
    File(FileOut),
    Udp(UdpOut),
    Tcp(TcpOut),
    Tls(Box<TlsOut>),
}

impl Connection {
    /// Sends frames, each whole or not at all as far as can be told. `is_over` ends a wait for a slow receiver.
    pub(super) fn send(&mut self, frames: &[Vec<u8>], is_over: &dyn Fn() -> bool) -> Sent {
        match self {
            Self::File(file) => file.send(frames),
            Self::Udp(udp) => udp.send(frames),
            Self::Tcp(tcp) => tcp.send(frames, is_over),
            Self::Tls(tls) => tls.send(frames, is_over),
        }
    }

    /// Nothing was to be sent for a second.
    pub(super) fn handle_idle(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => file.sync(),
            Self::Udp(_) => Ok(()),
            Self::Tcp(tcp) => tcp.check(),
            Self::Tls(tls) => tls.check(),
        }
    }

    /// After a rotation: a file is to be opened anew, others go on.
    pub(super) fn reopened(self) -> Option<Self> {
        match self {
            Self::File(mut file) => {
                let _ = file.sync();
                None
            }
            other => Some(other),
        }
    }

    pub(super) fn close(self) {
        match self {
            Self::File(mut file) => drop(file.sync()),
            Self::Udp(_) => {}
            Self::Tcp(tcp) => tcp.close(),
            Self::Tls(tls) => tls.close(),
        }
    }
}
