//! Security events: what happened, in the words of logs, API and SIEM alike.
//!
//! Owns: [`SecurityEvent`] and [`EventLog`], the ring that `/api/v1/events` reads. Does not own: writing log lines
//! (`logging`), or the workers' events (`crate::event`), which the control thread turns into these.

use core::net::IpAddr;
use core::time::Duration;
use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use serde::{Serialize, Serializer};

/// What an event is about; `?type=` of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// An attack began, went on or ended.
    Attack,
    /// A ban was set, lifted or ended.
    Ban,
    /// A backend went down or came back.
    Backend,
    /// The node started, reloaded, drained.
    Node,
    /// A request was refused, or a client was too slow with one.
    Request,
    /// A policy of the orchestrator came into force or was refused, or its connection changed.
    Policy,
}

impl Class {
    /// Every class and its name.
    pub const ALL: [(&'static str, Self); 6] = [
        ("attack", Self::Attack),
        ("ban", Self::Ban),
        ("backend", Self::Backend),
        ("node", Self::Node),
        ("request", Self::Request),
        ("policy", Self::Policy),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, class)| *class == self).map_or("", |(name, _)| name)
    }

    /// The class called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, class)| *class)
    }
}

/// How severe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// Something failed.
    Error,
    /// An operator should look.
    Warn,
    /// Good to know.
    Info,
}

/// One event. Fields that do not apply are absent from JSON, except those that every log consumer expects.
#[derive(Clone, Debug, Serialize)]
pub struct SecurityEvent {
    /// Grows by one per event of this node since its start; given by [`EventLog::push`].
    pub id: u64,
    /// When.
    #[serde(serialize_with = "rfc3339")]
    pub timestamp: SystemTime,
    /// How severe.
    pub level: Level,
    /// Part of the node that says so: `worker-0`, `control`, `api`.
    pub component: Cow<'static, str>,
    /// What happened, one word: `attack_started`, `ip_banned`.
    pub event: &'static str,
    /// What it is about.
    #[serde(rename = "type")]
    pub class: Class,
    /// `syn_flood`, `ack_flood`, ...
    pub attack_type: Option<&'static str>,
    /// The client, where one is known; sources of floods are forged and hence not named.
    pub client_ip: Option<IpAddr>,
    /// What the client called itself; HTTP only.
    pub user_agent: Option<String>,
    /// Whether the traffic was stopped.
    pub blocked: bool,
    /// The rule that decided; WAF and filter rules only.
    pub rule_id: Option<String>,
    /// Anything else: numbers and names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<&'static str, serde_json::Value>,
}

impl SecurityEvent {
    /// An event with nothing but its name.
    pub fn new(
        class: Class,
        level: Level,
        component: impl Into<Cow<'static, str>>,
        event: &'static str,
    ) -> Self {
        Self {
            id: 0,
            timestamp: SystemTime::now(),
            level,
            component: component.into(),
            event,
            class,
            attack_type: None,
            client_ip: None,
            user_agent: None,
            blocked: false,
            rule_id: None,
            details: BTreeMap::new(),
        }
    }

    /// Adds a detail.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<serde_json::Value>) -> Self {
        self.details.insert(key, value.into());
        self
    }
}

/// The last events of a node. Full: the oldest goes, and is counted.
#[derive(Debug)]
pub struct EventLog {
    inner: Mutex<Inner>,
    count_max: usize,
}

#[derive(Debug, Default)]
struct Inner {
    events: VecDeque<SecurityEvent>,
    next_id: u64,
    overwritten: u64,
}

/// Which events are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// Of one class.
    pub class: Option<Class>,
    /// With a greater id.
    pub since: Option<u64>,
    /// The newest that many.
    pub count_max: usize,
}

/// Events, oldest first.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// The events.
    pub events: Vec<SecurityEvent>,
    /// To be given as `since` next time.
    pub last_id: u64,
    /// Events since the start that were overwritten by newer ones.
    pub overwritten: u64,
}

impl EventLog {
    /// An empty log for `count_max` events.
    pub fn new(count_max: usize) -> Self {
        Self { inner: Mutex::default(), count_max: count_max.max(1) }
    }

    /// Adds an event and returns its id.
    pub fn push(&self, mut event: SecurityEvent) -> u64 {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.next_id += 1;
        event.id = inner.next_id;
        if inner.events.len() >= self.count_max {
            inner.events.pop_front();
            inner.overwritten += 1;
        }
        inner.events.push_back(event);
        inner.next_id
    }

    /// The newest events that match, oldest first.
    pub fn find(&self, query: Query) -> Found {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let matching = |event: &&SecurityEvent| {
            query.class.is_none_or(|class| event.class == class) && query.since.is_none_or(|id| event.id > id)
        };
        let mut events: Vec<_> =
            inner.events.iter().rev().filter(matching).take(query.count_max).cloned().collect();
        events.reverse();
        Found { events, last_id: inner.next_id, overwritten: inner.overwritten }
    }
}

/// `2026-01-31T12:34:56.789Z`.
pub(crate) fn rfc3339<S: Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&humantime::format_rfc3339_millis(*time))
}

/// The same, or nothing.
pub(crate) fn rfc3339_optional<S: Serializer>(time: &Option<SystemTime>, to: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => rfc3339(time, to),
        None => to.serialize_none(),
    }
}

/// Seconds with a fraction.
pub(crate) fn seconds<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64((duration.as_secs_f64() * 1_000.0).round() / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(class: Class) -> SecurityEvent {
        SecurityEvent::new(class, Level::Info, "test", "something")
    }

    #[test]
    fn the_newest_events_of_a_class_come_oldest_first() {
        let log = EventLog::new(4);
        for class in [Class::Attack, Class::Ban, Class::Attack, Class::Attack, Class::Node, Class::Attack] {
            log.push(event(class));
        }
        let found = log.find(Query { class: Some(Class::Attack), since: None, count_max: 2 });
        assert_eq!(found.events.iter().map(|e| e.id).collect::<Vec<_>>(), [4, 6]);
        assert_eq!((found.last_id, found.overwritten), (6, 2));
        let found = log.find(Query { class: None, since: Some(4), count_max: 99 });
        assert_eq!(found.events.iter().map(|e| e.id).collect::<Vec<_>>(), [5, 6]);
    }

    #[test]
    fn json_carries_the_fields_that_log_consumers_expect() {
        let mut event = event(Class::Attack).with("rate_pps", 5);
        event.timestamp = std::time::UNIX_EPOCH;
        event.attack_type = Some("syn_flood");
        let json = serde_json::to_string(&event).unwrap();
        let expected = concat!(
            r#"{"id":0,"timestamp":"1970-01-01T00:00:00.000Z","level":"INFO","component":"test","event":"something","#,
            r#""type":"attack","attack_type":"syn_flood","client_ip":null,"user_agent":null,"blocked":false,"rule_id":null,"details":{"rate_pps":5}}"#,
        );
        assert_eq!(json, expected);
    }
}
