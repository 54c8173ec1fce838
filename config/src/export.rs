//! `[[export]]`: where security events are sent, in which form. The same table in `node.toml` and `orchestrator.toml`.
//!
//! Owns: the keys, their ranges, and which of them fit together. Does not own: formats and connections
//! (`secbeat-export`), what is in the files named here.

use core::fmt;
use std::path::PathBuf;

use crate::reader::{Choice, Table};
use crate::units::{Value, is_host_name};

/// Most sinks of one process: each is a thread and a queue of up to `queue_bytes`. More are a mistake of the file.
pub const EXPORTS_MAX: usize = 8;

/// Longest name of a sink, bytes: it is a label of metrics.
const NAME_BYTES_MAX: usize = 32;

/// Receivers SHOULD take messages of this size (RFC 5424 §6.1, RFC 5426 §3.2); larger datagrams are often cut.
const DATAGRAM_BYTES: u32 = 2_048;

/// Bytes of a record towards everything but UDP, unless the file says otherwise.
const RECORD_BYTES: u32 = 8_192;

/// How a record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// RFC 5424.
    Syslog,
    /// ArcSight Common Event Format, version 0.
    Cef,
    /// One object per line.
    Json,
}

impl Choice for ExportFormat {
    const ALL: &'static [(&'static str, Self)] =
        &[("syslog", Self::Syslog), ("cef", Self::Cef), ("json", Self::Json)];
}

/// Where records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportTarget {
    /// Appended to a file.
    File(PathBuf),
    /// Datagrams (RFC 5426).
    Udp(HostPort),
    /// A stream (RFC 6587).
    Tcp(HostPort),
    /// A stream inside TLS (RFC 5425).
    Tls(HostPort),
}

/// A host, by name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// Name, or address without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl HostPort {
    fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host = match bracketed {
            Some(address) => address.parse::<core::net::Ipv6Addr>().ok()?.to_string(),
            None if is_host_name(host) => host.to_owned(),
            None => return None,
        };
        let port = port.parse().ok().filter(|port| *port > 0)?;
        Some(Self { host, port })
    }
}

impl Value for ExportTarget {
    const EXPECTED: &'static str = "file:///path, udp://host:port, tcp://host:port or tls://host:port";

    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("is not {}", Self::EXPECTED);
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let host = || HostPort::parse(rest).ok_or_else(wrong);
        match scheme {
            "file" if rest.starts_with('/') && !rest.contains('\0') => Ok(Self::File(rest.into())),
            "file" => Err("needs a whole path, with three slashes: file:///var/log/...".into()),
            "udp" => host().map(Self::Udp),
            "tcp" => host().map(Self::Tcp),
            "tls" => host().map(Self::Tls),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for ExportTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, to) = match self {
            Self::File(path) => return write!(f, "file://{}", path.display()),
            Self::Udp(to) => ("udp", to),
            Self::Tcp(to) => ("tcp", to),
            Self::Tls(to) => ("tls", to),
        };
        if to.host.contains(':') {
            return write!(f, "{scheme}://[{}]:{}", to.host, to.port);
        }
        write!(f, "{scheme}://{}:{}", to.host, to.port)
    }
}

/// Where a record ends inside a stream (RFC 6587 §3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Its length in front of it.
    OctetCounting,
    /// A line feed behind it.
    Newline,
}

impl Choice for Framing {
    const ALL: &'static [(&'static str, Self)] =
        &[("octet_counting", Self::OctetCounting), ("newline", Self::Newline)];
}

/// Which record is lost when the queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The one that comes.
    DropNew,
    /// Those that wait longest.
    DropOld,
}

impl Choice for WhenFull {
    const ALL: &'static [(&'static str, Self)] = &[("drop_new", Self::DropNew), ("drop_old", Self::DropOld)];
}

/// When a file's bytes are forced to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// When the kernel likes.
    Never,
    /// At most once a second.
    Second,
    /// After everything that was written at once.
    Always,
}

impl Choice for Fsync {
    const ALL: &'static [(&'static str, Self)] =
        &[("never", Self::Never), ("second", Self::Second), ("always", Self::Always)];
}

/// Severities of RFC 5424 §6.2.1 that records have, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// 3: something failed.
    Error,
    /// 4: somebody should look.
    Warning,
    /// 5: normal, but of note: who changed what.
    Notice,
    /// 6: good to know.
    Informational,
}

impl Choice for Severity {
    const ALL: &'static [(&'static str, Self)] = &[
        ("error", Self::Error),
        ("warning", Self::Warning),
        ("notice", Self::Notice),
        ("informational", Self::Informational),
    ];
}

impl Severity {
    /// Its name in records.
    pub fn name(self) -> &'static str {
        self.word()
    }

    /// Its number in syslog.
    pub const fn number(self) -> u8 {
        match self {
            Self::Error => 3,
            Self::Warning => 4,
            Self::Notice => 5,
            Self::Informational => 6,
        }
    }
}

/// Kinds of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An attack began or ended.
    Attack,
    /// A ban was set, lifted or ended.
    Ban,
    /// A backend went down or came back.
    Backend,
    /// A node started, reloaded, drained.
    Node,
    /// A request was refused.
    Request,
    /// A policy came into force or was refused.
    Policy,
    /// Somebody changed something through the orchestrator.
    Audit,
    /// About the export itself: records were lost. Never filtered.
    Export,
}

impl Choice for Kind {
    const ALL: &'static [(&'static str, Self)] = &[
        ("attack", Self::Attack),
        ("ban", Self::Ban),
        ("backend", Self::Backend),
        ("node", Self::Node),
        ("request", Self::Request),
        ("policy", Self::Policy),
        ("audit", Self::Audit),
        ("export", Self::Export),
    ];
}

impl Kind {
    /// Its name in records.
    pub fn name(self) -> &'static str {
        self.word()
    }

    /// The kind called `name`; a name that only a newer node knows is the node's own business.
    pub fn from_name(name: &str) -> Self {
        Self::ALL.iter().find(|(word, _)| *word == name).map_or(Self::Node, |(_, kind)| *kind)
    }
}

/// Facilities of RFC 5424 §6.2.1 that make sense for security events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facility(u8);

impl Facility {
    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl Choice for Facility {
    const ALL: &'static [(&'static str, Self)] = &[
        ("user", Self(1)),
        ("daemon", Self(3)),
        ("auth", Self(4)),
        ("authpriv", Self(10)),
        ("audit", Self(13)),
        ("alert", Self(14)),
        ("local0", Self(16)),
        ("local1", Self(17)),
        ("local2", Self(18)),
        ("local3", Self(19)),
        ("local4", Self(20)),
        ("local5", Self(21)),
        ("local6", Self(22)),
        ("local7", Self(23)),
    ];
}

/// One `[[export]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Label in metrics; unique.
    pub name: String,
    /// How records are written.
    pub format: ExportFormat,
    /// Where they go.
    pub target: ExportTarget,
    /// Where records end in a stream.
    pub framing: Framing,
    /// Authorities of the receiver's certificate, PEM. Always there for TLS.
    pub ca_path: Option<PathBuf>,
    /// Our certificate, PEM; present exactly when there is a key.
    pub cert_path: Option<PathBuf>,
    /// Its key, PEM.
    pub key_path: Option<PathBuf>,
    /// Name in the receiver's certificate, where it is not the target's host.
    pub server_name: Option<String>,
    /// Facility of syslog.
    pub facility: Facility,
    /// Number behind the `@` of the structured data's id.
    pub enterprise_number: u32,
    /// Records less severe are left out.
    pub severity_min: Severity,
    /// Kinds that are sent.
    pub kinds: Vec<Kind>,
    /// Records that may wait.
    pub queue_records: usize,
    /// Bytes of records that may wait.
    pub queue_bytes: usize,
    /// Who is lost when the queue is full.
    pub when_full: WhenFull,
    /// Longest record as sent, bytes.
    pub record_bytes_max: usize,
    /// Largest file, bytes; `None` = no limit.
    pub file_bytes_max: Option<u64>,
    /// When a file is forced to the disk.
    pub fsync: Fsync,
}

impl Export {
    /// Reads all entries and checks that their names differ.
    pub(crate) fn read_all(t: &mut Table<'_>) -> Vec<Self> {
        let entries = t.tables("export", EXPORTS_MAX, |t| (t.line(), Self::read(t)));
        for (index, (line, entry)) in entries.iter().enumerate() {
            if entries.iter().take(index).any(|(_, other)| other.name == entry.name) {
                t.conflict_on(*line, "export", &format!("has the name \"{}\" of another one", entry.name));
            }
        }
        entries.into_iter().map(|(_, entry)| entry).collect()
    }

    fn read(t: &mut Table<'_>) -> Self {
        let name =
            t.required::<String>("name", "x", "Label in metrics and in the log: letters, digits, `-`, `_`.");
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(plain) {
            t.invalid("name", &name, &format!("must be 1 to {NAME_BYTES_MAX} letters, digits, `-`, `_`"));
        }
        let format = t.choice(
            "format",
            ExportFormat::Syslog,
            "RFC 5424; ArcSight's Common Event Format; or one JSON object per record.",
        );
        let target: ExportTarget = t.required("target", "file:///dev/null", "Where records go.");
        let is_udp = matches!(target, ExportTarget::Udp(_));
        let framing = t.choice_optional(
            "framing",
            "Where a record ends in a stream (RFC 6587 §3.4). Default: `octet_counting` for `syslog`, `newline` else.",
        );
        let record_default = if is_udp { DATAGRAM_BYTES } else { RECORD_BYTES };
        let has_record_bytes = t.has("max_record_bytes");
        let record_bytes: u32 = t.integer(
            "max_record_bytes",
            RECORD_BYTES.into(),
            1_024..=65_000,
            "bytes",
            "Longest record as sent; longer ones lose details first, then the ends of their texts. Default for UDP: \
             2048 (RFC 5426 §3.2).",
        );
        let export = Self {
            name,
            format,
            framing: framing.unwrap_or(match format {
                ExportFormat::Syslog => Framing::OctetCounting,
                ExportFormat::Cef | ExportFormat::Json => Framing::Newline,
            }),
            ca_path: t.value_optional(
                "ca_path",
                "Authorities that may have signed the receiver's certificate, PEM. Needed for `tls://`.",
            ),
            cert_path: t.value_optional("cert_path", "Certificate shown to the receiver, PEM."),
            key_path: t.value_optional("key_path", "Its key, PEM."),
            server_name: t.text_optional(
                "server_name",
                "Name or address in the receiver's certificate. Default: the host of `target`.",
            ),
            facility: t.choice("facility", Facility(16), "Facility of syslog."),
            enterprise_number: t.integer(
                "enterprise_number",
                32_473,
                1..=i64::from(u32::MAX),
                "",
                "Private enterprise number in the id of structured data, `secbeat@<number>`. Default: the one of \
                 examples (RFC 5612), since SecBeat has none of its own.",
            ),
            severity_min: t.choice("severity_min", Severity::Informational, "Less severe records are left out."),
            kinds: t.choices(
                "kinds",
                &Kind::ALL.iter().map(|(_, kind)| *kind).collect::<Vec<_>>(),
                "Kinds that are sent. `audit` exists on an orchestrator alone; `export` (records were lost) is always \
                 sent.",
            ),
            queue_records: t.integer(
                "queue_records",
                8_192,
                16..=1_000_000,
                "records",
                "Records that wait while the receiver is slow or away.",
            ),
            queue_bytes: t.integer(
                "queue_bytes",
                8 << 20,
                65_536..=(1 << 30),
                "bytes",
                "The same in bytes of memory; whichever is reached first.",
            ),
            when_full: t.choice(
                "when_full",
                WhenFull::DropNew,
                "Which records are lost, and counted, when the queue is full. Nobody ever waits for it.",
            ),
            record_bytes_max: if has_record_bytes { record_bytes } else { record_default } as usize,
            file_bytes_max: t.limit_wide(
                "max_file_bytes",
                1 << 30,
                1 << 50,
                "bytes",
                "Files: records beyond this size are lost until the file is rotated; 0 = no limit.",
            ),
            fsync: t.choice("fsync", Fsync::Second, "Files: when what was written is forced to the disk."),
            target,
        };
        export.check(t, framing.is_some());
        export
    }

    /// Keys that do not fit the target.
    fn check(&self, t: &mut Table<'_>, has_framing: bool) {
        let is_tls = matches!(self.target, ExportTarget::Tls(_));
        let is_file = matches!(self.target, ExportTarget::File(_));
        let is_stream = is_tls || matches!(self.target, ExportTarget::Tcp(_));
        for key in ["ca_path", "cert_path", "key_path", "server_name"] {
            if t.has(key) && !is_tls {
                t.conflict(key, "has a meaning for tls:// alone");
            }
        }
        if is_tls && self.ca_path.is_none() {
            t.conflict("target", "tls:// needs ca_path: without it the receiver could be anybody");
        }
        if self.cert_path.is_some() != self.key_path.is_some() {
            t.conflict("cert_path", "and key_path need each other");
        }
        if has_framing && !is_stream {
            t.conflict("framing", "has a meaning for tcp:// and tls:// alone");
        }
        for key in ["max_file_bytes", "fsync"] {
            if t.has(key) && !is_file {
                t.conflict(key, "has a meaning for file:// alone");
            }
        }
        for key in ["facility", "enterprise_number"] {
            if t.has(key) && self.format == ExportFormat::Json {
                t.conflict(key, "has a meaning for syslog and cef alone");
            }
        }
    }
}
