//! The built-in certificate authority of a fleet: ECDSA P-256, kept in `state_dir/ca`.
//!
//! Owns: the authority's keys, what certificates say, for how long they hold, which authorities are trusted. Does not
//! own: who may have a certificate (`service::enrol`, the operator at the console), what a certificate allows
//! (`identity`), revocation (`revoked`).
//!
//! ```text
//! ca/0001.crt            trusted until the certificates it signed have ended
//! ca/0002.crt 0002.key   the newest pair signs
//! ```
//!
//! `rotate` makes a new pair; the old key is deleted at once, the old certificate stays trusted for [`Authority`]'s
//! certificate lifetime and [`OVERLAP_MS`]. Cost: one signature for a certificate, about 50 us; reading the bundle
//! copies it. Limits: [`AUTHORITIES_MAX`].

use core::time::Duration;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKey, PublicKeyData, SanType, SerialNumber,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};
use uuid::Uuid;

use super::files;
use crate::caller::Scope;

/// Authorities in a directory at most: a rotation a day for a month. More are refused by `rotate`.
pub const AUTHORITIES_MAX: usize = 32;
/// How long, in milliseconds, a retired authority is trusted beyond the last certificate it can have signed.
pub const OVERLAP_MS: u64 = 86_400_000;
/// Life of an authority, in days: ten years, as its successor is made by `rotate` long before.
const AUTHORITY_DAYS: u64 = 3_650;
/// How far, in milliseconds, the beginning of a certificate lies in the past: clocks of nodes differ.
pub const BACKDATED_MS: u64 = 300_000;
/// Longest certificate request, in bytes. One with a P-384 key has less than 600.
pub const REQUEST_BYTES_MAX: usize = 4_096;
/// Names in a server certificate at most.
pub const NAMES_MAX: usize = 32;

/// Why the authority cannot do it.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// There is one already.
    #[error("{0}: holds an authority already; `rotate` makes a new one")]
    Exists(PathBuf),
    /// A certificate without its key.
    #[error(
        "{0}: the newest authority has no key beside it; restore it, or move the file away to use the one before"
    )]
    KeyMissing(PathBuf),
    /// Too many.
    #[error("{0}: {AUTHORITIES_MAX} authorities are the most; wait until the oldest have ended")]
    TooMany(PathBuf),
    /// A file.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that is not what it should be.
    #[error("{path}: {why}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// What was asked for cannot be signed.
    #[error("{0}")]
    Request(String),
    /// Signing failed.
    #[error("signing: {0}")]
    Sign(#[from] rcgen::Error),
}

/// What was signed.
#[derive(Clone, Debug)]
pub struct Issued {
    /// PEM: the certificate, then the authority's.
    pub chain_pem: String,
    /// Number of the certificate, in hex.
    pub serial: String,
    /// End, in milliseconds since 1970.
    pub not_after_ms: u64,
    /// SHA-256 of the public key, in hex.
    pub key_hash: String,
}

/// A certificate with the key that was made for it.
#[derive(Clone)]
pub struct IssuedPair {
    /// The certificate.
    pub issued: Issued,
    /// PEM, PKCS #8.
    pub key_pem: String,
}

/// The authority.
#[derive(Debug)]
pub struct Authority {
    directory: PathBuf,
    lifetime_ms: u64,
    state: ArcSwap<State>,
}

#[derive(Debug)]
struct State {
    number: u32,
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    /// Newest first.
    trusted: Vec<Trusted>,
}

#[derive(Clone, Debug)]
struct Trusted {
    der: CertificateDer<'static>,
    pem: String,
    until_ms: u64,
}

impl Authority {
    /// Makes the first authority below `state_dir`.
    ///
    /// # Errors
    /// When there is one, or files cannot be written.
    pub fn init(state_dir: &Path, lifetime: Duration, now_ms: u64) -> Result<Self, AuthorityError> {
        let directory = state_dir.join("ca");
        files::make_private_directory(&directory)?;
        if !numbers(&directory)?.is_empty() {
            return Err(AuthorityError::Exists(directory));
        }
        make(&directory, 1, now_ms)?;
        Self::open(state_dir, lifetime)?.ok_or(AuthorityError::KeyMissing(directory))
    }

    /// Opens the authority below `state_dir`; `None` when there is none.
    ///
    /// # Errors
    /// Files that are unreadable or do not fit each other.
    pub fn open(state_dir: &Path, lifetime: Duration) -> Result<Option<Self>, AuthorityError> {
        let directory = state_dir.join("ca");
        let lifetime_ms = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        let Some(state) = State::read(&directory, lifetime_ms)? else { return Ok(None) };
        Ok(Some(Self { directory, lifetime_ms, state: ArcSwap::from_pointee(state) }))
    }

    /// Reads the directory again: another process may have rotated.
    ///
    /// # Errors
    /// Files that are unreadable or do not fit each other; what was known stays.
    pub fn reload(&self) -> Result<(), AuthorityError> {
        let state = State::read(&self.directory, self.lifetime_ms)?;
        let state = state.ok_or_else(|| AuthorityError::KeyMissing(self.directory.clone()))?;
        self.state.store(Arc::new(state));
        Ok(())
    }

    /// Makes a new key and certificate, which sign from now on. The old key is deleted; its certificate stays trusted
    /// until everything it signed has ended. TLS listeners learn of it by their `reload`.
    ///
    /// # Errors
    /// Files, or [`AUTHORITIES_MAX`].
    pub fn rotate(&self, now_ms: u64) -> Result<(), AuthorityError> {
        let old = self.state.load_full();
        for number in numbers(&self.directory)? {
            let known = read_certificate(&self.directory, number)?;
            let is_trusted = old.trusted.iter().any(|held| held.der == known.0 && held.until_ms > now_ms);
            if !is_trusted {
                files::remove(&path_of(&self.directory, number, "crt"))?;
            }
        }
        if numbers(&self.directory)?.len() >= AUTHORITIES_MAX {
            return Err(AuthorityError::TooMany(self.directory.clone()));
        }
        make(&self.directory, old.number + 1, now_ms)?;
        self.reload()?;
        files::remove(&path_of(&self.directory, old.number, "key"))
    }

    /// Every trusted authority, PEM, newest first.
    pub fn bundle_pem(&self, now_ms: u64) -> String {
        self.state
            .load()
            .trusted
            .iter()
            .filter(|held| held.until_ms > now_ms)
            .map(|held| held.pem.as_str())
            .collect()
    }

    /// Every trusted authority, DER, newest first.
    pub fn bundle(&self, now_ms: u64) -> Vec<CertificateDer<'static>> {
        let state = self.state.load();
        state.trusted.iter().filter(|held| held.until_ms > now_ms).map(|held| held.der.clone()).collect()
    }

    /// A certificate for a server, with a new key. Names are DNS names or addresses.
    ///
    /// # Errors
    /// No name, too many, or one that is not a name.
    pub fn issue_server(&self, names: &[String], now_ms: u64) -> Result<IssuedPair, AuthorityError> {
        if names.is_empty() || names.len() > NAMES_MAX {
            return Err(AuthorityError::Request(format!("a server certificate has 1 to {NAMES_MAX} names")));
        }
        let mut params = CertificateParams::new(names.to_vec())
            .map_err(|error| AuthorityError::Request(format!("a name of {names:?}: {error}")))?;
        params.distinguished_name = common_name(names.first().map_or("server", String::as_str));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign_with_new_key(params, now_ms)
    }

    /// A certificate for a person or program, with a new key.
    ///
    /// # Errors
    /// A name that cannot be one, no scope, or a scope that only nodes have.
    pub fn issue_operator(
        &self,
        name: &str,
        scopes: &[Scope],
        now_ms: u64,
    ) -> Result<IssuedPair, AuthorityError> {
        super::check_name(name).map_err(AuthorityError::Request)?;
        if scopes.is_empty() || scopes.iter().any(|scope| matches!(scope, Scope::Join | Scope::Node)) {
            return Err(AuthorityError::Request(
                "a certificate of an operator has one or more of the scopes of people, not `join` or `node`"
                    .into(),
            ));
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(name);
        for scope in scopes {
            params.subject_alt_names.push(uri(&format!("secbeat://scope/{}", scope.word()))?);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign_with_new_key(params, now_ms)
    }

    /// A certificate for a node. Of the request only the key is taken; a common name in it must be the node's id.
    ///
    /// # Errors
    /// A request that is no PKCS #10, is not signed by its own key, names another node, or has an unusual key.
    pub fn issue_node(
        &self,
        node_id: Uuid,
        request_der: &[u8],
        now_ms: u64,
    ) -> Result<Issued, AuthorityError> {
        let key = read_request(node_id, request_der)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(&node_id.to_string());
        params.subject_alt_names = vec![uri(&format!("secbeat://node/{node_id}"))?];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params, &key, now_ms)
    }

    fn sign_with_new_key(
        &self,
        params: CertificateParams,
        now_ms: u64,
    ) -> Result<IssuedPair, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        Ok(IssuedPair { issued: self.sign(params, &key, now_ms)?, key_pem: key.serialize_pem() })
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        key: &impl PublicKeyData,
        now_ms: u64,
    ) -> Result<Issued, AuthorityError> {
        let state = self.state.load();
        let serial = new_serial()?;
        let not_after_ms = now_ms.saturating_add(self.lifetime_ms);
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, now_ms, not_after_ms);
        let certificate = params.signed_by(key, &state.issuer)?;
        Ok(Issued {
            chain_pem: certificate.pem() + &state.pem,
            serial: super::hex(&serial),
            // X.509 counts whole seconds.
            not_after_ms: not_after_ms / 1_000 * 1_000,
            key_hash: super::hex(digest(&SHA256, key.der_bytes()).as_ref()),
        })
    }
}

impl State {
    fn read(directory: &Path, lifetime_ms: u64) -> Result<Option<Self>, AuthorityError> {
        let mut numbers = numbers(directory)?;
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        let Some(&number) = numbers.first() else { return Ok(None) };
        let key_path = path_of(directory, number, "key");
        if !key_path.exists() {
            return Err(AuthorityError::KeyMissing(path_of(directory, number, "crt")));
        }
        let key =
            KeyPair::from_pem(&files::read_text(&key_path)?).map_err(|error| unreadable(&key_path, error))?;
        let mut trusted = Vec::new();
        let mut successor_ms = None;
        for number in numbers {
            let (der, pem) = read_certificate(directory, number)?;
            let path = path_of(directory, number, "crt");
            let (begin_ms, end_ms) =
                super::identity::validity_ms(&der).map_err(|why| unreadable(&path, why))?;
            let retired_ms = successor_ms.map_or(u64::MAX, |begin: u64| {
                begin.saturating_add(BACKDATED_MS).saturating_add(lifetime_ms).saturating_add(OVERLAP_MS)
            });
            trusted.push(Trusted { der, pem, until_ms: end_ms.min(retired_ms) });
            successor_ms = Some(begin_ms);
        }
        let newest = trusted.first().ok_or_else(|| AuthorityError::KeyMissing(key_path.clone()))?;
        let issuer =
            Issuer::from_ca_cert_der(&newest.der, key).map_err(|error| unreadable(&key_path, error))?;
        Ok(Some(Self { number, issuer, pem: newest.pem.clone(), trusted }))
    }
}

/// Makes key and certificate `number`: the key first, so that a certificate never stands without one.
fn make(directory: &Path, number: u32, now_ms: u64) -> Result<(), AuthorityError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let serial = new_serial()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(&format!("SecBeat authority {}", &super::hex(&serial)[..8]));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    set_validity(&mut params, now_ms, now_ms.saturating_add(AUTHORITY_DAYS * 86_400_000));
    let certificate = params.self_signed(&key)?;
    files::write_private(&path_of(directory, number, "key"), &key.serialize_pem())?;
    files::write_public(&path_of(directory, number, "crt"), &certificate.pem())
}

/// The key of a node's request.
fn read_request(node_id: Uuid, request_der: &[u8]) -> Result<PublicKey, AuthorityError> {
    if request_der.len() > REQUEST_BYTES_MAX {
        return Err(AuthorityError::Request(format!(
            "certificate_request: {} bytes are more than {REQUEST_BYTES_MAX}",
            request_der.len()
        )));
    }
    let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(request_der))
        .map_err(|error| AuthorityError::Request(format!("certificate_request: {error}")))?;
    let algorithm = request.public_key.algorithm();
    if ![&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519].contains(&algorithm) {
        return Err(AuthorityError::Request(
            "certificate_request: the key must be ECDSA P-256, ECDSA P-384 or Ed25519".into(),
        ));
    }
    let named = request.params.distinguished_name.get(&DnType::CommonName);
    if let Some(rcgen::DnValue::Utf8String(name)) = named
        && *name != node_id.to_string()
    {
        return Err(AuthorityError::Request(format!(
            "certificate_request: its common name must be the node's id, {node_id}, or be left out"
        )));
    }
    Ok(request.public_key)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn uri(text: &str) -> Result<SanType, AuthorityError> {
    Ok(SanType::URI(text.try_into()?))
}

fn set_validity(params: &mut CertificateParams, now_ms: u64, not_after_ms: u64) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(now_ms.saturating_sub(BACKDATED_MS) / 1_000);
    // The last year that X.509 can write is 9999.
    params.not_after = epoch + Duration::from_secs((not_after_ms / 1_000).min(253_402_300_799));
}

/// 127 random bits, positive and of constant length.
fn new_serial() -> Result<[u8; 16], AuthorityError> {
    let mut serial: [u8; 16] = super::random()
        .ok_or_else(|| AuthorityError::Request("the system gives no random numbers".into()))?;
    serial[0] = serial[0] & 0x7f | 0x40;
    Ok(serial)
}

/// Numbers of the certificates in a directory.
fn numbers(directory: &Path) -> Result<Vec<u32>, AuthorityError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(AuthorityError::File { path: directory.into(), source }),
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter_map(|name| name.strip_suffix(".crt")?.parse().ok()).collect())
}

fn path_of(directory: &Path, number: u32, ending: &str) -> PathBuf {
    directory.join(format!("{number:04}.{ending}"))
}

fn read_certificate(
    directory: &Path,
    number: u32,
) -> Result<(CertificateDer<'static>, String), AuthorityError> {
    let path = path_of(directory, number, "crt");
    let pem = files::read_text(&path)?;
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| unreadable(&path, error))?;
    Ok((der, pem))
}

fn unreadable(path: &Path, why: impl core::fmt::Display) -> AuthorityError {
    AuthorityError::Unreadable { path: path.into(), why: why.to_string() }
}

#[cfg(test)]
mod tests;
