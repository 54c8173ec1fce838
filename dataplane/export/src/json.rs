//! One JSON object per record, on one line.
//!
//! Owns: names and order of members. Absent fields are left out. Does not own: escapes; `serde_json` does them.

use serde_json::{Map, Value, json};

use crate::record::{Origin, Record, timestamp};

/// The record, without framing.
pub fn write(record: &Record, origin: &Origin) -> String {
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| drop(object.insert(name.to_owned(), value));
    put("time", timestamp(record.time).into());
    put("host", origin.host.as_str().into());
    put("app", origin.app.into());
    put("version", origin.version.into());
    put("severity", record.severity.name().into());
    put("kind", record.kind.name().into());
    put("event", record.name().into());
    for (end, address, port) in [(record.source, "src", "spt"), (record.destination, "dst", "dpt")] {
        if let Some((ip, number)) = end {
            put(address, ip.to_string().into());
            if let Some(number) = number {
                put(port, number.into());
            }
        }
    }
    if let Some(count) = record.count {
        put("count", count.into());
    }
    for (names, text) in record.texts() {
        // `host` is who sends; the one a request asked for has a name of its own.
        put(if names.name == "host" { "request_host" } else { names.name }, text.into());
    }
    put("message", record.sentence().into());
    if !record.details().is_empty() {
        put("details", details(record));
    }
    Value::Object(object).to_string()
}

/// The details as an object.
pub(crate) fn details(record: &Record) -> Value {
    record.details().iter().fold(json!({}), |mut all, (key, value)| {
        all[key.as_str()] = value.as_str().into();
        all
    })
}
