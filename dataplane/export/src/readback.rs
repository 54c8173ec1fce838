//! Reading back what was written, as strictly as a careful receiver would: for tests and the fuzzer alone.
//!
//! Owns: a parser per format, independent of the writers but for the tables of names. Does not own: anything that runs
//! in a node.
#![doc(hidden)]

use std::collections::BTreeMap;

use secbeat_config::export::Export;
use serde_json::Value;

use crate::record::{DETAILS_MAX, Field, Names, Origin, Record, timestamp};
use crate::{cef, json, syslog};

/// A message of RFC 5424, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// Facility * 8 + severity.
    pub priority: u16,
    /// TIMESTAMP, HOSTNAME, APP-NAME, PROCID, MSGID.
    pub header: [String; 5],
    /// Elements: id, and parameters.
    pub data: Vec<(String, BTreeMap<String, String>)>,
    /// MSG, with its BOM.
    pub text: String,
}

/// Takes a message apart.
pub fn parse_syslog(line: &str) -> Option<Message> {
    let (priority, rest) = line.strip_prefix('<')?.split_once(">1 ")?;
    let mut words = rest.splitn(6, ' ');
    let header = core::array::from_fn(|_| words.next().unwrap_or_default().to_owned());
    let mut rest = words.next()?;
    let mut data = Vec::new();
    if let Some(after) = rest.strip_prefix('-') {
        rest = after;
    }
    while let Some(mut element) = rest.strip_prefix('[') {
        let end = element.find([' ', ']'])?;
        let id = element.get(..end)?.to_owned();
        element = element.get(end..)?;
        let mut params = BTreeMap::new();
        while let Some(param) = element.strip_prefix(' ') {
            let (name, value) = param.split_once("=\"")?;
            let (value, end) = unescape(value, '"', &['"', '\\', ']'])?;
            element = param.get(name.len() + 2 + end + 1..)?;
            if name.len() > 32 || params.insert(name.to_owned(), value).is_some() {
                return None;
            }
        }
        rest = element.strip_prefix(']')?;
        data.push((id, params));
    }
    let text = if rest.is_empty() { "" } else { rest.strip_prefix(' ')? };
    Some(Message { priority: priority.parse().ok()?, header, data, text: text.to_owned() })
}

/// Text up to an `end` that is not escaped, and its length as written. Nothing but `special` may be escaped, and no
/// `special` may stand for itself.
fn unescape(text: &str, end: char, special: &[char]) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => value.push(chars.next().map(|(_, c)| c).filter(|c| special.contains(c))?),
            c if c == end => return Some((value, at)),
            c if special.contains(&c) => return None,
            c => value.push(c),
        }
    }
    None
}

/// The seven fields of CEF's header, and the extension.
pub fn parse_cef(line: &str) -> Option<(Vec<String>, BTreeMap<String, String>)> {
    let mut rest = line.strip_prefix("CEF:")?;
    let mut header = Vec::new();
    while header.len() < 7 {
        let (value, end) = unescape(rest, '|', &['|', '\\'])?;
        header.push(value);
        rest = rest.get(end + 1..)?;
    }
    // A key is the word before an `=` that is not escaped.
    let mut equals = Vec::new();
    let mut is_escaped = false;
    for (at, c) in rest.char_indices() {
        match c {
            '=' if !is_escaped => equals.push(at),
            _ => {}
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    let keys: Vec<usize> =
        equals.iter().map(|at| rest.get(..*at).and_then(|b| b.rfind(' ')).map_or(0, |s| s + 1)).collect();
    let mut extension = BTreeMap::new();
    for (index, (key, equal)) in keys.iter().zip(&equals).enumerate() {
        let end = keys.get(index + 1).map_or(rest.len(), |next| next - 1);
        let written = format!("{}\n", rest.get(equal + 1..end)?);
        let (value, _) = unescape(&written, '\n', &['=', '\\'])?;
        if extension.insert(rest.get(*key..*equal)?.to_owned(), value).is_some() {
            return None;
        }
    }
    Some((header, extension))
}

/// A sink's configuration from some of its keys; the name is given.
pub fn export(keys: &str) -> Export {
    let config = secbeat_config::parse(&format!("[[export]]\nname = \"test\"\n{keys}\n"));
    config.ok().and_then(|config| config.exports.into_iter().next()).expect("the keys are valid")
}

/// An origin for tests.
pub fn origin() -> Origin {
    Origin { host: "node-1".to_owned(), app: "secbeat-node", version: "0.1.0", process_id: 42 }
}

/// Writes in every format, reads back, compares.
///
/// # Panics
/// When what was read is not what was written.
pub fn check(record: &Record) {
    let (origin, export) = (origin(), default_export());
    let texts: Vec<(&Names, &str)> = record.texts().collect();
    assert!(record.details().len() <= DETAILS_MAX);
    for line in [
        syslog::write(record, &origin, export),
        cef::write(record, &origin, export),
        json::write(record, &origin),
    ] {
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
    check_syslog(record, &texts, &syslog::write(record, &origin, export), &origin);
    check_cef(record, &texts, &cef::write(record, &origin, export));
    check_json(record, &texts, &json::write(record, &origin));
}

fn default_export() -> &'static Export {
    static EXPORT: std::sync::OnceLock<Export> = std::sync::OnceLock::new();
    EXPORT.get_or_init(|| export("target = \"file:///dev/null\""))
}

fn check_syslog(record: &Record, texts: &[(&Names, &str)], line: &str, origin: &Origin) {
    let message = parse_syslog(line).unwrap_or_else(|| panic!("{line}"));
    assert_eq!(message.priority, 16 * 8 + u16::from(record.severity.number()));
    assert_eq!(message.header[0], timestamp(record.time));
    assert_eq!(message.header[1..], [origin.host.as_str(), origin.app, "42", record.name()]);
    let sentence = record.sentence();
    let bom = if sentence.is_ascii() { "" } else { syslog::BOM };
    assert_eq!(message.text, format!("{bom}{sentence}"));
    let (id, params) = &message.data[0];
    assert_eq!(id, "secbeat@32473");
    for (names, text) in texts.iter().filter(|(names, _)| names.field != Field::Message) {
        assert_eq!(params.get(names.name).map(String::as_str), Some(*text), "{line}");
    }
    let known = 2 + ends(record) + usize::from(record.count.is_some());
    let has_message = usize::from(record.text(Field::Message).is_some());
    assert_eq!(params.len(), known + texts.len() - has_message, "{line}");
    let details: Vec<_> = message.data[1..].iter().flat_map(|(_, params)| params.clone()).collect();
    let mut expected = record.details().to_vec();
    expected.sort();
    assert_eq!(details, expected);
}

fn ends(record: &Record) -> usize {
    let one = |end: Option<(core::net::IpAddr, Option<u16>)>| {
        end.map_or(0, |(_, port)| 1 + usize::from(port.is_some()))
    };
    one(record.source) + one(record.destination)
}

fn check_cef(record: &Record, texts: &[(&Names, &str)], line: &str) {
    let (header, extension) = parse_cef(line).unwrap_or_else(|| panic!("{line}"));
    assert_eq!(header[..3], ["0", "SecBeat", "secbeat-node"]);
    assert_eq!((header[4].as_str(), header[5].as_str()), (record.name(), record.sentence().as_str()));
    for (names, text) in texts {
        assert_eq!(extension.get(names.cef).map(String::as_str), Some(*text), "{line}");
    }
    let details: Value = extension.get("cs5").map_or(Value::Null, |text| text.parse().expect("JSON"));
    for (key, value) in record.details() {
        assert_eq!(details[key], value.as_str());
    }
}

fn check_json(record: &Record, texts: &[(&Names, &str)], line: &str) {
    let object: Value = line.parse().unwrap_or_else(|error| panic!("{error}: {line}"));
    for (names, text) in texts {
        let name = if names.field == Field::Host { "request_host" } else { names.name };
        assert_eq!(object[name], *text, "{line}");
    }
    assert_eq!(object["event"], record.name());
    for (key, value) in record.details() {
        assert_eq!(object["details"][key], value.as_str());
    }
}
