//! What the policy says about an address.

use ipnet::IpNet;
use secbeat_config::policy::{Key, Kind, Resource};
use secbeat_proto::v1::explain_response::Finding;
use serde_json::Value;

use super::{Reach, Touch, reach};
use crate::ban::read_list;
use crate::orchestrator::Orchestrator;
use crate::registry::hash_of;

/// Everything in the newest policy that touches the target. Linear in its lists and rules.
pub(super) fn touching(o: &Orchestrator, target: &IpNet) -> Vec<Touch> {
    let policy = o.policy.newest();
    let mut touching = Vec::new();
    for (key, resource) in policy.set.iter() {
        let found = match key.kind {
            Kind::List => list(resource, target),
            Kind::FilterSet => filter_set(resource, target),
            Kind::Limits => limits(key, &resource.value()),
            Kind::BackendGroup | Kind::WafSet | Kind::Listener => Vec::new(),
        };
        if found.is_empty() {
            continue;
        }
        let nodes_enforcing = nodes_holding(o, resource);
        touching.extend(found.into_iter().map(|mut touch| {
            touch.finding.nodes_enforcing = nodes_enforcing;
            touch
        }));
    }
    touching
}

/// Connected nodes whose data plane holds the resource as it is now.
fn nodes_holding(o: &Orchestrator, resource: &Resource) -> u32 {
    let key = resource.key.to_string();
    let nodes = o.registry.nodes();
    let holding = nodes.values().filter(|node| {
        let result = node.progress.results.get(&key).filter(|_| node.is_connected());
        result.is_some_and(|result| {
            result.state() == secbeat_proto::v1::ResourceState::Applied
                && hash_of(&result.hash) == Some(resource.hash)
        })
    });
    u32::try_from(holding.count()).unwrap_or(u32::MAX)
}

fn finding(what: &str, name: String, effect: &str, explanation: String) -> Finding {
    Finding { what: what.into(), name, effect: effect.into(), explanation, ..Default::default() }
}

fn list(resource: &Resource, target: &IpNet) -> Vec<Touch> {
    let body = resource.value();
    let (allows, prefixes) = read_list(&body);
    let effect = if allows { "allow" } else { "drop" };
    let touch = |net: IpNet| {
        let reach = reach(&net, target)?;
        let explanation = match reach {
            Reach::Part => format!("entry {net}, inside {target}"),
            Reach::Whole | Reach::Everybody => format!("entry {net}"),
        };
        Some(Touch { finding: finding("list", resource.key.to_string(), effect, explanation), reach })
    };
    prefixes.filter_map(touch).collect()
}

fn filter_set(resource: &Resource, target: &IpNet) -> Vec<Touch> {
    let touch = |(id, rule): (String, Value)| {
        let reach = rule_reach(&rule, target)?;
        let effect = rule.get("action").and_then(Value::as_str).unwrap_or("drop");
        let name = format!("{} {id}", resource.key);
        Some(Touch { finding: finding("filter_rule", name, effect, conditions(&rule, reach)), reach })
    };
    resource.rules().into_iter().filter_map(touch).collect()
}

/// Whether a rule can match packets of the target, as a source or as a destination. A rule without sources means
/// every source.
fn rule_reach(rule: &Value, target: &IpNet) -> Option<Reach> {
    let best = |key: &str| {
        let reaches = prefixes(rule, key).filter_map(|net| reach(&net, target));
        reaches.min_by_key(|reach| *reach != Reach::Whole)
    };
    match (best("sources"), best("destinations")) {
        (Some(reach), _) | (None, Some(reach)) => Some(reach),
        (None, None) => (prefixes(rule, "sources").next().is_none()).then_some(Reach::Everybody),
    }
}

fn prefixes<'a>(rule: &'a Value, key: &str) -> impl Iterator<Item = IpNet> + 'a {
    let values = rule.get(key).and_then(Value::as_array);
    let texts = values.into_iter().flatten().filter_map(Value::as_str);
    texts.filter_map(|text| secbeat_config::ban::wire::parse_prefix(text).ok().or_else(|| text.parse().ok()))
}

/// What else must hold for the rule to match.
fn conditions(rule: &Value, reach: Reach) -> String {
    let mut text = match reach {
        Reach::Whole => "names it".to_owned(),
        Reach::Part => "names a part of it".to_owned(),
        Reach::Everybody => "every source".to_owned(),
    };
    for key in ["protocol", "destination_ports", "source_ports", "fragment", "rate", "burst"] {
        if let Some(value) = rule.get(key) {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            text.push_str(&format!(", {key} {value}"));
        }
    }
    text
}

/// Limits that hold for each source.
fn limits(key: &Key, body: &Value) -> Vec<Touch> {
    let entries = body.as_object().into_iter().flatten();
    let is_of_source = |name: &str| name.starts_with("source_") || name.starts_with("prefix_");
    let touch = |(name, value): (&String, &Value)| Touch {
        finding: finding("limit", format!("{key} {name}"), "limit", format!("{value} for every source")),
        reach: Reach::Everybody,
    };
    entries.filter(|(name, _)| is_of_source(name)).map(touch).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rule_reaches_whom_it_names_and_everybody_when_it_names_nobody() {
        let target: IpNet = "192.0.2.7/32".parse().unwrap();
        let of = |rule: Value| rule_reach(&rule, &target);
        assert_eq!(of(json!({"sources": ["192.0.2.0/24"]})), Some(Reach::Whole));
        assert_eq!(of(json!({"sources": ["198.51.100.0/24"]})), None);
        assert_eq!(of(json!({"destinations": ["192.0.2.7"], "sources": ["10.0.0.0/8"]})), Some(Reach::Whole));
        assert_eq!(of(json!({"protocol": "udp"})), Some(Reach::Everybody));
        let wide: IpNet = "192.0.0.0/16".parse().unwrap();
        assert_eq!(rule_reach(&json!({"sources": ["192.0.2.7"]}), &wide), Some(Reach::Part));
        let text = conditions(&json!({"protocol": "tcp", "destination_ports": [22]}), Reach::Everybody);
        assert_eq!(text, "every source, protocol tcp, destination_ports [22]");
    }
}
