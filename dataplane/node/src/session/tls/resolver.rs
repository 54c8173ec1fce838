//! Which certificate a client gets: by the name it asks for (RFC 6066 §3), then by what it can verify.
//!
//! An exact name comes before a wildcard, which covers one label (RFC 9525 §6.3), and the first certificate of the
//! configuration serves everybody else: a client without SNI, by address, or for a name we do not have, which then
//! decides for itself. The same names tell whether a connection is the right one for a host (RFC 9110 §15.5.20). Among
//! certificates for one name ECDSA and Ed25519 come before RSA, ten times dearer to sign.

use std::borrow::Cow;
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

/// Whether the certificate of a connection is for a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// The client named nobody that a certificate is for: it took the default, and nothing follows from that.
    Unnamed,
    /// It is.
    Covered,
    /// Another one is, this one is not.
    Elsewhere,
    /// None is.
    Nowhere,
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
        name.and_then(|name| self.named(&lower(name))).unwrap_or(&self.default)
    }

    /// The certificates that answer for a name in lower case.
    fn named(&self, name: &str) -> Option<&Choice> {
        self.exact.get(name).or_else(|| self.wildcard(name))
    }

    fn wildcard(&self, name: &str) -> Option<&Choice> {
        self.wildcard.get(name.split_once('.')?.1)
    }

    /// Whether a connection whose client asked for `asked` may carry requests for `host`, as far as certificates go.
    /// Where a name has several, for clients of different abilities, each of them counts as the connection's.
    pub(super) fn coverage(&self, asked: &str, host: &str) -> Coverage {
        let (asked, host) = (lower(asked), lower(host));
        let Some(shown) = self.named(&asked) else { return Coverage::Unnamed };
        // A name may end with the root's dot; none of a certificate does.
        let host = host.strip_suffix('.').unwrap_or(&host);
        if asked == host {
            return Coverage::Covered;
        }
        let (exact, wildcard) = (self.exact.get(host), self.wildcard(host));
        if exact.is_none() && wildcard.is_none() {
            return Coverage::Nowhere;
        }
        let mut both = exact.into_iter().chain(wildcard).flatten();
        let is_shown = both.any(|certified| shown.iter().any(|other| Arc::ptr_eq(certified, other)));
        if is_shown { Coverage::Covered } else { Coverage::Elsewhere }
    }
}

fn lower(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
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
