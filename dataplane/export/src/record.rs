//! One security event, neutral between both planes and all formats.
//!
//! Owns: which fields there are, their lengths, and that no text holds a byte that could end a record. Texts are
//! cleaned once, where they come in: invalid UTF-8 becomes U+FFFD, control characters become visible (U+0000 is U+2400
//! "symbol for null" and so on), marks that turn the direction of text become U+FFFD. So a format has only its own
//! syntax to escape. Cost: one copy of each text.

use core::net::IpAddr;
use std::time::SystemTime;

use secbeat_config::export::{Kind, Severity};

/// Longest name of an event, bytes: MSGID of RFC 5424 §6.2.7.
pub const NAME_BYTES_MAX: usize = 32;
/// Most details of a record; further ones are left out.
pub const DETAILS_MAX: usize = 24;
/// Longest key of a detail, bytes: SD-NAME of RFC 5424 §6.3.3.
pub const KEY_BYTES_MAX: usize = 32;
/// Longest value of a detail, bytes.
pub const DETAIL_BYTES_MAX: usize = 512;
/// Bytes of a text in a record that was too long.
const SHORT_BYTES: usize = 96;

/// A text that a record may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// For people.
    Message,
    /// Node it happened on.
    Node,
    /// Part of the node that says so.
    Component,
    /// `syn_flood`, `sql_injection`.
    AttackType,
    /// Listener aimed at.
    Listener,
    /// Site of the WAF.
    Site,
    /// Rule that decided.
    Rule,
    /// What was done: `blocked`, `observed`; for `audit` the call.
    Action,
    /// Number of the request, as in the access log.
    RequestId,
    /// Method of the request.
    Method,
    /// Host it asked for.
    Host,
    /// Its target.
    Target,
    /// What the client called itself.
    UserAgent,
    /// Who did it, for `audit`.
    Actor,
    /// How it ended.
    Outcome,
    /// Why.
    Reason,
}

/// How a field is called.
pub(crate) struct Names {
    pub(crate) field: Field,
    /// In JSON, and as PARAM-NAME in syslog.
    pub(crate) name: &'static str,
    /// In CEF's extension.
    pub(crate) cef: &'static str,
    /// What CEF's custom string holds.
    pub(crate) cef_label: Option<&'static str>,
    bytes_max: usize,
}

const fn names(
    field: Field,
    name: &'static str,
    cef: &'static str,
    cef_label: Option<&'static str>,
    bytes_max: usize,
) -> Names {
    Names { field, name, cef, cef_label, bytes_max }
}

impl Field {
    /// Every field, in the order it is written.
    pub(crate) const ALL: [Names; 16] = [
        names(Self::Node, "node", "dvchost", None, 255),
        names(Self::Component, "component", "deviceProcessName", None, 64),
        names(Self::AttackType, "attack_type", "cs4", Some("attackType"), 64),
        names(Self::Listener, "listener", "cs2", Some("listener"), 128),
        names(Self::Site, "site", "cs3", Some("site"), 255),
        names(Self::Rule, "rule", "cs1", Some("rule"), 128),
        names(Self::Action, "action", "act", None, 64),
        names(Self::RequestId, "request_id", "externalId", None, 64),
        names(Self::Method, "method", "requestMethod", None, 32),
        names(Self::Host, "host", "dhost", None, 255),
        names(Self::Target, "target", "request", None, 1_023),
        names(Self::UserAgent, "user_agent", "requestClientApplication", None, 512),
        names(Self::Actor, "actor", "suser", None, 255),
        names(Self::Outcome, "outcome", "outcome", None, 64),
        names(Self::Reason, "reason", "reason", None, 512),
        names(Self::Message, "message", "msg", None, 1_023),
    ];

    const fn index(self) -> usize {
        let mut index = 0;
        while index < Self::ALL.len() {
            if Self::ALL[index].field as usize == self as usize {
                return index;
            }
            index += 1;
        }
        index
    }

    /// The name in JSON and syslog.
    pub const fn name(self) -> &'static str {
        Self::ALL[self.index()].name
    }
}

/// Who sends records: the same in each of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// HOSTNAME of syslog.
    pub host: String,
    /// APP-NAME of syslog: `secbeat-node`.
    pub app: &'static str,
    /// Version of the product.
    pub version: &'static str,
    /// PROCID of syslog.
    pub process_id: u32,
}

impl Origin {
    /// This process. The host's name is the kernel's.
    pub fn of_process(app: &'static str, version: &'static str) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self { host: ascii(host.trim(), 255), app, version, process_id: std::process::id() }
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When it happened.
    pub time: SystemTime,
    /// How severe.
    pub severity: Severity,
    /// What it is about.
    pub kind: Kind,
    /// The client, and its port where that is known.
    pub source: Option<(IpAddr, Option<u16>)>,
    /// What it spoke to.
    pub destination: Option<(IpAddr, Option<u16>)>,
    /// How many things this record stands for.
    pub count: Option<u64>,
    name: String,
    texts: Vec<(Field, String)>,
    details: Vec<(String, String)>,
}

impl Record {
    /// A record with nothing but its name.
    pub fn new(time: SystemTime, severity: Severity, kind: Kind, name: &str) -> Self {
        Self {
            time,
            severity,
            kind,
            source: None,
            destination: None,
            count: None,
            name: ascii(name, NAME_BYTES_MAX),
            texts: Vec::new(),
            details: Vec::new(),
        }
    }

    /// Sets a text; an empty one is none.
    pub fn set(&mut self, field: Field, text: &str) {
        let text = clean(text.as_bytes(), Field::ALL[field.index()].bytes_max);
        self.texts.retain(|(other, _)| *other != field);
        if !text.is_empty() {
            self.texts.push((field, text));
        }
    }

    /// The same for a chain of calls.
    #[must_use]
    pub fn with(mut self, field: Field, text: &str) -> Self {
        self.set(field, text);
        self
    }

    /// Adds a detail: a name and a value that have no field of their own.
    pub fn add_detail(&mut self, key: &str, value: &str) {
        let key = ascii(key, KEY_BYTES_MAX);
        if self.details.len() < DETAILS_MAX && self.details.iter().all(|(other, _)| *other != key) {
            self.details.push((key, clean(value.as_bytes(), DETAIL_BYTES_MAX)));
        }
    }

    /// What happened, one word.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A text.
    pub fn text(&self, field: Field) -> Option<&str> {
        self.texts.iter().find(|(other, _)| *other == field).map(|(_, text)| text.as_str())
    }

    /// All texts, in the order they are written.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&'static Names, &str)> {
        const ALL: &[Names] = &Field::ALL;
        ALL.iter().filter_map(|names| Some((names, self.text(names.field)?)))
    }

    /// All details.
    pub fn details(&self) -> &[(String, String)] {
        &self.details
    }

    /// For people: the message, or what happened to whom.
    pub fn sentence(&self) -> String {
        if let Some(message) = self.text(Field::Message) {
            return message.to_owned();
        }
        let mut sentence = self.name.replace('_', " ");
        if let Some((source, _)) = self.source {
            sentence.push_str(&format!(" {source}"));
        }
        for field in [Field::AttackType, Field::Rule] {
            if let Some(text) = self.text(field) {
                sentence.push_str(&format!(" {text}"));
            }
        }
        sentence
    }

    /// Bytes of memory, about: what a queue counts.
    pub fn weight(&self) -> usize {
        /// The value itself, its vectors, two pointers to it, the allocator's share.
        const OVERHEAD: usize = 384;
        let texts: usize = self.texts.iter().map(|(_, text)| text.len() + 32).sum();
        let details: usize = self.details.iter().map(|(key, value)| key.len() + value.len() + 64).sum();
        OVERHEAD + texts + details
    }

    /// The same without details, its texts cut: for receivers of short records. One that is still too long is lost.
    pub(crate) fn shortened(&self) -> Self {
        let texts = self.texts.iter().map(|(field, text)| (*field, clean(text.as_bytes(), SHORT_BYTES)));
        let mut short = Self { texts: texts.collect(), details: Vec::new(), ..self.clone() };
        short.add_detail("is_cut", "true");
        short
    }

    /// The same without what clients wrote: for receivers of very short records.
    pub(crate) fn without_texts_of_clients(&self) -> Self {
        let theirs =
            [Field::Method, Field::Host, Field::Target, Field::UserAgent, Field::Reason, Field::Message];
        let mut short = self.shortened();
        short.texts.retain(|(field, _)| !theirs.contains(field));
        short
    }

    /// A record of any bytes: the first ones choose fields, the rest is cut into their texts.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Self {
        use core::time::Duration;
        use std::time::UNIX_EPOCH;
        let (head, rest) = bytes.split_at(bytes.len().min(8));
        let at = |index: usize| head.get(index).copied().unwrap_or_default();
        // Until the year 2242.
        let time = UNIX_EPOCH + Duration::from_millis(u64::from(at(0)) << 25 | u64::from(at(1)));
        let mut parts = rest.split(|byte| *byte == 0xfe);
        let mut part = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
        let severity = [Severity::Error, Severity::Warning, Severity::Notice, Severity::Informational];
        let kind = [Kind::Attack, Kind::Ban, Kind::Request, Kind::Audit];
        let (severity, kind) = (severity[usize::from(at(2) % 4)], kind[usize::from(at(3) % 4)]);
        let mut record = Self::new(time, severity, kind, &part());
        record.count = (at(4) & 1 > 0).then_some(u64::from(at(1)));
        record.source = match at(4) & 6 {
            2 => Some((IpAddr::from([192, 0, 2, at(5)]), (at(6) > 9).then_some(u16::from(at(6))))),
            4 => Some((IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(at(5))]), None)),
            _ => None,
        };
        record.destination = (at(4) & 8 > 0).then(|| (IpAddr::from([at(7), 0, 0, 1]), Some(443)));
        for names in &Field::ALL {
            record.set(names.field, &part());
        }
        for _ in 0..DETAILS_MAX / 4 {
            let (key, value) = (part(), part());
            if !key.is_empty() {
                record.add_detail(&key, &value);
            }
        }
        record
    }
}

/// A text without anything that ends or turns a line, at most `bytes_max` long.
pub(crate) fn clean(bytes: &[u8], bytes_max: usize) -> String {
    let mut text = String::with_capacity(bytes.len().min(bytes_max));
    // Control characters grow to three bytes, invalid ones too: no more bytes than that are worth a look.
    for c in String::from_utf8_lossy(bytes.get(..bytes_max.saturating_add(4)).unwrap_or(bytes)).chars() {
        let c = visible(c);
        if text.len() + c.len_utf8() > bytes_max {
            break;
        }
        text.push(c);
    }
    text
}

const fn visible(c: char) -> char {
    let replaced = match c as u32 {
        code @ 0..=0x1f => 0x2400 + code,
        0x7f => 0x2421,
        // C1 controls; line and paragraph separators; marks of direction (as in CVE-2021-42574); byte order marks.
        0x80..=0x9f | 0x2028 | 0x2029 | 0x200e | 0x200f | 0x202a..=0x202e | 0x2066..=0x2069 | 0xfeff => {
            0xfffd
        }
        code => code,
    };
    match char::from_u32(replaced) {
        Some(c) => c,
        None => char::REPLACEMENT_CHARACTER,
    }
}

/// A word of printable ASCII that is a name in every format: letters, digits, `_`, `-`, `.`, `:`. Never empty.
pub(crate) fn ascii(text: &str, bytes_max: usize) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_-.:".contains(c) { c } else { '_' };
    let word: String = text.chars().take(bytes_max).map(plain).collect();
    if word.is_empty() { "-".to_owned() } else { word }
}

/// `2026-01-31T12:34:56.789Z`; times beyond the year 9999 are its end.
pub(crate) fn timestamp(time: SystemTime) -> String {
    /// 9999-12-31T23:59:59Z.
    const SECONDS_MAX: u64 = 253_402_300_799;
    let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let bounded = since.min(core::time::Duration::from_secs(SECONDS_MAX));
    humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + bounded).to_string()
}

/// Milliseconds since 1970.
pub(crate) fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
