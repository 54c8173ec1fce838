//! Syslog messages (RFC 5424), their framing in streams (RFC 6587) and in datagrams (RFC 5426).
//!
//! ```text
//!  <PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID [secbeat@N name="value" ...][secbeat.details@N ...] MSG
//!   facility * 8 + severity           name of the event                                   BOM if not ASCII
//! ```
//! Owns: header, structured data with its escapes (§6.3.3: `"`, `\`, `]`), when a message begins with a BOM (§6.4).
//! Does not own: texts without control characters; `record` gives no others.

use core::fmt::Write as _;

use secbeat_config::export::{Export, Framing};

use crate::record::{Origin, Record, timestamp};

/// Begins a MSG in UTF-8 (§6.4). One of pure ASCII has none.
pub const BOM: &str = "\u{feff}";

/// The message, without framing.
pub fn write(record: &Record, origin: &Origin, export: &Export) -> String {
    let mut out = header(record, origin, export);
    structured_data(&mut out, record, export.enterprise_number);
    out.push(' ');
    let sentence = record.sentence();
    if !sentence.is_ascii() {
        out.push_str(BOM);
    }
    out.push_str(&sentence);
    out
}

/// Everything up to the structured data, with the space before it.
pub(crate) fn header(record: &Record, origin: &Origin, export: &Export) -> String {
    let priority = u16::from(export.facility.number()) * 8 + u16::from(record.severity.number());
    let Origin { host, app, process_id, .. } = origin;
    let time = timestamp(record.time);
    format!("<{priority}>1 {time} {host} {app} {process_id} {} ", record.name())
}

fn structured_data(out: &mut String, record: &Record, number: u32) {
    let _ = write!(out, "[secbeat@{number}");
    param(out, "kind", record.kind.name());
    param(out, "severity", record.severity.name());
    for (end, address, port) in
        [(record.source, "src", "spt"), (record.destination, "dst", "dpt")].map(|(end, a, p)| (end, a, p))
    {
        if let Some((ip, number)) = end {
            param(out, address, &ip.to_string());
            if let Some(number) = number {
                param(out, port, &number.to_string());
            }
        }
    }
    if let Some(count) = record.count {
        param(out, "count", &count.to_string());
    }
    // The message is the MSG.
    for (names, text) in record.texts().filter(|(names, _)| names.name != "message") {
        param(out, names.name, text);
    }
    out.push(']');
    if !record.details().is_empty() {
        let _ = write!(out, "[secbeat.details@{number}");
        record.details().iter().for_each(|(key, value)| param(out, key, value));
        out.push(']');
    }
}

fn param(out: &mut String, name: &str, value: &str) {
    let _ = write!(out, " {name}=\"");
    for c in value.chars() {
        if matches!(c, '"' | '\\' | ']') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

/// Puts a message into a stream.
pub fn frame(out: &mut Vec<u8>, message: &str, framing: Framing) {
    match framing {
        Framing::OctetCounting => {
            out.extend_from_slice(message.len().to_string().as_bytes());
            out.push(b' ');
            out.extend_from_slice(message.as_bytes());
        }
        Framing::Newline => {
            out.extend_from_slice(message.as_bytes());
            out.push(b'\n');
        }
    }
}
