//! Records in pieces, and the sizes of ours.

use rustls::version::{TLS12, TLS13};

use super::pair::Pair;
use super::site::{NOW, Site};
use crate::session::tls::{Outcome, Output};
use secbeat_net::time::Instant;

#[test]
fn bytes_one_by_one_mean_the_same() {
    let site = Site::new();
    let mut engine = site.plain_engine();
    for versions in [&TLS13, &TLS12] {
        let mut pair = Pair::new(site.client_of(&[versions]), "a.test");
        pair.piece = 1;
        pair.run(&mut engine);
        assert_eq!(pair.outcome, Some(Outcome::Full));
        pair.exchange(&mut engine, &[1; 3_000], &[2; 3_000]);
        assert_eq!(pair.stream.kept_bytes(), 0);
    }
}

#[test]
fn handshake_and_data_may_be_split_at_every_byte() {
    let site = Site::new();
    let mut engine = site.plain_engine();
    for versions in [&TLS13, &TLS12] {
        let mut at = 1;
        loop {
            let mut pair = Pair::new(site.client_of(&[versions]), "a.test");
            let hello = pair.wire();
            if at >= hello.len() {
                break;
            }
            pair.feed(&mut engine, &hello[..at]).unwrap();
            assert!(pair.output.is_empty(), "no answer to {at} of {} bytes", hello.len());
            pair.feed(&mut engine, &hello[at..]).unwrap();
            assert!(!pair.output.is_empty());
            pair.run(&mut engine);
            assert_eq!(pair.outcome, Some(Outcome::Full), "split at {at}");
            // A few splits suffice to cover header, middle and end; all of them would take minutes.
            at += if at < 12 || at + 8 > hello.len() { 1 } else { 29 };
        }
        let mut pair = Pair::new(site.client_of(&[versions]), "a.test");
        pair.run(&mut engine);
        for at in 1..100 {
            let text = [at; 60];
            std::io::Write::write_all(&mut pair.client.writer(), &text).unwrap();
            let bytes = pair.wire();
            let at = usize::from(at).min(bytes.len() - 1);
            pair.plain.clear();
            pair.feed(&mut engine, &bytes[..at]).unwrap();
            assert!(pair.plain.is_empty());
            pair.feed(&mut engine, &bytes[at..]).unwrap();
            assert_eq!(pair.plain, text, "split at {at}");
        }
    }
}

#[test]
fn much_data_in_pieces_of_a_frame_arrives_and_leaves_nothing_behind() {
    let site = Site::new();
    let mut engine = site.plain_engine();
    let mut pair = Pair::new(site.client_of(&[&TLS13]), "a.test");
    pair.piece = 1_448;
    pair.run(&mut engine);
    let text: Vec<u8> = (0..600_000_u32).map(|number| (number / 7) as u8).collect();
    pair.exchange(&mut engine, &text, &text);
    assert_eq!(pair.stream.kept_bytes(), 0);
}

#[test]
fn decrypting_stops_when_there_is_enough_plaintext() {
    let site = Site::new();
    let mut engine = site.plain_engine();
    let mut pair = Pair::new(site.client_of(&[&TLS13]), "a.test");
    pair.run(&mut engine);
    let mut wire = Vec::new();
    for _ in 0..8 {
        std::io::Write::write_all(&mut pair.client.writer(), &[5; 10_000]).unwrap();
        wire.extend(pair.wire());
    }
    let (mut at, mut rounds) = (0, 0);
    while at < wire.len() {
        let mut plain = Vec::new();
        let received =
            pair.stream.receive(&mut engine, &mut wire[at..], &mut plain, &mut pair.output, NOW).unwrap();
        assert!(plain.len() <= 2 << 14, "{}", plain.len());
        at += received.taken;
        rounds += 1;
    }
    assert_eq!(rounds, 4);
}

#[test]
fn first_records_fit_a_segment_and_later_ones_are_full() {
    let site = Site::new();
    let mut engine = site.plain_engine();
    let mut pair = Pair::new(site.client_of(&[&TLS13]), "a.test");
    pair.run(&mut engine);
    let sizes = |output: &Output| {
        let (mut sizes, mut rest) = (Vec::new(), output.as_slice());
        while let [_, _, _, high, low, tail @ ..] = rest {
            let len = usize::from(u16::from_be_bytes([*high, *low]));
            sizes.push(5 + len);
            rest = &tail[len..];
        }
        sizes
    };
    pair.stream.send(&[0; 60_000], &mut pair.output, NOW).unwrap();
    let first = sizes(&pair.output);
    assert!(first[..8].iter().all(|size| *size <= 1_380), "{first:?}");
    assert_eq!(first[8], 5 + 16_384 + 17);
    pair.output.clear();
    pair.stream.send(&[0; 5_000], &mut pair.output, NOW).unwrap();
    assert_eq!(sizes(&pair.output).len(), 1, "no pause");
    pair.output.clear();
    let later = Instant::from_millis(NOW.as_millis() + 1_500);
    pair.stream.send(&[0; 5_000], &mut pair.output, later).unwrap();
    assert_eq!(sizes(&pair.output).len(), 4, "after a pause");
}

#[test]
fn what_fits_fits_whatever_the_room() {
    let site = Site::new();
    let mut engine = site.plain_engine();
    for versions in [&TLS13, &TLS12] {
        let mut pair = Pair::new(site.client_of(&[versions]), "a.test");
        pair.run(&mut engine);
        let mut later = NOW.as_millis();
        for room in (0..40_000).step_by(379) {
            for is_fresh in [true, false] {
                later += if is_fresh { 2_000 } else { 1 };
                let now = Instant::from_millis(later);
                if !is_fresh {
                    pair.stream.send(&[0; 20_000], &mut pair.output, now).unwrap();
                }
                pair.output.clear();
                let fits = pair.stream.fits(room, now);
                assert!(fits + 32 * 30 + 40 >= room.min(40_000) || room < 100, "{fits} of {room}");
                pair.stream.send(&vec![0; fits], &mut pair.output, now).unwrap();
                assert!(pair.output.len() <= room, "{} in {room}", pair.output.len());
                pair.output.clear();
            }
        }
    }
}
