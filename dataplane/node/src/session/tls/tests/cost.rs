//! What connections cost: memory while idle, time of a handshake beside rustls alone.
//!
//! The two measurements want an idle machine and optimised code:
//! `cargo test --release -p secbeat-node tls::tests::cost -- --ignored --nocapture --test-threads 1`

use core::time::Duration;
use std::sync::Arc;
use std::time::Instant as Clock;

use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::ConnectionState;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, ServerConfig};

use super::pair::{Pair, SOURCE};
use super::site::{NO_LIMITS, NOW, Site};
use crate::session::tls::{Engine, Output, Stream};

#[test]
fn connection_itself_is_small_and_keeps_no_buffer_while_idle() {
    assert!(size_of::<Stream>() <= 128, "{}", size_of::<Stream>());
    let site = Site::new();
    let mut engine = site.plain_engine();
    let mut pair = Pair::new(site.client(), "a.test");
    pair.run(&mut engine);
    pair.exchange(&mut engine, &[1; 20_000], &[2; 20_000]);
    assert_eq!(pair.stream.kept_bytes(), 0);
}

/// Resident memory of this process, bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

#[test]
#[ignore = "a measurement: see the head of the file"]
fn idle_connections_cost_at_most_four_kilobytes() {
    const COUNT: usize = 4_000;
    let site = Site::new();
    let mut engine = site.plain_engine();
    // None is dropped before the end: freed memory would be counted for nothing.
    let mut held = Vec::new();
    for versions in [&TLS13, &TLS12] {
        let config = Arc::new(site.client_of(&[versions]));
        let idle = |engine: &mut Engine| {
            let mut pair = Pair::with(&config, "a.test");
            pair.run(engine);
            pair.exchange(engine, &[1; 300], &[2; 1_000]);
            pair.stream
        };
        // What the allocator keeps between connections is taken before counting.
        held.push((0..200).map(|_| idle(&mut engine)).collect::<Vec<Stream>>());
        let before = resident();
        let mut streams = Vec::with_capacity(COUNT);
        streams.extend((0..COUNT).map(|_| idle(&mut engine)));
        let each = (resident() - before) / COUNT;
        println!("{versions:?}: {each} bytes per idle connection");
        assert!(each <= 4_096, "{each}");
        held.push(streams);
    }
}

#[test]
#[ignore = "a measurement: see the head of the file"]
fn handshakes_cost_nearly_what_rustls_alone_does() {
    let site = Site::new();
    let mut engine = site.plain_engine();
    let acceptor = site.load(&site.tls(&["a"], NO_LIMITS)).unwrap();
    let bare = acceptor.settings().config.clone();
    for (versions, name) in [(&TLS13, "TLS 1.3"), (&TLS12, "TLS 1.2")] {
        let mut config = site.client_of(&[versions]);
        config.resumption = rustls::client::Resumption::disabled();
        let config = Arc::new(config);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        // In turns, so that whatever else the machine does meets both alike.
        for _ in 0..9 {
            theirs.push(bare_handshakes(&config, &bare));
            ours.push(our_handshakes(&config, &mut engine));
        }
        ours.sort();
        theirs.sort();
        let (ours, theirs) = (ours[ours.len() / 2], theirs[theirs.len() / 2]);
        let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
        println!(
            "{name}: {:.0} handshakes/s, rustls alone {:.0}, ratio {ratio:.3}",
            f64::from(ROUND) / ours.as_secs_f64(),
            f64::from(ROUND) / theirs.as_secs_f64()
        );
        assert!(ratio >= 0.9, "{ratio}");
    }
}

/// Handshakes per sample.
const ROUND: u32 = 200;

/// Server's time of some handshakes through [`Stream`].
fn our_handshakes(config: &Arc<ClientConfig>, engine: &mut Engine) -> Duration {
    let mut time = Duration::ZERO;
    for _ in 0..ROUND {
        let mut client = client(config);
        let (mut plain, mut output) = (Vec::new(), Output::new());
        let begin = Clock::now();
        let mut stream = Stream::new(SOURCE, false);
        time += begin.elapsed();
        while client.is_handshaking() || client.wants_write() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            let begin = Clock::now();
            stream.receive(engine, &mut wire, &mut plain, &mut output, NOW).unwrap();
            time += begin.elapsed();
            hear(&mut client, output.as_slice());
            output.clear();
        }
        assert!(stream.is_established());
        let begin = Clock::now();
        drop(stream);
        time += begin.elapsed();
    }
    time
}

/// Server's time of as many by rustls alone, in the loop of its documentation.
fn bare_handshakes(config: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Duration {
    let mut time = Duration::ZERO;
    let mut room = vec![0; 16_384];
    for _ in 0..ROUND {
        let mut client = client(config);
        let begin = Clock::now();
        let mut server = UnbufferedServerConnection::new(Arc::clone(server)).unwrap();
        time += begin.elapsed();
        while client.is_handshaking() || client.wants_write() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            let begin = Clock::now();
            let (mut done, mut len) = (0, 0);
            loop {
                let status = server.process_tls_records(&mut wire[done..]);
                match status.state.unwrap() {
                    ConnectionState::EncodeTlsData(mut message) => {
                        len += message.encode(&mut room[len..]).unwrap();
                    }
                    ConnectionState::TransmitTlsData(transmit) => transmit.done(),
                    _ => break,
                }
                done += status.discard;
            }
            time += begin.elapsed();
            hear(&mut client, &room[..len]);
        }
        assert!(!server.is_handshaking());
        let begin = Clock::now();
        drop(server);
        time += begin.elapsed();
    }
    time
}

fn client(config: &Arc<ClientConfig>) -> ClientConnection {
    ClientConnection::new(Arc::clone(config), ServerName::try_from("a.test").unwrap()).unwrap()
}

fn hear(client: &mut ClientConnection, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        client.read_tls(&mut bytes).unwrap();
        client.process_new_packets().unwrap();
    }
}

#[test]
#[ignore = "a measurement: see the head of the file"]
fn bulk_data_both_ways() {
    const ROUNDS: usize = 2_000;
    const MIB: f64 = 1_048_576.0;
    let site = Site::new();
    let mut engine = site.plain_engine();
    let mut pair = Pair::new(site.client_of(&[&TLS13]), "a.test");
    pair.run(&mut engine);
    let text = vec![7; 16_384];
    let (mut sending, mut receiving) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..ROUNDS {
        let begin = Clock::now();
        pair.stream.send(&text, &mut pair.output, NOW).unwrap();
        sending += begin.elapsed();
        pair.deliver().unwrap();
        let mut heard = vec![0; text.len()];
        std::io::Read::read_exact(&mut pair.client.reader(), &mut heard).unwrap();
        std::io::Write::write_all(&mut pair.client.writer(), &text).unwrap();
        let mut wire = pair.wire();
        for piece in wire.chunks_mut(1_448) {
            let begin = Clock::now();
            pair.stream.receive(&mut engine, piece, &mut pair.plain, &mut pair.output, NOW).unwrap();
            receiving += begin.elapsed();
        }
        assert_eq!(pair.plain.len(), text.len());
        pair.plain.clear();
    }
    let rate = |time: Duration| (ROUNDS * text.len()) as f64 / MIB / time.as_secs_f64();
    println!(
        "16 KiB writes: {:.0} MiB/s out; frames of 1,448 bytes: {:.0} MiB/s in",
        rate(sending),
        rate(receiving)
    );
}

#[test]
#[ignore = "a measurement: see the head of the file"]
fn small_requests_and_answers() {
    const ROUNDS: u32 = 20_000;
    let site = Site::new();
    let mut engine = site.plain_engine();
    for versions in [&TLS13, &TLS12] {
        let mut pair = Pair::new(site.client_of(&[versions]), "a.test");
        pair.run(&mut engine);
        let (mut receiving, mut sending) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..ROUNDS {
            std::io::Write::write_all(&mut pair.client.writer(), &[1; 150]).unwrap();
            let mut wire = pair.wire();
            let begin = Clock::now();
            pair.stream.receive(&mut engine, &mut wire, &mut pair.plain, &mut pair.output, NOW).unwrap();
            receiving += begin.elapsed();
            pair.plain.clear();
            let begin = Clock::now();
            pair.stream.send(&[2; 1_250], &mut pair.output, NOW).unwrap();
            sending += begin.elapsed();
            pair.deliver().unwrap();
            std::io::Read::read_exact(&mut pair.client.reader(), &mut [0; 1_250]).unwrap();
        }
        println!(
            "{versions:?}: {:?} to receive 150 bytes, {:?} to send 1,250",
            receiving / ROUNDS,
            sending / ROUNDS
        );
    }
}
