//! Records in a TLS stream (RFC 5425), by rustls with the aws-lc-rs provider.
//!
//! Owns: authorities, our certificate, the name that the receiver must have. The receiver is always verified. Does not
//! own: connecting and waiting (`stream`). A frame counts as sent when the kernel has all of its ciphertext.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use secbeat_config::export::{Export, ExportTarget, HostPort};

use super::SinkError;
use super::connection::Sent;
use super::stream::{CONNECT_TIME, check, connect, whole_frames, write_patiently};

/// Plaintext given to TLS at once: one record of it (RFC 8446 §5.1).
const CHUNK_BYTES: usize = 16 << 10;

/// What is read from files.
#[derive(Debug)]
pub(super) struct Material {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Material {
    pub(super) fn read(export: &Export) -> Result<Self, SinkError> {
        let other = |reason: String| SinkError::Other { name: export.name.clone(), reason };
        let file = |path: &Path, reason: String| SinkError::File {
            name: export.name.clone(),
            path: path.to_path_buf(),
            reason,
        };
        let read = |path: &Path| fs::read(path).map_err(|error| file(path, error.to_string()));
        let chain = |path: &Path| {
            let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
            match found {
                Ok(found) if found.is_empty() => Err(file(path, "holds no certificate".to_owned())),
                Ok(found) => Ok(found),
                Err(error) => Err(file(path, error.to_string())),
            }
        };
        let mut roots = RootCertStore::empty();
        if let Some(path) = &export.ca_path {
            for certificate in chain(path)? {
                roots.add(certificate).map_err(|error| file(path, error.to_string()))?;
            }
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| other(error.to_string()))?
            .with_root_certificates(roots);
        let config = match (&export.cert_path, &export.key_path) {
            (Some(cert_path), Some(key_path)) => {
                let key = PrivateKeyDer::from_pem_slice(&read(key_path)?)
                    .map_err(|error| file(key_path, format!("holds no private key: {error}")))?;
                let built = builder.with_client_auth_cert(chain(cert_path)?, key);
                built.map_err(|error| file(cert_path, error.to_string()))?
            }
            _ => builder.with_no_client_auth(),
        };
        let host = match (&export.server_name, &export.target) {
            (Some(name), _) => name.clone(),
            (None, ExportTarget::Tls(to)) => to.host.clone(),
            _ => String::new(),
        };
        let name = ServerName::try_from(host).map_err(|error| other(format!("server_name: {error}")))?;
        Ok(Self { config: Arc::new(config), name })
    }
}

pub(super) struct TlsOut {
    stream: TcpStream,
    tls: ClientConnection,
}

impl TlsOut {
    pub(super) fn open(to: &HostPort, material: &Material) -> io::Result<Self> {
        let mut stream = connect(to)?;
        stream.set_read_timeout(Some(CONNECT_TIME))?;
        stream.set_write_timeout(Some(CONNECT_TIME))?;
        let made = ClientConnection::new(Arc::clone(&material.config), material.name.clone());
        let mut tls = made.map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut stream)?;
        }
        Ok(Self { stream, tls })
    }

    pub(super) fn send(&mut self, frames: &[Vec<u8>], is_over: &dyn Fn() -> bool) -> Sent {
        if let Err(error) = self.check() {
            return Sent { error: Some(error), ..Sent::default() };
        }
        let bytes = frames.concat();
        let mut written = 0;
        for chunk in bytes.chunks(CHUNK_BYTES) {
            if let Err(error) = self.write(chunk, is_over) {
                return Sent { done: whole_frames(frames, written), error: Some(error), ..Sent::default() };
            }
            written += chunk.len();
        }
        Sent { done: frames.len(), ..Sent::default() }
    }

    /// Encrypts, then writes all of the ciphertext.
    fn write(&mut self, chunk: &[u8], is_over: &dyn Fn() -> bool) -> io::Result<()> {
        self.tls.writer().write_all(chunk)?;
        let mut ciphertext = Vec::with_capacity(chunk.len() + 256);
        while self.tls.wants_write() {
            self.tls.write_tls(&mut ciphertext)?;
        }
        write_patiently(&self.stream, &ciphertext, is_over).1
    }

    /// Takes in tickets and alerts, without waiting.
    pub(super) fn check(&mut self) -> io::Result<()> {
        let Self { stream, tls } = self;
        let mut nothing = [0; 512];
        check(stream, || {
            let count = tls.read_tls(&mut &*stream)?;
            let state = tls.process_new_packets().map_err(io::Error::other)?;
            if state.peer_has_closed() {
                return Ok(0);
            }
            while let Ok(1..) = tls.reader().read(&mut nothing) {}
            Ok(count)
        })
    }

    pub(super) fn close(mut self) {
        self.tls.send_close_notify();
        let mut bytes = Vec::new();
        while self.tls.wants_write() && self.tls.write_tls(&mut bytes).is_ok() {}
        let _ = write_patiently(&self.stream, &bytes, &|| true);
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}
