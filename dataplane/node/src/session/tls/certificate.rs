//! Certificates from files: chain, key, OCSP response, and the names the certificate is for.
//!
//! Owns: reading and checking, so that a mistake is found before anything changes, with the file's name. Does not
//! own: which one a client gets (`resolver`).

use core::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use secbeat_config::node::Certificate;
use webpki::EndEntityCert;

/// Largest file that is read, bytes: a chain with many alternative names stays far below.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Most names of one certificate that are looked at; authorities issue at most 100.
const NAMES_MAX: usize = 256;
/// Most authorities in `client_ca_path`.
const AUTHORITIES_MAX: usize = 256;

/// Why a certificate cannot be used. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path}: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The self-signed certificate cannot be made or kept.
    #[error("making a self-signed certificate in {path}: {reason}")]
    SelfSigned {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// rustls refuses the whole.
    #[error("TLS settings: {0}")]
    Settings(String),
}

/// A file with a mistake in it.
fn content(path: &Path, reason: impl fmt::Display) -> LoadError {
    LoadError::Content { path: path.into(), reason: reason.to_string() }
}

/// One certificate, ready for use.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) certified: Arc<CertifiedKey>,
    /// DNS names it is for, lower case, `*.` at the front of some.
    pub(super) names: Vec<String>,
    pub(super) path: PathBuf,
}

/// Reads one certificate with its key.
pub(super) fn load(files: &Certificate, provider: &CryptoProvider) -> Result<Loaded, LoadError> {
    let chain = read_chain(&files.cert_path)?;
    let first = chain.first().ok_or_else(|| content(&files.cert_path, "holds no certificate"))?;
    let names = names(first).map_err(|error| content(&files.cert_path, error))?;
    let key_bytes = read(&files.key_path)?;
    let key = PrivateKeyDer::from_pem_slice(&key_bytes)
        .map_err(|error| content(&files.key_path, format_args!("holds no private key: {error}")))?;
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|error| content(&files.key_path, format_args!("cannot be used as a key: {error}")))?;
    warn_if_readable(&files.key_path);
    let mut certified = CertifiedKey::new(chain, key);
    if let Err(error) = certified.keys_match() {
        let cert_path = files.cert_path.display();
        return Err(content(&files.key_path, format_args!("does not belong to {cert_path}: {error}")));
    }
    if let Some(path) = &files.ocsp_path {
        let response = read(path)?;
        // OCSPResponse is a SEQUENCE (RFC 6960 §4.2.1); PEM or HTML is the usual mistake.
        if response.first() != Some(&0x30) {
            return Err(content(path, "is not an OCSP response in DER"));
        }
        certified.ocsp = Some(response);
    }
    Ok(Loaded { certified: Arc::new(certified), names, path: files.cert_path.clone() })
}

/// The authorities that may sign certificates of clients, and the bytes they come from.
pub(super) fn load_authorities(path: &Path) -> Result<(RootCertStore, Vec<u8>), LoadError> {
    let bytes = read(path)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes).take(AUTHORITIES_MAX) {
        let certificate = certificate.map_err(|error| content(path, error))?;
        roots.add(certificate).map_err(|error| content(path, error))?;
    }
    if roots.is_empty() {
        return Err(content(path, "holds no certificate"));
    }
    Ok((roots, bytes))
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, LoadError> {
    let bytes = read(path)?;
    CertificateDer::pem_slice_iter(&bytes).collect::<Result<_, _>>().map_err(|error| content(path, error))
}

/// The DNS names a certificate is for.
fn names(certificate: &CertificateDer<'_>) -> Result<Vec<String>, webpki::Error> {
    let certificate = EndEntityCert::try_from(certificate)?;
    Ok(certificate.valid_dns_names().take(NAMES_MAX).map(str::to_ascii_lowercase).collect())
}

fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    let fail = |source| LoadError::Read { path: path.into(), source };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)).map_err(fail)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(content(path, format_args!("is larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

/// Says when others on this machine can read a private key.
fn warn_if_readable(path: &Path) {
    let mode = fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o007 != 0 {
        tracing::warn!(
            component = "tls",
            event = "key_readable",
            path = %path.display(),
            "every user of this machine can read the private key: chmod 600 it"
        );
    }
}
