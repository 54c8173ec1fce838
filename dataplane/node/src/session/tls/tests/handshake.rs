//! Versions, protocols, resumption, certificates of clients, the end.

use std::io::Read;
use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, HandshakeKind};

use super::pair::Pair;
use super::site::{NO_LIMITS, NOW, Site, master};
use crate::session::tls::{Acceptor, Engine, Outcome, Protocol, TlsError};

#[test]
fn client_of_either_version_talks_and_is_described() {
    let site = Site::new();
    let mut engine = site.plain_engine();
    for (versions, name) in [(&TLS13, "TLSv1.3"), (&TLS12, "TLSv1.2")] {
        let mut pair = Pair::new(site.client_of(&[versions]), "a.test");
        assert!(pair.stream.protocol().is_none() && pair.stream.ja4().is_none());
        pair.run(&mut engine);
        assert_eq!(pair.outcome, Some(Outcome::Full), "{name}");
        assert_eq!(pair.stream.version(), Some(name));
        assert_eq!(pair.stream.protocol(), Some(Protocol::H2));
        assert_eq!(pair.stream.server_name(), Some("a.test"));
        assert!(pair.stream.cipher().is_some_and(|cipher| cipher.starts_with("TLS")));
        let ja4 = pair.stream.ja4().unwrap().as_str();
        assert!(ja4.starts_with(if name == "TLSv1.3" { "t13d" } else { "t12d" }), "{ja4}");
        assert_eq!(&ja4[8..10], "h2", "{ja4}");
        pair.exchange(&mut engine, b"GET / HTTP/1.1\r\n\r\n", &vec![7; 100_000]);
    }
}

#[test]
fn client_without_alpn_speaks_http_1_1_and_one_with_another_protocol_is_refused() {
    let site = Site::new();
    let mut engine = site.plain_engine();
    let mut config = site.client();
    config.alpn_protocols.clear();
    let mut pair = Pair::new(config, "a.test");
    pair.run(&mut engine);
    assert_eq!(pair.stream.protocol(), Some(Protocol::Http11));

    let mut config = site.client();
    config.alpn_protocols = vec![b"smtp".to_vec()];
    let mut pair = Pair::new(config, "a.test");
    let (node, client) = pair.try_run(&mut engine);
    assert_eq!(node.unwrap_err().outcome(), Outcome::Incompatible);
    assert_eq!(client, Err(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)));
}

#[test]
fn version_that_is_not_offered_is_refused_with_its_alert() {
    let site = Site::new();
    site.issue("a", &["a.test"]);
    let mut engine = site.engine(&["a"], "protocols = [\"TLSv1.3\"]");
    let mut pair = Pair::new(site.client_of(&[&TLS12]), "a.test");
    let (node, client) = pair.try_run(&mut engine);
    assert_eq!(node.unwrap_err().outcome(), Outcome::Incompatible);
    assert_eq!(client, Err(rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)));
}

#[test]
fn session_is_resumed_on_another_node_with_the_same_secret_only() {
    let site = Site::new();
    site.issue("a", &["a.test"]);
    let tls = site.tls(&["a"], NO_LIMITS);
    let node = |secret| {
        let (acceptor, _) = Acceptor::load(&tls, 64, &site.path(""), &master(secret)).unwrap();
        Engine::new(Arc::new(acceptor), NOW)
    };
    for versions in [&TLS13, &TLS12] {
        let (mut one, mut fellow, mut stranger) = (node(1), node(1), node(2));
        let config = Arc::new(site.client_of(&[versions]));
        let mut first = Pair::with(&config, "a.test");
        first.run(&mut one);
        assert_eq!(first.outcome, Some(Outcome::Full));
        first.exchange(&mut one, b"hello", b"hello");

        let mut second = Pair::with(&config, "a.test");
        second.run(&mut fellow);
        assert_eq!(second.outcome, Some(Outcome::Resumed), "{versions:?}");
        assert_eq!(second.client.handshake_kind(), Some(HandshakeKind::Resumed));
        second.exchange(&mut fellow, b"hello", b"hello");

        let mut third = Pair::with(&config, "a.test");
        third.run(&mut stranger);
        assert_eq!(third.outcome, Some(Outcome::Full), "{versions:?}");
    }
}

#[test]
fn without_tickets_nothing_is_resumed() {
    let site = Site::new();
    site.issue("a", &["a.test"]);
    let mut engine = site.engine(&["a"], "ticket_rotation = 0");
    let config = Arc::new(site.client());
    for _ in 0..2 {
        let mut pair = Pair::with(&config, "a.test");
        pair.run(&mut engine);
        assert_eq!(pair.outcome, Some(Outcome::Full));
    }
}

#[test]
fn client_certificate_is_required_or_optional_and_must_be_signed_by_the_authority() {
    let (site, elsewhere) = (Site::new(), Site::new());
    site.issue("a", &["a.test"]);
    site.issue("visitor", &["visitor.test"]);
    elsewhere.issue("visitor", &["visitor.test"]);
    site.write("ca.pem", &site.authority_pem);
    std::fs::copy(elsewhere.path("visitor.pem"), site.path("foreign.pem")).unwrap();
    std::fs::copy(elsewhere.path("visitor.key"), site.path("foreign.key")).unwrap();
    for (auth, is_let_in_without) in [("require", false), ("optional", true)] {
        let lines = format!("client_auth = \"{auth}\"\nclient_ca_path = {:?}", site.path("ca.pem"));
        let mut engine = site.engine(&["a"], &lines);
        for versions in [&TLS13, &TLS12] {
            let mut pair = Pair::new(site.client_with("visitor", &[versions]), "a.test");
            pair.run(&mut engine);
            assert_eq!(pair.outcome, Some(Outcome::Full));
            assert!(pair.stream.client_certificate().is_some());

            let mut pair = Pair::new(site.client_with("foreign", &[versions]), "a.test");
            let (node, _) = pair.try_run(&mut engine);
            assert_eq!(node.unwrap_err().outcome(), Outcome::ClientCertificate, "{auth} {versions:?}");

            let mut pair = Pair::new(site.client_of(&[versions]), "a.test");
            let (node, _) = pair.try_run(&mut engine);
            if is_let_in_without {
                node.unwrap();
                assert!(pair.stream.client_certificate().is_none());
            } else {
                assert_eq!(node.unwrap_err().outcome(), Outcome::ClientCertificate, "{versions:?}");
            }
        }
    }
}

#[test]
fn both_sides_say_goodbye() {
    let site = Site::new();
    let mut engine = site.plain_engine();
    for versions in [&TLS13, &TLS12] {
        let mut pair = Pair::new(site.client_of(&[versions]), "a.test");
        pair.run(&mut engine);
        pair.client.send_close_notify();
        let bytes = pair.wire();
        pair.feed(&mut engine, &bytes).unwrap();
        assert!(pair.is_end);
        if *versions == TLS13 {
            // The other direction stays open (RFC 8446 §6.1).
            pair.stream.send(b"last", &mut pair.output, NOW).unwrap();
        }
        pair.stream.close(&mut pair.output);
        pair.deliver().unwrap();
        let mut heard = Vec::new();
        pair.client.reader().read_to_end(&mut heard).unwrap();
        assert_eq!(heard, if *versions == TLS13 { &b"last"[..] } else { b"" });
    }
}

#[test]
fn client_that_does_not_trust_us_is_counted_as_such() {
    let (site, elsewhere) = (Site::new(), Site::new());
    let mut engine = site.plain_engine();
    for versions in [&TLS13, &TLS12] {
        let mut pair = Pair::new(elsewhere.client_of(&[versions]), "a.test");
        let (node, client) = pair.try_run(&mut engine);
        assert!(client.is_err());
        let error = node.unwrap_err();
        assert_eq!(error.outcome(), Outcome::ClientAlert, "{error}");
    }
}

#[test]
fn sending_before_the_handshake_is_a_mistake_of_the_caller_and_harmless() {
    let site = Site::new();
    let mut engine = site.plain_engine();
    let mut pair = Pair::new(site.client(), "a.test");
    assert_eq!(pair.stream.send(b"early", &mut pair.output, NOW), Err(TlsError::NotEstablished));
    pair.stream.close(&mut pair.output);
    assert!(pair.output.is_empty());
    pair.run(&mut engine);
    pair.exchange(&mut engine, b"hello", b"hello");
}

#[test]
fn keys_are_updated_when_the_client_asks() {
    let site = Site::new();
    let mut engine = site.plain_engine();
    let mut pair = Pair::new(site.client_of(&[&TLS13]), "a.test");
    pair.run(&mut engine);
    for round in 0..3_u8 {
        pair.client.refresh_traffic_keys().unwrap();
        pair.exchange(&mut engine, &[round; 5_000], &[round; 20_000]);
    }
}
