//! What happens to a frame, and why a dropped one was dropped.
//!
//! Owns: [`DropReason`]; one variant = one counter = one line of `docs/metrics.md`, which is generated from
//! [`DropReason::explain`]. The sum over all reasons plus what was handled equals what came in (checked in
//! `sim`).

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// Why a frame was dropped by a worker.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl DropReason {
            /// Every reason, in the order of its counter.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// Number of reasons.
            pub const COUNT: usize = Self::ALL.len();

            /// The label value in metrics and events.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// One sentence for people, the same as in the documentation.
            pub const fn explain(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
}

drop_reasons! {
    /// The frame ends before its headers do, or a header's length field is impossible.
    Truncated = "truncated",
    /// A header is well-sized but carries values no real stack sends.
    Malformed = "malformed",
    /// The IPv4 header checksum is wrong.
    IpChecksum = "ip_checksum",
    /// The TCP or UDP checksum is wrong.
    L4Checksum = "l4_checksum",
    /// The frame is not IP, or carries a transport protocol that no listener uses.
    NotOurs = "not_ours",
    /// No listener has this address, port and protocol.
    NoListener = "no_listener",
    /// The source is on the blocklist.
    Blocklisted = "blocklisted",
    /// A filter rule says drop.
    FilterRule = "filter_rule",
    /// A TCP segment with a combination of flags that no real stack sends.
    TcpFlags = "tcp_flags",
    /// A segment or ACK that belongs to no flow and carries no valid SYN cookie.
    NoFlow = "no_flow",
    /// An ACK whose SYN cookie does not verify or is too old.
    CookieInvalid = "cookie_invalid",
    /// The SYN rate limit of the destination is exceeded.
    SynRate = "syn_rate",
    /// The source opens connections faster than allowed (counted after validation).
    ConnectionRate = "connection_rate",
    /// The source, its prefix or the whole node has as many connections as allowed.
    ConnectionLimit = "connection_limit",
    /// The table of half-open connections is full and cookies are off.
    BacklogFull = "backlog_full",
    /// The flow table is full of flows that must not be evicted.
    FlowTableFull = "flow_table_full",
    /// No backend of the listener is usable.
    NoBackend = "no_backend",
    /// No source port towards the backend is free.
    NoPort = "no_port",
    /// The next hop's link-layer address is not known.
    NoNeighbor = "no_neighbor",
    /// A RST outside the receive window of its flow.
    RstOutOfWindow = "rst_out_of_window",
    /// A segment outside the window of its flow.
    OutOfWindow = "out_of_window",
    /// Data that arrived before the backend answered and found no room to wait.
    EarlyDataFull = "early_data_full",
    /// The packet is longer than the link it must leave on carries, and must not be fragmented.
    TooBig = "too_big",
    /// A fragment that overlaps, arrives too late, or whose datagram cannot be completed.
    Fragment = "fragment",
    /// The table of datagrams under reassembly is full.
    FragmentTableFull = "fragment_table_full",
    /// A UDP source sends faster than allowed.
    UdpRate = "udp_rate",
    /// A UDP datagram that looks like reflected or amplified traffic.
    UdpAmplification = "udp_amplification",
    /// The hop limit reached zero.
    HopLimit = "hop_limit",
    /// An ICMP error that matches no packet we sent.
    IcmpUnmatched = "icmp_unmatched",
    /// The transmit ring was full.
    TxFull = "tx_full",
    /// No frame was free to build a packet in.
    NoFrame = "no_frame",
    /// The queue to the worker that owns the flow was full.
    HandoverFull = "handover_full",
    /// The node is draining and accepts no new connection.
    Draining = "draining",
}
