//! What no client of ours would send.

use rustls::version::{TLS12, TLS13};

use super::pair::{Pair, SOURCE};
use super::site::{NO_LIMITS, NOW, Site};
use crate::session::tls::client_hello::{self, HELLO_BYTES_MAX};
use crate::session::tls::{Engine, Outcome, Output, Stream, TlsError};

struct Given {
    result: Result<(), TlsError>,
    output: Vec<u8>,
    stream: Stream,
}

/// Gives `bytes` to a new connection.
fn give(engine: &mut Engine, bytes: &[u8]) -> Given {
    let mut stream = Stream::new(SOURCE, true);
    let (mut plain, mut output) = (Vec::new(), Output::new());
    let result = stream.receive(engine, &mut bytes.to_vec(), &mut plain, &mut output, NOW);
    assert!(plain.is_empty());
    Given { result: result.map(|_| ()), output: output.as_slice().to_vec(), stream }
}

fn record(payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[22, 3, 1], &len[..], payload].concat()
}

#[test]
fn http_on_the_wrong_port_is_known_from_its_first_byte() {
    let site = Site::new();
    let mut engine = site.plain_engine();
    for bytes in
        [&b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"[..], b"G", b"PRI * HTTP/2.0", &[22, 2], &[0x80, 0x2e]]
    {
        let given = give(&mut engine, bytes);
        assert_eq!(given.result, Err(TlsError::NotTls));
        assert!(given.output.is_empty());
    }
}

#[test]
fn hello_that_never_ends_is_refused_at_its_limit() {
    let site = Site::new();
    let mut engine = site.plain_engine();
    // A message that announces more than it may.
    let given = give(&mut engine, &record(&[1, 0, 0x80, 0, 3, 3]));
    assert_eq!(given.result, Err(TlsError::HandshakeTooLarge));
    assert_eq!(given.output, [21, 3, 3, 0, 2, 2, 50]);
    // Many records of one byte each.
    let announced = [1, 0, 0x30, 0];
    let mut bytes: Vec<u8> = announced.iter().flat_map(|byte| record(&[*byte])).collect();
    while bytes.len() <= HELLO_BYTES_MAX + 6 {
        bytes.extend(record(&[0]));
    }
    let given = give(&mut engine, &bytes);
    assert_eq!(given.result, Err(TlsError::HandshakeTooLarge));
    assert_eq!(given.stream.kept_bytes(), 0, "nothing is kept after an error");
}

#[test]
fn hello_in_many_records_is_understood() {
    let site = Site::new();
    let mut engine = site.plain_engine();
    for piece in [1, 5, 100] {
        for chunk in [1, 7, usize::MAX] {
            let mut pair = Pair::new(site.client(), "a.test");
            let hello = pair.wire();
            assert_eq!(hello.len(), 5 + usize::from(u16::from_be_bytes([hello[3], hello[4]])));
            let split: Vec<u8> = hello[5..].chunks(piece).flat_map(record).collect();
            if split.len() > HELLO_BYTES_MAX {
                continue;
            }
            pair.piece = chunk;
            pair.feed(&mut engine, &split).unwrap();
            pair.run(&mut engine);
            assert_eq!(pair.outcome, Some(Outcome::Full), "records of {piece}");
            assert_eq!(pair.stream.server_name(), Some("a.test"));
            pair.exchange(&mut engine, b"hello", b"hello");
        }
    }
}

#[test]
fn garbage_in_a_record_gets_an_alert() {
    let site = Site::new();
    let mut engine = site.plain_engine();
    let mut seed = 1_u64;
    let mut random = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 56) as u8
    };
    for len in [1, 4, 40, 400] {
        let mut body: Vec<u8> = (0..len).map(|_| random()).collect();
        let header = [1, 0, (len >> 8) as u8, len as u8];
        body.splice(0..0, header);
        let given = give(&mut engine, &record(&body));
        assert_eq!(given.result.unwrap_err().outcome(), Outcome::Malformed, "{len}");
        assert_eq!(given.output.first(), Some(&21), "an alert");
    }
    for kind in [0, 2, 11, 20] {
        let given = give(&mut engine, &record(&[kind, 0, 0, 1, 0]));
        assert_eq!(given.result.unwrap_err().outcome(), Outcome::Malformed, "message {kind}");
    }
}

#[test]
fn every_changed_byte_of_a_handshake_ends_well_or_with_an_error() {
    let site = Site::new();
    let mut engine = site.plain_engine();
    for versions in [&TLS13, &TLS12] {
        let hello = Pair::new(site.client_of(&[versions]), "a.test").wire();
        for at in (0..hello.len()).step_by(3) {
            let mut wrong = hello.clone();
            wrong[at] ^= 0x41;
            let given = give(&mut engine, &wrong);
            if given.result.is_err() {
                assert_eq!(given.stream.kept_bytes(), 0);
            }
        }
    }
}

#[test]
fn record_that_is_too_long_or_changed_ends_the_connection_with_an_alert() {
    let site = Site::new();
    let mut engine = site.plain_engine();
    for versions in [&TLS13, &TLS12] {
        for (what, wrong) in [
            ("too long", vec![23, 3, 3, 0x48, 0x01]),
            ("no content", vec![23, 3, 3, 0, 0]),
            ("of no type", vec![99, 3, 3, 0, 1, 0]),
            ("not encrypted", vec![23, 3, 3, 0, 32].into_iter().chain([1; 32]).collect()),
        ] {
            let mut pair = Pair::new(site.client_of(&[versions]), "a.test");
            pair.run(&mut engine);
            let error = pair.feed(&mut engine, &wrong).unwrap_err();
            assert_eq!(error.outcome(), Outcome::Malformed, "{what}: {error}");
            assert!(!pair.output.is_empty(), "{what}");
            assert!(matches!(pair.deliver(), Err(rustls::Error::AlertReceived(_))), "{what}");
            // And then nothing happens any more.
            assert_eq!(pair.feed(&mut engine, b"x"), Err(TlsError::Closed));
            assert_eq!(pair.stream.send(b"x", &mut pair.output, NOW), Err(TlsError::Closed));
            pair.stream.close(&mut pair.output);
            assert!(pair.output.is_empty());
        }
    }
}

#[test]
fn certificate_of_a_client_that_never_ends_is_refused_at_its_limit() {
    let site = Site::new();
    site.issue("a", &["a.test"]);
    site.write("ca.pem", &site.authority_pem);
    let lines = format!("{NO_LIMITS}\nclient_auth = \"require\"\nclient_ca_path = {:?}", site.path("ca.pem"));
    let mut engine = site.engine(&["a"], &lines);
    let mut pair = Pair::new(site.client_of(&[&TLS12]), "a.test");
    let hello = pair.wire();
    pair.feed(&mut engine, &hello).unwrap();
    // Certificate (RFC 5246 §7.4.6) of 61,440 bytes, in records of a kilobyte.
    let mut message = vec![11, 0, 0xf0, 0];
    message.resize(61_440, 0);
    let mut fed = 0;
    let error = loop {
        let bytes = record(&message[fed..fed + 1_024]);
        fed += 1_024;
        match pair.feed(&mut engine, &bytes) {
            Ok(()) => assert!(pair.stream.kept_bytes() <= 2 * (fed + 5), "{}", pair.stream.kept_bytes()),
            Err(error) => break error,
        }
    };
    assert_eq!(error, TlsError::HandshakeTooLarge);
    assert!((40 << 10..41 << 10).contains(&(fed + 5 * (fed >> 10))), "{fed}");
    assert_eq!(pair.stream.kept_bytes(), 0);
}

#[test]
fn changed_bytes_in_any_pieces_end_well_or_with_an_error() {
    let site = Site::new();
    let mut engine = site.plain_engine();
    let mut seed = 7_u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    let mut failed = 0;
    for round in 0..400 {
        let versions = if round % 2 == 0 { &TLS13 } else { &TLS12 };
        let mut pair = Pair::new(site.client_of(&[versions]), "a.test");
        pair.piece = 1 + random(700);
        for _ in 0..6 {
            let mut bytes = pair.wire();
            if !pair.client.is_handshaking() {
                std::io::Write::write_all(&mut pair.client.writer(), &[3; 900]).unwrap();
                bytes.extend(pair.wire());
            }
            if random(4) == 0 && !bytes.is_empty() {
                let at = random(bytes.len());
                match random(3) {
                    0 => bytes[at] ^= 1 << random(8),
                    1 => bytes.truncate(at),
                    _ => bytes.insert(at, random(256) as u8),
                }
            }
            if pair.feed(&mut engine, &bytes).is_err() || pair.deliver().is_err() {
                failed += 1;
                break;
            }
            let _ = pair.stream.send(&[9; 100], &mut pair.output, NOW);
        }
        pair.stream.close(&mut pair.output);
    }
    assert!((100..400).contains(&failed), "{failed}");
}

#[test]
fn corpus_of_the_fuzzer_is_replayed() {
    let directory =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/node_tls_client_hello");
    let mut count = 0;
    for entry in std::fs::read_dir(&directory).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        client_hello::fuzz(&bytes);
        for at in 0..bytes.len() {
            client_hello::fuzz(&bytes[..at]);
            for change in [1, 0x80, 0xff] {
                let mut wrong = bytes.clone();
                wrong[at] ^= change;
                client_hello::fuzz(&wrong);
            }
        }
        count += 1;
    }
    assert!(count >= 8, "the corpus is missing");
}
