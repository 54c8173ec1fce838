//! ArcSight Common Event Format, version 0.
//!
//! ```text
//!  CEF:0|SecBeat|<program>|<version>|<event>|<message>|<0-10>|rt=... src=... act=...
//! ```
//! Owns: header escapes (`|`, `\`), extension escapes (`=`, `\`), the keys. Towards a network a syslog header (RFC 5424)
//! without structured data stands before it; there is no BOM, because collectors look for `CEF:` as the first thing of
//! the message. Does not own: texts without line ends; `record` gives no others.

use core::fmt::Write as _;
use core::net::IpAddr;

use secbeat_config::export::{Export, ExportTarget, Severity};

use crate::record::{Origin, Record, millis};
use crate::syslog;

/// The record, without framing.
pub fn write(record: &Record, origin: &Origin, export: &Export) -> String {
    let mut out = String::with_capacity(512);
    if !matches!(export.target, ExportTarget::File(_)) {
        out.push_str(&syslog::header(record, origin, export));
        out.push_str("- ");
    }
    let _ = write!(out, "CEF:0|SecBeat|{}|{}|{}|", origin.app, origin.version, record.name());
    escaped(&mut out, &record.sentence(), '|');
    let _ = write!(out, "|{}|rt={}", severity(record.severity), millis(record.time));
    key(&mut out, "cat", record.kind.name());
    if let Some((ip, port)) = record.source {
        address(&mut out, ip, "src", ("c6a2", "Source IPv6 Address"));
        if let Some(port) = port {
            key(&mut out, "spt", &port.to_string());
        }
    }
    if let Some((ip, port)) = record.destination {
        address(&mut out, ip, "dst", ("c6a3", "Destination IPv6 Address"));
        if let Some(port) = port {
            key(&mut out, "dpt", &port.to_string());
        }
    }
    if let Some(count) = record.count {
        key(&mut out, "cnt", &count.to_string());
    }
    for (names, text) in record.texts() {
        if let Some(label) = names.cef_label {
            key(&mut out, &format!("{}Label", names.cef), label);
        }
        key(&mut out, names.cef, text);
    }
    if record.text(crate::Field::Node).is_none() {
        key(&mut out, "dvchost", &origin.host);
    }
    if !record.details().is_empty() {
        // One value: CEF has no room for names of our own. JSON, so that it can be taken apart again.
        key(&mut out, "cs5Label", "details");
        key(&mut out, "cs5", &crate::json::details(record).to_string());
    }
    out
}

/// CEF's severities: 0 to 3 low, 4 to 6 medium, 7 and 8 high.
const fn severity(severity: Severity) -> u8 {
    match severity {
        Severity::Error => 8,
        Severity::Warning => 6,
        Severity::Notice => 4,
        Severity::Informational => 2,
    }
}

/// `src` and `dst` hold IPv4 alone.
fn address(out: &mut String, ip: IpAddr, v4: &str, (v6, label): (&str, &str)) {
    match ip {
        IpAddr::V4(ip) => key(out, v4, &ip.to_string()),
        IpAddr::V6(ip) => {
            key(out, &format!("{v6}Label"), label);
            key(out, v6, &ip.to_string());
        }
    }
}

fn key(out: &mut String, name: &str, value: &str) {
    out.push(' ');
    out.push_str(name);
    out.push('=');
    escaped(out, value, '=');
}

fn escaped(out: &mut String, value: &str, special: char) {
    for c in value.chars() {
        if c == special || c == '\\' {
            out.push('\\');
        }
        out.push(c);
    }
}
