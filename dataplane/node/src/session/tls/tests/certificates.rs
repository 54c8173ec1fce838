//! Which certificate a client gets, what is read from files, and reload.

use std::sync::{Arc, Mutex};

use rcgen::{PKCS_ED25519, PKCS_RSA_SHA256};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use super::pair::Pair;
use super::site::{NO_LIMITS, NOW, Site, master};
use crate::session::tls::{Acceptor, Engine, LoadError, Outcome};

/// The certificate that a client who asks for `name` gets, by the file it came from.
fn given(site: &Site, engine: &mut Engine, name: &str, files: &[&str]) -> String {
    let mut config = site.client();
    // Whatever it is, it is only looked at.
    let lenient = Lenient::of(&config);
    config.dangerous().set_certificate_verifier(Arc::new(lenient));
    let mut pair = Pair::new(config, name);
    pair.run(engine);
    let certificate = pair.client.peer_certificates().unwrap()[0].clone();
    let is_it = |file: &&&str| {
        CertificateDer::from_pem_file(site.path(&format!("{file}.pem"))).unwrap() == certificate
    };
    (*files.iter().find(is_it).unwrap()).into()
}

#[test]
fn name_chooses_the_certificate_exactly_then_by_wildcard_then_the_first() {
    let site = Site::new();
    let files = ["first", "exact", "wild"];
    site.issue("first", &["first.test"]);
    site.issue("exact", &["www.site.test", "site.test"]);
    site.issue("wild", &["*.site.test"]);
    let mut engine = site.engine(&files, NO_LIMITS);
    for (name, file) in [
        ("first.test", "first"),
        ("www.site.test", "exact"),
        ("WWW.Site.Test", "exact"),
        ("site.test", "exact"),
        ("other.site.test", "wild"),
        ("a.b.site.test", "first"),
        ("unknown.test", "first"),
        ("192.0.2.1", "first"),
    ] {
        assert_eq!(given(&site, &mut engine, name, &files), file, "{name}");
    }
}

#[test]
fn client_that_cannot_verify_one_kind_of_key_gets_the_other() {
    let site = Site::new();
    site.issue_with("rsa", &["a.test"], &PKCS_RSA_SHA256);
    site.issue_with("edwards", &["a.test"], &PKCS_ED25519);
    site.issue("ecdsa", &["a.test"]);
    let files = ["rsa", "edwards", "ecdsa"];
    for versions in [&rustls::version::TLS13, &rustls::version::TLS12] {
        for (schemes, file) in [
            (&[SignatureScheme::RSA_PSS_SHA256][..], "rsa"),
            (&[SignatureScheme::ED25519], "edwards"),
            (&[SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256], "ecdsa"),
        ] {
            let mut engine = site.engine(&files, NO_LIMITS);
            let mut config = site.client_of(&[versions]);
            let verifier = Lenient { schemes: schemes.to_vec(), ..Lenient::of(&config) };
            config.dangerous().set_certificate_verifier(Arc::new(verifier));
            let mut pair = Pair::new(config, "a.test");
            pair.run(&mut engine);
            let certificate = &pair.client.peer_certificates().unwrap()[0];
            let expected = CertificateDer::from_pem_file(site.path(&format!("{file}.pem"))).unwrap();
            assert!(*certificate == expected, "{file}");
        }
    }
}

#[test]
fn reload_reaches_new_connections_and_leaves_those_there_are() {
    let site = Site::new();
    site.issue("old", &["a.test"]);
    site.issue("new", &["a.test"]);
    let acceptor = Arc::new(site.load(&site.tls(&["old"], NO_LIMITS)).unwrap());
    let mut engine = Engine::new(Arc::clone(&acceptor), NOW);
    let files = ["old", "new"];
    let mut before = Pair::new(site.client(), "a.test");
    before.run(&mut engine);
    let mut halfway = Pair::new(site.client(), "a.test");
    let hello = halfway.wire();
    halfway.feed(&mut engine, &hello).unwrap();

    acceptor.reload(&site.tls(&["new"], NO_LIMITS), 64, &site.path(""), &master(1)).unwrap();
    assert_eq!(given(&site, &mut engine, "a.test", &files), "new");
    before.exchange(&mut engine, b"still", b"here");
    halfway.run(&mut engine);
    halfway.exchange(&mut engine, b"as", b"well");
}

#[test]
fn reload_that_fails_changes_nothing_and_names_the_file() {
    let site = Site::new();
    site.issue("good", &["a.test"]);
    site.issue("other", &["a.test"]);
    let acceptor = Arc::new(site.load(&site.tls(&["good"], NO_LIMITS)).unwrap());
    let mut engine = Engine::new(Arc::clone(&acceptor), NOW);
    site.write("empty.pem", "");
    site.write("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    for file in ["empty", "broken"] {
        std::fs::copy(site.path("good.key"), site.path(&format!("{file}.key"))).unwrap();
    }
    std::fs::copy(site.path("good.pem"), site.path("mixed.pem")).unwrap();
    std::fs::copy(site.path("other.key"), site.path("mixed.key")).unwrap();
    std::fs::copy(site.path("good.pem"), site.path("keyless.pem")).unwrap();
    site.write("keyless.key", "nothing\n");
    for (file, named, why) in [
        ("missing", "missing.pem", "No such file"),
        ("empty", "empty.pem", "holds no certificate"),
        ("broken", "broken.pem", ""),
        ("mixed", "mixed.key", "does not belong to"),
        ("keyless", "keyless.key", "holds no private key"),
    ] {
        let error = acceptor
            .reload(&site.tls(&[file], NO_LIMITS), 64, &site.path(""), &master(1))
            .expect_err(file)
            .to_string();
        assert!(error.contains(named) && error.contains(why), "{error}");
        assert_eq!(acceptor.generation(), 0);
    }
    assert_eq!(given(&site, &mut engine, "a.test", &["good", "other"]), "good");
}

#[test]
fn ocsp_response_is_stapled_and_must_be_one() {
    let site = Site::new();
    site.issue("a", &["a.test"]);
    let response = [&[0x30, 0x82, 1, 0][..], &[9; 252]].concat();
    let ocsp = site.write("a.ocsp", &response);
    let with_ocsp = |path: &std::path::Path| {
        let mut tls = site.tls(&["a"], NO_LIMITS);
        tls.certificates[0].ocsp_path = Some(path.into());
        tls
    };
    let mut engine = Engine::new(Arc::new(site.load(&with_ocsp(&ocsp)).unwrap()), NOW);
    let mut config = site.client();
    let lenient = Arc::new(Lenient::of(&config));
    config.dangerous().set_certificate_verifier(Arc::clone(&lenient) as Arc<dyn ServerCertVerifier>);
    Pair::new(config, "a.test").run(&mut engine);
    assert_eq!(*lenient.staple.lock().unwrap(), response);

    let page = site.write("page.ocsp", "<html>");
    let error = site.load(&with_ocsp(&page)).unwrap_err();
    assert!(matches!(&error, LoadError::Content { path, .. } if path.ends_with("page.ocsp")), "{error}");
}

#[test]
fn self_signed_certificate_is_made_once_and_again_for_other_names() {
    let site = Site::new();
    let load =
        |lines: &str| Acceptor::load(&site.tls(&[], lines), 64, &site.path("state"), &master(1)).unwrap();
    let key = || std::fs::read(site.path("state/tls/self-signed.key")).unwrap();
    let (acceptor, loaded) = load("");
    assert!(loaded.self_signed && loaded.self_signed_made);
    assert_eq!(loaded.certificates[0].1, ["localhost"]);
    let first = key();
    assert!(!load("").1.self_signed_made);
    assert_eq!(key(), first);
    let (_, loaded) = load("self_signed_names = [\"box.test\", \"192.0.2.9\"]");
    assert!(loaded.self_signed_made && loaded.certificates[0].1 == ["box.test"]);
    assert_ne!(key(), first);
    let mode = std::fs::metadata(site.path("state/tls/self-signed.key")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777, 0o600);

    let mut config = site.client();
    let lenient = Lenient::of(&config);
    config.dangerous().set_certificate_verifier(Arc::new(lenient));
    let mut pair = Pair::new(config, "localhost");
    let mut engine = Engine::new(Arc::new(acceptor), NOW);
    pair.run(&mut engine);
    assert_eq!(pair.outcome, Some(Outcome::Full));
}

/// A client that looks at what it gets and accepts it.
#[derive(Debug)]
pub(super) struct Lenient {
    provider: Arc<CryptoProvider>,
    /// What it can verify.
    schemes: Vec<SignatureScheme>,
    /// The stapled OCSP response it saw.
    staple: Mutex<Vec<u8>>,
}

impl Lenient {
    pub(super) fn of(config: &ClientConfig) -> Self {
        let provider = Arc::clone(config.crypto_provider());
        let schemes = provider.signature_verification_algorithms.supported_schemes();
        Self { provider, schemes, staple: Mutex::default() }
    }
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp_response: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.staple.lock().unwrap() = ocsp_response.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}
