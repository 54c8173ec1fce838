//! What `top` shows: the newest answers, and where the reader is in them.
//!
//! Owns: the state word, lists as rows that can be ordered and filtered, pausing. Does not own: keys, colours on the
//! screen, questions. Every text in a row is safe for a terminal. Limits: `EVENTS_MAX` events, the oldest go first.

use std::cmp::Ordering;

use secbeat_proto::v1::{Ban, Event, FleetStats, NodeInfo, Threat};

use super::feed::Update;
use crate::command::ban::entry;
use crate::command::node;
use crate::output::Tone;
use crate::output::text::{now_ms, or_dash, relative, sanitise, short_number, shorten};
use crate::word as words;

/// Events that are kept; at ten rows a screen nobody scrolls further.
pub(super) const EVENTS_MAX: usize = 500;
/// From this share of dropped packets on, and this many a second, traffic is called elevated.
const ELEVATED_SHARE: f64 = 0.01;
const ELEVATED_DROPS_PER_SECOND: f64 = 100.0;

/// How the fleet is, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Normal,
    Elevated,
    UnderAttack,
}

impl Word {
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Normal => "NORMAL",
            Self::Elevated => "ELEVATED",
            Self::UnderAttack => "UNDER ATTACK",
        }
    }

    pub(super) const fn tone(self) -> Tone {
        match self {
            Self::Normal => Tone::Good,
            Self::Elevated => Tone::Warning,
            Self::UnderAttack => Tone::Bad,
        }
    }
}

/// Under attack when a node says so; elevated when much is dropped.
pub(super) fn word(stats: &FleetStats) -> Word {
    let load = stats.load.unwrap_or_default();
    let limit = (load.packets_per_second * ELEVATED_SHARE).max(ELEVATED_DROPS_PER_SECOND);
    if stats.attacks_active > 0 || load.attacks_active > 0 {
        Word::UnderAttack
    } else if load.drops_per_second >= limit {
        Word::Elevated
    } else {
        Word::Normal
    }
}

/// A list of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tab {
    Nodes,
    Events,
    Bans,
    Threats,
}

impl Tab {
    pub(super) const ALL: [Self; 4] = [Self::Nodes, Self::Events, Self::Bans, Self::Threats];

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Nodes => "nodes",
            Self::Events => "events",
            Self::Bans => "bans",
            Self::Threats => "threats",
        }
    }

    /// Heads and widths of the columns; the last takes what is left. They fit 80 columns.
    pub(super) const fn columns(self) -> &'static [(&'static str, u16)] {
        match self {
            Self::Nodes => &[
                ("HOST", 16),
                ("STATE", 12),
                ("POLICY", 13),
                ("CPU", 4),
                ("PPS", 6),
                ("DROPS/S", 7),
                ("CONNS", 6),
                ("SEEN", 8),
            ],
            Self::Events => {
                &[("WHEN", 9), ("LEVEL", 5), ("EVENT", 24), ("CLIENT", 15), ("BLOCKED", 7), ("ATTACK", 14)]
            }
            Self::Bans => {
                &[("PREFIX", 20), ("ENDS", 10), ("HITS", 6), ("ENFORCED", 8), ("BY", 8), ("REASON", 20)]
            }
            Self::Threats => &[
                ("CLIENT", 18),
                ("EVENTS", 7),
                ("BLOCKED", 7),
                ("NODES", 5),
                ("BANNED", 6),
                ("LAST", 9),
                ("KINDS", 18),
            ],
        }
    }
}

/// One field: its text, and its size when it is ordered by size.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) text: String,
    size: Option<f64>,
    pub(super) tone: Tone,
}

fn text(text: &str) -> Field {
    Field { text: sanitise(or_dash(text)).into_owned(), size: None, tone: Tone::Plain }
}

fn toned((word, tone): (String, Tone)) -> Field {
    Field { tone, ..text(&word) }
}

fn size(size: f64, shown: String) -> Field {
    Field { text: shown, size: Some(size), tone: Tone::Plain }
}

fn number(value: f64) -> Field {
    size(value, short_number(value))
}

fn past(at_ms: u64, now_ms: u64) -> Field {
    let shown = if at_ms == 0 { "-".to_owned() } else { relative(at_ms, now_ms).replace(" ago", "") };
    size(at_ms as f64, shown)
}

/// One row.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) fields: Vec<Field>,
    /// What `b` bans; empty when the row has no address.
    pub(super) address: String,
}

/// The newest answers.
#[derive(Clone, Default)]
pub(super) struct Snapshot {
    pub(super) stats: FleetStats,
    pub(super) nodes: Vec<NodeInfo>,
    pub(super) bans: Vec<Ban>,
    pub(super) threats: Vec<Threat>,
    /// The newest first.
    pub(super) events: Vec<Event>,
    /// Events that this watcher lost.
    pub(super) lost: u64,
}

/// What the last line is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Browse,
    Help,
    /// Typing a filter.
    Filter,
    /// Typing how long and why an address is banned.
    Ban {
        address: String,
        typed: String,
    },
}

/// Everything on the screen.
pub(super) struct View {
    pub(super) server: String,
    pub(super) has_color: bool,
    live: Snapshot,
    /// What was on the screen when it was paused.
    frozen: Option<Snapshot>,
    pub(super) tab: Tab,
    /// By which column each list is ordered.
    sorts: [usize; Tab::ALL.len()],
    pub(super) filter: String,
    pub(super) selected: usize,
    pub(super) mode: Mode,
    /// The last answer to an order.
    pub(super) message: String,
    /// Why there is no news.
    pub(super) trouble: Option<String>,
    pub(super) word: Word,
    /// Since when it is so, 0 until the first answer.
    pub(super) word_since_ms: u64,
}

impl View {
    pub(super) fn new(server: &str, has_color: bool) -> Self {
        Self {
            server: sanitise(server).into_owned(),
            has_color,
            live: Snapshot::default(),
            frozen: None,
            tab: Tab::Nodes,
            sorts: [0; Tab::ALL.len()],
            filter: String::new(),
            selected: 0,
            mode: Mode::Browse,
            message: String::new(),
            trouble: None,
            word: Word::Normal,
            word_since_ms: 0,
        }
    }

    /// Takes news.
    pub(super) fn take(&mut self, update: Update) {
        match update {
            Update::Fleet((stats, nodes)) => {
                let word = word(&stats);
                if word != self.word || self.word_since_ms == 0 {
                    self.word = word;
                    self.word_since_ms = now_ms();
                }
                self.live.stats = stats;
                self.live.nodes = nodes;
                self.trouble = None;
            }
            Update::Lists((bans, threats)) => {
                self.live.bans = bans;
                self.live.threats = threats;
            }
            Update::Events(events, lost) => {
                // They come in the order of their numbers; after a broken watch some come again.
                let newest = self.live.events.first().map_or(0, |event| event.id);
                let mut fresh: Vec<_> = events.into_iter().filter(|event| event.id > newest).collect();
                fresh.sort_by_key(|event| std::cmp::Reverse(event.id));
                fresh.append(&mut self.live.events);
                fresh.truncate(EVENTS_MAX);
                self.live.events = fresh;
                self.live.lost = self.live.lost.saturating_add(lost);
            }
            Update::Message(message) => self.message = sanitise(&message).into_owned(),
            Update::Trouble(why) => self.trouble = Some(sanitise(&why).into_owned()),
        }
    }

    pub(super) fn shown(&self) -> &Snapshot {
        self.frozen.as_ref().unwrap_or(&self.live)
    }

    pub(super) const fn is_paused(&self) -> bool {
        self.frozen.is_some()
    }

    pub(super) fn pause(&mut self) {
        self.frozen = if self.frozen.is_some() { None } else { Some(self.live.clone()) };
    }

    pub(super) fn open(&mut self, tab: Tab) {
        self.tab = tab;
        self.selected = 0;
    }

    /// The next column decides the order.
    pub(super) fn sort_next(&mut self) {
        let count = self.tab.columns().len();
        let sort = &mut self.sorts[self.tab as usize];
        *sort = (*sort + 1) % count;
    }

    pub(super) fn sort(&self) -> usize {
        self.sorts[self.tab as usize]
    }

    pub(super) fn selected_address(&self) -> Option<String> {
        self.rows().get(self.selected).map(|row| row.address.clone()).filter(|address| !address.is_empty())
    }

    /// The rows of the open list: those with the filter's text in one of their fields, in order.
    pub(super) fn rows(&self) -> Vec<Row> {
        let now_ms = now_ms();
        let shown = self.shown();
        let mut rows: Vec<Row> = match self.tab {
            Tab::Nodes => shown.nodes.iter().map(|node| node_row(node, now_ms)).collect(),
            Tab::Events => shown.events.iter().map(|event| event_row(event, now_ms)).collect(),
            Tab::Bans => shown.bans.iter().map(|ban| ban_row(ban, now_ms)).collect(),
            Tab::Threats => shown.threats.iter().map(|threat| threat_row(threat, now_ms)).collect(),
        };
        let wanted = self.filter.to_lowercase();
        rows.retain(|row| {
            wanted.is_empty() || row.fields.iter().any(|field| field.text.to_lowercase().contains(&wanted))
        });
        let sort = self.sort();
        rows.sort_by(|a, b| order(&a.fields[sort], &b.fields[sort]));
        rows
    }
}

/// Numbers from the largest, texts from a.
fn order(a: &Field, b: &Field) -> Ordering {
    match (a.size, b.size) {
        (Some(a), Some(b)) => b.total_cmp(&a),
        _ => a.text.cmp(&b.text),
    }
}

fn node_row(info: &NodeInfo, now_ms: u64) -> Row {
    let load = node::load(info);
    let name = if info.hostname.is_empty() { node::short_id(&info.node_id) } else { &info.hostname };
    let fields = vec![
        text(name),
        toned(node::state(info)),
        toned(node::policy(info)),
        size(load.cpu_percent, format!("{:.0}%", load.cpu_percent)),
        number(load.packets_per_second),
        number(load.drops_per_second),
        number(load.connections as f64),
        past(info.last_seen_ms, now_ms),
    ];
    Row { fields, address: String::new() }
}

fn event_row(event: &Event, now_ms: u64) -> Row {
    let (severity, tone) = words::severity(event.severity);
    let fields = vec![
        past(event.at_ms, now_ms),
        toned((severity.to_owned(), tone)),
        text(&format!("{}/{}", event.class, event.name)),
        text(&event.client_ip),
        text(if event.is_blocked { "yes" } else { "no" }),
        text(&shorten(&event.attack_type, 40)),
    ];
    Row { fields, address: sanitise(&event.client_ip).into_owned() }
}

fn ban_row(ban: &Ban, now_ms: u64) -> Row {
    let entry = entry(ban);
    let tone = if ban.nodes_enforcing < ban.nodes_connected { Tone::Warning } else { Tone::Plain };
    let ends = match entry.until_ms {
        0 => size(f64::MAX, "never".to_owned()),
        at_ms => size(at_ms as f64, relative(at_ms, now_ms)),
    };
    let fields = vec![
        text(&entry.prefix),
        ends,
        number(ban.hits as f64),
        toned((format!("{}/{}", ban.nodes_enforcing, ban.nodes_connected), tone)),
        text(words::origin(entry.origin)),
        text(&shorten(&entry.reason, 60)),
    ];
    Row { fields, address: String::new() }
}

fn threat_row(threat: &Threat, now_ms: u64) -> Row {
    let kinds: Vec<_> = threat.by_attack_type.keys().map(String::as_str).collect();
    let fields = vec![
        text(&threat.client_ip),
        number(threat.events as f64),
        number(threat.blocked as f64),
        number(f64::from(threat.nodes)),
        text(if threat.is_banned { "yes" } else { "no" }),
        past(threat.last_ms, now_ms),
        text(&shorten(&kinds.join(","), 60)),
    ];
    Row { fields, address: sanitise(&threat.client_ip).into_owned() }
}
