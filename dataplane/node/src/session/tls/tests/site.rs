//! Certificates and configurations of a test.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, SignatureAlgorithm,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use secbeat_config::node::Tls;
use secbeat_net::time::Instant;
use tempfile::TempDir;

use crate::session::tls::{Acceptor, Engine, LoadError};
use crate::start::secret::Master;

/// When a test begins.
pub(super) const NOW: Instant = Instant::from_millis(1_000_000);

/// An authority, a directory of what it signed, and a configuration.
pub(super) struct Site {
    dir: TempDir,
    authority: Issuer<'static, KeyPair>,
    authority_der: CertificateDer<'static>,
    pub(super) authority_pem: String,
}

impl Site {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "authority of a test");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let (authority_der, authority_pem) = (certificate.der().clone(), certificate.pem());
        Self {
            dir: TempDir::new().unwrap(),
            authority: Issuer::new(params, key),
            authority_der,
            authority_pem,
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    /// Signs a certificate and writes `<file>.pem` and `<file>.key`.
    pub(super) fn issue(&self, file: &str, names: &[&str]) {
        self.issue_with(file, names, &PKCS_ECDSA_P256_SHA256);
    }

    pub(super) fn issue_with(&self, file: &str, names: &[&str], algorithm: &'static SignatureAlgorithm) {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).into()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, file);
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        self.write(&format!("{file}.pem"), certificate.pem());
        self.write(&format!("{file}.key"), key.serialize_pem());
    }

    /// `[tls]` with the certificates `files`, the first one as default, and further lines.
    pub(super) fn tls(&self, files: &[&str], lines: &str) -> Tls {
        let mut text = format!("[tls]\n{lines}\n");
        for file in files {
            text += &format!(
                "[[tls.certificates]]\ncert_path = {:?}\nkey_path = {:?}\n",
                self.path(&format!("{file}.pem")),
                self.path(&format!("{file}.key"))
            );
        }
        secbeat_config::parse(&text).unwrap_or_else(|errors| panic!("{errors}")).tls
    }

    pub(super) fn load(&self, tls: &Tls) -> Result<Acceptor, LoadError> {
        Acceptor::load(tls, 64, self.dir.path(), &master(1)).map(|(acceptor, _)| acceptor)
    }

    /// A worker of a node with the certificates `files`.
    pub(super) fn engine(&self, files: &[&str], lines: &str) -> Engine {
        let acceptor = self.load(&self.tls(files, lines)).unwrap_or_else(|error| panic!("{error}"));
        Engine::new(Arc::new(acceptor), NOW)
    }

    /// A node for `a.test` with everything at its default but no limits.
    pub(super) fn plain_engine(&self) -> Engine {
        self.issue("a", &["a.test"]);
        self.engine(&["a"], NO_LIMITS)
    }

    /// A client that trusts the authority.
    pub(super) fn client(&self) -> ClientConfig {
        self.client_of(&[&rustls::version::TLS13, &rustls::version::TLS12])
    }

    pub(super) fn client_of(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let mut config = self.builder(versions).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    }

    /// A client that shows the certificate `file`.
    pub(super) fn client_with(
        &self,
        file: &str,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConfig {
        let chain = vec![CertificateDer::from_pem_file(self.path(&format!("{file}.pem"))).unwrap()];
        let key = PrivateKeyDer::from_pem_file(self.path(&format!("{file}.key"))).unwrap();
        self.builder(versions).with_client_auth_cert(chain, key).unwrap()
    }

    fn builder(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority_der.clone()).unwrap();
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
    }
}

pub(super) const NO_LIMITS: &str = "source_handshake_rate = 0\nworker_handshake_rate = 0";

/// The secret number `number`.
pub(super) fn master(number: u8) -> Master {
    Master::from_bytes(&[number; 32]).unwrap()
}
