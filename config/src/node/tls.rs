//! `[tls]`: certificates, versions, client certificates, tickets and the limits on handshakes.
//!
//! Owns: paths and numbers. Does not own: what is in the files; the node reads them at start and at reload.

use core::time::Duration;
use std::path::PathBuf;

use crate::reader::{Choice, Table, Unit};

/// Most certificates of a node. Each costs a few kilobytes and is read again at every reload.
pub const CERTIFICATES_MAX: usize = 1_024;

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246.
    V1_2,
    /// RFC 8446.
    V1_3,
}

impl Choice for TlsVersion {
    const ALL: &'static [(&'static str, Self)] = &[("TLSv1.2", Self::V1_2), ("TLSv1.3", Self::V1_3)];
}

/// An application protocol that is offered inside TLS (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// HTTP/2.
    H2,
    /// HTTP/1.1.
    Http11,
}

impl Choice for Alpn {
    const ALL: &'static [(&'static str, Self)] = &[("h2", Self::H2), ("http/1.1", Self::Http11)];
}

/// Whether clients are asked for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// Not asked.
    Off,
    /// Asked; a wrong one is refused, none is let in.
    Optional,
    /// Asked; without one the handshake fails.
    Require,
}

impl Choice for ClientAuth {
    const ALL: &'static [(&'static str, Self)] =
        &[("off", Self::Off), ("optional", Self::Optional), ("require", Self::Require)];
}

/// When a request for a host that the connection's certificate is not for is answered with 421 (RFC 9110 §15.5.20).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misdirected {
    /// Never.
    Off,
    /// When another certificate is for it and the listener has routes by host.
    Routes,
    /// Always.
    Strict,
}

impl Choice for Misdirected {
    const ALL: &'static [(&'static str, Self)] =
        &[("off", Self::Off), ("routes", Self::Routes), ("strict", Self::Strict)];
}

/// One certificate: `cert_path` of `[tls]`, or an entry of `[[tls.certificates]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Certificate chain, PEM, the server's own first.
    pub cert_path: PathBuf,
    /// Private key, PEM.
    pub key_path: PathBuf,
    /// OCSP response to staple, DER.
    pub ocsp_path: Option<PathBuf>,
}

impl Certificate {
    fn read(t: &mut Table<'_>) -> Self {
        Self {
            cert_path: t.required(
                "cert_path",
                "cert.pem",
                "Certificate chain, PEM. The names it serves are those inside it.",
            ),
            key_path: t.required("key_path", "key.pem", "Private key, PEM."),
            ocsp_path: t.value_optional("ocsp_path", "OCSP response to staple, DER; read again at reload."),
        }
    }
}

/// `[tls]`.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Certificates, the one for clients that name none first. Empty = a self-signed one is made.
    pub certificates: Vec<Certificate>,
    /// Names in a certificate that the node makes for itself.
    pub self_signed_names: Vec<String>,
    /// Versions offered; never empty.
    pub protocols: Vec<TlsVersion>,
    /// Application protocols offered, the preferred one first; never empty.
    pub alpn: Vec<Alpn>,
    /// Whether clients are asked for a certificate.
    pub client_auth: ClientAuth,
    /// Who may sign client certificates, PEM. Present exactly when `client_auth` is not `Off`.
    pub client_ca_path: Option<PathBuf>,
    /// Requests for hosts that the connection's certificate is not for.
    pub misdirected: Misdirected,
    /// How long one ticket key makes tickets; `None` = no tickets.
    pub ticket_rotation: Option<Duration>,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// Handshakes per second from one source.
    pub source_handshake_rate: Option<u32>,
    /// Handshakes a source may begin at once above its rate.
    pub source_handshake_burst: u32,
    /// Handshakes per second on one worker.
    pub worker_handshake_rate: Option<u32>,
}

impl Tls {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        let certificates = read_certificates(t);
        let tls = Self {
            certificates,
            self_signed_names: t.list(
                "self_signed_names",
                &["localhost"],
                64,
                "Names and addresses in the certificate that the node makes for itself in `state_dir` when \
                 none is configured.",
            ),
            protocols: t.choices(
                "protocols",
                &[TlsVersion::V1_3, TlsVersion::V1_2],
                "Versions offered to clients.",
            ),
            alpn: t.choices(
                "alpn",
                &[Alpn::H2, Alpn::Http11],
                "Application protocols offered, the preferred one first.",
            ),
            client_auth: t.choice(
                "client_auth",
                ClientAuth::Off,
                "Whether clients are asked for a certificate: never (`off`), asked but let in without one \
                 (`optional`), or refused without one (`require`).",
            ),
            client_ca_path: t.value_optional(
                "client_ca_path",
                "Certificates that may sign those of clients, PEM. Needed when `client_auth` is not `off`.",
            ),
            misdirected: t.choice(
                "misdirected",
                Misdirected::Routes,
                "Which requests are answered with 421 on a connection whose client named a host that a certificate \
                 is for: none (`off`), those for a host that only another certificate is for where routes go by \
                 host (`routes`), those for any host that the connection's certificate is not for (`strict`). \
                 Never those of `[http] trusted_proxies`.",
            ),
            ticket_rotation: t.duration_limit(
                "ticket_rotation",
                Duration::from_secs(6 * 3_600),
                Duration::from_secs(7 * 86_400),
                Unit::Seconds,
                "How long one key makes session tickets; it opens them for as long again. Keys follow from \
                 the node's secret, so nodes that share it accept each other's tickets. 0 = no tickets.",
            ),
            handshake_timeout: t.duration(
                "handshake_timeout",
                Duration::from_secs(10),
                Duration::from_millis(100)..=Duration::from_secs(300),
                Unit::Seconds,
                "How long a TLS handshake may take from the first byte.",
            ),
            source_handshake_rate: t.limit(
                "source_handshake_rate",
                50,
                1_000_000,
                "handshakes/s",
                "TLS handshakes per second from one source, each about a thousand times dearer than a \
                 packet; 0 = no limit. Above it the connection is reset before any cryptography.",
            ),
            source_handshake_burst: t.integer(
                "source_handshake_burst",
                100,
                1..=1_000_000,
                "handshakes",
                "How many handshakes a source may begin at once above its rate.",
            ),
            worker_handshake_rate: t.limit(
                "worker_handshake_rate",
                5_000,
                1_000_000,
                "handshakes/s",
                "TLS handshakes per second on one worker, about half of what a core can do, so that open \
                 connections keep the other half; 0 = no limit.",
            ),
        };
        check(t, &tls);
        tls
    }
}

fn read_certificates(t: &mut Table<'_>) -> Vec<Certificate> {
    let cert_path: Option<PathBuf> = t.value_optional(
        "cert_path",
        "Certificate chain, PEM, for clients that name no server or an unknown one. Without any certificate \
         the node makes a self-signed one.",
    );
    let key_path: Option<PathBuf> = t.value_optional("key_path", "Private key of `cert_path`, PEM.");
    let ocsp_path: Option<PathBuf> =
        t.value_optional("ocsp_path", "OCSP response to staple to `cert_path`, DER; read again at reload.");
    let mut certificates = Vec::new();
    match (cert_path, key_path) {
        (Some(cert_path), Some(key_path)) => {
            certificates.push(Certificate { cert_path, key_path, ocsp_path });
        }
        (Some(_), None) => t.conflict("cert_path", "needs key_path"),
        (None, Some(_)) => t.conflict("key_path", "needs cert_path"),
        (None, None) if ocsp_path.is_some() => t.conflict("ocsp_path", "needs cert_path and key_path"),
        (None, None) => {}
    }
    certificates.extend(t.tables("certificates", CERTIFICATES_MAX, Certificate::read));
    certificates
}

fn check(t: &Table<'_>, tls: &Tls) {
    match (tls.client_auth, &tls.client_ca_path) {
        (ClientAuth::Off, Some(_)) => {
            t.conflict("client_ca_path", "is given but client_auth is \"off\": nobody would be asked");
        }
        (ClientAuth::Optional | ClientAuth::Require, None) => {
            t.conflict("client_auth", "needs client_ca_path: who may sign?");
        }
        _ => {}
    }
    for (index, certificate) in tls.certificates.iter().enumerate() {
        if tls.certificates.iter().take(index).any(|other| other.cert_path == certificate.cert_path) {
            let path = certificate.cert_path.display();
            t.conflict("certificates", &format!("{path} is listed twice"));
        }
    }
    if tls.certificates.is_empty() && tls.self_signed_names.is_empty() {
        t.conflict("self_signed_names", "is empty and no certificate is given");
    }
}
