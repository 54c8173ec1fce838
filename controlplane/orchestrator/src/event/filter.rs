//! Which events a question means.
//!
//! Owns: the compiled filter. Its lists are bounded, so that a question costs no more than a fixed amount per event.

use core::net::IpAddr;

use ipnet::IpNet;
use secbeat_proto::v1;

use super::block::Header;
use crate::failure::Failure;

/// Values in one list of a filter.
pub(super) const FILTER_VALUES_MAX: usize = 64;

/// A filter, checked.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    asked: v1::EventFilter,
    client: Option<IpNet>,
}

impl Filter {
    /// Checks a filter.
    ///
    /// # Errors
    /// `Invalid`: too many values, an unreadable address, times the wrong way round.
    pub fn compile(asked: Option<v1::EventFilter>) -> Result<Self, Failure> {
        let asked = asked.unwrap_or_default();
        let lists = [
            ("node_ids", &asked.node_ids),
            ("classes", &asked.classes),
            ("names", &asked.names),
            ("attack_types", &asked.attack_types),
        ];
        for (name, values) in lists {
            if values.len() > FILTER_VALUES_MAX {
                let given = values.len();
                return Err(Failure::Invalid(format!(
                    "filter.{name}: {given} values; at most {FILTER_VALUES_MAX}"
                )));
            }
        }
        let client = match asked.client.as_str() {
            "" => None,
            text => Some(prefix(text).ok_or_else(|| {
                let shown: String = text.chars().take(60).collect();
                Failure::Invalid(format!("filter.client: `{shown}` is neither an address nor a prefix"))
            })?),
        };
        if asked.until_ms > 0 && asked.since_ms > asked.until_ms {
            return Err(Failure::Invalid("filter.since_ms: is after until_ms".into()));
        }
        Ok(Self { asked, client })
    }

    /// Whether some event of the block may match.
    pub fn may_match(&self, block: &Header) -> bool {
        (self.asked.until_ms == 0 || block.oldest_ms <= self.asked.until_ms)
            && block.newest_ms >= self.asked.since_ms
            && (!self.asked.only_blocked || block.blocked > 0)
    }

    /// Whether an event matches; acknowledgement must already be written into it.
    pub fn matches(&self, event: &v1::Event) -> bool {
        let asked = &self.asked;
        let is_in = |list: &[String], value: &str| list.is_empty() || list.iter().any(|one| one == value);
        event.at_ms >= asked.since_ms
            && (asked.until_ms == 0 || event.at_ms <= asked.until_ms)
            && (!asked.only_blocked || event.is_blocked)
            && (!asked.only_unacknowledged || event.acknowledged_at_ms == 0)
            && event.severity >= asked.severity_min
            && (asked.rule_id.is_empty() || event.rule_id == asked.rule_id)
            && is_in(&asked.classes, &event.class)
            && is_in(&asked.names, &event.name)
            && is_in(&asked.attack_types, &event.attack_type)
            && is_in(&asked.node_ids, &event.node_id)
            && self.client.is_none_or(|client| {
                event.client_ip.parse::<IpAddr>().is_ok_and(|address| client.contains(&address))
            })
    }
}

/// An address or a prefix, as a prefix.
fn prefix(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(asked: v1::EventFilter) -> Filter {
        Filter::compile(Some(asked)).unwrap()
    }

    #[test]
    fn every_condition_must_hold() {
        let event = v1::Event {
            at_ms: 50,
            severity: 2,
            class: "request".into(),
            attack_type: "scanner".into(),
            client_ip: "203.0.113.7".into(),
            is_blocked: true,
            ..Default::default()
        };
        assert!(filter(v1::EventFilter::default()).matches(&event));
        let asked = |change: fn(&mut v1::EventFilter)| {
            let mut asked = v1::EventFilter {
                classes: vec!["ban".into(), "request".into()],
                client: "203.0.113.0/24".into(),
                severity_min: 2,
                only_blocked: true,
                only_unacknowledged: true,
                since_ms: 50,
                until_ms: 50,
                ..Default::default()
            };
            change(&mut asked);
            filter(asked).matches(&event)
        };
        assert!(asked(|_| {}));
        assert!(!asked(|f| f.classes = vec!["ban".into()]));
        assert!(!asked(|f| f.client = "203.0.113.8".into()));
        assert!(!asked(|f| f.severity_min = 3));
        assert!(!asked(|f| (f.since_ms, f.until_ms) = (51, 0)));
        assert!(!asked(|f| (f.since_ms, f.until_ms) = (0, 49)));
        assert!(!asked(|f| f.attack_types = vec!["syn_flood".into()]));
    }

    #[test]
    fn unusable_filters_are_refused_by_name() {
        let error = Filter::compile(Some(v1::EventFilter { client: "nobody".into(), ..Default::default() }));
        assert!(error.unwrap_err().to_string().contains("filter.client"));
        let many = vec![String::new(); FILTER_VALUES_MAX + 1];
        let error = Filter::compile(Some(v1::EventFilter { classes: many, ..Default::default() }));
        assert!(error.unwrap_err().to_string().contains("filter.classes"));
    }
}
