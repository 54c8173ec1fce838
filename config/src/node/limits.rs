//! `[limits]`, `[attack]`, `[lists]`, `[filter]`: who may do how much.

use core::time::Duration;
use std::path::PathBuf;

use ipnet::IpNet;

use super::backend::Transport;
use crate::reader::{Choice, Table, Unit};
use crate::units::PortRange;

/// Most filter rules: as many as the packet path's filter holds (`net::filter::RULES_MAX`), which is more than the
/// 10,000 that a fleet gives to a node.
pub const FILTER_RULES_MAX: usize = 16_384;
/// Most prefixes written into the configuration itself; longer lists belong into files.
pub const PREFIXES_MAX: usize = 4_096;

/// `[limits]`. A `None` is a limit that is switched off.
#[derive(Clone, Debug)]
pub struct Limits {
    /// New connections per second from one source, counted after validation.
    pub source_rate: Option<u32>,
    /// New connections a source may open at once above its rate.
    pub source_burst: u32,
    /// Connections at once from one source.
    pub source_connections: Option<u32>,
    /// New connections per second from one prefix.
    pub prefix_rate: Option<u32>,
    /// Connections at once from one prefix.
    pub prefix_connections: Option<u32>,
    /// What an IPv4 prefix is, in bits.
    pub prefix_v4_bits: u8,
    /// What an IPv6 prefix is, in bits.
    pub prefix_v6_bits: u8,
    /// What an IPv6 source is, in bits: a host owns its whole network.
    pub source_v6_bits: u8,
    /// Unvalidated SYNs per second towards one listener.
    pub syn_rate: Option<u32>,
    /// Datagrams per second from one source.
    pub udp_rate: Option<u32>,
    /// Datagrams a source may send at once above its rate.
    pub udp_burst: u32,
    /// ICMP errors per second that are looked at.
    pub icmp_rate: u32,
    /// Requests a source may send at once above `[waf] rate_limit_rps`.
    pub request_burst: u32,
    /// Requests per second on the whole node.
    pub request_rate_total: Option<u32>,
    /// Requests at once above that.
    pub request_burst_total: u32,
    /// Sources and prefixes the limiter can tell apart.
    pub slots: u32,
}

impl Limits {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        let (source_rate, source_burst, source_connections) = read_sources(t);
        let (prefix_rate, prefix_connections) = read_prefixes(t);
        Self {
            source_rate,
            source_burst,
            source_connections,
            prefix_rate,
            prefix_connections,
            prefix_v4_bits: t.integer(
                "prefix_v4_bits",
                24,
                8..=32,
                "bits",
                "What counts as one IPv4 prefix.",
            ),
            prefix_v6_bits: t.integer(
                "prefix_v6_bits",
                48,
                16..=128,
                "bits",
                "What counts as one IPv6 prefix.",
            ),
            source_v6_bits: t.integer(
                "source_v6_bits",
                64,
                32..=128,
                "bits",
                "What counts as one IPv6 source: a host can use its whole network.",
            ),
            syn_rate: t.limit(
                "syn_rate",
                0,
                RATE,
                "segments/s",
                "Unvalidated SYNs per second answered for one listener; 0 = no limit. Never per source: \
                 sources of SYNs are forged.",
            ),
            udp_rate: t.limit(
                "udp_rate",
                1_000,
                RATE,
                "datagrams/s",
                "Datagrams per second from one source; 0 = no limit.",
            ),
            udp_burst: t.integer(
                "udp_burst",
                1_000,
                1..=1_000_000,
                "datagrams",
                "How many a source may send at once above its rate.",
            ),
            icmp_rate: t.integer(
                "icmp_rate",
                1_000,
                1..=1_000_000,
                "messages/s",
                "ICMP errors per second and worker that are matched to flows.",
            ),
            request_burst: t.integer(
                "request_burst",
                200,
                1..=1_000_000,
                "requests",
                "How many requests a source may send at once above `[waf] rate_limit_rps`: a page and all \
                 that belongs to it.",
            ),
            request_rate_total: t.limit(
                "request_rate_total",
                0,
                RATE,
                "requests/s",
                "Requests per second on the whole node; more are answered with 503. 0 = no limit.",
            ),
            request_burst_total: t.integer(
                "request_burst_total",
                1_000,
                1..=16_777_216,
                "requests",
                "How many requests may come at once above `request_rate_total`.",
            ),
            slots: t.integer(
                "slots",
                262_144,
                1_024..=67_108_864,
                "slots",
                "Sources and prefixes the limiter can tell apart at once, rounded up to a power of two; \
                 8 bytes each, taken at start.",
            ),
        }
    }
}

/// Most that a rate can be set to, per second.
const RATE: u32 = 1_000_000_000;
/// Most that a number of connections can be set to.
const COUNT: u32 = 16_777_216;

/// What one source may do.
fn read_sources(t: &mut Table<'_>) -> (Option<u32>, u32, Option<u32>) {
    let source_rate = t.limit(
        "source_rate",
        100,
        RATE,
        "connections/s",
        "New connections per second from one source, counted once its address is validated; 0 = no \
         limit. Requests have `[waf] rate_limit_rps`.",
    );
    let source_burst = t.integer(
        "source_burst",
        100,
        1..=1_000_000,
        "connections",
        "How many a source may open at once above its rate.",
    );
    let source_connections = t.limit(
        "source_connections",
        10,
        COUNT,
        "connections",
        "Connections at once from one source; 0 = no limit.",
    );
    (source_rate, source_burst, source_connections)
}

/// What all sources of one prefix may do.
fn read_prefixes(t: &mut Table<'_>) -> (Option<u32>, Option<u32>) {
    let prefix_rate = t.limit(
        "prefix_rate",
        0,
        RATE,
        "connections/s",
        "New connections per second from one prefix; 0 = no limit.",
    );
    let prefix_connections = t.limit(
        "prefix_connections",
        0,
        COUNT,
        "connections",
        "Connections at once from one prefix; 0 = no limit.",
    );
    (prefix_rate, prefix_connections)
}

/// `[attack]`: packets per second and worker above which traffic is reported as an attack.
#[derive(Clone, Debug)]
pub struct Attack {
    /// SYN segments towards one listener, most of which never become connections.
    pub syn_pps: u32,
    /// ACK segments without flow and without valid cookie.
    pub ack_pps: u32,
    /// RST segments without flow or outside its window.
    pub rst_pps: u32,
    /// UDP datagrams refused by a limit.
    pub udp_pps: u32,
    /// Fragments refused.
    pub fragment_pps: u32,
    /// Share of SYNs that complete a handshake above which a rush is taken for real visitors. Percent.
    pub completed_percent: u8,
}

impl Attack {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        const PPS: i64 = 1_000_000_000;
        Self {
            syn_pps: t.integer(
                "syn_pps",
                5_000,
                1..=PPS,
                "segments/s",
                "SYN segments per second and worker towards one listener that count as a flood, unless \
                 most complete their handshake.",
            ),
            ack_pps: t.integer(
                "ack_pps",
                1_000,
                1..=PPS,
                "segments/s",
                "ACK segments per second and worker that belong to no flow and carry no valid cookie.",
            ),
            rst_pps: t.integer(
                "rst_pps",
                1_000,
                1..=PPS,
                "segments/s",
                "RST segments per second and worker that belong to no flow or lie outside its window.",
            ),
            udp_pps: t.integer(
                "udp_pps",
                1_000,
                1..=PPS,
                "datagrams/s",
                "UDP datagrams per second and worker refused by a limit.",
            ),
            fragment_pps: t.integer(
                "fragment_pps",
                1_000,
                1..=PPS,
                "fragments/s",
                "Fragments per second and worker that were refused.",
            ),
            completed_percent: t.integer(
                "completed_percent",
                50,
                1..=100,
                "percent",
                "Share of SYNs that complete their handshake above which a rush is taken for real \
                 visitors, not for a flood.",
            ),
        }
    }
}

/// `[lists]`.
#[derive(Clone, Debug)]
pub struct Lists {
    /// Never dropped, never banned.
    pub allow: Vec<IpNet>,
    /// Always dropped.
    pub block: Vec<IpNet>,
    /// File with one allowlisted prefix per line.
    pub allow_path: Option<PathBuf>,
    /// File with one blocklisted prefix per line.
    pub block_path: Option<PathBuf>,
    /// Entries of both lists together.
    pub entries_max: u32,
    /// Ban sources that offend repeatedly.
    pub auto_ban: bool,
    /// Offences within `offence_window` that lead to a ban.
    pub offences_max: u32,
    /// Time within which offences are counted.
    pub offence_window: Duration,
    /// Length of a first automatic ban; doubles for the same source.
    pub ban_time: Duration,
    /// Longest automatic ban.
    pub ban_time_max: Duration,
    /// Length of a manual ban that names none.
    pub manual_ban_time: Duration,
}

impl Lists {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        let week = Duration::from_secs(7 * 86_400);
        let second = Duration::from_secs(1);
        Self {
            allow: t.list(
                "allow",
                &[],
                PREFIXES_MAX,
                "Prefixes that are never dropped and never banned. Wins over every block.",
            ),
            block: t.list("block", &[], PREFIXES_MAX, "Prefixes that are always dropped."),
            allow_path: t.value_optional(
                "allow_path",
                "File with one allowlisted prefix per line; `#` starts a comment. Read at start and at \
                 reload.",
            ),
            block_path: t.value_optional(
                "block_path",
                "File with one blocklisted prefix per line; `#` starts a comment. Read at start and at \
                 reload.",
            ),
            entries_max: t.integer(
                "max_entries",
                131_072,
                16..=4_194_304,
                "prefixes",
                "Entries of both lists, bans included. When full, a new ban displaces the automatic ban \
                 that ends first; a manual one is refused if there is none.",
            ),
            auto_ban: t.boolean(
                "auto_ban",
                true,
                "Ban sources that offend repeatedly. Only validated sources count: a forged packet can \
                 ban nobody.",
            ),
            offences_max: t.integer(
                "max_offences",
                50,
                1..=1_000_000,
                "offences",
                "Offences within `offence_window` that lead to a ban.",
            ),
            offence_window: t.duration(
                "offence_window",
                Duration::from_secs(60),
                second..=Duration::from_secs(3_600),
                Unit::Seconds,
                "Time within which offences are counted.",
            ),
            ban_time: t.duration(
                "ban_time",
                Duration::from_secs(300),
                second..=week,
                Unit::Seconds,
                "Length of a first automatic ban; doubles for a source that comes back.",
            ),
            ban_time_max: t.duration(
                "ban_time_max",
                Duration::from_secs(86_400),
                second..=Duration::from_secs(365 * 86_400),
                Unit::Seconds,
                "Longest automatic ban.",
            ),
            manual_ban_time: t.duration(
                "manual_ban_time",
                Duration::from_secs(3_600),
                second..=Duration::from_secs(365 * 86_400),
                Unit::Seconds,
                "Length of a ban set by hand that names none.",
            ),
        }
    }
}

/// What a filter rule does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterAction {
    /// Go on, and try no further rule.
    Pass,
    /// Drop and count.
    Drop,
    /// Go on while the source keeps the rule's rate; drop and count what is above it.
    Limit,
}

impl Choice for FilterAction {
    const ALL: &'static [(&'static str, Self)] =
        &[("pass", Self::Pass), ("drop", Self::Drop), ("limit", Self::Limit)];
}

/// `[[filter.rules]]`: the first rule whose conditions all hold decides.
#[derive(Clone, Debug)]
pub struct FilterRule {
    /// Name in metrics and events.
    pub name: String,
    /// What happens.
    pub action: FilterAction,
    /// For `limit`: packets per second from one source.
    pub rate: u32,
    /// For `limit`: packets a source may send at once above its rate.
    pub burst: u32,
    /// Transport protocol; `None` = any.
    pub protocol: Option<Transport>,
    /// Sources; empty = any.
    pub sources: Vec<IpNet>,
    /// Destinations; empty = any.
    pub destinations: Vec<IpNet>,
    /// Source ports; empty = any.
    pub source_ports: Vec<PortRange>,
    /// Destination ports; empty = any.
    pub destination_ports: Vec<PortRange>,
    /// Fragments only (true), unfragmented only (false); `None` = any.
    pub fragment: Option<bool>,
}

/// `[filter]`.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Tried in order; what no rule matches goes on.
    pub rules: Vec<FilterRule>,
}

impl Filter {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        Self { rules: t.tables("rules", FILTER_RULES_MAX, FilterRule::read) }
    }
}

impl FilterRule {
    fn read(t: &mut Table<'_>) -> Self {
        let name = t.required("name", "unnamed", "Name in metrics and events.");
        Self::read_called(t, name)
    }

    /// The keys besides the name.
    pub(crate) fn read_called(t: &mut Table<'_>, name: String) -> Self {
        Self {
            name,
            action: t.choice(
                "action",
                FilterAction::Drop,
                "What happens with a packet that matches: `limit` lets a source's packets pass up to `rate` and \
                 drops the rest.",
            ),
            rate: t.integer(
                "rate",
                1_000,
                1..=10_000_000,
                "packets/s",
                "For `limit`: packets per second from one source.",
            ),
            burst: t.integer(
                "burst",
                1_000,
                1..=1_000_000,
                "packets",
                "For `limit`: how many a source may send at once above its rate.",
            ),
            protocol: t.choice_optional("protocol", "Transport protocol; any when absent."),
            sources: t.list("sources", &[], 256, "Source prefixes; empty = any."),
            destinations: t.list("destinations", &[], 256, "Destination prefixes; empty = any."),
            source_ports: t.list("source_ports", &[], 64, "Source ports or ranges; empty = any."),
            destination_ports: t.list(
                "destination_ports",
                &[],
                64,
                "Destination ports or ranges; empty = any.",
            ),
            fragment: t.boolean_optional(
                "fragment",
                "True = only fragments, false = only whole packets; any when absent.",
            ),
        }
    }
}
