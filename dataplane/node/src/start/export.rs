//! Security events towards a SIEM, as `[[export]]` says.
//!
//! Owns: what a record takes from an event. Does not own: formats, connections, queues and what events of both planes
//! have in common (`secbeat-export`), which events there are. Nothing here waits: a sink that is full loses the record.

use secbeat_export::{Exports, Field, Kind, Origin, Record, Severity};
use serde_json::Value;

use crate::api::SecurityEvent;
use crate::api::events::{Class, Level};

/// The sinks of this process, none running yet.
pub(super) fn exports() -> Exports {
    Exports::new(Origin::of_process("secbeat-node", env!("CARGO_PKG_VERSION")))
}

/// An event as a record.
pub(super) fn record(event: &SecurityEvent) -> Record {
    let severity = match event.level {
        Level::Error => Severity::Error,
        Level::Warn => Severity::Warning,
        Level::Info => Severity::Informational,
    };
    let kind = match event.class {
        Class::Attack => Kind::Attack,
        Class::Ban => Kind::Ban,
        Class::Backend => Kind::Backend,
        Class::Node => Kind::Node,
        Class::Request => Kind::Request,
        Class::Policy => Kind::Policy,
    };
    let mut record = Record::new(event.timestamp, severity, kind, event.event);
    record.source = event.client_ip.map(|ip| (ip, None));
    record.set(Field::Component, &event.component);
    record.set(Field::AttackType, event.attack_type.unwrap_or_default());
    record.set(Field::UserAgent, event.user_agent.as_deref().unwrap_or_default());
    record.set(Field::Rule, event.rule_id.as_deref().unwrap_or_default());
    record.set_action(event.blocked);
    for (key, value) in &event.details {
        match value {
            Value::String(text) => record.take_detail(key, text),
            other => record.take_detail(key, &other.to_string()),
        }
    }
    // The event's number, as in the API.
    record.add_detail("event_id", &event.id.to_string());
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_request_fills_the_fields_that_it_has() {
        let mut event = SecurityEvent::new(Class::Request, Level::Warn, "worker-3", "request_refused")
            .with("listener", "https")
            .with("target", "/a\n")
            .with("status", 403);
        event.blocked = true;
        event.client_ip = Some([192, 0, 2, 1].into());
        event.rule_id = Some("942100".to_owned());
        event.attack_type = Some("sql_injection");
        let record = record(&event);
        let texts = [
            (Field::Listener, "https"),
            (Field::Target, "/a\u{240a}"),
            (Field::Rule, "942100"),
            (Field::Action, "blocked"),
            (Field::AttackType, "sql_injection"),
        ];
        for (field, text) in texts {
            assert_eq!(record.text(field), Some(text), "{}", field.name());
        }
        assert_eq!(record.severity, Severity::Warning);
        let details: Vec<_> =
            record.details().iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(details, [("status", "403"), ("event_id", "0")]);
    }
}
