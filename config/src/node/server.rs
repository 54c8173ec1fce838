//! `[server]`, `[performance]`, `[logging]`: what the node is, and how it is run.

use core::net::SocketAddr;
use core::time::Duration;
use std::path::PathBuf;

use crate::reader::{Choice, Table, Unit};
use crate::units::Target;

/// What a node does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Forwards TCP and UDP.
    Tcp,
    /// Forwards, and answers SYNs with cookies before a backend hears of them.
    Syn,
    /// Terminates TLS and inspects HTTP.
    L7,
}

impl Choice for Mode {
    const ALL: &'static [(&'static str, Self)] = &[("tcp", Self::Tcp), ("syn", Self::Syn), ("l7", Self::L7)];
}

/// `[server]`.
#[derive(Clone, Debug)]
pub struct Server {
    /// What the node does.
    pub mode: Mode,
    /// Where it accepts, when there is no `[[listeners]]`.
    pub bind_address: SocketAddr,
    /// The protected server, when there is no `[[backends]]`.
    pub backend_address: Target,
    /// Worker threads; 0 = one per usable core.
    pub worker_threads: u16,
    /// Connections and UDP flows at once on the whole node.
    pub connections_max: u32,
    /// Bytes moved at once per direction by socket I/O.
    pub buffer_bytes: usize,
    /// Idle time after which an HTTP connection is closed.
    pub keepalive_timeout: Duration,
    /// How long a draining node waits for its connections.
    pub drain_timeout: Duration,
    /// Where bans, cookie keys and the node's identity are kept.
    pub state_dir: PathBuf,
    /// User to become after the privileged set-up; `None` = stay.
    pub user: Option<String>,
}

impl Server {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        Self {
            mode: t.choice(
                "mode",
                Mode::Tcp,
                "What the node does with a connection: forward it (`tcp`), forward it behind SYN cookies \
                 (`syn`), or terminate TLS and inspect HTTP (`l7`).",
            ),
            bind_address: t.value(
                "bind_address",
                "0.0.0.0:8443",
                "Where the node accepts. `0.0.0.0` is every IPv4 address of the node, `[::]` every IPv6 \
                 address. Not allowed beside `[[listeners]]`.",
            ),
            backend_address: t.value(
                "backend_address",
                "127.0.0.1:8080",
                "The protected server. Not allowed beside `[[backends]]`.",
            ),
            worker_threads: t.integer(
                "worker_threads",
                0,
                0..=256,
                "threads",
                "Worker threads; 0 = one per usable core.",
            ),
            connections_max: t.integer(
                "max_connections",
                1_000,
                1..=16_777_216,
                "connections",
                "Connections and UDP flows at once on the whole node. When reached, new ones are refused \
                 and counted as `connection_limit`.",
            ),
            buffer_bytes: t.integer(
                "buffer_size",
                8_192,
                1_024..=1_048_576,
                "bytes",
                "Bytes moved at once per direction of a connection when I/O goes through sockets (the \
                 size of its pipe).",
            ),
            keepalive_timeout: t.duration(
                "keepalive_timeout",
                Duration::from_secs(60),
                Duration::from_secs(1)..=Duration::from_secs(86_400),
                Unit::Seconds,
                "Idle time after which an HTTP keep-alive connection is closed. Forwarded TCP flows have \
                 `[flows] idle_timeout`.",
            ),
            drain_timeout: t.duration(
                "drain_timeout",
                Duration::from_secs(30),
                Duration::ZERO..=Duration::from_secs(3_600),
                Unit::Seconds,
                "How long a node that was told to stop waits for its connections to end.",
            ),
            state_dir: t.value(
                "state_dir",
                "/var/lib/secbeat",
                "Directory for what must survive a restart: bans, cookie keys, last-known-good policy.",
            ),
            user: t.text_optional(
                "user",
                "User to become once the privileged set-up is done. Without it the node stays who it is \
                 and only gives up capabilities.",
            ),
        }
    }
}

/// How our own TCP decides how much may be in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpCongestion {
    /// By a model of the path.
    Bbr,
    /// By loss, RFC 9438.
    Cubic,
    /// By loss, RFC 5681.
    NewReno,
}

impl Choice for TcpCongestion {
    const ALL: &'static [(&'static str, Self)] =
        &[("bbr", Self::Bbr), ("cubic", Self::Cubic), ("newreno", Self::NewReno)];
}

/// `[performance]`.
#[derive(Clone, Debug)]
pub struct Performance {
    /// `TCP_NODELAY` on sockets.
    pub tcp_nodelay: bool,
    /// `TCP_FASTOPEN` on listening sockets.
    pub tcp_fastopen: bool,
    /// Accept backlog of listening sockets.
    pub backlog: u32,
    /// Congestion control of `l7` connections that the node terminates itself.
    pub tcp_congestion: TcpCongestion,
}

impl Performance {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        Self {
            tcp_nodelay: t.boolean(
                "enable_tcp_nodelay",
                true,
                "Set TCP_NODELAY on sockets: small writes leave at once.",
            ),
            tcp_fastopen: t.boolean(
                "enable_tcp_fastopen",
                false,
                "Accept TCP Fast Open on listening sockets (socket I/O only).",
            ),
            backlog: t.integer(
                "backlog_size",
                1_024,
                1..=65_535,
                "connections",
                "Accept backlog of listening sockets; the kernel cuts it to net.core.somaxconn.",
            ),
            tcp_congestion: t.choice(
                "tcp_congestion",
                TcpCongestion::Bbr,
                "Congestion control of l7 connections on AF_XDP: `bbr` goes by a model of the path and keeps its rate \
                 through loss, `cubic` (RFC 9438) and `newreno` (RFC 5681) go by loss. On sockets the kernel decides.",
            ),
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For people.
    Pretty,
}

impl Choice for LogFormat {
    const ALL: &'static [(&'static str, Self)] = &[("json", Self::Json), ("pretty", Self::Pretty)];
}

/// The least severe level that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What failed.
    Error,
    /// What an operator should look at, and security events.
    Warn,
    /// What happened.
    Info,
    /// What a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

impl Choice for LogLevel {
    const ALL: &'static [(&'static str, Self)] = &[
        ("off", Self::Off),
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];
}

/// `[logging]`.
#[derive(Clone, Debug)]
pub struct Logging {
    /// Least severe level written; `RUST_LOG` overrides it.
    pub level: LogLevel,
    /// How lines look.
    pub format: LogFormat,
    /// Lines waiting to be written before further ones are dropped and counted.
    pub queue_lines: usize,
}

impl Logging {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        Self {
            level: t.choice(
                "level",
                LogLevel::Info,
                "Least severe level written. The environment variable RUST_LOG overrides it and may name \
                 single modules.",
            ),
            format: t.choice("format", LogFormat::Json, "One JSON object per line, or lines for people."),
            queue_lines: t.integer(
                "queue_lines",
                8_192,
                64..=1_048_576,
                "lines",
                "Log lines waiting for a slow reader; further ones are dropped and counted in \
                 `secbeat_log_lines_dropped_total`.",
            ),
        }
    }
}
