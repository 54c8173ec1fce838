//! The two looks of a log line.
//!
//! JSON: one object, `timestamp level component event` first, then everything else, `message` last.
//! For people: the same in one line of text. Values that came from outside cannot break the line: JSON escapes
//! them, the other format replaces control characters.

use core::fmt::{self, Write as _};
use std::time::SystemTime;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// One JSON object per line.
#[derive(Debug)]
pub(super) struct Json;

/// One line of text for people.
#[derive(Debug)]
pub(super) struct Pretty;

/// The fields of an event.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn of(event: &Event<'_>) -> Map<String, Value> {
        let mut fields = Self::default();
        event.record(&mut fields);
        let mut fields = fields.0;
        if let Some(Value::String(record)) = fields.remove("record")
            && let Ok(Value::Object(record)) = serde_json::from_str(&record)
        {
            fields.extend(record);
        }
        fields
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().into(), format!("{value:?}").into());
    }
}

/// Timestamp, level, component of an event, taken out of its fields or made.
fn head(event: &Event<'_>, fields: &mut Map<String, Value>) -> [Value; 3] {
    let meta = event.metadata();
    let now = || humantime::format_rfc3339_millis(SystemTime::now()).to_string().into();
    [
        fields.remove("timestamp").unwrap_or_else(now),
        fields.remove("level").unwrap_or_else(|| meta.level().as_str().into()),
        fields.remove("component").unwrap_or_else(|| meta.target().into()),
    ]
}

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::of(event);
        let [timestamp, level, component] = head(event, &mut fields);
        write!(out, "{{\"timestamp\":{timestamp},\"level\":{level},\"component\":{component}")?;
        let message = fields.remove("message");
        if let Some(name) = fields.remove("event") {
            write!(out, ",\"event\":{name}")?;
        }
        for (key, value) in fields.into_iter().chain(message.map(|text| ("message".into(), text))) {
            write!(out, ",{}:{value}", Value::String(key))?;
        }
        writeln!(out, "}}")
    }
}

impl<S, N> FormatEvent<S, N> for Pretty
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::of(event);
        let [timestamp, level, component] = head(event, &mut fields);
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), plain);
        write!(out, "{} {:5} {}:", text(&timestamp), text(&level), text(&component))?;
        for key in ["event", "message"] {
            if let Some(value) = fields.remove(key) {
                write!(out, " {}", text(&value))?;
            }
        }
        for (key, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
            match value {
                Value::Object(inner) => {
                    for (key, value) in inner {
                        write!(out, " {}={}", plain(key), text(value))?;
                    }
                }
                value => write!(out, " {}={}", plain(key), text(value))?,
            }
        }
        writeln!(out)
    }
}

/// The text without anything that could start a new line or command a terminal.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            let _ = write!(out, "{}", c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::api::{Class, Level, SecurityEvent};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Sink {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn lines(pretty: bool, log: impl FnOnce()) -> String {
        let sink = Sink::default();
        let layer = tracing_subscriber::fmt::layer().with_writer(sink.clone());
        let registry = tracing_subscriber::registry();
        if pretty {
            tracing::subscriber::with_default(registry.with(layer.event_format(Pretty)), log);
        } else {
            tracing::subscriber::with_default(registry.with(layer.event_format(Json)), log);
        }
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn attack() -> SecurityEvent {
        let mut event =
            SecurityEvent::new(Class::Attack, Level::Warn, "worker-0", "attack_started").with("rate_pps", 7);
        event.timestamp = std::time::UNIX_EPOCH;
        event.attack_type = Some("syn_flood");
        event.user_agent = Some("a\"b\nc\u{1b}[31m".into());
        event
    }

    #[test]
    fn security_event_in_json_has_every_field_and_stays_on_one_line() {
        let text = lines(false, || crate::logging::security(&attack()));
        assert_eq!(text.lines().count(), 1);
        let json: Value = serde_json::from_str(&text).unwrap();
        for field in [
            "timestamp",
            "level",
            "component",
            "event",
            "attack_type",
            "client_ip",
            "user_agent",
            "blocked",
            "rule_id",
        ] {
            assert!(json.get(field).is_some(), "{field} is missing in {text}");
        }
        assert_eq!((&json["event"], &json["level"]), (&"attack_started".into(), &"WARN".into()));
        assert!(text.starts_with("{\"timestamp\":\"1970-01-01T00:00:00.000Z\",\"level\":\"WARN\",\"component\":\"worker-0\",\"event\":"));
    }

    #[test]
    fn security_event_for_people_cannot_break_the_line() {
        let text = lines(true, || crate::logging::security(&attack()));
        assert_eq!(text.lines().count(), 1);
        assert!(text.starts_with("1970-01-01T00:00:00.000Z WARN  worker-0: attack_started"), "{text}");
        assert!(text.contains("rate_pps=7") && text.contains("user_agent=a\"b\\u{a}c\\u{1b}[31m"), "{text}");
        assert!(!text.contains("client_ip"), "empty fields are left out for people");
    }

    #[test]
    fn ordinary_event_has_component_event_and_message() {
        let log = || tracing::info!(component = "control", event = "started", workers = 2, "ready");
        let json: Value = serde_json::from_str(&lines(false, log)).unwrap();
        assert_eq!((&json["component"], &json["event"]), (&"control".into(), &"started".into()));
        assert_eq!((&json["message"], &json["workers"]), (&"ready".into(), &2.into()));
        let text =
            lines(true, || tracing::info!(component = "control", event = "started", workers = 2, "ready"));
        assert!(text.ends_with(" INFO  control: started ready workers=2\n"), "{text}");
    }
}
