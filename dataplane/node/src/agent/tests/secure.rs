//! TLS: asking for a certificate, using it, renewing it, and what goes wrong.

use core::time::Duration;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use rcgen::{BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair};
use secbeat_config::Secret;
use secbeat_proto::v1;
use tonic::Status;
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use super::fake::*;
use crate::agent::{Host, Settings};

const TOKEN: &str = "join-token-0123456789";

/// An authority, and how long what it issues is good for.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
    life: Mutex<Duration>,
    issued: Mutex<usize>,
}

impl Authority {
    fn new() -> Arc<Self> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        let life = Mutex::new(Duration::from_secs(86_400));
        Arc::new(Self { pem, issuer: Issuer::new(params, key), life, issued: Mutex::new(0) })
    }

    fn server(&self) -> ServerTlsConfig {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        ServerTlsConfig::new()
            .identity(Identity::from_pem(certificate, key.serialize_pem()))
            .client_ca_root(Certificate::from_pem(&self.pem))
            .client_auth_optional(true)
    }

    fn issue(&self, token: &str, request: &[u8]) -> Result<v1::EnrollResponse, Status> {
        if token != format!("Bearer {TOKEN}") && token != "renew" {
            return Err(Status::unauthenticated("the token is over"));
        }
        let mut request = CertificateSigningRequestParams::from_der(&request.into())
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let now = SystemTime::now();
        let life = *self.life.lock().unwrap();
        // Issued in the past, so that two thirds of the life may be over already.
        request.params.not_before = (now - life.min(Duration::from_secs(3_600))).into();
        request.params.not_after = (now + life).into();
        let certificate = request.signed_by(&self.issuer).map_err(|e| Status::internal(e.to_string()))?;
        *self.issued.lock().unwrap() += 1;
        Ok(v1::EnrollResponse {
            certificate_chain: certificate.pem(),
            authority: self.pem.clone(),
            not_after_ms: 0,
        })
    }

    async fn serve(self: &Arc<Self>) -> Fake {
        let authority = Arc::clone(self);
        let issue = move |_: &str, token: &str, request: &[u8]| authority.issue(token, request);
        Fake::start_at("127.0.0.1:0".parse().unwrap(), Some(self.server()), Some(Arc::new(issue))).await
    }

    fn issued(&self) -> usize {
        *self.issued.lock().unwrap()
    }
}

fn secure(fake: &Fake, authority: &Authority, dir: &std::path::Path) -> Settings {
    let path = dir.join("fleet.pem");
    fs::write(&path, &authority.pem).unwrap();
    Settings {
        authority: Some(path),
        join_token: Some(Secret::new(TOKEN)),
        identity_dir: Some(dir.join("agent")),
        ..settings(&format!("https://{}", fake.address))
    }
}

#[tokio::test]
async fn node_without_certificate_asks_for_one_and_uses_it_from_then_on() {
    let (dir, authority, host) = (tempfile::tempdir().unwrap(), Authority::new(), host());
    let mut fake = authority.serve().await;
    let with_token = secure(&fake, &authority, dir.path());
    let agent = run(with_token.clone(), &host);
    let (peer, _) = fake.greet(1).await;
    assert_eq!(authority.issued(), 1);
    assert!(host.recorded().iter().any(|event| event.event == "enrolled"));
    agent.abort();
    drop(peer);
    // The token is not needed again, and the authority that came with the certificate is enough.
    run(Settings { join_token: None, authority: None, ..with_token }, &host);
    let (_peer, _) = fake.greet(1).await;
    assert_eq!(authority.issued(), 1);
}

#[tokio::test]
async fn certificate_is_renewed_after_two_thirds_of_its_life() {
    let (dir, authority, host) = (tempfile::tempdir().unwrap(), Authority::new(), host());
    let mut fake = authority.serve().await;
    // An hour old with twenty minutes left: due at once.
    *authority.life.lock().unwrap() = Duration::from_secs(1_200);
    let settings = secure(&fake, &authority, dir.path());
    let mut request = CertificateParams::new(vec!["old".to_owned()]).unwrap();
    let key = KeyPair::generate().unwrap();
    request.not_before = (SystemTime::now() - Duration::from_secs(3_600)).into();
    request.not_after = (SystemTime::now() + Duration::from_secs(1_200)).into();
    let old = request.signed_by(&key, &authority.issuer).unwrap().pem();
    fs::create_dir_all(dir.path().join("agent")).unwrap();
    fs::write(dir.path().join("agent/identity.pem"), format!("{}\n{old}", key.serialize_pem())).unwrap();
    *authority.life.lock().unwrap() = Duration::from_secs(86_400);
    run(settings, &host);
    let (_peer, _) = fake.greet(1).await;
    assert_eq!(authority.issued(), 1);
    assert!(host.recorded().iter().any(|event| event.event == "certificate_renewed"));
    let now = fs::read_to_string(dir.path().join("agent/identity.pem")).unwrap();
    assert!(!now.contains(&old));
}

#[tokio::test]
async fn orchestrator_of_another_authority_is_not_spoken_to() {
    let (dir, authority, host) = (tempfile::tempdir().unwrap(), Authority::new(), host());
    let mut fake = authority.serve().await;
    let settings = secure(&fake, &Authority::new(), dir.path());
    run(settings.clone(), &host);
    let error = || host.link().status().last_error.unwrap_or_default();
    eventually("the reason is said", || error().contains("certificate")).await;
    assert_eq!(authority.issued(), 0, "the token was not given away");
    // Once the right authority is there, the node joins without anybody's doing.
    fs::write(settings.authority.unwrap(), &authority.pem).unwrap();
    let (_peer, _) = fake.greet(1).await;
}

#[tokio::test]
async fn token_that_is_over_is_said_and_tried_again() {
    let (dir, authority, host) = (tempfile::tempdir().unwrap(), Authority::new(), host());
    let fake = authority.serve().await;
    let settings = secure(&fake, &authority, dir.path());
    run(Settings { join_token: Some(Secret::new("another-token-0123456789")), ..settings }, &host);
    let error = || host.link().status().last_error.unwrap_or_default();
    eventually("the reason is said", || error().contains("the token is over")).await;
    assert_eq!(authority.issued(), 0);
    assert!(!error().contains("another-token"), "secrets are not shown");
}

#[tokio::test]
async fn node_without_token_and_certificate_says_what_is_missing() {
    let (dir, authority, host) = (tempfile::tempdir().unwrap(), Authority::new(), host());
    let fake = authority.serve().await;
    run(Settings { join_token: None, ..secure(&fake, &authority, dir.path()) }, &host);
    let error = || host.link().status().last_error.unwrap_or_default();
    eventually("the reason is said", || error().contains("join_token")).await;
}
