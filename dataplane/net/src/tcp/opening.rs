//! A connection begins: from what its handshake agreed on to the first record.
//!
//! Owns: first numbers, windows and clocks. Does not own: the handshake. The ACK that completed it may have been
//! lost, and the segment at hand may carry data: whichever it is goes through `handle` like every later one.

use super::assembler::NO_SET;
use super::chain::Chain;
use super::connection::{Connection, Marks, NEVER};
use super::send::{Sender, SenderSetup};
use super::state::State;
use super::{ConnectionId, Open, Stack};
use crate::egress::ip_header_len;
use crate::flow::Protocol;
use crate::time::Instant;
use crate::verdict::DropReason;

/// Least segment that is sent, in bytes, whatever the peer asks for: one that names less (CVE-2019-11479) would make
/// us send a packet per few bytes. The least entry of the cookie's table (`syncookie::mss`).
const MSS_BYTES_MIN: u16 = 256;

/// What counts as a full segment until a longer one was seen (RFC 9293 §3.7.1).
const RCV_MSS_FIRST: u16 = 536;

/// ACKs at the beginning that are not delayed, as Linux's `TCP_MAX_QUICKACKS`.
const QUICK_ACKS: u8 = 16;

impl Stack {
    pub(super) fn open_connection(&mut self, open: &Open, now: Instant) -> Result<ConnectionId, DropReason> {
        let key = &open.key;
        if key.protocol != Protocol::Tcp || key.source.addr.is_ipv4() != key.destination.addr.is_ipv4() {
            return Err(DropReason::Malformed);
        }
        let hash = self.hash(key);
        if let Some(slot) = self.table.find(key, hash) {
            return Ok(self.table.id(slot));
        }
        if self.is_draining {
            return Err(DropReason::Draining);
        }
        let Some(slot) = self.table.next_slot() else {
            self.counters.table_full += 1;
            return Err(DropReason::FlowTableFull);
        };
        // Announced before the record makes way, so that the key is never unknown.
        self.tell_opened(key);
        if let Some(record) = self.time_wait.find(key, hash) {
            self.remove_time_wait(record);
            self.counters.time_wait_reused += 1;
        }
        self.wheel.skip_to(now);
        let connection = self.first_record(open, slot, now);
        let Some(slot) = self.table.insert(connection, hash) else {
            self.tell_freed(key);
            return Err(DropReason::FlowTableFull);
        };
        self.counters.opened += 1;
        self.settle(slot, now);
        Ok(self.table.id(slot))
    }

    fn first_record(&self, open: &Open, owner: u32, now: Instant) -> Connection {
        let agreed = &open.agreed;
        // Scaling is in use when both sides offered it (RFC 7323 §2.2).
        let scales = open.window_scale.zip(agreed.window_scale);
        let (scale_ours, scale_theirs) = scales.unwrap_or((0, 0));
        let setup = SenderSetup {
            isn: open.isn,
            mss: agreed.mss.max(MSS_BYTES_MIN),
            mtu: open.link.mtu.min(self.limits.packet_bytes_max),
            ip_header_len: ip_header_len(open.key.source.addr) as u8,
            window: u32::from(open.client_window) << scale_theirs,
            has_timestamps: agreed.timestamps,
            has_sack: agreed.sack_permitted,
            owner,
        };
        let rcv_nxt = open.client_isn.wrapping_add(1);
        let rcv_buffer = self.limits.receive_window.min(0xffff << scale_ours);
        let rcv_edge = rcv_nxt.wrapping_add(u32::from(open.window));
        // Our clock goes on from the TSval of our SYN-ACK, as the client echoed it.
        let ts_offset = open.timestamps.map_or(0, |ts| ts.echo.wrapping_sub(now.as_millis() as u32));
        Connection {
            key: open.key,
            state: State::Established,
            scale_ours,
            marks: Marks::default()
                .with(Marks::TIMESTAMPS, agreed.timestamps)
                .with(Marks::TS_RECENT, agreed.timestamps && open.timestamps.is_some())
                .with(Marks::SACK, agreed.sack_permitted)
                .with(Marks::ECN, agreed.ecn),
            rcv_nxt,
            rcv_edge,
            ack_sent: rcv_nxt,
            rcv_buffer,
            ts_recent: open.timestamps.map_or(0, |ts| ts.value),
            ts_recent_secs: now.as_secs() as u32,
            ts_offset,
            rcv_mss: RCV_MSS_FIRST,
            ranges: NO_SET,
            queue: Chain::EMPTY,
            scale_theirs,
            keep_alive_probes: 0,
            quick_acks: QUICK_ACKS,
            listener: open.listener,
            ack_at: NEVER,
            wake_at: NEVER,
            heard_at: now,
            sender: Sender::new(&setup, &self.limits.send, now),
            link: open.link,
            // So long ago that the first challenge ACK is not held back.
            challenged_ms: (now.as_millis() as u32).wrapping_sub(1 << 30),
            user: 0,
            progress_at: now,
            progress_una: open.isn.wrapping_add(1),
            round_edge: rcv_nxt.wrapping_add(rcv_buffer),
            round_ms: now.as_millis() as u32,
            fin_seq: 0,
            retry_at: NEVER,
            dsack: (0, 0),
            opened: now,
            bytes_in: 0,
            bytes_out: 0,
            close_reason: 0,
        }
    }
}
