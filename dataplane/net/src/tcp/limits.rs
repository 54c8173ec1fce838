//! What a stack may use, and how long it waits.
//!
//! Owns: [`Limits`] of one worker with their defaults and reasons; those of the sending side are in
//! [`SendLimits`]. All memory is taken (address space; pages come with their first use) by `Stack::new`.

use core::time::Duration;

use super::send::SendLimits;

/// Limits of one stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections, those included whose end the owner has not taken note of. When full, `open` fails with
    /// `FlowTableFull`: an established connection is never given up for a new one. 512 bytes each, touched on use.
    pub connections_max: u32,
    /// Longest IP packet that is built, in bytes: what a frame's buffer holds, whatever the link carries.
    pub packet_bytes_max: u16,
    /// TIME-WAIT records, 64 bytes each. When full the oldest goes: its peer's late segments then get no answer.
    pub time_wait_max: u32,
    /// How long a TIME-WAIT record stays: 2 MSL, as Linux.
    pub time_wait: Duration,
    /// Bytes in chunks for data received out of order, data the owner has not taken and data not yet acknowledged,
    /// over all connections. When three quarters are used, receive windows are told as a quarter of `receive_window`
    /// and new data out of order is refused; at four fifths what was received out of order goes, and peers that take
    /// nothing are reset after `stall_pressed` already. In-order data that finds no room is not acknowledged.
    pub chunk_bytes_max: usize,
    /// Connections that hold data received out of order at once; 3 KiB each. When full, another connection gives up
    /// what it holds (RFC 2018 §8 allows it; its peer sends it again), each in its turn.
    pub out_of_order_max: u16,
    /// Receive window of a new connection, bytes. 64 KiB: Linux's default; what idle connections promise is the
    /// true bound of memory, since only what the owner does not take is stored.
    pub receive_window: u32,
    /// Largest receive window, bytes: what a fast upload may have under way. 4 MiB carry 800 Mbit/s at 40 ms.
    pub receive_window_max: u32,
    /// How long an ACK may wait for data or a second segment: Linux's least, 40 ms (RFC 1122 §4.2.3.2 allows 500).
    pub delayed_ack: Duration,
    /// Silence after which a keep-alive probe is sent. RFC 1122 §4.2.3.6: no less than two hours by default.
    pub keep_alive: Duration,
    /// Time between keep-alive probes, as Linux.
    pub keep_alive_interval: Duration,
    /// Keep-alive probes without answer after which the connection is given up, as Linux.
    pub keep_alive_probes: u8,
    /// Silence in FIN-WAIT-2 after which the connection is given up; Linux's `tcp_fin_timeout`.
    pub fin_wait_2: Duration,
    /// How long data may wait without real progress ([`super::PROGRESS_BYTES`] or all of it acknowledged): against
    /// closed windows (sockstress) and readers of a byte at a time.
    pub stall: Duration,
    /// The same while chunks are short.
    pub stall_pressed: Duration,
    /// Challenge ACKs of the whole stack per second (RFC 5961 §7), randomised by half up and down so that nobody can
    /// count them (CVE-2016-5696). Linux's `tcp_challenge_ack_limit` was 1,000.
    pub challenge_acks_per_second: u32,
    /// Limits of the sending side.
    pub send: SendLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 65_536,
            packet_bytes_max: 1_500,
            time_wait_max: 65_536,
            time_wait: Duration::from_secs(60),
            chunk_bytes_max: 64 << 20,
            out_of_order_max: 4_096,
            receive_window: 64 << 10,
            receive_window_max: 4 << 20,
            delayed_ack: Duration::from_millis(40),
            keep_alive: Duration::from_secs(7_200),
            keep_alive_interval: Duration::from_secs(75),
            keep_alive_probes: 9,
            fin_wait_2: Duration::from_secs(60),
            stall: Duration::from_secs(300),
            stall_pressed: Duration::from_secs(10),
            challenge_acks_per_second: 1_000,
            send: SendLimits::default(),
        }
    }
}
