//! What a client certificate says of its holder.
//!
//! Owns: reading subject, names, number and validity of a certificate that TLS has verified. Does not own: the
//! verification (`api::tls`), revocation (`revoked`). Cost: some microseconds, once for a connection.

use core::net::IpAddr;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use uuid::Uuid;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::caller::Scope;

/// Whose certificate it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A node.
    Node(Uuid),
    /// A person or program.
    Operator {
        /// The common name.
        name: String,
        /// What it allows.
        scopes: Vec<Scope>,
    },
}

/// A certificate of a client, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Whose.
    pub holder: Holder,
    /// Its number, in hex.
    pub serial: String,
    /// Its end, in milliseconds since 1970.
    pub not_after_ms: u64,
}

impl Identity {
    /// Reads a certificate.
    ///
    /// # Errors
    /// What it lacks, for the log.
    pub fn read(der: &CertificateDer<'_>) -> Result<Self, String> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        let uris = uris_of(&certificate)?;
        let common_name = certificate.subject().iter_common_name().next();
        let common_name = common_name.and_then(|name| name.as_str().ok()).ok_or("it has no common name")?;
        let holder = match uris.iter().find_map(|uri| uri.strip_prefix("secbeat://node/")) {
            Some(id) => {
                let id = Uuid::parse_str(id).map_err(|_| "its node id is no UUID")?;
                if uris.len() != 1 || common_name != id.to_string() {
                    return Err(
                        "the subject of a node's certificate must be the node's id, and nothing else".into(),
                    );
                }
                Holder::Node(id)
            }
            None => Holder::Operator {
                name: super::check_name(common_name)?.to_owned(),
                scopes: scopes_of(&uris)?,
            },
        };
        let (_, not_after_ms) = validity_of(&certificate)?;
        Ok(Self { holder, serial: super::hex(certificate.raw_serial()), not_after_ms })
    }
}

/// When a certificate begins and ends, in milliseconds since 1970.
pub(super) fn validity_ms(der: &CertificateDer<'_>) -> Result<(u64, u64), String> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
    validity_of(&certificate)
}

/// When the first certificate of a PEM text ends, in milliseconds since 1970.
///
/// # Errors
/// What is wrong with the text.
pub fn end_ms_of_pem(pem: &str) -> Result<u64, String> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| error.to_string())?;
    validity_ms(&der).map(|(_, end_ms)| end_ms)
}

fn validity_of(certificate: &X509Certificate<'_>) -> Result<(u64, u64), String> {
    let ms = |seconds: i64| u64::try_from(seconds).ok()?.checked_mul(1_000);
    let validity = certificate.validity();
    ms(validity.not_before.timestamp())
        .zip(ms(validity.not_after.timestamp()))
        .ok_or("its dates are unusable".into())
}

fn uris_of<'a>(certificate: &'a X509Certificate<'a>) -> Result<Vec<&'a str>, String> {
    let Some(names) = certificate.subject_alternative_name().map_err(|error| error.to_string())? else {
        return Err("it has no names".into());
    };
    let uri = |name: &GeneralName<'a>| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    };
    Ok(names.value.general_names.iter().filter_map(uri).collect())
}

fn scopes_of(uris: &[&str]) -> Result<Vec<Scope>, String> {
    let words = uris.iter().filter_map(|uri| uri.strip_prefix("secbeat://scope/"));
    let scopes: Vec<Scope> = words
        .filter_map(|word| Scope::ALL.iter().find(|(_, known)| *known == word).map(|(scope, _)| *scope))
        .filter(|scope| !matches!(scope, Scope::Join | Scope::Node))
        .collect();
    if scopes.is_empty() {
        return Err("it names no scope".into());
    }
    Ok(scopes)
}

/// DNS names and addresses of the first certificate of a PEM text.
///
/// # Errors
/// What is wrong with the text.
pub fn names_of_pem(pem: &str) -> Result<Vec<String>, String> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| error.to_string())?;
    let (_, certificate) = X509Certificate::from_der(&der).map_err(|error| error.to_string())?;
    let names = certificate.subject_alternative_name().map_err(|error| error.to_string())?;
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
        },
        _ => None,
    };
    Ok(names.map_or_else(Vec::new, |names| names.value.general_names.iter().filter_map(text).collect()))
}
