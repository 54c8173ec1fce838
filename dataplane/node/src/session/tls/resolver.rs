//! Which certificate a client gets: by the name it asks for (RFC 6066 §3), then by what it can verify.
//!
//! An exact name comes before a wildcard, which covers one label (RFC 9525 §6.3), and the first certificate of the
//! configuration serves everybody else: a client without SNI, by address, or for a name we do not have, which then
//! decides for itself. Among certificates for one name ECDSA and Ed25519 come before RSA, ten times dearer to sign.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::SignatureAlgorithm;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::Loaded;

/// Certificates for one name, cheapest to sign first.
type Choice = Vec<Arc<CertifiedKey>>;

/// All certificates by name.
#[derive(Debug)]
pub(super) struct Resolver {
    exact: HashMap<String, Choice>,
    /// By what stands behind the star's dot.
    wildcard: HashMap<String, Choice>,
    /// For everybody else; never empty.
    default: Choice,
}

impl Resolver {
    /// From certificates in the order of the configuration; `None` without any.
    pub(super) fn new(certificates: &[Loaded]) -> Option<Self> {
        let first = certificates.first()?;
        let mut resolver = Self { exact: HashMap::new(), wildcard: HashMap::new(), default: Vec::new() };
        for loaded in certificates {
            for name in &loaded.names {
                let choice = match name.strip_prefix("*.") {
                    Some(parent) => resolver.wildcard.entry(parent.into()).or_default(),
                    None => resolver.exact.entry(name.clone()).or_default(),
                };
                choice.push(Arc::clone(&loaded.certified));
            }
            // The same names with another kind of key: clients that cannot verify the first get it as well.
            if loaded.names == first.names || Arc::ptr_eq(&loaded.certified, &first.certified) {
                resolver.default.push(Arc::clone(&loaded.certified));
            }
        }
        for choice in resolver.exact.values_mut().chain(resolver.wildcard.values_mut()) {
            choice.sort_by_key(|certified| is_rsa(certified));
        }
        resolver.default.sort_by_key(|certified| is_rsa(certified));
        Some(resolver)
    }

    fn choose(&self, name: Option<&str>) -> &Choice {
        let Some(name) = name else { return &self.default };
        let lower;
        let name = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            lower = name.to_ascii_lowercase();
            lower.as_str()
        } else {
            name
        };
        self.exact.get(name).or_else(|| self.wildcard.get(name.split_once('.')?.1)).unwrap_or(&self.default)
    }
}

fn is_rsa(certified: &CertifiedKey) -> bool {
    certified.key.algorithm() == SignatureAlgorithm::RSA
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let choice = self.choose(hello.server_name());
        let schemes = hello.signature_schemes();
        choice
            .iter()
            .find(|certified| certified.key.choose_scheme(schemes).is_some())
            // None can be verified: rustls finds that out and says it with the right alert.
            .or_else(|| choice.first())
            .map(Arc::clone)
    }
}
