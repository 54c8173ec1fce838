//! Two endpoints against each other over a bad wire: the oracle must itself be right.

use super::*;
use crate::random::{Random, pattern};

const SETTINGS: Settings = Settings {
    mss: 1_000,
    window_scale: Some(3),
    sack: true,
    timestamps: true,
    buffer: 30_000,
    flight: 8,
    delays_acks: true,
    clock_start: 0xffff_ff00,
};

fn address(port: u16) -> SocketAddr {
    SocketAddr::new("10.0.0.1".parse().expect("an address"), port)
}

/// Runs a client that sends `up` bytes and a server that sends `down` bytes; both finish.
fn run(
    client: Settings,
    server: Settings,
    loss_per_mille: u64,
    up: usize,
    down: usize,
    seed: u64,
) -> [Endpoint; 2] {
    let mut random = Random::new(seed, "wire");
    let mut now = Instant::from_millis(1);
    let mut one = Endpoint::connect(address(1), address(2), client, u32::MAX - 5, now);
    let mut two: Option<Endpoint> = None;
    let mut wire: Vec<(Instant, bool, Segment)> = Vec::new();
    let bytes = |id, len| (0..len).map(|offset| pattern(id, offset as u64)).collect::<Vec<_>>();
    one.write(&bytes(1, up), now);
    one.finish(now);
    for _ in 0..200_000 {
        let mut send = |is_up, segment: Segment| {
            if !random.chance(loss_per_mille) {
                let delay = Duration::from_micros(random.between(5_000, 9_000));
                wire.push((now + delay, is_up, segment));
            }
        };
        while let Some(segment) = one.poll_transmit() {
            send(true, segment);
        }
        while let Some(segment) = two.as_mut().and_then(Endpoint::poll_transmit) {
            send(false, segment);
        }
        let arrivals = wire.iter().map(|(at, ..)| *at);
        let timers = one.poll_timeout().into_iter().chain(two.as_ref().and_then(Endpoint::poll_timeout));
        let Some(next) = arrivals.chain(timers).min() else { break };
        now = next.max(now);
        one.handle_timeout(now);
        if let Some(two) = &mut two {
            two.handle_timeout(now);
        }
        let (due, later) = wire.drain(..).partition(|(at, ..)| *at <= now);
        wire = later;
        let due: Vec<(Instant, bool, Segment)> = due;
        for (_, is_up, segment) in due {
            if !is_up {
                one.handle(&segment, now);
                one.read(usize::MAX, now);
            } else if let Some(two) = &mut two {
                two.handle(&segment, now);
                two.read(700, now);
            } else if segment.has(flag::SYN) {
                let mut answer = Endpoint::accept(address(2), address(1), server, 77, &segment, now);
                answer.write(&bytes(2, down), now);
                answer.finish(now);
                two = Some(answer);
            }
        }
        // A slow reader: what is left is read a little at a time, so that the window closes now and then.
        if let Some(two) = &mut two
            && random.chance(300)
        {
            two.read(5_000, now);
        }
    }
    let two = two.expect("the SYN arrived at last");
    assert_eq!(one.complaints(), &[] as &[String]);
    assert_eq!(two.complaints(), &[] as &[String]);
    assert!(one.received() == bytes(2, down), "downstream bytes differ");
    assert!(two.received() == bytes(1, up), "upstream bytes differ");
    [one, two]
}

#[test]
fn streams_arrive_whole_over_a_good_wire() {
    let [one, two] = run(SETTINGS, SETTINGS, 0, 50_000, 120_000, 1);
    assert_eq!((one.state(), two.state()), (State::Closed, State::Closed));
}

#[test]
fn streams_arrive_whole_over_a_bad_wire_with_any_options() {
    for seed in 0..30 {
        let mut random = Random::new(seed, "settings");
        let mut settings = || {
            let window_scale = random.pick(&[None, Some(0), Some(7), Some(14)]);
            Settings {
                mss: random.pick(&[536, 1_000, 1_460]),
                window_scale,
                sack: random.chance(500),
                timestamps: random.chance(500),
                // A window below one unit of the scale could never be said.
                buffer: random.pick(&[4_000, 30_000, 200_000]).max(4 << window_scale.unwrap_or(0)),
                flight: random.between(1, 20) as u32,
                delays_acks: random.chance(500),
                clock_start: random.bits_32(),
            }
        };
        run(settings(), settings(), 80, 30_000, 60_000, seed);
    }
}

#[test]
fn reset_must_be_exact_to_end_a_connection() {
    let now = Instant::from_millis(5);
    let syn = Segment { seq: 10, flags: flag::SYN, window: 1_000, ..Segment::default() };
    let mut endpoint = Endpoint::accept(address(2), address(1), SETTINGS, 77, &syn, now);
    let ack = Segment { seq: 11, ack: 78, flags: flag::ACK, window: 1_000, ..Segment::default() };
    endpoint.handle(&ack, now);
    assert_eq!(endpoint.state(), State::Open);
    endpoint.handle(&Segment { seq: 20, flags: flag::RST, ..Segment::default() }, now);
    assert_eq!(endpoint.state(), State::Open);
    endpoint.handle(&Segment { seq: 11, flags: flag::RST, ..Segment::default() }, now);
    assert_eq!(endpoint.state(), State::Reset);
}
