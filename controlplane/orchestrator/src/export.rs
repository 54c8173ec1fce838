//! Security events and audit entries towards a SIEM, as `[[export]]` says.
//!
//! Owns: what a record takes from them. Does not own: formats, connections and queues (`secbeat-export`). An event is
//! handed over once it is stored, an audit entry once it is on the disk. Nobody waits: a sink that is full loses
//! records and counts them; what is stored here can still be asked for.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::time::UNIX_EPOCH;

use secbeat_export::{Exports, Field, Kind, Origin, Record, Severity};
use secbeat_proto::v1;

/// The sinks of this process, none running yet.
pub(crate) fn exports() -> Exports {
    Exports::new(Origin::of_process("secbeat-orchestrator", env!("CARGO_PKG_VERSION")))
}

/// A stored event as a record.
pub(crate) fn of_event(event: &v1::Event) -> Record {
    let severity = match event.severity() {
        v1::Severity::Error => Severity::Error,
        v1::Severity::Warn => Severity::Warning,
        v1::Severity::Info | v1::Severity::Unspecified => Severity::Informational,
    };
    let kind = Kind::from_name(&event.class);
    let mut record =
        Record::new(UNIX_EPOCH + Duration::from_millis(event.at_ms), severity, kind, &event.name);
    record.source = event.client_ip.parse().ok().map(|ip: IpAddr| (ip, None));
    record.set(Field::Node, &event.node_id);
    record.set(Field::Component, &event.component);
    record.set(Field::AttackType, &event.attack_type);
    record.set(Field::UserAgent, &event.user_agent);
    record.set(Field::Rule, &event.rule_id);
    record.set_action(event.is_blocked);
    for (key, value) in &event.details {
        record.take_detail(key, value);
    }
    // The event's number here: the same after a node has sent it twice would be another.
    record.add_detail("event_id", &event.id.to_string());
    record
}

/// An audit entry as a record. What was before and after stays in the log: it may be long.
pub(crate) fn of_audit(entry: &v1::AuditEntry) -> Record {
    let severity = if entry.outcome == "ok" { Severity::Notice } else { Severity::Warning };
    let time = UNIX_EPOCH + Duration::from_millis(entry.at_ms);
    let mut record = Record::new(time, severity, Kind::Audit, "audit");
    // "grpc 192.0.2.7:5000"
    let address = entry.source.rsplit(' ').next().and_then(|word| word.parse::<SocketAddr>().ok());
    record.source = address.map(|address| (address.ip(), Some(address.port())));
    for (field, text) in [
        (Field::Component, entry.source.split(' ').next().unwrap_or_default()),
        (Field::Actor, &entry.actor),
        (Field::Action, &entry.action),
        (Field::Target, &entry.target),
        (Field::Reason, &entry.reason),
        (Field::RequestId, &entry.request_id),
        (Field::Outcome, &entry.outcome),
    ] {
        record.set(field, text);
    }
    let message = format!("{} {} {}: {}", entry.actor, entry.action, entry.target, entry.outcome);
    record.set(Field::Message, &message);
    record.add_detail("number", &entry.number.to_string());
    record.add_detail("hash", &entry.hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    record
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use secbeat_config::orchestrator::OrchestratorConfig;

    use super::*;
    use crate::audit::Audit;
    use crate::event::Events;
    use crate::store::Store;

    #[tokio::test]
    async fn every_stored_event_and_audit_entry_leaves_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.json");
        let store = Store::open(&folder.path().join("store")).unwrap().0;
        let (events, audit) = (Events::open(store.clone(), 1_000).unwrap(), Audit::open(store).unwrap());
        let text =
            format!("[[export]]\nname = \"a\"\nformat = \"json\"\ntarget = \"file://{}\"\n", path.display());
        let config = OrchestratorConfig::parse("test", &text, &Default::default()).unwrap();
        let exports = Arc::new(exports());
        exports.apply(&config.exports).unwrap();
        events.set_exports(&exports);
        audit.set_exports(&exports);
        let event = |number: u64| v1::Event {
            at_ms: 1_767_225_600_000,
            class: "request".to_owned(),
            name: "request_refused".to_owned(),
            client_ip: "192.0.2.9".to_owned(),
            is_blocked: true,
            details: [("target".to_owned(), format!("/{number}\n"))].into(),
            ..v1::Event::default()
        };
        let batch = v1::EventBatch { events: (0..300).map(event).collect(), ..Default::default() };
        let receipt = events.ingest("node-1", batch).await;
        events.write_waiting().await.unwrap();
        receipt.await.unwrap().unwrap();
        let entry = v1::AuditEntry {
            actor: "alice".to_owned(),
            source: "grpc 192.0.2.7:5000".to_owned(),
            action: "ban.add".to_owned(),
            outcome: "ok".to_owned(),
            ..Default::default()
        };
        audit.append(entry).await.unwrap();
        exports.stop(Duration::from_secs(10));
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(lines.len(), 301);
        for (number, line) in lines.iter().take(300).enumerate() {
            assert_eq!(
                (&line["target"], &line["node"]),
                (&format!("/{number}\u{240a}").into(), &"node-1".into())
            );
            assert_eq!((&line["src"], &line["action"]), (&"192.0.2.9".into(), &"blocked".into()));
        }
        let last = &lines[300];
        assert_eq!(
            (&last["kind"], &last["actor"], &last["spt"]),
            (&"audit".into(), &"alice".into(), &5_000.into())
        );
    }
}
