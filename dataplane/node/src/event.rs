//! What the packet path has to say: small values through a bounded queue to the control thread.
//!
//! Owns: [`Event`], what a worker may report, and [`EventQueue`], which never blocks: when it is full an event is
//! lost and the loss is counted. Does not own: logs, the API's ring of events, bans; the control thread
//! (`start::control`) makes those out of events. Cost: one push of 64 bytes, no allocation; a worker
//! reports changes of state and offenders, never single packets.

use core::net::IpAddr;
use core::sync::atomic::{AtomicU64, Ordering};

use crossbeam::queue::ArrayQueue;
use secbeat_net::time::Instant;

/// Index of a worker, from zero.
pub type WorkerId = u16;

/// Index of a listener in the policy.
pub type ListenerId = u16;

/// Events that wait for the control thread. It empties the queue at least every 100 ms; a worker reports at most
/// a few changes per listener and [`crate::attack::OFFENDERS_PER_TICK_MAX`] offenders a millisecond, so 4,096
/// is more than ten times what arrives in between. Full: the event is lost and counted.
pub const EVENTS_QUEUED_MAX: usize = 4_096;

/// Kinds of attack that a worker tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AttackKind {
    /// ACK segments without flow and without a valid cookie.
    AckFlood,
    /// Fragments that never complete, overlap, or overflow the reassembly table.
    FragmentFlood,
    /// RST segments that match no flow or lie outside its window.
    RstFlood,
    /// SYN segments far above what a listener usually gets.
    SynFlood,
    /// UDP datagrams above the limits.
    UdpFlood,
    /// Requests above the limits of rates.
    HttpFlood,
    /// Targets that climb out of their root.
    PathTraversal,
    /// Messages that break HTTP's framing, and violations of HTTP/2 made to cost much.
    ProtocolAbuse,
    /// Clients that send or take so slowly that they hold a place without using it.
    SlowClient,
    /// Statements for a database in what a program puts into its own.
    SqlInjection,
    /// Scripts for other clients.
    CrossSiteScripting,
    /// Commands for the server's shell.
    CommandInjection,
    /// Files that a program shall read or run, of the server or of another.
    FileInclusion,
    /// Code or templates for the program: PHP, Java, expression languages.
    CodeInjection,
    /// Requests that the server shall send for the client.
    RequestForgery,
    /// Identifiers of sessions put into a victim's hands.
    SessionFixation,
    /// Tools that look for weak spots, and sources known for them.
    Scanner,
    /// Responses that give away what is inside.
    Disclosure,
    /// Anything else that rules find.
    WebAttack,
}

impl AttackKind {
    /// Every kind, in the order of [`AttackKind::index`].
    pub const ALL: [Self; 19] = [
        Self::AckFlood,
        Self::FragmentFlood,
        Self::RstFlood,
        Self::SynFlood,
        Self::UdpFlood,
        Self::HttpFlood,
        Self::PathTraversal,
        Self::ProtocolAbuse,
        Self::SlowClient,
        Self::SqlInjection,
        Self::CrossSiteScripting,
        Self::CommandInjection,
        Self::FileInclusion,
        Self::CodeInjection,
        Self::RequestForgery,
        Self::SessionFixation,
        Self::Scanner,
        Self::Disclosure,
        Self::WebAttack,
    ];

    /// The label value in metrics, logs and the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AckFlood => "ack_flood",
            Self::FragmentFlood => "fragment_flood",
            Self::RstFlood => "rst_flood",
            Self::SynFlood => "syn_flood",
            Self::UdpFlood => "udp_flood",
            Self::HttpFlood => "http_flood",
            Self::PathTraversal => "path_traversal",
            Self::ProtocolAbuse => "protocol_abuse",
            Self::SlowClient => "slow_client",
            Self::SqlInjection => "sql_injection",
            Self::CrossSiteScripting => "cross_site_scripting",
            Self::CommandInjection => "command_injection",
            Self::FileInclusion => "file_inclusion",
            Self::CodeInjection => "code_injection",
            Self::RequestForgery => "request_forgery",
            Self::SessionFixation => "session_fixation",
            Self::Scanner => "scanner",
            Self::Disclosure => "disclosure",
            Self::WebAttack => "web_attack",
        }
    }

    /// Position in [`AttackKind::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Why a source is to be banned. Only sources that proved their address can offend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Offence {
    /// Opened connections faster than allowed, again and again.
    ConnectionRate,
    /// Kept more connections than allowed, again and again.
    ConnectionLimit,
    /// Sent more requests than allowed, again and again.
    RequestRate,
    /// Sent requests that were refused as attacks, again and again.
    Request,
    /// Held connections open without using them, again and again.
    SlowClient,
}

impl Offence {
    /// The reason written to the ban list.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConnectionRate => "connection_rate",
            Self::ConnectionLimit => "connection_limit",
            Self::RequestRate => "request_rate",
            Self::Request => "request",
            Self::SlowClient => "slow_client",
        }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum What {
    /// Traffic of one kind to a listener rose above the attack threshold.
    AttackStarted {
        /// The listener aimed at; `None` for kinds that carry no port (fragments).
        listener: Option<ListenerId>,
        /// What kind of attack.
        kind: AttackKind,
        /// Packets per second of this kind seen by this worker when it was detected.
        rate_pps: u64,
    },
    /// The attack stayed below the lower threshold long enough to be called over.
    AttackEnded {
        /// The listener aimed at.
        listener: Option<ListenerId>,
        /// What kind of attack.
        kind: AttackKind,
        /// How long it lasted, milliseconds.
        duration_ms: u64,
        /// Packets of this kind that this worker saw meanwhile.
        packets: u64,
        /// Highest rate seen by this worker, packets per second.
        rate_pps_max: u64,
    },
    /// A listener switched to SYN cookies (`true`) or back to the half-open table.
    Cookies {
        /// The listener.
        listener: ListenerId,
        /// Whether cookies are now used.
        active: bool,
    },
    /// A validated source offended often enough to be banned.
    Offender {
        /// Its address.
        source: IpAddr,
        /// Why.
        offence: Offence,
    },
    /// The worker runs a new policy.
    PolicyAdopted {
        /// Its number.
        generation: u64,
    },
    /// The worker has no flow left and takes no new one; it ends.
    Drained {
        /// Flows cut off because the time for draining was over.
        cut: u64,
    },
}

/// Something a worker reports, with when and who.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    /// When, on the node's clock.
    pub at: Instant,
    /// Which worker.
    pub worker: WorkerId,
    /// What.
    pub what: What,
}

/// The way of events from all workers to the control thread.
#[derive(Debug)]
pub struct EventQueue {
    queue: ArrayQueue<Event>,
    lost: AtomicU64,
}

impl EventQueue {
    /// An empty queue for `capacity` events; at least one.
    pub fn new(capacity: usize) -> Self {
        Self { queue: ArrayQueue::new(capacity.max(1)), lost: AtomicU64::new(0) }
    }

    /// Queues an event; when there is no room it is lost and counted.
    pub fn push(&self, event: Event) {
        if self.queue.push(event).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The oldest event.
    pub fn pop(&self) -> Option<Event> {
        self.queue.pop()
    }

    /// Events lost since the start because nobody emptied the queue in time.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Default for EventQueue {
    fn default() -> Self {
        Self::new(EVENTS_QUEUED_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(generation: u64) -> Event {
        Event { at: Instant::ZERO, worker: 0, what: What::PolicyAdopted { generation } }
    }

    #[test]
    fn full_queue_loses_the_newest_event_and_counts_it() {
        let queue = EventQueue::new(2);
        for generation in 1..=3 {
            queue.push(event(generation));
        }
        assert_eq!(queue.lost(), 1);
        assert_eq!(queue.pop(), Some(event(1)));
        assert_eq!(queue.pop(), Some(event(2)));
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn kinds_are_in_the_order_of_their_index() {
        for (index, kind) in AttackKind::ALL.into_iter().enumerate() {
            assert_eq!(kind.index(), index);
        }
    }
}
