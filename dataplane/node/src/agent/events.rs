//! Security events on their way up: batches that are acknowledged, and sent again when they were not.
//!
//! Owns: what is on its way on this stream, how many events may be sent per second, the form on the wire. Does not
//! own: the queue they wait in ([`super::link::Link`]). An event may arrive twice after a cut, never not at all
//! unless it is counted as lost.

use std::collections::{BTreeMap, VecDeque};
use std::time::{SystemTime, UNIX_EPOCH};

use secbeat_proto::v1;
use tokio::time::Instant;

use super::link::{Link, Numbers};
use crate::api::SecurityEvent;
use crate::api::events::Level;

/// Events of one batch.
pub(super) const BATCH_EVENTS_MAX: usize = 200;

/// Batches on their way at once: 3,200 events, about 1 MB. More wait in the queue.
const BATCHES_OPEN_MAX: usize = 16;

/// Events on their way on one stream.
#[derive(Debug)]
pub(super) struct Events {
    sequence: u64,
    open: VecDeque<(u64, Vec<SecurityEvent>)>,
    rate_per_second: Option<f64>,
    tokens: f64,
    refilled: Instant,
}

impl Events {
    /// For a new stream. `rate_per_second` 0: as many as there are.
    pub(super) fn new(rate_per_second: u32, now: Instant) -> Self {
        let rate = (rate_per_second > 0).then_some(f64::from(rate_per_second));
        Self {
            sequence: 0,
            open: VecDeque::new(),
            rate_per_second: rate,
            tokens: rate.unwrap_or_default(),
            refilled: now,
        }
    }

    /// The next batch, if there is something to send and it may be sent.
    pub(super) fn batch(
        &mut self,
        link: &Link,
        lost_elsewhere: &BTreeMap<String, u64>,
        node_id: &str,
        now: Instant,
    ) -> Option<v1::EventBatch> {
        if self.open.len() >= BATCHES_OPEN_MAX {
            return None;
        }
        let allowed = self.allowed(now);
        let events = link.take_events(BATCH_EVENTS_MAX.min(allowed));
        if events.is_empty() {
            return None;
        }
        self.tokens -= events.len() as f64;
        self.sequence += 1;
        let mut lost = lost_elsewhere.clone();
        lost.insert("agent".to_owned(), Numbers::get(&link.numbers.events_lost));
        let messages = events.iter().map(|event| message(event, node_id)).collect();
        self.open.push_back((self.sequence, events));
        Some(v1::EventBatch { sequence: self.sequence, events: messages, lost })
    }

    fn allowed(&mut self, now: Instant) -> usize {
        let Some(rate) = self.rate_per_second else { return usize::MAX };
        let passed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.refilled = now;
        self.tokens = passed.mul_add(rate, self.tokens).min(rate);
        self.tokens.max(0.0) as usize
    }

    /// Everything up to `sequence` is stored.
    pub(super) fn acknowledge(&mut self, sequence: u64, link: &Link) {
        while self.open.front().is_some_and(|(open, _)| *open <= sequence) {
            if let Some((_, events)) = self.open.pop_front() {
                Numbers::add(&link.numbers.events_sent, events.len());
            }
        }
    }

    /// The stream is over: what was not acknowledged waits again, in order.
    pub(super) fn give_back(&mut self, link: &Link) {
        let open = core::mem::take(&mut self.open);
        link.return_events(open.into_iter().flat_map(|(_, events)| events).collect());
    }
}

/// Milliseconds since 1970.
pub(super) fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn message(event: &SecurityEvent, node_id: &str) -> v1::Event {
    let severity = match event.level {
        Level::Info => v1::Severity::Info,
        Level::Warn => v1::Severity::Warn,
        Level::Error => v1::Severity::Error,
    };
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    v1::Event {
        id: 0,
        at_ms: millis(event.timestamp),
        node_id: node_id.to_owned(),
        severity: severity.into(),
        class: event.class.name().to_owned(),
        component: event.component.clone().into_owned(),
        name: event.event.to_owned(),
        attack_type: event.attack_type.unwrap_or_default().to_owned(),
        client_ip: event.client_ip.map(|ip| ip.to_string()).unwrap_or_default(),
        user_agent: event.user_agent.clone().unwrap_or_default(),
        is_blocked: event.blocked,
        rule_id: event.rule_id.clone().unwrap_or_default(),
        details: event.details.iter().map(|(key, value)| ((*key).to_owned(), text(value))).collect(),
        acknowledged_by: String::new(),
        acknowledged_at_ms: 0,
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::api::events::Class;

    fn event(number: usize) -> SecurityEvent {
        SecurityEvent::new(Class::Node, Level::Info, "test", "happened").with("number", number)
    }

    fn numbers(batch: &v1::EventBatch) -> Vec<usize> {
        batch.events.iter().map(|event| event.details["number"].parse().unwrap()).collect()
    }

    #[test]
    fn what_was_not_acknowledged_is_sent_again_in_order() {
        let link = Link::new(1_000);
        (0..450).for_each(|number| link.push_event(event(number)));
        let now = Instant::now();
        let mut first = Events::new(0, now);
        let sent: Vec<_> =
            core::iter::from_fn(|| first.batch(&link, &BTreeMap::new(), "node", now)).collect();
        assert_eq!(sent.iter().map(|batch| batch.events.len()).collect::<Vec<_>>(), [200, 200, 50]);
        first.acknowledge(1, &link);
        first.give_back(&link);
        let mut second = Events::new(0, now);
        let again = second.batch(&link, &BTreeMap::new(), "node", now).unwrap();
        assert_eq!((again.sequence, numbers(&again)), (1, (200..400).collect()));
        assert_eq!(Numbers::get(&link.numbers.events_sent), 200);
    }

    #[test]
    fn full_queue_loses_the_oldest_and_says_how_many() {
        let link = Link::new(3);
        (0..5).for_each(|number| link.push_event(event(number)));
        let now = Instant::now();
        let batch = Events::new(0, now).batch(&link, &BTreeMap::new(), "node", now).unwrap();
        assert_eq!((numbers(&batch), batch.lost["agent"]), (vec![2, 3, 4], 2));
    }

    #[test]
    fn rate_of_the_orchestrator_is_kept() {
        let link = Link::new(1_000);
        (0..100).for_each(|number| link.push_event(event(number)));
        let now = Instant::now();
        let mut events = Events::new(10, now);
        assert_eq!(events.batch(&link, &BTreeMap::new(), "node", now).unwrap().events.len(), 10);
        assert!(events.batch(&link, &BTreeMap::new(), "node", now).is_none());
        let later = now + Duration::from_millis(500);
        assert_eq!(events.batch(&link, &BTreeMap::new(), "node", later).unwrap().events.len(), 5);
    }
}
