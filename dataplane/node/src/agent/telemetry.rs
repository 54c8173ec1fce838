//! Numbers on their way up: the first report of a stream is whole, each later one has what changed.
//!
//! Owns: which names the orchestrator knows by number, and what it was told last. Does not own: the numbers
//! ([`super::host::Host::snapshot`]). A new name makes the next report whole: names are few and seldom new.

use std::collections::BTreeMap;
use std::sync::Arc;

use secbeat_proto::v1;

use super::host::{BanHits, Load, Snapshot};

/// Samples of a report. A node has about 300; more are left out, those last in order.
const SAMPLES_MAX: usize = 8_192;

/// Bans of a report; the node gives them in turn.
const BAN_HITS_MAX: usize = 10_000;

/// Bans whose count was told, remembered so that unchanged ones are not told again. Full: forgotten, told anew.
const BAN_HITS_KNOWN_MAX: usize = 131_072;

/// What the orchestrator was told on this stream.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    names: Vec<Arc<str>>,
    values: Vec<f64>,
    hits: BTreeMap<ipnet::IpNet, (u64, bool)>,
    is_begun: bool,
}

impl Encoder {
    /// The report of a snapshot.
    pub(super) fn report(&mut self, mut snapshot: Snapshot, at_ms: u64) -> v1::Telemetry {
        snapshot.samples.truncate(SAMPLES_MAX);
        let is_same = self.is_begun
            && self.names.len() == snapshot.samples.len()
            && self.names.iter().zip(&snapshot.samples).all(|(known, (name, _))| known == name);
        let ban_hits = self.ban_hits(snapshot.ban_hits);
        let mut report = v1::Telemetry {
            at_ms,
            is_whole: !is_same,
            samples: Vec::new(),
            indexed: Vec::new(),
            ban_hits,
            load: Some(load(&snapshot.load)),
        };
        if is_same {
            for (index, (_, value)) in snapshot.samples.iter().enumerate() {
                if self.values[index].to_bits() != value.to_bits() {
                    self.values[index] = *value;
                    report.indexed.push(v1::IndexedSample { index: index as u32, value: *value });
                }
            }
            return report;
        }
        let sample = |(name, value): &(Arc<str>, f64)| v1::Sample { name: name.to_string(), value: *value };
        report.samples = snapshot.samples.iter().map(sample).collect();
        (self.names, self.values) = snapshot.samples.into_iter().unzip();
        self.is_begun = true;
        report
    }

    fn ban_hits(&mut self, hits: Vec<BanHits>) -> Vec<v1::BanHits> {
        if self.hits.len() + hits.len() > BAN_HITS_KNOWN_MAX {
            self.hits.clear();
        }
        let mut told = Vec::new();
        for ban in hits.into_iter().take(BAN_HITS_MAX) {
            let now = (ban.packets, ban.is_enforced);
            if self.hits.insert(ban.prefix, now) != Some(now) {
                told.push(v1::BanHits {
                    prefix: ban.prefix.to_string(),
                    packets: ban.packets,
                    is_enforced: ban.is_enforced,
                });
            }
        }
        told
    }
}

fn load(load: &Load) -> v1::NodeLoad {
    v1::NodeLoad {
        cpu_percent: load.cpu_percent,
        memory_bytes: load.memory_bytes,
        connections: load.connections,
        requests_per_second: load.requests_per_second,
        packets_per_second: load.packets_per_second,
        bits_per_second_in: load.bits_per_second_in,
        bits_per_second_out: load.bits_per_second_out,
        drops_per_second: load.drops_per_second,
        validated_drop_share: load.validated_drop_share,
        server_error_share: load.server_error_share,
        attacks_active: load.attacks_active,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(samples: &[(&str, f64)]) -> Snapshot {
        let samples = samples.iter().map(|(name, value)| (Arc::from(*name), *value)).collect();
        Snapshot { samples, ..Snapshot::default() }
    }

    #[test]
    fn names_are_told_once_and_then_only_what_changed() {
        let mut encoder = Encoder::default();
        let first = encoder.report(snapshot(&[("a", 1.0), ("b", 2.0)]), 1);
        assert!(first.is_whole && first.samples.len() == 2 && first.indexed.is_empty());
        let second = encoder.report(snapshot(&[("a", 1.0), ("b", 3.0)]), 2);
        assert!(!second.is_whole && second.samples.is_empty());
        assert_eq!(second.indexed, [v1::IndexedSample { index: 1, value: 3.0 }]);
        let third = encoder.report(snapshot(&[("a", 1.0), ("b", 3.0), ("c", 0.0)]), 3);
        assert!(third.is_whole && third.samples.len() == 3);
    }

    #[test]
    fn hits_of_a_ban_are_told_when_they_change() {
        let mut encoder = Encoder::default();
        let hits = |packets| Snapshot {
            ban_hits: vec![BanHits { prefix: "192.0.2.0/24".parse().unwrap(), packets, is_enforced: true }],
            ..Snapshot::default()
        };
        assert_eq!(encoder.report(hits(0), 1).ban_hits.len(), 1);
        assert_eq!(encoder.report(hits(0), 2).ban_hits.len(), 0);
        assert_eq!(encoder.report(hits(7), 3).ban_hits[0].packets, 7);
    }
}
