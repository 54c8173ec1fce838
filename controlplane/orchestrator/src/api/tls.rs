//! TLS of both faces: which certificate the servers show, which clients' certificates they trust.
//!
//! Owns: the two server configurations, their renewal without dropping a connection. Does not own: accepting
//! connections (`accept`), who a certificate's holder is (`access::identity`).
//!
//! TLS 1.3 only: the peers are our nodes, our command line tool and programs younger than it. The provider is
//! aws-lc-rs, by name. A client may show a certificate of the fleet's authority; without one it needs a token. The
//! server's own certificate is that of `[tls]`; without it, one that the authority issues for the host's name and the
//! addresses bound, kept in `state_dir/tls/server.pem` and made anew after two thirds of its life.
//!
//! Cost: a reload reads three files; a connection takes the configuration that holds at its beginning.

pub mod accept;

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoClientAuth, ServerConfig, WebPkiClientVerifier};
use rustls::{RootCertStore, version};
use secbeat_config::orchestrator::OrchestratorConfig;

use crate::access::authority::Authority;
use crate::access::{files, identity};
use crate::orchestrator::{Orchestrator, now_ms};

/// Which face a listener belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Face {
    /// Nodes and the command line tool.
    Grpc,
    /// People and programs.
    Rest,
}

impl Face {
    /// The word in the audit log.
    pub fn word(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Rest => "rest",
        }
    }

    fn alpn(self) -> Vec<u8> {
        match self {
            Self::Grpc => b"h2".to_vec(),
            Self::Rest => b"http/1.1".to_vec(),
        }
    }
}

/// The configurations in force.
#[derive(Debug)]
pub struct Tls {
    grpc: ArcSwap<ServerConfig>,
    rest: ArcSwap<ServerConfig>,
}

impl Tls {
    /// Reads certificates, or has the authority issue one.
    ///
    /// # Errors
    /// No certificate and no authority, or files that do not fit each other.
    pub fn open(orchestrator: &Orchestrator) -> anyhow::Result<Self> {
        let authority = orchestrator.access.authority.as_ref();
        let (grpc, rest) = read(&orchestrator.config, authority, now_ms())?;
        Ok(Self { grpc: ArcSwap::from_pointee(grpc), rest: ArcSwap::from_pointee(rest) })
    }

    /// Reads everything again: on SIGHUP, after a rotation, and once a day so that an issued certificate never ends.
    /// Connections that are open stay. On an error what was in force stays in force.
    ///
    /// # Errors
    /// As [`Tls::open`].
    pub fn reload(&self, orchestrator: &Orchestrator) -> anyhow::Result<()> {
        let authority = orchestrator.access.authority.as_ref();
        authority.map_or(Ok(()), Authority::reload)?;
        let (grpc, rest) = read(&orchestrator.config, authority, now_ms())?;
        self.grpc.store(Arc::new(grpc));
        self.rest.store(Arc::new(rest));
        Ok(())
    }

    /// What a new connection of this face uses.
    pub fn config(&self, face: Face) -> Arc<ServerConfig> {
        match face {
            Face::Grpc => self.grpc.load_full(),
            Face::Rest => self.rest.load_full(),
        }
    }
}

fn read(
    config: &OrchestratorConfig,
    authority: Option<&Authority>,
    now_ms: u64,
) -> anyhow::Result<(ServerConfig, ServerConfig)> {
    let (chain, key) = server_pair(config, authority, now_ms)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = match authority {
        None => Arc::new(NoClientAuth) as Arc<dyn rustls::server::danger::ClientCertVerifier>,
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            for der in authority.bundle(now_ms) {
                roots.add(der).context("the authority's own certificate")?;
            }
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .allow_unauthenticated()
                .build()?
        }
    };
    let make = |face: Face| -> anyhow::Result<ServerConfig> {
        let mut config = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&version::TLS13])?
            .with_client_cert_verifier(verifier.clone())
            .with_single_cert(chain.clone(), key.clone_key())
            .context("the server's certificate and its key")?;
        config.alpn_protocols = vec![face.alpn()];
        Ok(config)
    };
    Ok((make(Face::Grpc)?, make(Face::Rest)?))
}

type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The server's certificate: the configured one, the kept one, or a new one.
fn server_pair(
    config: &OrchestratorConfig,
    authority: Option<&Authority>,
    now_ms: u64,
) -> anyhow::Result<Pair> {
    if let (Some(certificate), Some(key)) = (&config.tls.cert_path, &config.tls.key_path) {
        let chain = files::read_text(certificate)?;
        let key = files::read_text(key)?;
        return parse_pair(&chain, &key)
            .with_context(|| format!("[tls] cert_path {}", certificate.display()));
    }
    let authority = authority.context(
        "no certificate for the servers: set [tls] cert_path and key_path, make an authority with \
         `secbeat-orchestrator ca init`, or, on one machine only, set [access] loopback_open = true",
    )?;
    let path = kept_path(config);
    let names = names_of(config);
    if let Ok(text) = files::read_text(&path)
        && is_usable(&text, &names, authority, config, now_ms)
        && let Ok(pair) = parse_pair(&text, &text)
    {
        return Ok(pair);
    }
    let pair = authority.issue_server(&names, now_ms)?;
    let text = pair.issued.chain_pem + &pair.key_pem;
    files::make_private_directory(&config.server.state_dir.join("tls"))?;
    files::write_private(&path, &text)?;
    tracing::info!(?names, path = %path.display(), "a server certificate was issued by the built-in authority");
    parse_pair(&text, &text)
}

fn kept_path(config: &OrchestratorConfig) -> PathBuf {
    config.server.state_dir.join("tls").join("server.pem")
}

/// Whether a kept certificate names everything, was signed by the newest authority, and has a third of its life left.
fn is_usable(
    text: &str,
    names: &[String],
    authority: &Authority,
    config: &OrchestratorConfig,
    now_ms: u64,
) -> bool {
    let lifetime_ms = u64::try_from(config.access.certificate_lifetime.as_millis()).unwrap_or(u64::MAX);
    let has_time = identity::end_ms_of_pem(text).is_ok_and(|end_ms| end_ms > now_ms + lifetime_ms / 3);
    let newest = authority.bundle(now_ms).into_iter().next();
    let is_of_newest =
        CertificateDer::pem_slice_iter(text.as_bytes()).filter_map(Result::ok).nth(1) == newest;
    has_time
        && is_of_newest
        && identity::names_of_pem(text).is_ok_and(|held| names.iter().all(|n| held.contains(n)))
}

/// Names that clients may use for this server.
fn names_of(config: &OrchestratorConfig) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".into(), "::1".into()];
    if let Ok(host) = fs::read_to_string("/proc/sys/kernel/hostname") {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
        let host = host.trim();
        if !host.is_empty() && host != "localhost" && host.bytes().all(is_allowed) {
            names.insert(0, host.to_owned());
        }
    }
    for address in [config.server.grpc_address.ip(), config.server.bind_address.ip()] {
        let name = IpAddr::to_string(&address);
        if !address.is_unspecified() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn parse_pair(chain: &str, key: &str) -> anyhow::Result<Pair> {
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).context("the key")?;
    Ok((chain, key))
}

#[cfg(test)]
mod tests;
