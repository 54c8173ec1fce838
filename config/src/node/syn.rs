//! `[syn_proxy]`, `[flows]`, `[udp]`: the handshake, and what is remembered of a flow.

use core::time::Duration;

use crate::reader::{Choice, Table, Unit};
use crate::secret::Secret;

/// When SYNs are answered with cookies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SynCookies {
    /// When the half-open table is full, until it has emptied.
    Auto,
    /// Always: an unvalidated source never costs memory.
    Always,
    /// Never: a full half-open table refuses.
    Never,
}

impl Choice for SynCookies {
    const ALL: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("always", Self::Always), ("never", Self::Never)];
}

/// Who answers a SYN with a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SynCookiesAt {
    /// The XDP program when frames are copied to workers, workers when they are not (zero-copy).
    Auto,
    /// The XDP program.
    Xdp,
    /// Workers.
    Worker,
}

impl Choice for SynCookiesAt {
    const ALL: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("xdp", Self::Xdp), ("worker", Self::Worker)];
}

/// `[syn_proxy]`.
#[derive(Clone, Debug)]
pub struct SynProxy {
    /// Answer SYNs in the node; in `tcp` mode handshakes pass through.
    pub enable: bool,
    /// When cookies are used.
    pub syn_cookies: SynCookies,
    /// Who answers with cookies.
    pub syn_cookies_at: SynCookiesAt,
    /// Half-open connections per worker kept in `auto` and `never`.
    pub syn_backlog_max: u32,
    /// What cookie keys are derived from; `None` = drawn at random and kept in the state directory.
    pub syn_cookie_secret: Option<Secret>,
    /// How long a half-open connection is kept.
    pub handshake_timeout: Duration,
    /// Largest segment size offered to clients, in bytes.
    pub mss_max: u16,
    /// Offer window scaling.
    pub window_scaling: bool,
    /// Offer selective acknowledgement.
    pub sack: bool,
    /// Offer timestamps.
    pub timestamps: bool,
    /// Offer explicit congestion notification.
    pub ecn: bool,
    /// First retransmission of a SYN towards a backend; doubles.
    pub backend_syn_timeout: Duration,
    /// Backends tried for one connection.
    pub backend_tries: u8,
}

impl SynProxy {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        Self {
            enable: t.boolean(
                "enable",
                true,
                "Answer SYNs in the node when `mode = \"syn\"`. False passes handshakes through, as \
                 `tcp` mode does.",
            ),
            syn_cookies: t.choice(
                "syn_cookies",
                SynCookies::Auto,
                "When SYNs are answered with cookies: above `max_syn_backlog` half-open connections \
                 (`auto`), `always`, or `never`.",
            ),
            syn_cookies_at: t.choice(
                "syn_cookies_at",
                SynCookiesAt::Auto,
                "Who answers with cookies, and drops segments that belong to no flow: the XDP program before \
                 frames are copied (`xdp`), a `worker`, or (`auto`) the program unless the sockets are zero-copy. \
                 The program leaves all SYNs to workers while `[limits] syn_rate` is set.",
            ),
            syn_backlog_max: t.integer(
                "max_syn_backlog",
                65_536,
                64..=4_194_304,
                "connections",
                "Half-open connections kept per worker in `auto` and `never`. Above it `auto` sends \
                 cookies and `never` drops as `backlog_full`.",
            ),
            syn_cookie_secret: t.secret(
                "syn_cookie_secret",
                "What cookie keys are derived from, at least 16 characters; the same on every node that \
                 shares an address. Without it keys are drawn at random and kept in the state directory.",
            ),
            handshake_timeout: t.duration(
                "handshake_timeout",
                Duration::from_secs(10),
                Duration::from_secs(1)..=Duration::from_secs(120),
                Unit::Seconds,
                "How long a half-open connection is kept.",
            ),
            mss_max: t.integer(
                "mss_max",
                1_460,
                536..=8_960,
                "bytes",
                "Largest segment size offered to clients; the link's MTU lowers it.",
            ),
            window_scaling: t.boolean(
                "window_scaling",
                true,
                "Offer window scaling. Turn off if a backend does not support it.",
            ),
            sack: t.boolean(
                "sack",
                true,
                "Offer selective acknowledgement. Turn off if a backend does not support it.",
            ),
            timestamps: t.boolean(
                "timestamps",
                true,
                "Offer timestamps. Turn off if a backend does not support them; cookies then carry no \
                 window scale and no SACK.",
            ),
            ecn: t.boolean(
                "ecn",
                true,
                "Accept explicit congestion notification when the client asks for it.",
            ),
            backend_syn_timeout: t.duration(
                "backend_syn_timeout",
                Duration::from_millis(250),
                Duration::from_millis(10)..=Duration::from_secs(10),
                Unit::Milliseconds,
                "First retransmission of a SYN towards a backend; doubles each time.",
            ),
            backend_tries: t.integer(
                "backend_tries",
                3,
                1..=16,
                "backends",
                "Backends tried for one connection before its client gets a RST.",
            ),
        }
    }
}

/// `[flows]`: the table of TCP flows of a worker and their timers.
#[derive(Clone, Debug)]
pub struct Flows {
    /// TCP flows one worker can hold.
    pub flows_max: u32,
    /// Idle time of an established flow.
    pub idle_timeout: Duration,
    /// Idle time once one side has sent FIN.
    pub half_closed_timeout: Duration,
    /// How long a finished flow is remembered.
    pub time_wait: Duration,
    /// Idle time of a flow whose backend has not answered.
    pub connect_timeout: Duration,
    /// Frames kept per worker for clients that speak before the backend answers.
    pub early_frames_max: u32,
}

impl Flows {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        let day = Duration::from_secs(86_400);
        let second = Duration::from_secs(1);
        Self {
            flows_max: t.integer(
                "max_per_worker",
                65_536,
                64..=16_777_216,
                "flows",
                "TCP flows one worker can hold; memory for them is taken at start. When full the oldest \
                 finished flow goes, then the oldest half-open one, never an established one.",
            ),
            idle_timeout: t.duration(
                "idle_timeout",
                Duration::from_secs(3_600),
                second..=day,
                Unit::Seconds,
                "Idle time after which an established flow is forgotten.",
            ),
            half_closed_timeout: t.duration(
                "half_closed_timeout",
                Duration::from_secs(120),
                second..=day,
                Unit::Seconds,
                "Idle time once one side has finished.",
            ),
            time_wait: t.duration(
                "time_wait",
                Duration::from_secs(60),
                second..=Duration::from_secs(240),
                Unit::Seconds,
                "How long a finished flow is remembered.",
            ),
            connect_timeout: t.duration(
                "connect_timeout",
                Duration::from_secs(5),
                Duration::from_millis(100)..=Duration::from_secs(120),
                Unit::Seconds,
                "How long a backend may take to answer before the connection counts as failed.",
            ),
            early_frames_max: t.integer(
                "early_frames_max",
                1_024,
                0..=65_536,
                "frames",
                "Frames kept per worker for clients that speak before the backend answers; further ones \
                 are dropped as `early_data_full` and sent again by the client.",
            ),
        }
    }
}

/// `[udp]`.
#[derive(Clone, Debug)]
pub struct Udp {
    /// UDP flows one worker can hold.
    pub flows_max: u32,
    /// Idle time of a flow.
    pub idle_timeout: Duration,
    /// Source ports of reflected traffic: datagrams from them are dropped unless they answer a flow.
    pub amplification_ports: Vec<u16>,
    /// Most bytes a backend may answer per byte received, before the source has proven itself; 0 = no limit.
    pub amplification_ratio_max: u32,
    /// Datagrams under reassembly per worker.
    pub reassembly_max: u32,
    /// How long fragments wait for the rest.
    pub reassembly_timeout: Duration,
}

impl Udp {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        Self {
            flows_max: t.integer(
                "max_per_worker",
                16_384,
                64..=4_194_304,
                "flows",
                "UDP flows one worker can hold; memory for them is taken at start. When full, the oldest flow that \
                 no backend has answered goes (its source may be forged); an answered one never does, and a new \
                 one is then dropped as `flow_table_full`. With socket I/O the flow idle longest goes.",
            ),
            idle_timeout: t.duration(
                "idle_timeout",
                Duration::from_secs(30),
                Duration::from_secs(1)..=Duration::from_secs(3_600),
                Unit::Seconds,
                "Idle time after which a UDP flow is forgotten.",
            ),
            amplification_ports: t.list(
                "amplification_ports",
                &[
                    "17", "19", "53", "69", "111", "123", "137", "161", "389", "520", "751", "1434", "1900",
                    "3283", "3702", "5093", "5353", "10001", "11211", "27960",
                ],
                128,
                "Source ports that reflected floods come from: datagrams from them are dropped as \
                 `udp_amplification`.",
            ),
            amplification_ratio_max: t.integer(
                "amplification_ratio_max",
                30,
                0..=1_000_000,
                "bytes per byte",
                "Most bytes a backend may answer per byte that a source has sent, until the source has gone on \
                 speaking after three answers, which no forged one does; 0 = no limit. 30 lets every DNS answer \
                 of 1,232 bytes pass.",
            ),
            reassembly_max: t.integer(
                "reassembly_max",
                256,
                0..=65_536,
                "datagrams",
                "Fragmented datagrams under reassembly per worker (0 counts as 1). When full, the oldest one is \
                 given up for a new one; one source may have 16.",
            ),
            reassembly_timeout: t.duration(
                "reassembly_timeout",
                Duration::from_secs(5),
                Duration::from_millis(100)..=Duration::from_secs(60),
                Unit::Seconds,
                "How long fragments wait for the rest.",
            ),
        }
    }
}
