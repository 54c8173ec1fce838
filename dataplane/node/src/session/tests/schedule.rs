//! Random schedules from a seed: requests of all kinds cut at any byte, clients and origin at any pace, resets at any
//! step. Responses arrive exact, and in the end nothing is left of buffers, exchanges, sessions.

use core::time::Duration;

use super::harness::{Answer, Seen, World, ok};

/// xorshift64*.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % below.max(1)
    }
}

fn body_of(tag: u64, len: usize) -> Vec<u8> {
    (0..len as u64).map(|n| ((n * 31 + tag * 17) % 251) as u8).collect()
}

/// What the origin says to `/tag/len/kind`: a body of the request's own bytes and `len` more.
fn answer(seen: &Seen) -> Answer {
    let path = seen.line().split(' ').nth(1).unwrap_or_default().to_owned();
    let mut parts = path.trim_start_matches('/').split('/').map(|part| part.parse().unwrap_or(0));
    let mut part = || -> u64 { parts.next().unwrap_or(0) };
    let (tag, len, kind) = (part(), part() as usize, part());
    let mut body = seen.body.clone();
    body.extend(body_of(tag, len));
    match kind {
        0 => ok(&body),
        1 => {
            let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            for chunk in body.chunks(1 + (tag as usize * 977) % 5_000) {
                bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                bytes.extend_from_slice(chunk);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n\r\n");
            Answer::Send(bytes)
        }
        _ => {
            let mut bytes = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
            bytes.extend(body);
            Answer::Close(bytes)
        }
    }
}

/// Some requests of one client, and the bodies of their responses.
fn script(random: &mut Random) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (mut bytes, mut expected) = (Vec::new(), Vec::new());
    for _ in 0..=random.next(5) {
        let (tag, kind) = (random.next(1_000), random.next(3));
        let len = [0, 1, 100, 5_000, 70_000, 300_000][random.next(6) as usize];
        let upload = [0, 0, 3, 2_000, 100_000][random.next(5) as usize];
        let body = body_of(tag + 1, upload);
        let mut all = body.clone();
        all.extend(body_of(tag, len));
        expected.push(all);
        let head = format!("POST /{tag}/{len}/{kind} HTTP/1.1\r\nHost: a\r\n");
        bytes.extend(head.into_bytes());
        if random.next(2) == 0 {
            bytes.extend(format!("Content-Length: {upload}\r\n\r\n").into_bytes());
            bytes.extend(body);
        } else {
            bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n");
            for chunk in body.chunks(1 + random.next(20_000) as usize) {
                bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                bytes.extend_from_slice(chunk);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n\r\n");
        }
    }
    (bytes, expected)
}

struct Run {
    client: u64,
    rest: Vec<u8>,
    expected: Vec<Vec<u8>>,
    /// Steps after which it resets.
    resets_after: Option<u64>,
}

fn run(seed: u64) {
    let mut random = Random::new(seed);
    let mut world = World::new(answer);
    world.origin.pace = 1 + random.next(200_000) as usize;
    let mut runs: Vec<Run> = (0..1 + random.next(4))
        .map(|_| {
            let (rest, expected) = script(&mut random);
            let resets_after = (random.next(4) == 0).then(|| random.next(60));
            Run { client: world.connect(), rest, expected, resets_after }
        })
        .collect();
    for step in 0..20_000u64 {
        let mut is_done = true;
        for run in &mut runs {
            if run.resets_after.is_some_and(|at| step >= at) {
                world.reset(run.client);
                continue;
            }
            let peer = world.peer(run.client);
            peer.room = random.next(100_000) as usize;
            if random.next(4) == 0 {
                peer.room = 0;
            }
            let len = (random.next(30_000) as usize >> random.next(15)).min(run.rest.len());
            let piece: Vec<u8> = run.rest.drain(..len).collect();
            world.send(run.client, &piece);
            let replies = super::harness::parse_all(&world.peer(run.client).received, false);
            is_done &= run.rest.is_empty() && replies.len() == run.expected.len();
        }
        world.turn(Duration::from_micros(if step % 16 == 0 { 200 } else { 0 }));
        if is_done {
            break;
        }
    }
    for run in &runs {
        let peer = world.peer(run.client);
        let replies = super::harness::parse_all(&peer.received, false);
        if run.resets_after.is_none() {
            assert_eq!(
                replies.len(),
                run.expected.len(),
                "seed {seed}: {}",
                String::from_utf8_lossy(&peer.received[..peer.received.len().min(500)])
            );
        }
        for (reply, expected) in replies.iter().zip(&run.expected) {
            assert!(reply.status == 200 && reply.body == *expected, "seed {seed}: {}", reply.head);
        }
    }
    for run in &runs {
        world.peer(run.client).room = usize::MAX;
        if run.resets_after.is_some() {
            world.reset(run.client);
        } else {
            world.end(run.client);
        }
    }
    world.rest();
    for run in &runs {
        assert!(world.peer(run.client).is_over(), "seed {seed}");
    }
    world.assert_nothing_left();
}

#[test]
fn random_schedules_end_exact_and_with_nothing_left() {
    for seed in 0..60 {
        run(seed);
    }
}
