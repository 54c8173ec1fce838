//! What may never be banned: the allow lists of the policy.
//!
//! Owns: look-ups in them. Made anew when a list changes; memory: 60 bytes a prefix, bounded by the
//! policy's own limits. Cost of a look-up: one per prefix length in use.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use secbeat_config::policy::{Hash, Key, Kind, Set};

/// Allowlisted prefixes, each with the list that names it.
#[derive(Debug, Default)]
pub struct Exempt {
    nets: BTreeMap<IpNet, Key>,
    lengths: BTreeSet<u8>,
    lists: Vec<(Key, Hash)>,
}

/// The prefixes of a list and whether it allows.
pub(crate) fn read_list(body: &serde_json::Value) -> (bool, impl Iterator<Item = IpNet> + '_) {
    let allows = body.get("action").and_then(serde_json::Value::as_str) == Some("allow");
    let prefixes = body.get("prefixes").and_then(serde_json::Value::as_array);
    let texts = prefixes.into_iter().flatten().filter_map(serde_json::Value::as_str);
    (allows, texts.filter_map(parse))
}

/// A prefix or address of a list, in its one form; wider ones than may be banned, too.
fn parse(text: &str) -> Option<IpNet> {
    let prefix = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok()?;
    Some(secbeat_config::ban::canonical(prefix).unwrap_or(prefix.trunc()))
}

fn lists(set: &Set) -> impl Iterator<Item = (Key, Hash)> + '_ {
    let lists = set.iter().filter(|(key, _)| key.kind == Kind::List);
    lists.map(|(key, resource)| (key.clone(), resource.hash))
}

impl Exempt {
    /// The allow lists of a policy.
    pub fn of(set: &Set) -> Self {
        let mut exempt = Self { lists: lists(set).collect(), ..Self::default() };
        for (key, resource) in set.iter().filter(|(key, _)| key.kind == Kind::List) {
            let body = resource.value();
            let (allows, prefixes) = read_list(&body);
            for prefix in prefixes.filter(|_| allows) {
                exempt.lengths.insert(prefix.prefix_len());
                exempt.nets.entry(prefix).or_insert_with(|| key.clone());
            }
        }
        exempt
    }

    /// Whether a policy has the same lists.
    pub fn is_of(&self, set: &Set) -> bool {
        lists(set).eq(self.lists.iter().cloned())
    }

    /// What makes all of `prefix` exempt: the widest entry that covers it, and its list.
    pub fn covering(&self, prefix: &IpNet) -> Option<(IpNet, &Key)> {
        self.lengths.range(..=prefix.prefix_len()).find_map(|bits| {
            let wider = IpNet::new(prefix.addr(), *bits).ok()?.trunc();
            self.nets.get(&wider).map(|key| (wider, key))
        })
    }

    /// Exempt prefixes inside `prefix`.
    pub fn within(&self, prefix: IpNet) -> impl Iterator<Item = &IpNet> {
        let inside = self.nets.range(prefix..).map(|(net, _)| net);
        inside
            .take_while(move |net| net.addr() <= prefix.broadcast())
            .filter(move |net| prefix.contains(*net))
    }

    /// Every exempt prefix with its list.
    pub fn iter(&self) -> impl Iterator<Item = (&IpNet, &Key)> {
        self.nets.iter()
    }
}

#[cfg(test)]
mod tests {
    use secbeat_config::policy::Resource;

    use super::*;

    fn exempt() -> Exempt {
        let mut set = Set::new();
        for (name, body) in [
            ("partners", r#"{"action":"allow","prefixes":["192.0.2.0/24","10.1.2.3","2001:db8::/32"]}"#),
            ("feed", r#"{"action":"block","prefixes":["198.51.100.0/24"]}"#),
        ] {
            let key = Key::new(Kind::List, name).unwrap();
            set.insert(Resource::parse(key, body).unwrap()).unwrap();
        }
        Exempt::of(&set)
    }

    #[test]
    fn an_allowed_address_is_found_with_its_entry_and_list() {
        let exempt = exempt();
        let covering = |prefix: &str| {
            let found = exempt.covering(&prefix.parse().unwrap());
            found.map(|(net, key)| format!("{net} {key}"))
        };
        assert_eq!(covering("192.0.2.7/32").as_deref(), Some("192.0.2.0/24 list/partners"));
        assert_eq!(covering("192.0.2.0/24").as_deref(), Some("192.0.2.0/24 list/partners"));
        assert_eq!(covering("192.0.0.0/16"), None, "only part of it is exempt");
        assert_eq!(covering("198.51.100.1/32"), None, "a list that blocks");
        assert_eq!(covering("2001:db8:1::/64").as_deref(), Some("2001:db8::/32 list/partners"));
    }

    #[test]
    fn what_stays_exempt_inside_a_wider_prefix_is_found() {
        let exempt = exempt();
        let within: Vec<String> =
            exempt.within("10.0.0.0/8".parse().unwrap()).map(ToString::to_string).collect();
        assert_eq!(within, ["10.1.2.3/32"]);
        assert_eq!(exempt.within("11.0.0.0/8".parse().unwrap()).count(), 0);
        assert_eq!(exempt.within("2001::/16".parse().unwrap()).count(), 1);
    }
}
