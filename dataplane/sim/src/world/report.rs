//! What a run says: its failure with the seed to replay it, or a summary.

use super::World;
use crate::frame::{self, Payload, flag};
use core::fmt;
use secbeat_net::time::Instant;

/// Something that must hold did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The number to replay it with.
    pub seed: u64,
    /// When, on the virtual clock.
    pub at: Instant,
    /// What.
    pub text: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} failed at {} ms: {}", self.seed, self.at.as_millis(), self.text)?;
        write!(f, "replay with: cargo run -p secbeat-sim -- --seed {} --trace", self.seed)
    }
}

/// What happened in a world where everything held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Events handled.
    pub steps: u64,
    /// Turns of workers.
    pub turns: u64,
    /// Sessions started.
    pub sessions: u64,
    /// Requests that arrived at origins.
    pub requests: u64,
    /// Questions of datagram clients.
    pub questions: u64,
    /// Answers to them that arrived, doubled ones included.
    pub answers: u64,
    /// Frames of attackers.
    pub attack_frames: u64,
    /// Frames that found the node's receive queue full.
    pub lost_at_node: u64,
    /// SYNs answered before any worker saw them.
    pub answered_in_front: u64,
    /// Segments of no flow dropped before any worker saw them.
    pub dropped_in_front: u64,
    /// Packets of the node to addresses that belong to nobody.
    pub answers_to_noise: u64,
    /// Length of the run on the virtual clock.
    pub virtual_ms: u64,
    /// Drops by reason.
    pub drops: Vec<(&'static str, u64)>,
    /// Hash of every frame on the node's ports, with its time: equal runs have equal hashes.
    pub trace_hash: u64,
}

impl Summary {
    pub(super) fn note_frame(&mut self, now: Instant, way: u8, frame: &[u8]) {
        let mut hash = self.trace_hash ^ now.as_nanos() ^ u64::from(way);
        for &byte in frame {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self.trace_hash = hash.rotate_left(7);
    }
}

impl World {
    /// What was promised to the sessions, at the end.
    pub(super) fn check_promises(&self) -> Result<(), String> {
        for (index, session) in self.sessions.iter().enumerate() {
            let Some(session) = session else { continue };
            if let Some(text) = session.broken_promise() {
                let plan = &session.plan;
                return Err(format!(
                    "session {index} ({} to {}, {:?}) {text}",
                    plan.client, plan.service, plan.ending
                ));
            }
        }
        self.check_exchanges()
    }
}

/// A frame in one line, for traces.
pub(super) fn line(bytes: &[u8]) -> String {
    let Ok(packet) = frame::read(bytes) else { return format!("unreadable, {} bytes", bytes.len()) };
    let ends = format!("{} > {}", packet.from(), packet.to());
    match &packet.payload {
        Payload::Tcp(segment) => {
            let names = [
                (flag::SYN, 'S'),
                (flag::FIN, 'F'),
                (flag::RST, 'R'),
                (flag::PSH, 'P'),
                (flag::ACK, '.'),
                (flag::ECE, 'E'),
                (flag::CWR, 'W'),
            ];
            let flags: String =
                names.iter().filter(|(bit, _)| segment.has(*bit)).map(|(_, name)| *name).collect();
            let options = &segment.options;
            format!(
                "{ends} {flags} seq {} ack {} win {} len {} mss {:?} ws {:?} ts {:?} sack {:?}",
                segment.seq,
                segment.ack,
                segment.window,
                segment.data.len(),
                options.mss,
                options.window_scale,
                options.timestamps,
                options.sack
            )
        }
        Payload::Udp(datagram) => format!("{ends} UDP len {}", datagram.data.len()),
        Payload::Icmp { kind, code, .. } => format!("{ends} ICMP {kind}/{code}"),
        Payload::Fragment { id, offset, more, .. } => format!("{ends} fragment {id} at {offset} more {more}"),
    }
}
