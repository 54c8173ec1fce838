//! The independent end: the engine of `pktkit` with an application that writes, reads and closes by plan.

use pktkit::vtcp::{Conn, ConnConfig, Segment, State, flags};

use crate::frame::{self, Ends};
use crate::random::{Random, byte_at, bytes_at};
use crate::world::{End, micros_of};

/// What an application does.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Bytes to write.
    pub(crate) write: u64,
    /// Bytes to expect.
    pub(crate) read: u64,
    /// Longest single write and read.
    pub(crate) piece: usize,
    /// Pause between reads, microseconds; zero reads at once.
    pub(crate) pause_us: u64,
    /// Whether it closes when it has written all, or only when it has also read all.
    pub(crate) closes_early: bool,
    /// Stream numbers of what it writes and reads.
    pub(crate) streams: (u64, u64),
}

/// The peer, as client or as server.
pub(crate) struct Peer {
    conn: Conn,
    ends: Ends,
    is_client: bool,
    plan: Plan,
    random: Random,
    written: u64,
    pub(crate) read: u64,
    is_closed: bool,
    /// When it reads on, while it pauses.
    wake_us: Option<u64>,
    out: Vec<Vec<u8>>,
    /// Added to its sequence numbers on the wire, so that the seed decides where they begin.
    shift: Option<u32>,
    isn: u32,
    /// Highest right edge of its windows on the wire.
    pub(crate) edge: Option<u32>,
    scale: u8,
}

impl Peer {
    pub(crate) fn new(
        config: ConnConfig,
        ends: Ends,
        is_client: bool,
        plan: Plan,
        isn: u32,
        random: Random,
    ) -> Self {
        let (local, remote) = if is_client {
            (ends.client_port, ends.server_port)
        } else {
            (ends.server_port, ends.client_port)
        };
        let mut peer = Self {
            conn: Conn::new(config.local_port(local).remote_port(remote)),
            ends,
            is_client,
            plan,
            random,
            written: 0,
            read: 0,
            is_closed: false,
            wake_us: None,
            out: Vec::new(),
            shift: None,
            isn,
            edge: None,
            scale: 0,
        };
        if is_client {
            let syn = peer.conn.connect();
            peer.take(syn);
        }
        peer
    }

    /// Notes windows and puts segments into frames.
    fn take(&mut self, segments: Vec<Vec<u8>>) {
        for mut segment in segments {
            let fields = frame::fields(&segment);
            let by = *self.shift.get_or_insert_with(|| self.isn.wrapping_sub(fields.seq));
            frame::shift(&mut segment, by, 0);
            if fields.flags & frame::ACK != 0 {
                let scale = if fields.flags & frame::SYN != 0 { 0 } else { self.scale };
                let edge = fields.ack.wrapping_add(u32::from(fields.window) << scale);
                let is_higher = self.edge.is_none_or(|before| (edge.wrapping_sub(before) as i32) > 0);
                if is_higher {
                    self.edge = Some(edge);
                }
            }
            let frame = if self.is_client {
                frame::from_client(&self.ends, &segment)
            } else {
                frame::from_server(&self.ends, &segment)
            };
            self.out.push(frame);
        }
    }

    /// The application: reads, checks, writes, closes.
    fn work(&mut self, now_us: u64) {
        if self.wake_us.is_none_or(|at| now_us >= at) {
            self.read_some(now_us);
        }
        while self.written < self.plan.write {
            let most = (self.plan.write - self.written).min(self.plan.piece as u64) as usize;
            let len = self.random.between(1, most as u64) as usize;
            let bytes = bytes_at(self.plan.streams.0, self.written, len);
            let (taken, segments) = self.conn.write(&bytes);
            self.written += taken as u64;
            self.take(segments);
            if taken < len {
                break;
            }
        }
        let has_read = self.read == self.plan.read && self.conn.fin_received();
        let may_close = self.conn.is_established() || self.conn.state() == State::CloseWait;
        if !self.is_closed
            && may_close
            && self.written == self.plan.write
            && (self.plan.closes_early || has_read)
        {
            self.is_closed = true;
            let segments = self.conn.close();
            self.take(segments);
        }
        let segments = self.conn.take_outgoing();
        self.take(segments);
    }

    fn read_some(&mut self, now_us: u64) {
        let mut buffer = vec![0; self.plan.piece];
        self.wake_us = None;
        loop {
            let len = self.random.between(1, self.plan.piece as u64) as usize;
            let len = self.conn.read(&mut buffer[..len]);
            for byte in &buffer[..len] {
                assert_eq!(
                    *byte,
                    byte_at(self.plan.streams.1, self.read),
                    "byte {} arrived wrong",
                    self.read
                );
                self.read += 1;
            }
            if len == 0 {
                break;
            }
            if self.plan.pause_us > 0 {
                self.wake_us = Some(now_us + self.random.between(1, self.plan.pause_us));
                break;
            }
        }
        assert!(self.read <= self.plan.read, "more arrived than was sent");
    }
}

impl End for Peer {
    fn receive(&mut self, frame: Vec<u8>, now_us: u64) {
        let Some(mut segment) = frame::segment_of(&self.ends, &frame, !self.is_client) else { return };
        if let Some(shift) = self.shift {
            frame::shift(&mut segment, 0, shift.wrapping_neg());
        }
        let Ok(segment) = Segment::parse(&segment) else { return };
        let segments = if segment.has_flag(flags::SYN) && !segment.has_flag(flags::ACK) && !self.is_client {
            self.conn.accept_syn(&segment)
        } else {
            self.conn.handle_segment(&segment)
        };
        self.take(segments);
        self.scale = self.conn.info().wscale.map_or(0, |(_, ours)| ours);
        self.work(now_us);
    }

    fn transmit(&mut self, _now_us: u64) -> Vec<Vec<u8>> {
        core::mem::take(&mut self.out)
    }

    fn deadline_us(&self) -> Option<u64> {
        let timer = self.conn.next_deadline().map(micros_of);
        [timer, self.wake_us].into_iter().flatten().min()
    }

    fn pass(&mut self, now_us: u64) {
        let segments = self.conn.tick();
        self.take(segments);
        self.work(now_us);
    }

    fn is_done(&self) -> bool {
        let is_over = self.conn.is_closed() || matches!(self.conn.state(), State::TimeWait | State::Closed);
        is_over && self.wake_us.is_none()
    }

    fn name(&self) -> &'static str {
        "peer"
    }
}
