//! A small TCP for the simulated hosts: strict about what it is sent, so that it doubles as an oracle.
//!
//! Owns: one connection of one host: handshake, retransmission with back-off, SACK, timestamps with PAWS, flow
//! control with window scaling, half-close, RST. Does not own: ports, packets, the application.
//! It keeps a list of complaints: what no correct peer, and no correct box in between, can cause.
//! Not here: congestion control beyond a restart from one segment after a timeout, ECN, path MTU discovery.
//!
//! Offsets: positions in a stream are 64-bit; 0 is the SYN, 1 the first byte of data, the FIN follows the last.
//! RFC 9293, 2018, 5961 §5.2, 7323.

mod receive;
mod send;

use crate::frame::{Options, Segment, flag};
use core::net::SocketAddr;
use core::time::Duration;
use secbeat_net::time::Instant;
use std::collections::{BTreeMap, VecDeque};

/// First retransmission timeout; doubles up to [`RTO_MAX`].
const RTO_MIN: Duration = Duration::from_millis(250);
/// Longest retransmission timeout: short, so that a healed link is noticed soon.
const RTO_MAX: Duration = Duration::from_secs(3);
/// Timeouts in a row until a connection is given up: about 40 s of silence.
const RETRIES_MAX: u32 = 15;
/// How long the side that closed first answers late segments: longer than any run of losses on a bad link.
const TIME_WAIT: Duration = Duration::from_secs(30);
/// How long an acknowledgement may wait for company.
const DELAYED_ACK: Duration = Duration::from_millis(40);

/// How a host speaks TCP.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Largest segment it takes, in bytes.
    pub mss: u16,
    /// Window scale it offers.
    pub window_scale: Option<u8>,
    /// Whether it offers SACK.
    pub sack: bool,
    /// Whether it offers timestamps.
    pub timestamps: bool,
    /// Receive buffer in bytes.
    pub buffer: u32,
    /// Most segments it keeps in flight.
    pub flight: u32,
    /// Whether it waits with acknowledgements.
    pub delays_acks: bool,
    /// Where its timestamp clock (milliseconds) starts.
    pub clock_start: u32,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// SYN-SENT.
    SynSent,
    /// SYN-RECEIVED.
    SynReceived,
    /// ESTABLISHED, or any half-closed state: what was sent and received says which.
    Open,
    /// TIME-WAIT.
    TimeWait,
    /// Both directions ended in order.
    Closed,
    /// The peer, or someone in between, sent an acceptable RST.
    Reset,
    /// Nobody answered for too long.
    GivenUp,
    /// This side ended it with RST.
    Aborted,
}

/// One side of a connection.
#[derive(Debug)]
pub struct Endpoint {
    local: SocketAddr,
    remote: SocketAddr,
    settings: Settings,
    state: State,
    sending: Sending,
    receiving: Receiving,
    /// Options both sides agreed on.
    uses_sack: bool,
    uses_timestamps: bool,
    uses_window_scale: bool,
    output: VecDeque<Segment>,
    retransmit_at: Option<Instant>,
    acknowledge_at: Option<Instant>,
    time_wait_until: Option<Instant>,
    complaints: Vec<String>,
}

#[derive(Debug)]
struct Sending {
    iss: u32,
    acked: u64,
    next: u64,
    highest: u64,
    data: Vec<u8>,
    is_finished: bool,
    peer_window: u64,
    peer_window_max: u64,
    peer_shift: u8,
    peer_mss: u16,
    flight_max: u32,
    sacked: Vec<(u64, u64)>,
    duplicate_acks: u32,
    rto: Duration,
    retries: u32,
}

#[derive(Debug)]
struct Receiving {
    irs: u32,
    next: u64,
    early: BTreeMap<u64, Vec<u8>>,
    data: Vec<u8>,
    read: usize,
    fin_at: Option<u64>,
    shift: u8,
    /// Right edge promised to the peer.
    edge: u64,
    timestamp: u32,
    last_early: Option<u64>,
    /// Whether the peer ended its direction first.
    is_passive: bool,
    unacknowledged: u32,
}

impl Endpoint {
    /// Starts a connection: the SYN is ready to be sent.
    pub fn connect(
        local: SocketAddr,
        remote: SocketAddr,
        settings: Settings,
        iss: u32,
        now: Instant,
    ) -> Self {
        let mut endpoint = Self::new(local, remote, settings, iss, State::SynSent);
        endpoint.transmit_syn(now);
        endpoint
    }

    /// Answers a SYN: the SYN-ACK is ready to be sent.
    pub fn accept(
        local: SocketAddr,
        remote: SocketAddr,
        settings: Settings,
        iss: u32,
        syn: &Segment,
        now: Instant,
    ) -> Self {
        let mut endpoint = Self::new(local, remote, settings, iss, State::SynReceived);
        endpoint.agree(syn);
        endpoint.transmit_syn(now);
        endpoint
    }

    fn new(local: SocketAddr, remote: SocketAddr, settings: Settings, iss: u32, state: State) -> Self {
        let sending = Sending {
            iss,
            acked: 0,
            next: 0,
            highest: 0,
            data: Vec::new(),
            is_finished: false,
            peer_window: 0,
            peer_window_max: 0,
            peer_shift: 0,
            peer_mss: 536,
            flight_max: settings.flight,
            sacked: Vec::new(),
            duplicate_acks: 0,
            rto: RTO_MIN,
            retries: 0,
        };
        let receiving = Receiving {
            irs: 0,
            next: 0,
            early: BTreeMap::new(),
            data: Vec::new(),
            read: 0,
            fin_at: None,
            shift: 0,
            edge: 0,
            timestamp: 0,
            last_early: None,
            is_passive: false,
            unacknowledged: 0,
        };
        Self {
            local,
            remote,
            settings,
            state,
            sending,
            receiving,
            uses_sack: false,
            uses_timestamps: false,
            uses_window_scale: false,
            output: VecDeque::new(),
            retransmit_at: None,
            acknowledge_at: None,
            time_wait_until: None,
            complaints: Vec::new(),
        }
    }

    /// Takes over what a SYN or SYN-ACK says. Options the peer adds without being asked are a complaint.
    fn agree(&mut self, syn: &Segment) {
        let (options, settings) = (&syn.options, &self.settings);
        if self.state == State::SynSent {
            let uninvited = (options.window_scale.is_some() && settings.window_scale.is_none())
                || (options.sack_permitted && !settings.sack)
                || (options.timestamps.is_some() && !settings.timestamps);
            if uninvited {
                self.complaints.push(format!("SYN-ACK with options that were not offered: {options:?}"));
            }
        }
        let shift = options.window_scale.filter(|_| settings.window_scale.is_some());
        self.sending.peer_shift = shift.unwrap_or(0).min(14);
        self.receiving.shift = shift.and(settings.window_scale).unwrap_or(0);
        self.uses_window_scale = shift.is_some();
        self.uses_sack = options.sack_permitted && settings.sack;
        self.uses_timestamps = options.timestamps.is_some() && settings.timestamps;
        self.sending.peer_mss = options.mss.unwrap_or(536).max(64);
        self.sending.peer_window = u64::from(syn.window);
        self.sending.peer_window_max = u64::from(syn.window);
        self.receiving.irs = syn.seq;
        self.receiving.next = 1;
        self.receiving.timestamp = options.timestamps.map_or(0, |(value, _)| value);
    }

    fn transmit_syn(&mut self, now: Instant) {
        let is_answer = self.state == State::SynReceived;
        let settings = &self.settings;
        let options = Options {
            mss: Some(settings.mss),
            window_scale: settings.window_scale.filter(|_| !is_answer || self.uses_window_scale),
            sack_permitted: if is_answer { self.uses_sack } else { settings.sack },
            timestamps: (if is_answer { self.uses_timestamps } else { settings.timestamps })
                .then(|| (self.clock(now), self.receiving.timestamp)),
            sack: Vec::new(),
        };
        let window = settings.buffer.min(0xffff) as u16;
        self.receiving.edge = self.receiving.edge.max(self.receiving.next + u64::from(window));
        let segment = Segment {
            source_port: self.local.port(),
            destination_port: self.remote.port(),
            seq: self.sending.iss,
            ack: if is_answer { self.ack_number() } else { 0 },
            flags: if is_answer { flag::SYN | flag::ACK } else { flag::SYN },
            window,
            options,
            data: Vec::new(),
        };
        self.output.push_back(segment);
        self.sending.next = 1;
        self.sending.highest = self.sending.highest.max(1);
        self.retransmit_at = Some(now + self.sending.rto);
    }

    /// Milliseconds of this host's timestamp clock.
    fn clock(&self, now: Instant) -> u32 {
        self.settings.clock_start.wrapping_add(now.as_millis() as u32)
    }

    fn ack_number(&self) -> u32 {
        self.receiving.irs.wrapping_add(self.receiving.next as u32)
    }

    /// This side's address.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The peer's address.
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// How far the connection is.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether nothing more will happen here.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Closed | State::Reset | State::GivenUp | State::Aborted)
    }

    /// Whether the peer has ended its direction and all of it arrived.
    pub fn is_read_to_end(&self) -> bool {
        self.receiving.fin_at.is_some_and(|at| self.receiving.next > at)
    }

    /// Everything that arrived, in order, from the start.
    pub fn received(&self) -> &[u8] {
        &self.receiving.data
    }

    /// The next sequence number expected of the peer: what TIME-WAIT remembers.
    pub fn next_expected(&self) -> u32 {
        self.ack_number()
    }

    /// The newest timestamp of the peer, when timestamps are in use.
    pub fn newest_timestamp(&self) -> Option<u32> {
        self.uses_timestamps.then_some(self.receiving.timestamp)
    }

    /// Sequence numbers an attacker on the path could use: next to send, next expected.
    pub fn numbers(&self) -> (u32, u32) {
        (self.sending.iss.wrapping_add(self.sending.next as u32), self.ack_number())
    }

    /// What a correct peer and path cannot cause, and yet happened.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// The next segment to send.
    pub fn poll_transmit(&mut self) -> Option<Segment> {
        self.output.pop_front()
    }

    /// When [`Endpoint::handle_timeout`] should be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let timers = [self.retransmit_at, self.acknowledge_at, self.time_wait_until];
        timers.into_iter().flatten().min()
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.time_wait_until.is_some_and(|at| at <= now) {
            self.end(State::Closed);
        }
        if self.acknowledge_at.is_some_and(|at| at <= now) {
            self.acknowledge(now);
        }
        if self.retransmit_at.is_some_and(|at| at <= now) {
            self.on_retransmit_timeout(now);
        }
    }

    fn end(&mut self, state: State) {
        self.state = state;
        self.retransmit_at = None;
        self.acknowledge_at = None;
        self.time_wait_until = None;
    }
}

#[cfg(test)]
mod tests;
