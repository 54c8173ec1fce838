//! Who attacks: sources by what they did, over the events of late.
//!
//! Owns: a bounded table of sources. Memory: some 300 bytes a source, 20 MB when full. Full: the source not seen for
//! longest goes, and is counted.

use std::collections::{BTreeMap, HashMap};

use secbeat_proto::v1;

/// Sources remembered.
pub(super) const SOURCES_MAX: usize = 65_536;

/// How many go at once when there is no room: looking for the oldest costs a pass over all.
const EVICTED_AT_ONCE: usize = SOURCES_MAX / 16;

/// Nodes told apart for one source; more are not counted.
const NODES_MAX: usize = 64;

/// Kinds of attack told apart for one source.
const KINDS_MAX: usize = 32;

#[derive(Debug, Default)]
struct Source {
    events: u64,
    blocked: u64,
    first_ms: u64,
    last_ms: u64,
    kinds: BTreeMap<u16, u64>,
    nodes: Vec<u16>,
}

/// The table.
#[derive(Debug, Default)]
pub(super) struct Threats {
    sources: HashMap<String, Source>,
    /// Names of attacks and nodes by number, so that a source holds two bytes of each.
    names: Vec<String>,
    numbers: HashMap<String, u16>,
    evicted: u64,
}

impl Threats {
    /// Counts an event that has a source and tells of an attack.
    pub(super) fn count(&mut self, event: &v1::Event) {
        if event.client_ip.is_empty() || event.client_ip.len() > 45 {
            return;
        }
        if !self.sources.contains_key(&event.client_ip) {
            if self.sources.len() >= SOURCES_MAX {
                self.evict();
            }
            let source = Source { first_ms: event.at_ms, ..Source::default() };
            self.sources.insert(event.client_ip.clone(), source);
        }
        let kind = self.number(if event.attack_type.is_empty() { &event.class } else { &event.attack_type });
        let node = self.number(&event.node_id);
        let Some(source) = self.sources.get_mut(&event.client_ip) else { return };
        source.events += 1;
        source.blocked += u64::from(event.is_blocked);
        source.first_ms = source.first_ms.min(event.at_ms);
        source.last_ms = source.last_ms.max(event.at_ms);
        if let Some(kind) = kind
            && (source.kinds.len() < KINDS_MAX || source.kinds.contains_key(&kind))
        {
            *source.kinds.entry(kind).or_default() += 1;
        }
        if let Some(node) = node
            && source.nodes.len() < NODES_MAX
            && !source.nodes.contains(&node)
        {
            source.nodes.push(node);
        }
    }

    /// The number of a name; `None` when there are more names than numbers.
    fn number(&mut self, name: &str) -> Option<u16> {
        if let Some(number) = self.numbers.get(name) {
            return Some(*number);
        }
        let number = u16::try_from(self.names.len()).ok()?;
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        Some(number)
    }

    fn evict(&mut self) {
        let mut times: Vec<u64> = self.sources.values().map(|source| source.last_ms).collect();
        let (_, limit, _) = times.select_nth_unstable(EVICTED_AT_ONCE);
        let limit = *limit;
        let before = self.sources.len();
        self.sources.retain(|_, source| source.last_ms > limit);
        // All at one moment: none is older than another.
        if self.sources.len() == before {
            self.sources.clear();
        }
        self.evicted += (before - self.sources.len()) as u64;
    }

    /// Sources seen since `since_ms`, most events first.
    pub(super) fn top(&self, since_ms: u64, count_max: usize) -> Vec<v1::Threat> {
        let mut found: Vec<_> =
            self.sources.iter().filter(|(_, source)| source.last_ms >= since_ms).collect();
        found.sort_unstable_by(|(a, x), (b, y)| y.events.cmp(&x.events).then_with(|| a.cmp(b)));
        found.truncate(count_max);
        let name = |number: u16| self.names.get(usize::from(number)).cloned().unwrap_or_default();
        found
            .into_iter()
            .map(|(client, source)| v1::Threat {
                client_ip: client.clone(),
                events: source.events,
                blocked: source.blocked,
                by_attack_type: source.kinds.iter().map(|(kind, count)| (name(*kind), *count)).collect(),
                first_ms: source.first_ms,
                last_ms: source.last_ms,
                nodes: source.nodes.len() as u32,
                is_banned: false,
            })
            .collect()
    }

    /// Sources forgotten for others since the start.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(client: &str, at_ms: u64, node: &str) -> v1::Event {
        v1::Event {
            client_ip: client.into(),
            at_ms,
            node_id: node.into(),
            attack_type: "scanner".into(),
            ..Default::default()
        }
    }

    #[test]
    fn sources_come_by_number_of_events_with_their_nodes() {
        let mut threats = Threats::default();
        for (client, node) in [("192.0.2.1", "a"), ("192.0.2.2", "a"), ("192.0.2.2", "b")] {
            threats.count(&event(client, 10, node));
        }
        let top = threats.top(0, 10);
        assert_eq!((top[0].client_ip.as_str(), top[0].events, top[0].nodes), ("192.0.2.2", 2, 2));
        assert_eq!(top[1].by_attack_type["scanner"], 1);
        assert!(threats.top(11, 10).is_empty());
    }

    #[test]
    fn full_table_forgets_those_not_seen_for_longest() {
        let mut threats = Threats::default();
        for number in 0..=SOURCES_MAX as u64 {
            threats.count(&event(
                &format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255),
                number,
                "a",
            ));
        }
        assert!(threats.evicted() > 0 && threats.top(0, usize::MAX).len() <= SOURCES_MAX);
        assert!(threats.top(SOURCES_MAX as u64, 1).len() == 1, "the newest stays");
    }
}
