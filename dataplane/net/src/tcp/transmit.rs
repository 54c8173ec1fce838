//! The bytes of a segment: headers, options, payload, checksum.
//!
//! Owns: what a connection sends next, and every frame that leaves. Does not own: which data is due (`send`).
//! Options in Linux's order: `nop nop TS`, then `nop nop SACK`. Checksums are computed in full.

use arrayvec::ArrayVec;

use super::Stack;
use super::assembler::SACK_BLOCKS_MAX;
use super::connection::{Connection, Marks, NEVER};
use super::state::State;
use crate::egress::{self, Egress, HOP_LIMIT};
use crate::flow::FlowKey;
use crate::link::{Link, PortId};
use crate::packet::PacketBuf;
use crate::splice::Ingress;
use crate::time::Instant;
use crate::wire::tcp::{Flags, HEADER_BYTES_MIN, OPTIONS_BYTES_MAX, Repr, SackBlock};
use crate::wire::{Headers, checksum, protocol};

/// Segments that one connection sends before the next has its turn: its record is warm, and nobody waits long.
const IN_A_ROW_MAX: u32 = 16;

/// The options of a segment.
struct OptionBytes {
    bytes: [u8; OPTIONS_BYTES_MAX],
    len: usize,
}

impl OptionBytes {
    const NONE: Self = Self { bytes: [1; OPTIONS_BYTES_MAX], len: 0 };

    fn put(&mut self, bytes: &[u8]) {
        if let Some(place) = self.bytes.get_mut(self.len..self.len + bytes.len()) {
            place.copy_from_slice(bytes);
            self.len += bytes.len();
        }
    }

    fn put_timestamps(&mut self, value: u32, echo: u32) {
        self.put(&[1, 1, 8, 10]);
        self.put(&value.to_be_bytes());
        self.put(&echo.to_be_bytes());
    }

    fn put_sack(&mut self, blocks: &[SackBlock]) {
        if blocks.is_empty() {
            return;
        }
        self.put(&[1, 1, 5, 2 + 8 * blocks.len() as u8]);
        for block in blocks {
            self.put(&block.left.to_be_bytes());
            self.put(&block.right.to_be_bytes());
        }
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }
}

/// The header fields that differ from segment to segment.
#[derive(Clone, Copy, Debug)]
struct Own {
    flags: Flags,
    seq: u32,
    ack: u32,
    window: u16,
}

/// Writes a segment to the client of `key`; `fill` writes the payload. Returns the port.
fn emit(
    packet: &mut PacketBuf<'_>,
    link: &Link,
    key: &FlowKey,
    own: Own,
    options: &OptionBytes,
    payload_len: usize,
    fill: impl FnOnce(&mut [u8]),
) -> Option<PortId> {
    let (source, destination) = (key.destination.addr, key.source.addr);
    let egress = Egress { link, source, destination, hop_limit: HOP_LIMIT, may_fragment: false };
    let len = HEADER_BYTES_MIN + options.len + payload_len;
    let at = egress::emit(packet, &egress, protocol::TCP, 0, len)?;
    let bytes = packet.bytes_mut().get_mut(at..)?;
    let header = Repr {
        source_port: key.destination.port,
        destination_port: key.source.port,
        seq: own.seq,
        ack: own.ack,
        flags: own.flags,
        window: own.window,
    };
    let header_len = header.emit(bytes, options.as_slice())?;
    fill(bytes.get_mut(header_len..)?);
    let sum = checksum::pseudo(source, destination, protocol::TCP, len).add_bytes(bytes).checksum();
    bytes.get_mut(16..18)?.copy_from_slice(&sum.to_be_bytes());
    Some(link.port)
}

impl Connection {
    /// What every segment that carries an ACK takes note of: nothing is due any more.
    fn note_ack_sent(&mut self) {
        self.ack_sent = self.rcv_nxt;
        self.ack_at = NEVER;
        self.marks.remove(Marks::ACK_NOW | Marks::DSACK);
    }

    /// Window, acknowledgement and flags of a segment that leaves now.
    fn own(&mut self, buffer: u32, flags: Flags, seq: u32, windows_closed: &mut u64) -> Own {
        let window = self.window_field(buffer);
        let told = u32::from(window) << self.scale_ours;
        let was_closed = self.marks.take(Marks::WINDOW_CLOSED);
        if told < u32::from(self.rcv_mss).min(buffer / 2) {
            self.marks.insert(Marks::WINDOW_CLOSED);
            *windows_closed += u64::from(!was_closed);
        }
        let echo = if self.marks.intersects(Marks::ECN_ECHO) { Flags::ECE } else { Flags::NONE };
        Own { flags: flags | Flags::ACK | echo, seq, ack: self.rcv_nxt, window }
    }
}

impl Stack {
    /// The options of a segment that leaves now.
    fn options(&self, connection: &Connection, now: Instant) -> OptionBytes {
        let mut options = OptionBytes::NONE;
        let has_timestamps = connection.marks.intersects(Marks::TIMESTAMPS);
        if has_timestamps {
            options.put_timestamps(connection.clock(now), connection.ts_recent);
        }
        let has_duplicate = connection.marks.intersects(Marks::DSACK);
        if connection.marks.intersects(Marks::SACK) && (has_duplicate || connection.has_ranges()) {
            let count_max = if has_timestamps { SACK_BLOCKS_MAX - 1 } else { SACK_BLOCKS_MAX };
            let mut blocks = ArrayVec::new();
            if has_duplicate {
                blocks.push(SackBlock { left: connection.dsack.0, right: connection.dsack.1 });
            }
            if let Some(set) = self.sets.get(connection.ranges) {
                set.sack_blocks(&mut blocks, count_max);
            }
            if connection.marks.intersects(Marks::FIN_SEEN) {
                // A FIN that waits with the data in front of it is received too.
                for block in blocks.iter_mut().filter(|block| block.right == connection.fin_seq) {
                    block.right = block.right.wrapping_add(1);
                }
            }
            options.put_sack(&blocks);
        }
        options
    }

    /// Builds a pure ACK.
    pub(super) fn emit_ack(&mut self, slot: u32, packet: &mut PacketBuf<'_>, now: Instant) -> Option<PortId> {
        let connection = self.table.get(slot)?;
        let seq = connection.sender.next_seq();
        self.emit_empty(slot, packet, seq, now)
    }

    fn emit_empty(
        &mut self,
        slot: u32,
        packet: &mut PacketBuf<'_>,
        seq: u32,
        now: Instant,
    ) -> Option<PortId> {
        let connection = self.table.get(slot)?;
        let options = self.options(connection, now);
        let buffer = self.buffer(connection.rcv_buffer);
        let connection = self.table.get_mut(slot)?;
        let own = connection.own(buffer, Flags::NONE, seq, &mut self.counters.windows_closed);
        let port = emit(packet, &connection.link, &connection.key, own, &options, 0, |_| {})?;
        connection.note_ack_sent();
        self.counters.segments_out += 1;
        Some(port)
    }

    /// Builds a RST, exact for the peer; as an answer it has no ACK (RFC 9293 §3.5.2).
    pub(super) fn emit_reset(
        &mut self,
        slot: u32,
        packet: &mut PacketBuf<'_>,
        flags: Flags,
    ) -> Option<PortId> {
        let connection = self.table.get_mut(slot)?;
        let own = Own {
            flags,
            seq: connection.sender.next_seq(),
            ack: if flags.contains(Flags::ACK) { connection.rcv_nxt } else { 0 },
            window: 0,
        };
        let none = OptionBytes::NONE;
        let port = emit(packet, &connection.link, &connection.key, own, &none, 0, |_| {})?;
        connection.marks.remove(Marks::RESET);
        self.counters.segments_out += 1;
        self.counters.resets_out += 1;
        Some(port)
    }

    /// Builds the next segment of the sending side.
    fn emit_data(&mut self, slot: u32, packet: &mut PacketBuf<'_>, now: Instant) -> Option<PortId> {
        let connection = self.table.get(slot)?;
        let options = self.options(connection, now);
        let buffer = self.buffer(connection.rcv_buffer);
        let connection = self.table.get_mut(slot)?;
        // A frame that is too short for the link would lose what the sender takes for sent.
        let packet_len = connection.link.mtu.min(self.limits.packet_bytes_max);
        if packet.capacity() < connection.link.header().len() + usize::from(packet_len) {
            return None;
        }
        let clock = connection.clock(now);
        let outgoing = connection.sender.poll_segment(&mut self.shared, options.len, clock, now)?;
        let push = if outgoing.push { Flags::PSH } else { Flags::NONE };
        let fin = if outgoing.fin { Flags::FIN } else { Flags::NONE };
        let own = connection.own(buffer, push | fin, outgoing.seq, &mut self.counters.windows_closed);
        let (sender, shared) = (&connection.sender, &self.shared);
        let len = usize::from(outgoing.len);
        let port = emit(packet, &connection.link, &connection.key, own, &options, len, |payload| {
            sender.copy_payload(shared, &outgoing, payload);
        })?;
        connection.note_ack_sent();
        if now - connection.heard_at < self.limits.delayed_ack {
            connection.quick_acks = 0;
        }
        self.counters.segments_out += 1;
        Some(port)
    }

    /// What a connection sends next: a RST, data, an ACK that is due, a probe.
    fn emit_next(&mut self, slot: u32, packet: &mut PacketBuf<'_>, now: Instant) -> Option<PortId> {
        let marks = self.table.get(slot)?.marks;
        if marks.intersects(Marks::RESET) {
            return self.emit_reset(slot, packet, Flags::RST_ACK);
        }
        let connection = self.table.get(slot)?;
        if connection.state != State::Closed
            && connection.sender.wants_transmit()
            && let Some(port) = self.emit_data(slot, packet, now)
        {
            return Some(port);
        }
        let connection = self.table.get_mut(slot)?;
        let probe = connection.marks.take(Marks::PROBE);
        if connection.marks.intersects(Marks::ACK_NOW) {
            return self.emit_ack(slot, packet, now);
        }
        if probe {
            // RFC 1122 §4.2.3.6: a number that the peer has acknowledged, so that it must answer.
            let seq = connection.sender.next_seq().wrapping_sub(1);
            return self.emit_empty(slot, packet, seq, now);
        }
        None
    }

    pub(super) fn next_transmit(&mut self, packet: &mut PacketBuf<'_>, now: Instant) -> Option<PortId> {
        while let Some(slot) = self.transmit.front().copied() {
            let port = self.emit_next(slot, packet, now);
            self.in_a_row += 1;
            let has_more = port.is_some() && self.has_segment(slot);
            if !has_more || self.in_a_row >= IN_A_ROW_MAX {
                self.in_a_row = 0;
                self.transmit.pop_front();
                if has_more {
                    self.transmit.push_back(slot);
                } else if let Some(connection) = self.table.get_mut(slot) {
                    connection.marks.remove(Marks::TRANSMIT_LISTED | Marks::SENDS);
                    // Timers that sending has set; a slot that nobody waits for any more.
                    self.settle_after_transmit(slot, now);
                }
            }
            if port.is_some() {
                return port;
            }
        }
        None
    }

    fn has_segment(&self, slot: u32) -> bool {
        self.table.get(slot).is_some_and(|connection| {
            let sends = connection.marks.intersects(Marks::SENDS);
            sends || (connection.state != State::Closed && connection.sender.wants_transmit())
        })
    }

    /// As `settle`, but what could not be sent now (no room in the frame) is not listed again at once.
    fn settle_after_transmit(&mut self, slot: u32, now: Instant) {
        let is_closed = self.table.get(slot).is_none_or(|connection| connection.state == State::Closed);
        if is_closed {
            self.free_if_done(slot);
        } else {
            self.arm(slot, now);
        }
    }

    /// Writes the ACK of a TIME-WAIT record over the frame at hand.
    pub(super) fn answer_time_wait(
        &mut self,
        slot: u32,
        packet: &mut PacketBuf<'_>,
        headers: &Headers,
        ingress: &Ingress,
        now: Instant,
    ) -> Option<PortId> {
        let record = *self.time_wait.get(slot)?;
        let link = Link::reply_to(ingress.port, ingress.mtu, packet.bytes().get(..headers.link_len)?)?;
        let mut options = OptionBytes::NONE;
        if record.has_timestamps {
            options.put_timestamps((now.as_millis() as u32).wrapping_add(record.ts_offset), record.ts_recent);
        }
        let own = Own { flags: Flags::ACK, seq: record.snd_nxt, ack: record.rcv_nxt, window: 0xffff };
        let port = emit(packet, &link, &record.key, own, &options, 0, |_| {})?;
        self.counters.segments_out += 1;
        Some(port)
    }
}
