//! Two ends, two paths and a clock: everything that happens between them, in order of time.

use core::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::clock;
use crate::frame::{Ends, too_big};
use crate::link::{Fate, Path};
use crate::random::Random;

/// Where the peers' clock begins, nanoseconds: any time but zero.
const EPOCH_NANOS: u64 = 1_000_000_000_000;

/// One end of the connection with its application.
pub(crate) trait End {
    /// A frame arrives.
    fn receive(&mut self, frame: Vec<u8>, now_us: u64);
    /// Frames to send now.
    fn transmit(&mut self, now_us: u64) -> Vec<Vec<u8>>;
    /// When it wants to be called without a frame.
    fn deadline_us(&self) -> Option<u64>;
    /// Lets time pass: timers and application.
    fn pass(&mut self, now_us: u64);
    /// Whether its side of the conversation is over.
    fn is_done(&self) -> bool;
    /// Called after every step: checks what must always hold.
    fn check(&self) {}
    /// A frame is about to leave or has arrived: what the other end may rely on.
    fn name(&self) -> &'static str;
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum To {
    Client,
    Server,
}

/// A frame under way: when it arrives, its number (which orders what arrives at one time), where, what.
type Arrival = (u64, u64, To, Vec<u8>);

/// The simulated world.
pub(crate) struct World<C, S> {
    pub(crate) now_us: u64,
    pub(crate) client: C,
    pub(crate) server: S,
    pub(crate) up: Path,
    pub(crate) down: Path,
    pub(crate) ends: Ends,
    random: Random,
    events: BinaryHeap<Reverse<Arrival>>,
    count: u64,
    /// Frames that entered the link.
    pub(crate) frames: u64,
    /// Whether every frame is printed.
    pub(crate) is_traced: bool,
    /// From when on nothing of the client reaches the server or back.
    pub(crate) cut_us: Option<u64>,
}

impl<C: End, S: End> World<C, S> {
    pub(crate) fn new(ends: Ends, client: C, server: S, up: Path, down: Path, random: Random) -> Self {
        clock::set(EPOCH_NANOS);
        Self {
            now_us: 0,
            client,
            server,
            up,
            down,
            ends,
            random,
            events: BinaryHeap::new(),
            count: 0,
            frames: 0,
            is_traced: false,
            cut_us: None,
        }
    }

    fn push(&mut self, due_us: u64, to: To, frame: Vec<u8>) {
        self.count += 1;
        self.events.push(Reverse((due_us, self.count, to, frame)));
    }

    fn is_cut(&self) -> bool {
        self.cut_us.is_some_and(|cut| self.now_us >= cut)
    }

    /// Takes what both ends want to send onto the link, until neither wants to.
    fn collect(&mut self) {
        loop {
            let (up, down) = (self.client.transmit(self.now_us), self.server.transmit(self.now_us));
            if up.is_empty() && down.is_empty() {
                break;
            }
            self.frames += (up.len() + down.len()) as u64;
            if self.is_cut() {
                continue;
            }
            for frame in up {
                self.trace("client ->", &frame);
                if let Fate::Arrives(arrivals) = self.up.send(frame, self.now_us, &mut self.random) {
                    arrivals.into_iter().for_each(|(at, frame)| self.push(at, To::Server, frame));
                }
            }
            for frame in down {
                self.trace("                <- server", &frame);
                match self.down.send(frame.clone(), self.now_us, &mut self.random) {
                    Fate::Arrives(arrivals) => {
                        arrivals.into_iter().for_each(|(at, frame)| self.push(at, To::Client, frame));
                    }
                    Fate::TooBig(mtu) => {
                        let answer = too_big(&self.ends, &frame, mtu);
                        self.push(self.now_us + self.down.quality.delay_us, To::Server, answer);
                    }
                    Fate::Lost => {}
                }
            }
        }
    }

    fn trace(&self, arrow: &str, frame: &[u8]) {
        if !self.is_traced {
            return;
        }
        let fields = crate::frame::fields(&frame[crate::frame::LINK_BYTES + self.ends.ip_header_len()..]);
        println!("{:>12} {arrow} {fields:?}", self.now_us);
    }

    /// When something happens next.
    fn next_us(&self) -> Option<u64> {
        let frame = self.events.peek().map(|Reverse((due, ..))| *due);
        [frame, self.client.deadline_us(), self.server.deadline_us()].into_iter().flatten().min()
    }

    /// Runs until both ends are done or `until_us`. Whether they are done.
    pub(crate) fn run(&mut self, until_us: u64) -> bool {
        let mut still = 0;
        loop {
            self.collect();
            self.client.check();
            self.server.check();
            if self.client.is_done() && self.server.is_done() {
                return true;
            }
            let next = self.next_us().unwrap_or(u64::MAX);
            if next > until_us {
                return false;
            }
            still = if next <= self.now_us { still + 1 } else { 0 };
            assert!(still < 100_000, "time does not pass: {} or {}", self.client.name(), self.server.name());
            self.now_us = self.now_us.max(next);
            clock::set(EPOCH_NANOS + self.now_us * 1_000);
            while let Some(Reverse((due, ..))) = self.events.peek() {
                if *due > self.now_us {
                    break;
                }
                let Some(Reverse((_, _, to, frame))) = self.events.pop() else { break };
                if self.is_cut() {
                    continue;
                }
                match to {
                    To::Client => self.client.receive(frame, self.now_us),
                    To::Server => self.server.receive(frame, self.now_us),
                }
            }
            self.client.pass(self.now_us);
            self.server.pass(self.now_us);
        }
    }
}

/// The present of the simulation for a deadline that the peer's engine gave.
pub(crate) fn micros_of(instant: std::time::Instant) -> u64 {
    (clock::nanos_of(instant) - EPOCH_NANOS).div_ceil(1_000)
}
