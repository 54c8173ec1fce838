//! What TLS of all workers is made from: certificates, versions, tickets; replaced whole at a reload.
//!
//! Owns: one immutable rustls configuration at a time, and the limiter of handshakes by source. Does not own:
//! connections. One that exists keeps the configuration it began with, so a reload drops none; one that fails to
//! load changes nothing.

use core::net::IpAddr;
use core::sync::atomic::{AtomicU64, Ordering};
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use secbeat_config::node::{Alpn, ClientAuth, Tls, TlsVersion};
use secbeat_net::flow::{HashKey, hash_addr};
use secbeat_net::limit::{Rate, RateLimit, RateTable};
use secbeat_net::time::Instant;

use super::certificate::{self, LoadError};
use super::resolver::Resolver;
use super::ticket::Tickets;
use super::{Protocol, self_signed};
use crate::start::secret::{Master, Purpose};

/// Sources whose handshakes are told apart: 64 Ki slots of 8 bytes. When more come than fit, the ones nearest to
/// having all their credit back are forgotten.
const SOURCE_SLOTS: usize = 65_536;
/// Keeps the limiter's hashes apart from others under the same key.
const SOURCE_DOMAIN: u32 = 0x746c_7373;
/// Tickets sent after a TLS 1.3 handshake: two, so that a client can resume two connections at once.
const TICKETS_PER_HANDSHAKE: usize = 2;
/// Most bytes of a client's handshake messages kept until they are whole: one record without certificates.
const HANDSHAKE_BYTES_MAX: usize = 20 << 10;
/// The same where clients show a chain of certificates, in a few records.
const HANDSHAKE_BYTES_MAX_CLIENT_AUTH: usize = 40 << 10;

/// What was loaded, for the log and the status page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Files and the names of the certificate in each.
    pub certificates: Vec<(String, Vec<String>)>,
    /// Whether a self-signed certificate was made just now.
    pub self_signed_made: bool,
    /// Whether the certificate in use is one that the node made itself.
    pub self_signed: bool,
}

/// One configuration.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) config: Arc<ServerConfig>,
    pub(super) resolver: Arc<Resolver>,
    pub(super) source_rate: Option<RateLimit>,
    pub(super) worker_rate: Option<RateLimit>,
    pub(super) source_v6_bits: u8,
    pub(super) handshake_bytes_max: usize,
}

/// TLS of a node.
#[derive(Debug)]
pub struct Acceptor {
    settings: ArcSwap<Settings>,
    generation: AtomicU64,
    sources: RateTable,
    key: HashKey,
}

impl Acceptor {
    /// Reads everything that `tls` names. `source_v6_bits`: how much of an IPv6 address is one source.
    ///
    /// # Errors
    /// What is missing or wrong, with its file.
    pub fn load(
        tls: &Tls,
        source_v6_bits: u8,
        state_dir: &Path,
        master: &Master,
    ) -> Result<(Self, Loaded), LoadError> {
        let (settings, loaded) = read(tls, source_v6_bits, state_dir, master)?;
        let acceptor = Self {
            settings: ArcSwap::from_pointee(settings),
            generation: AtomicU64::new(0),
            sources: RateTable::new(SOURCE_SLOTS),
            key: master.derive(Purpose::Table, u64::from(SOURCE_DOMAIN)),
        };
        Ok((acceptor, loaded))
    }

    /// Reads everything again; connections from now on get it.
    ///
    /// # Errors
    /// As [`Acceptor::load`]; everything stays as it was.
    pub fn reload(
        &self,
        tls: &Tls,
        source_v6_bits: u8,
        state_dir: &Path,
        master: &Master,
    ) -> Result<Loaded, LoadError> {
        let (settings, loaded) = read(tls, source_v6_bits, state_dir, master)?;
        self.settings.store(Arc::new(settings));
        self.generation.fetch_add(1, Ordering::Release);
        Ok(loaded)
    }

    /// How often it was reloaded.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// Counts a handshake of `source`; false when it has had too many.
    pub(super) fn admit(&self, source: IpAddr, settings: &Settings, now: Instant) -> bool {
        let Some(limit) = &settings.source_rate else { return true };
        let hash = hash_addr(&self.key, masked(source, settings.source_v6_bits), SOURCE_DOMAIN);
        self.sources.hit(hash, limit, now).is_admitted()
    }
}

/// The network that counts as one source.
fn masked(source: IpAddr, v6_bits: u8) -> IpAddr {
    match source {
        IpAddr::V4(_) => source,
        IpAddr::V6(addr) => {
            let host_bits = 128 - u32::from(v6_bits.min(128));
            let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
            IpAddr::V6((addr.to_bits() & mask).into())
        }
    }
}

fn read(
    tls: &Tls,
    source_v6_bits: u8,
    state_dir: &Path,
    master: &Master,
) -> Result<(Settings, Loaded), LoadError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let (files, self_signed_made) = if tls.certificates.is_empty() {
        let (certificate, is_new) = self_signed::ensure(state_dir, &tls.self_signed_names)?;
        (vec![certificate], is_new)
    } else {
        (tls.certificates.clone(), false)
    };
    let certificates: Vec<certificate::Loaded> =
        files.iter().map(|files| certificate::load(files, &provider)).collect::<Result<_, _>>()?;
    let described = |loaded: &certificate::Loaded| (loaded.path.display().to_string(), loaded.names.clone());
    let loaded = Loaded {
        certificates: certificates.iter().map(described).collect(),
        self_signed_made,
        self_signed: tls.certificates.is_empty(),
    };
    let resolver =
        Resolver::new(&certificates).ok_or_else(|| LoadError::Settings("no certificate".into()))?;
    let resolver = Arc::new(resolver);
    let clients = clients(tls, &provider)?;
    let config = server_config(tls, provider, Arc::clone(&resolver), clients, master)?;
    let rate = |per_second: u32, burst: u32| RateLimit::new(Rate { burst, ..Rate::per_second(per_second) });
    let handshake_bytes_max = match tls.client_auth {
        ClientAuth::Off => HANDSHAKE_BYTES_MAX,
        ClientAuth::Optional | ClientAuth::Require => HANDSHAKE_BYTES_MAX_CLIENT_AUTH,
    };
    let settings = Settings {
        config: Arc::new(config),
        resolver,
        source_rate: tls.source_handshake_rate.map(|count| rate(count, tls.source_handshake_burst)),
        // A tenth of a second's worth at once: more would hold up everything else of the worker.
        worker_rate: tls.worker_handshake_rate.map(|count| rate(count, (count / 10).max(1))),
        source_v6_bits,
        handshake_bytes_max,
    };
    Ok((settings, loaded))
}

/// Certificates of clients.
#[derive(Default)]
struct Clients {
    /// Who checks them; `None` = nobody is asked for one.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// The bytes that its judgement depends on: a ticket stands for one judgement and is not taken under another.
    trust: Vec<u8>,
}

fn clients(tls: &Tls, provider: &Arc<CryptoProvider>) -> Result<Clients, LoadError> {
    let Some(path) = tls.client_ca_path.as_deref().filter(|_| tls.client_auth != ClientAuth::Off) else {
        return Ok(Clients::default());
    };
    let (roots, mut trust) = certificate::load_authorities(path)?;
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    if tls.client_auth == ClientAuth::Optional {
        builder = builder.allow_unauthenticated();
        trust.push(1);
    }
    let verifier = builder
        .build()
        .map_err(|error| LoadError::Content { path: path.into(), reason: error.to_string() })?;
    Ok(Clients { verifier: Some(verifier), trust })
}

fn server_config(
    tls: &Tls,
    provider: Arc<CryptoProvider>,
    resolver: Arc<Resolver>,
    clients: Clients,
    master: &Master,
) -> Result<ServerConfig, LoadError> {
    let versions: Vec<_> = tls
        .protocols
        .iter()
        .map(|version| match version {
            TlsVersion::V1_2 => &rustls::version::TLS12,
            TlsVersion::V1_3 => &rustls::version::TLS13,
        })
        .collect();
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|error| LoadError::Settings(error.to_string()))?;
    let builder = match clients.verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(resolver);
    let protocol = |alpn: &Alpn| match alpn {
        Alpn::H2 => Protocol::H2.wire().to_vec(),
        Alpn::Http11 => Protocol::Http11.wire().to_vec(),
    };
    config.alpn_protocols = tls.alpn.iter().map(protocol).collect();
    // No session in memory: an idle client costs its connection and nothing after it.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    match tls.ticket_rotation {
        Some(rotation) => {
            config.ticketer = Tickets::new(&ticket_secret(master), &clients.trust, rotation);
            config.send_tls13_tickets = TICKETS_PER_HANDSHAKE;
        }
        None => config.send_tls13_tickets = 0,
    }
    Ok(config)
}

/// What keys of tickets follow from.
fn ticket_secret(master: &Master) -> [u8; 32] {
    let mut secret = [0; 32];
    let words = (0..2).flat_map(|number| master.derive(Purpose::Ticket, number).0);
    for (place, word) in secret.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    secret
}
