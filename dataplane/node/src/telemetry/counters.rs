//! One page of counters per worker.
//!
//! Owns: [`Counter`] and [`Gauge`], the lists of everything a worker counts beside drops, and
//! [`WorkerCounters`], the page itself. Does not own: names and help of the exported metrics (`metrics`).
//!
//! A page has one writer, its worker; anybody may read (`number`). A reader may see one counter a moment before
//! another. Pages are aligned to 128 bytes, twice a cache line, because adjacent lines are fetched in pairs.

use secbeat_net::verdict::DropReason;

use super::number::Number;
use super::requests::RequestCounters;
use crate::event::AttackKind;

macro_rules! numbers {
    ($(#[doc = $type_doc:literal])+ $type:ident { $($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+ }) => {
        $(#[doc = $type_doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $type {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl $type {
            /// Every one, in the order of its slot.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// Number of them.
            pub const COUNT: usize = Self::ALL.len();

            /// Its name, as the JSON metrics spell it.
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

pub(crate) use numbers;

numbers! {
    /// What a worker counts upwards, beside drops.
    Counter {
        /// Frames received from the network.
        FramesIn = "frames_in",
        /// Bytes of frames received from the network.
        BytesIn = "bytes_in",
        /// Frames handed to the network.
        FramesOut = "frames_out",
        /// Bytes of frames handed to the network.
        BytesOut = "bytes_out",
        /// Received frames that were sent on or answered in place.
        FramesTransmitted = "frames_transmitted",
        /// Received frames that were used up without a frame going out (an ACK taken, a probe answered).
        FramesConsumed = "frames_consumed",
        /// Received frames put aside until the backend answers.
        FramesHeld = "frames_held",
        /// Held frames taken up again, counted apart from received ones.
        FramesReleased = "frames_released",
        /// Received frames passed to the worker that owns their flow.
        FramesHandedOver = "frames_handed_over",
        /// Frames taken over from another worker.
        FramesTakenOver = "frames_taken_over",
        /// Frames built from nothing: SYNs to backends, RSTs, PROXY headers, retransmissions.
        FramesBuilt = "frames_built",
        /// Frames built from nothing that found the transmit ring full.
        FramesBuiltLost = "frames_built_lost",
        /// SYN segments received by a listener.
        SynReceived = "syn_received",
        /// SYN-ACK segments sent to clients, with or without a cookie.
        SynAckSent = "syn_ack_sent",
        /// SYN-ACK segments sent that carry a cookie.
        CookiesSent = "cookies_sent",
        /// Of the SYN segments received and answered with a cookie, those that the XDP program answered: no frame of a
        /// worker. Counted by the first worker.
        XdpSynsAnswered = "xdp_syns_answered",
        /// ACK segments of no open flow and without a valid cookie that the XDP program dropped. Counted by the first
        /// worker.
        XdpAcksForged = "xdp_acks_forged",
        /// Other segments of no open flow that the XDP program dropped. Counted by the first worker.
        XdpSegmentsStray = "xdp_segments_stray",
        /// Open flows that the XDP program's table had no place for: it leaves segments like theirs to workers. Counted
        /// by the first worker.
        XdpFlowsUnlisted = "xdp_flows_unlisted",
        /// ACK segments whose cookie was valid.
        CookiesValid = "cookies_valid",
        /// Half-open connections completed by their ACK without a cookie.
        HandshakesCompleted = "handshakes_completed",
        /// Half-open connections given up.
        HandshakesExpired = "handshakes_expired",
        /// TCP connections opened.
        ConnectionsOpened = "connections_opened",
        /// TCP connections whose backend answered.
        ConnectionsEstablished = "connections_established",
        /// TCP connections closed, for whatever reason.
        ConnectionsClosed = "connections_closed",
        /// TCP connections for which no backend answered.
        ConnectionsFailed = "connections_failed",
        /// TCP connections reset after a passed-through handshake, because their source has as many as it may.
        ConnectionsRefused = "connections_refused",
        /// Connections that ended here, reset because their client took nothing of what waited for it.
        ConnectionsStalled = "connections_stalled",
        /// TCP connections moved to another backend before the first byte.
        ConnectionsRetried = "connections_retried",
        /// Flows evicted to make room.
        FlowsEvicted = "flows_evicted",
        /// UDP flows opened.
        UdpFlowsOpened = "udp_flows_opened",
        /// UDP flows closed.
        UdpFlowsClosed = "udp_flows_closed",
        /// Datagrams put together from fragments.
        Reassembled = "reassembled",
        /// Fragmented datagrams given up because their place was needed: many mean a flood of fragments.
        ReassemblyEvicted = "reassembly_evicted",
        /// Fragmented datagrams whose missing pieces did not come in time.
        ReassemblyExpired = "reassembly_expired",
        /// Fragmented datagrams made void by overlapping or contradicting pieces (RFC 5722).
        ReassemblyVoided = "reassembly_voided",
        /// ICMP errors translated and passed on to the flow they belong to.
        IcmpTranslated = "icmp_translated",
        /// Segments of connections that end here.
        TcpSegmentsIn = "tcp_segments_in",
        /// Segments sent by connections that end here.
        TcpSegmentsOut = "tcp_segments_out",
        /// Segments sent again, tail loss probes included.
        TcpRetransmitted = "tcp_retransmitted",
        /// Requests that rules were asked about.
        WafTransactions = "waf_transactions",
        /// Requests and responses that rules refused.
        WafInterrupted = "waf_interrupted",
        /// Requests and responses that rules would have refused, had they not been only looking.
        WafDetected = "waf_detected",
        /// Requests that lost what a rule wanted taken out.
        WafSanitized = "waf_sanitized",
        /// Responses whose body rules could not read because it was compressed.
        WafResponsesEncoded = "waf_responses_encoded",
        /// Answers to refused requests that were held back.
        WafTarpitted = "waf_tarpitted",
        /// Answers that left at once because too many were held back.
        WafTarpitFull = "waf_tarpit_full",
        /// Requests and responses that found no room to be held for inspection.
        WafHeldFull = "waf_held_full",
        /// Requests at the bound of bytes that rules may read.
        WafLimitWork = "waf_limit_work",
        /// Requests at the bound of bytes kept.
        WafLimitData = "waf_limit_data",
        /// Requests with more arguments than are looked at.
        WafLimitArguments = "waf_limit_arguments",
        /// Requests with a body longer than is looked at.
        WafLimitRequestBody = "waf_limit_request_body",
        /// Responses with a body longer than is looked at.
        WafLimitResponseBody = "waf_limit_response_body",
        /// Requests with more matches than are noted.
        WafLimitMatches = "waf_limit_matches",
        /// Retransmission timeouts.
        TcpTimeouts = "tcp_timeouts",
        /// Segments that arrived out of order and were kept.
        TcpOutOfOrder = "tcp_out_of_order",
        /// Segments that arrived twice.
        TcpDuplicates = "tcp_duplicates",
        /// Segments outside the receive window.
        TcpOutOfWindow = "tcp_out_of_window",
        /// Segments refused for an old timestamp (RFC 7323).
        TcpOldTimestamps = "tcp_old_timestamps",
        /// Challenge ACKs sent (RFC 5961): somebody guesses, or a peer lost its state.
        TcpChallengeAcks = "tcp_challenge_acks",
        /// RST segments sent by connections that end here.
        TcpResetsOut = "tcp_resets_out",
        /// Bytes received out of order that were given up for lack of memory.
        TcpPrunedBytes = "tcp_pruned_bytes",
        /// Times bytes to send found no memory.
        TcpMemoryFull = "tcp_memory_full",
        /// Times a listener switched to cookies or back.
        CookieSwitches = "cookie_switches",
        /// Clients' connections taken over by sessions.
        SessionsOpened = "sessions_opened",
        /// Sessions ended, for whatever reason.
        SessionsClosed = "sessions_closed",
        /// Clients' connections that no session could be made for: all in use, draining.
        SessionsRefused = "sessions_refused",
        /// Requests that came as HTTP/1.0 or 1.1.
        RequestsHttp1 = "requests_http1",
        /// Requests that came as HTTP/2.
        RequestsHttp2 = "requests_http2",
        /// Connections switched to WebSocket.
        Upgrades = "upgrades",
        /// Bytes of request bodies taken from clients.
        RequestBodyBytes = "request_body_bytes",
        /// Bytes of response bodies handed to clients.
        ResponseBodyBytes = "response_body_bytes",
        /// Requests refused by inspection.
        RequestsBlocked = "requests_blocked",
        /// Requests refused because their source sent too many.
        RequestsLimitedSource = "requests_limited_source",
        /// Requests refused because a route had too many.
        RequestsLimitedRoute = "requests_limited_route",
        /// Requests refused because the node had too many.
        RequestsLimitedGlobal = "requests_limited_global",
        /// Requests that could not be read.
        RequestsMalformed = "requests_malformed",
        /// Requests whose client went away before they were answered.
        RequestsAbandoned = "requests_abandoned",
        /// Responses cut off because the backend failed in the middle.
        ResponsesTruncated = "responses_truncated",
        /// Sessions ended because the TLS handshake took too long.
        TimeoutsTlsHandshake = "timeouts_tls_handshake",
        /// Sessions ended because the head of a request took too long.
        TimeoutsRequestHead = "timeouts_request_head",
        /// Requests ended because the client sent their body too slowly.
        TimeoutsRequestBody = "timeouts_request_body",
        /// Sessions ended because the client took a response too slowly.
        TimeoutsResponse = "timeouts_response",
        /// Sessions ended because no further request came.
        TimeoutsKeepAlive = "timeouts_keep_alive",
        /// Requests ended because the backend did not begin to answer within the time of their route.
        TimeoutsUpstream = "timeouts_upstream",
        /// Tunnels ended because nothing moved in them.
        TimeoutsTunnel = "timeouts_tunnel",
        /// Requests ended because they took too long in all.
        TimeoutsTotal = "timeouts_total",
        /// Passes of the loop.
        Turns = "turns",
        /// Passes that found nothing to do.
        TurnsIdle = "turns_idle",
        /// Times the worker went to sleep in `poll`.
        Sleeps = "sleeps",
        /// Policies adopted.
        PoliciesAdopted = "policies_adopted",
        /// Requests meant for a backend.
        UpstreamRequests = "upstream_requests",
        /// Connections to backends begun for requests.
        UpstreamConnects = "upstream_connects",
        /// Requests sent on a connection that was there already.
        UpstreamReused = "upstream_reused",
        /// Requests sent again on another connection before the first byte of a response.
        UpstreamRetries = "upstream_retries",
        /// Requests for which no backend gave a whole, well-formed response.
        UpstreamFailed = "upstream_failed",
        /// Requests whose backend did not connect, answer or go on in time.
        UpstreamTimeouts = "upstream_timeouts",
        /// Requests refused because backends have as many connections as they may and enough requests wait.
        UpstreamOverloaded = "upstream_overloaded",
        /// Connections to backends closed because bytes came that belong to no request.
        UpstreamLeftover = "upstream_leftover",
        /// Times a worker left a backend alone because its requests failed.
        UpstreamBreakerOpened = "upstream_breaker_opened",
    }
}

numbers! {
    /// What a worker holds right now.
    Gauge {
        /// TCP connections in the flow table, finished ones excluded.
        ConnectionsActive = "connections_active",
        /// Half-open connections.
        HalfOpen = "half_open",
        /// Entries of the flow table in use, finished ones included.
        FlowsUsed = "flows_used",
        /// UDP flows.
        UdpFlows = "udp_flows",
        /// Frames put aside until a backend answers.
        EarlyFrames = "early_frames",
        /// Connections that end here.
        TcpConnections = "tcp_connections",
        /// Connections that ended here and linger in TIME-WAIT.
        TcpTimeWait = "tcp_time_wait",
        /// Bytes of memory in use for data of connections that end here.
        TcpBufferBytes = "tcp_buffer_bytes",
        /// Datagrams under reassembly.
        Reassembling = "reassembling",
        /// Frames that wait in the inbox for this worker.
        HandoverDepth = "handover_depth",
        /// Frames received in the last turn: the depth of the receive rings as far as one turn sees it.
        RxDepth = "rx_depth",
        /// Listeners that answer with cookies now.
        CookieListeners = "cookie_listeners",
        /// Of these, listeners whose SYNs the XDP program answers. Counted by the first worker.
        XdpCookieListeners = "xdp_cookie_listeners",
        /// Of these, listeners whose segments of no open flow it drops. Counted by the first worker.
        XdpGatedListeners = "xdp_gated_listeners",
        /// Number of the policy in force.
        PolicyGeneration = "policy_generation",
        /// Sessions.
        Sessions = "sessions",
        /// Requests being served, tunnels included.
        Exchanges = "exchanges",
        /// Buffers in which bytes of sessions wait, 16 KiB each as a rule.
        SessionBuffers = "session_buffers",
        /// The core the worker is pinned to, plus one; 0 = not pinned.
        Core = "core",
        /// Connections to backends that carry requests, unused ones included.
        UpstreamConnections = "upstream_connections",
        /// Unused connections to backends.
        UpstreamIdle = "upstream_idle",
        /// Requests that wait for a connection to a backend.
        UpstreamWaiting = "upstream_waiting",
    }
}

/// The page of one worker.
#[derive(Debug)]
#[repr(align(128))]
pub struct WorkerCounters {
    counters: [Number; Counter::COUNT],
    gauges: [Number; Gauge::COUNT],
    drops: [Number; DropReason::COUNT],
    attacks: [Number; AttackKind::ALL.len()],
    /// What is counted about requests.
    pub requests: RequestCounters,
}

impl Default for WorkerCounters {
    fn default() -> Self {
        Self::new()
    }
}

impl WorkerCounters {
    /// A page of zeros.
    pub const fn new() -> Self {
        Self {
            counters: [const { Number::new() }; Counter::COUNT],
            gauges: [const { Number::new() }; Gauge::COUNT],
            drops: [const { Number::new() }; DropReason::COUNT],
            attacks: [const { Number::new() }; AttackKind::ALL.len()],
            requests: RequestCounters::new(),
        }
    }

    /// Adds to a counter. Only the worker that owns the page may call this.
    #[inline]
    pub fn add(&self, counter: Counter, count: u64) {
        self.counters[counter as usize].add(count);
    }

    /// Counts one. Only the worker that owns the page may call this.
    #[inline]
    pub fn count(&self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Sets a gauge. Only the worker that owns the page may call this.
    #[inline]
    pub fn set(&self, gauge: Gauge, value: u64) {
        self.gauges[gauge as usize].set(value);
    }

    /// Counts a dropped frame. Only the worker that owns the page may call this.
    #[inline]
    pub fn count_drop(&self, reason: DropReason) {
        self.drops[reason as usize].add(1);
    }

    /// Adds dropped frames. Only the worker that owns the page may call this.
    #[inline]
    pub fn add_drops(&self, reason: DropReason, count: u64) {
        self.drops[reason as usize].add(count);
    }

    /// Counts packets refused as part of a kind of attack. Only the worker that owns the page may call this.
    #[inline]
    pub fn add_attack(&self, kind: AttackKind, count: u64) {
        self.attacks[kind.index()].add(count);
    }

    /// A counter's value.
    pub fn get(&self, counter: Counter) -> u64 {
        self.counters[counter as usize].get()
    }

    /// A gauge's value.
    pub fn gauge(&self, gauge: Gauge) -> u64 {
        self.gauges[gauge as usize].get()
    }

    /// Frames dropped for a reason.
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize].get()
    }

    /// Frames dropped for any reason.
    pub fn drops_total(&self) -> u64 {
        self.drops.iter().map(|count| count.get()).sum()
    }

    /// Packets refused as part of a kind of attack.
    pub fn attacks(&self, kind: AttackKind) -> u64 {
        self.attacks[kind.index()].get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_own_slot() {
        let page = WorkerCounters::new();
        for (index, counter) in Counter::ALL.iter().enumerate() {
            page.add(*counter, index as u64 + 1);
        }
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            page.add_drops(*reason, index as u64 + 1);
        }
        for (index, gauge) in Gauge::ALL.iter().enumerate() {
            page.set(*gauge, index as u64 + 7);
        }
        for (index, counter) in Counter::ALL.iter().enumerate() {
            assert_eq!(page.get(*counter), index as u64 + 1, "{}", counter.name());
        }
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(page.drops(*reason), index as u64 + 1);
        }
        for (index, gauge) in Gauge::ALL.iter().enumerate() {
            assert_eq!(page.gauge(*gauge), index as u64 + 7);
        }
        let count = DropReason::COUNT as u64;
        assert_eq!(page.drops_total(), count * (count + 1) / 2);
    }

    #[test]
    fn pages_of_two_workers_share_no_cache_line() {
        assert_eq!(align_of::<WorkerCounters>(), 128);
        assert_eq!(size_of::<WorkerCounters>() % 128, 0);
    }
}
