//! What a stack counts.
//!
//! Owns: [`Counters`] and [`Counts`]. The sending side counts for itself (`send::SendCounters`). Monotone since `new`.

/// What happened on the receiving side and to connections as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections opened.
    pub opened: u64,
    /// Connections that could not be opened because the table was full.
    pub table_full: u64,
    /// Connections ended, by [`CloseReason`](super::CloseReason) in the order of its `ALL`.
    pub closed: [u64; super::CloseReason::ALL.len()],
    /// Segments that belonged to a connection.
    pub segments_in: u64,
    /// Segments built and sent, answers in place included.
    pub segments_out: u64,
    /// Bytes received in order.
    pub bytes_in: u64,
    /// Segments outside the receive window.
    pub out_of_window: u64,
    /// Segments that carried only what was there already.
    pub duplicates: u64,
    /// Segments refused for an old timestamp (PAWS, RFC 7323 §5).
    pub paws: u64,
    /// RSTs that were not exact (RFC 5961 §3).
    pub resets_inexact: u64,
    /// RSTs outside the window.
    pub resets_out_of_window: u64,
    /// SYNs within a connection (RFC 5961 §4).
    pub syns_in_connection: u64,
    /// Segments with an acknowledgement number that cannot be (RFC 5961 §5).
    pub acks_unacceptable: u64,
    /// Challenge ACKs sent.
    pub challenge_acks: u64,
    /// Challenge ACKs not sent because of a limit.
    pub challenge_acks_limited: u64,
    /// RSTs sent.
    pub resets_out: u64,
    /// Segments that arrived out of order and were stored.
    pub out_of_order: u64,
    /// Segments that arrived out of order and found no room: their sender sends them again.
    pub out_of_order_dropped: u64,
    /// Bytes that had arrived out of order and were given up for lack of memory.
    pub pruned_bytes: u64,
    /// In-order bytes that could not be stored and were not acknowledged.
    pub store_failed_bytes: u64,
    /// Times a receive window fell below a segment because the owner did not take the data.
    pub windows_closed: u64,
    /// Keep-alive probes sent.
    pub keep_alives: u64,
    /// Clients whose link (MAC, VLAN or port) changed within a connection.
    pub client_moves: u64,
    /// ICMP "too big" that were believed.
    pub icmp_too_big: u64,
    /// ICMP errors about a connection that were noted but change nothing (RFC 5927 §6).
    pub icmp_soft: u64,
    /// ICMP errors that match nothing in flight.
    pub icmp_unmatched: u64,
    /// TIME-WAIT records made.
    pub time_wait: u64,
    /// TIME-WAIT records given up early because their table was full.
    pub time_wait_evicted: u64,
    /// TIME-WAIT records that made way for a new connection of the same client port (RFC 6191).
    pub time_wait_reused: u64,
}

/// How much there is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections, those included whose end the owner has not been told.
    pub connections: u32,
    /// TIME-WAIT records.
    pub time_wait: u32,
    /// Connections that hold data received out of order.
    pub out_of_order: u32,
    /// Bytes of chunks in use.
    pub chunk_bytes: usize,
    /// Most bytes of chunks that were in use at one time: the memory that was ever touched.
    pub chunk_bytes_peak: usize,
    /// Bytes of chunks there are.
    pub chunk_bytes_max: usize,
    /// Segments in flight.
    pub segments_in_flight: usize,
}
