//! Whether the resources of a set fit together, without a node: what an orchestrator asks before it accepts a change.
//!
//! Owns: what a set alone can say: backends that listeners name, names and addresses that are given twice, totals. Does
//! not own: what depends on a node's file (modes, families, ports; `compose`).

use std::collections::{HashMap, HashSet};

use super::body::{self, Typed};
use super::compose::error;
use super::resource::{Key, Kind};
use super::set::Set;
use crate::error::{ConfigError, ConfigErrors, Problem};
use crate::node::{BACKENDS_MAX, FILTER_RULES_MAX, LISTENERS_MAX, ListenerEntry};
use crate::reader::nearest;
use crate::waf_rules::RULES_MAX as WAF_RULES_MAX;

/// Prefixes of all lists together: the default of `[lists] max_entries`.
const PREFIXES_MAX: usize = 131_072;

/// Whether the resources of a set fit together: backends that listeners name exist, no name, address or key is given
/// twice, and the whole is within what a node takes.
///
/// # Errors
/// All that does not fit.
pub fn check(set: &Set) -> Result<(), ConfigErrors> {
    let mut found = Found::default();
    for (key, resource) in set.iter() {
        match body::typed(resource) {
            Ok(typed) => found.note(key, typed),
            Err(why) => found.errors.push(error(key, "body".into(), Problem::Conflict(why.to_string()))),
        }
    }
    found.listeners();
    found.total(Kind::FilterSet, "rules", FILTER_RULES_MAX);
    found.total(Kind::WafSet, "rules", WAF_RULES_MAX);
    found.total(Kind::List, "prefixes", PREFIXES_MAX);
    found.total(Kind::BackendGroup, "backends", BACKENDS_MAX);
    found.total(Kind::Listener, "listeners", LISTENERS_MAX);
    if found.errors.is_empty() { Ok(()) } else { Err(ConfigErrors(found.errors)) }
}

#[derive(Default)]
struct Found<'s> {
    /// Backends by name, and the group each is of.
    backends: HashMap<String, &'s Key>,
    groups: HashSet<&'s str>,
    listeners: Vec<(&'s Key, ListenerEntry)>,
    waf_keys: HashMap<String, &'s Key>,
    waf_ids: HashMap<String, &'s Key>,
    /// How much each resource brings.
    counts: Vec<(&'s Key, usize)>,
    errors: Vec<ConfigError>,
}

impl<'s> Found<'s> {
    fn note(&mut self, key: &'s Key, typed: Typed) {
        match typed {
            Typed::BackendGroup(backends) => {
                self.counts.push((key, backends.len()));
                self.groups.insert(&key.name);
                for backend in backends {
                    self.once(|found| &mut found.backends, backend.name, key, "[[backends]] name");
                }
            }
            Typed::WafSet { keys, rules } => {
                self.counts.push((key, rules.len()));
                for name in keys {
                    self.once(|found| &mut found.waf_keys, name, key, "[[waf_sets]]");
                }
                for rule in rules {
                    self.once(|found| &mut found.waf_ids, rule.id, key, "[[waf_sets.rules]] id");
                }
            }
            Typed::Listener(entry) => {
                self.counts.push((key, 1));
                self.listeners.push((key, entry));
            }
            Typed::FilterSet { rules, .. } => self.counts.push((key, rules.len())),
            Typed::List { prefixes, .. } => self.counts.push((key, prefixes.len())),
            Typed::Limits => {}
        }
    }

    /// Notes `name`, and that it is given twice when it is.
    fn once(
        &mut self,
        names: impl FnOnce(&mut Self) -> &mut HashMap<String, &'s Key>,
        name: String,
        key: &'s Key,
        at: &str,
    ) {
        let shown = name.clone();
        let other = names(self).insert(name, key).filter(|other| *other != key);
        if let Some(other) = other {
            let why = format!("`{shown}` is given by `{other}` as well; keep one of the two");
            self.errors.push(error(key, at.into(), Problem::Conflict(why)));
        }
    }

    fn listeners(&mut self) {
        for name in self.groups.iter().filter(|name| self.backends.contains_key(**name)) {
            let Some(group) = self.backends.get(*name).filter(|group| group.name.as_ref() != *name) else {
                continue;
            };
            let why = format!("`{name}` is the name of a backend and of another group");
            self.errors.push(error(group, "[[backends]] name".into(), Problem::Conflict(why)));
        }
        let mut addresses = HashMap::new();
        for (key, entry) in &self.listeners {
            for wanted in &entry.backends {
                if self.backends.contains_key(wanted) || self.groups.contains(wanted.as_str()) {
                    continue;
                }
                let known = self.backends.keys().map(String::as_str).chain(self.groups.iter().copied());
                let near = nearest(wanted, known)
                    .map(|near| format!("; did you mean `{near}`?"))
                    .unwrap_or_default();
                let why = format!("no backend or group of the policy is called `{wanted}`{near}");
                self.errors.push(error(key, "backends".into(), Problem::Conflict(why)));
            }
            if let Some(other) = addresses.insert((entry.protocol, entry.bind_address), *key) {
                let why = format!("`{other}` accepts on {} as well", entry.bind_address);
                self.errors.push(error(key, "bind_address".into(), Problem::Conflict(why)));
            }
        }
    }

    /// What all resources of a kind bring together.
    fn total(&mut self, kind: Kind, what: &str, count_max: usize) {
        let mut count = 0;
        for (key, own) in self.counts.iter().filter(|(key, _)| key.kind == kind) {
            count += own;
            if count > count_max {
                let value = format!("{count} {what}, those of the other resources of this kind included,");
                let problem = Problem::OutOfRange { value, allowed: format!("at most {count_max}") };
                self.errors.push(error(key, what.into(), problem));
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
