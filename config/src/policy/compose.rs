//! A node's configuration made of its file and a set of resources.
//!
//! Owns: where each kind goes in the tree of the file, and which resources are left out when not all fit. The result is
//! read by the code that reads a file alone, so that every check that spans sections holds for policy too. Does not
//! own: bringing a configuration into force (the node).
//!
//! * A listener takes the place of the file's with its name, or is added. A file with neither `[[listeners]]` nor
//!   `[server] bind_address` listens only where the policy says.
//! * The backends of a group are added with the group's name. A file with neither `[[backends]]` nor
//!   `[server] backend_address` has only those. A listener that names no backends serves all of them.
//! * `limits` and WAF sets override key by key; rules of WAF sets are added to those of the node.
//! * Lists are appended. What is allowed anywhere is never blocked.
//! * Filter sets come before the file's rules, by priority, then name: the fleet's word holds, and the file has what it
//!   does not speak of.
//!
//! Command line and environment win over policy, as they do over the file. Cost: one reading of the file and the small
//! resources, one of the rules; when something does not fit, at most `ATTEMPTS_MAX` readings without filter rules.

use std::collections::HashMap;

use toml::de::DeTable;

use super::body::{self, ListAction, Typed};
use super::resource::{Key, Kind};
use super::set::Set;
use crate::error::{ConfigError, ConfigErrors, Place, Problem};
use crate::layers::Layers;
use crate::node::{FILTER_RULES_MAX, FilterRule, NodeConfig};
use crate::reader::json;
use crate::reader::tree::{Entries, Item, PART_BASE, Tree};

mod place;

use place::Base;

/// Readings of a configuration until every resource that does not fit is found; beyond, what is still in doubt is left
/// out. One culprit among 4,096 takes 13.
const ATTEMPTS_MAX: usize = 256;

/// A configuration with the resources in place that fit.
#[derive(Clone, Debug)]
pub struct Composed {
    /// Checked as any configuration.
    pub config: NodeConfig,
    /// What was left out, and why.
    pub rejected: Vec<(Key, String)>,
}

/// A resource that is to be put into place.
struct Part<'s> {
    key: &'s Key,
    typed: Typed,
    body: Entries<'s>,
}

/// The configuration of a node: its file (and environment, command line: `layers`) with the resources of `set` in
/// place. A resource that does not fit is left out alone and named in `rejected`; the rest applies.
///
/// # Errors
/// When the base itself is wrong.
pub fn compose(layers: &Layers, set: &Set) -> Result<Composed, ConfigErrors> {
    let config = NodeConfig::load(layers)?;
    if set.is_empty() {
        return Ok(Composed { config, rejected: Vec::new() });
    }
    let text = layers.file.as_ref().map_or("", |(_, text)| text.as_str());
    let (root, _) = DeTable::parse_recoverable(text);
    let base = Base::of(Entries::of_toml(root.get_ref()), config);
    let mut rejected: Vec<(usize, String)> = Vec::new();
    let mut parts = Vec::with_capacity(set.len());
    let mut wrong = Vec::new();
    for (key, resource) in set.iter() {
        let typed = match body::typed(resource) {
            Ok(typed) => typed,
            Err(error) => {
                wrong.push((key.clone(), error.to_string()));
                continue;
            }
        };
        // What goes into the tree is small; it was read as JSON a moment ago.
        let body = if is_in_tree(key.kind) {
            json::parse(&resource.body).unwrap_or_default()
        } else {
            Entries::default()
        };
        parts.push(Part { key, typed, body: place::literal(body, PART_BASE + parts.len()) });
    }
    let mut search =
        Search { layers, base: &base, parts: &parts, chosen: Vec::new(), best: None, attempts: 0 };
    let all: Vec<usize> = (0..parts.len()).collect();
    search.settle(&all, &mut rejected);
    // Some may fit now: a WAF set needs a listener, which comes after it.
    let again: Vec<usize> = rejected.iter().map(|(index, _)| *index).collect();
    if !again.is_empty() && !search.chosen.is_empty() {
        rejected.clear();
        search.settle(&again, &mut rejected);
    }
    let Search { best, mut chosen, .. } = search;
    let config = best.unwrap_or_else(|| base.config.clone());
    chosen.sort_unstable();
    let config = finish(config, &parts, &chosen);
    let rejected = rejected.into_iter().filter_map(|(index, why)| Some((parts.get(index)?.key.clone(), why)));
    let mut rejected: Vec<(Key, String)> = rejected.chain(wrong).collect();
    rejected.sort();
    Ok(Composed { config, rejected })
}

/// Finds which parts fit.
struct Search<'s> {
    layers: &'s Layers,
    base: &'s Base<'s>,
    parts: &'s [Part<'s>],
    chosen: Vec<usize>,
    /// The configuration of `chosen`.
    best: Option<NodeConfig>,
    attempts: usize,
}

impl Search<'_> {
    /// Takes all of `wanted` that fit beside what is chosen, earlier ones first: halves of what does not fit are tried
    /// alone, so that one culprit costs a logarithm of readings.
    fn settle(&mut self, wanted: &[usize], rejected: &mut Vec<(usize, String)>) {
        if wanted.is_empty() {
            return;
        }
        if self.attempts >= ATTEMPTS_MAX {
            let why = "left out: too much of the policy does not fit this node's configuration; mend the others first";
            rejected.extend(wanted.iter().map(|index| (*index, why.to_owned())));
            return;
        }
        self.attempts += 1;
        let mut with: Vec<usize> = self.chosen.iter().chain(wanted).copied().collect();
        with.sort_unstable();
        match self.attempt(&with) {
            Ok(config) => {
                self.chosen = with;
                self.best = Some(config);
            }
            Err(errors) => match wanted {
                [index] => {
                    let why = self.reason(*index, &errors);
                    rejected.push((*index, why));
                }
                _ => {
                    let (first, second) = wanted.split_at(wanted.len() / 2);
                    self.settle(first, rejected);
                    self.settle(second, rejected);
                }
            },
        }
    }

    /// The mistakes at the resource itself, or all of them when it only upsets others.
    fn reason(&self, index: usize, errors: &ConfigErrors) -> String {
        let name = self.parts.get(index).map(|part| part.key.to_string()).unwrap_or_default();
        let own = errors.0.iter().filter(|error| matches!(&error.place, Place::Part(part) if *part == name));
        let own: Vec<String> = own.map(|error| format!("{}: {}", error.key, error.problem)).collect();
        if own.is_empty() { errors.to_string() } else { own.join("\n") }
    }

    fn attempt(&self, chosen: &[usize]) -> Result<NodeConfig, ConfigErrors> {
        let chosen: Vec<(usize, &Part<'_>)> =
            chosen.iter().filter_map(|index| Some((*index, self.parts.get(*index)?))).collect();
        keys_once(&chosen)?;
        let mut tree = self.base.tree(&chosen);
        for (index, part) in &chosen {
            place::put(&mut tree, PART_BASE + index, part);
        }
        let name_part =
            |part: usize| self.parts.get(part).map(|part| part.key.to_string()).unwrap_or_default();
        let config = NodeConfig::of_tree(self.layers, &tree, &name_part)?;
        totals(&config, &chosen)?;
        Ok(config)
    }
}

/// No key of `[waf]` is given by two sets.
fn keys_once(chosen: &[(usize, &Part<'_>)]) -> Result<(), ConfigErrors> {
    let mut by: HashMap<&str, &Key> = HashMap::new();
    let mut errors = Vec::new();
    for (_, part) in chosen {
        let Typed::WafSet { keys, .. } = &part.typed else { continue };
        for key in keys {
            if let Some(other) = by.insert(key, part.key) {
                let why = format!("`{other}` gives it as well; keep one of the two");
                errors.push(error(part.key, format!("[[waf_sets]] {key}"), Problem::Conflict(why)));
            }
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(ConfigErrors(errors)) }
}

pub(super) fn error(key: &Key, at: String, problem: Problem) -> ConfigError {
    ConfigError { place: Place::Part(key.to_string()), key: at, problem }
}

/// Rules of filters and prefixes of lists, which are counted before they are put into place.
fn totals(config: &NodeConfig, chosen: &[(usize, &Part<'_>)]) -> Result<(), ConfigErrors> {
    let mut rules = config.filter.rules.len();
    let mut prefixes = config.lists.allow.len() + config.lists.block.len();
    let prefixes_max = config.lists.entries_max as usize;
    let mut errors = Vec::new();
    for (_, part) in chosen {
        match &part.typed {
            Typed::FilterSet { rules: own, .. } => {
                rules += own.len();
                if rules > FILTER_RULES_MAX {
                    let value =
                        format!("{rules} rules, those of other sets and of the node's file included,");
                    let problem =
                        Problem::OutOfRange { value, allowed: format!("at most {FILTER_RULES_MAX}") };
                    errors.push(error(part.key, "rules".into(), problem));
                    break;
                }
            }
            Typed::List { prefixes: own, .. } => {
                prefixes += own.len();
                if prefixes > prefixes_max {
                    let value =
                        format!("{prefixes} prefixes, those of other lists and of the node's file included,");
                    let allowed = format!("at most {prefixes_max}, as [lists] max_entries says");
                    errors.push(error(part.key, "prefixes".into(), Problem::OutOfRange { value, allowed }));
                    break;
                }
            }
            _ => {}
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(ConfigErrors(errors)) }
}

/// Puts rules of filters and prefixes of lists into place.
fn finish(mut config: NodeConfig, parts: &[Part<'_>], chosen: &[usize]) -> NodeConfig {
    let mut sets: Vec<(u16, &Key, &Vec<FilterRule>)> = Vec::new();
    for part in chosen.iter().filter_map(|index| parts.get(*index)) {
        match &part.typed {
            Typed::List { action: ListAction::Allow, prefixes } => config.lists.allow.extend(prefixes),
            Typed::List { action: ListAction::Block, prefixes } => config.lists.block.extend(prefixes),
            Typed::FilterSet { priority, rules } => sets.push((*priority, part.key, rules)),
            _ => {}
        }
    }
    sets.sort_by_key(|(priority, key, _)| (*priority, *key));
    let mut rules: Vec<FilterRule> =
        sets.into_iter().flat_map(|(_, _, rules)| rules.iter().cloned()).collect();
    rules.append(&mut config.filter.rules);
    config.filter.rules = rules;
    config
}

/// A list in the tree, made when it is not there.
fn list<'t, 'd>(entries: &'t mut Entries<'d>, key: &'static str, at: usize) -> Option<&'t mut Vec<Item<'d>>> {
    if entries.get(key).is_none() {
        entries.set(key.into(), Item { at, tree: Tree::List(Vec::new()) });
    }
    match &mut entries.item_mut(key)?.tree {
        Tree::List(items) => Some(items),
        _ => None,
    }
}

/// A table in the tree, made when it is not there.
fn table<'t, 'd>(entries: &'t mut Entries<'d>, key: &'static str, at: usize) -> Option<&'t mut Entries<'d>> {
    if entries.get(key).is_none() {
        entries.set(key.into(), Item { at, tree: Tree::Table(Entries::default()) });
    }
    match &mut entries.item_mut(key)?.tree {
        Tree::Table(table) => Some(table),
        _ => None,
    }
}

/// Whether a kind goes into the tree; the rest is appended to the typed configuration, being large.
const fn is_in_tree(kind: Kind) -> bool {
    !matches!(kind, Kind::FilterSet | Kind::List)
}

#[cfg(test)]
mod tests;
