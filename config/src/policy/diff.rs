//! What a change of a policy changes, for people.
//!
//! Owns: the comparison of two sets, field by field; rules are matched by id and backends by name, so that a change of
//! one is not a change of all. Limits: [`FIELDS_MAX`] fields of one resource, the rest is counted.

use core::fmt::Write as _;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::delta::moved;
use super::resource::{Key, Resource};
use super::rules::Pieces;
use super::set::Set;

/// Fields of one resource that a comparison names: what a screen or two show.
pub const FIELDS_MAX: usize = 200;

/// What happens to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is new.
    Added,
    /// It has another body.
    Changed,
    /// It goes.
    Removed,
}

/// A field that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChange {
    /// `rules[id=deny-ssh].action`
    pub path: String,
    /// JSON; `None` when absent.
    pub before: Option<String>,
    /// JSON; `None` when absent.
    pub after: Option<String>,
}

/// A resource that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What happens to it.
    pub action: Action,
    /// Which.
    pub key: Key,
    /// At most [`FIELDS_MAX`].
    pub fields: Vec<FieldChange>,
    /// Fields beyond.
    pub fields_omitted: u32,
}

/// What is in `new` and not in `old`, and the other way round, in the order of keys.
pub fn diff(old: &Set, new: &Set) -> Vec<Change> {
    let keys: BTreeSet<&Key> = old.iter().chain(new.iter()).map(|(key, _)| key).collect();
    let mut changes = Vec::new();
    for key in keys {
        let (before, after) = (old.get(key), new.get(key));
        let action = match (before, after) {
            (Some(before), Some(after)) if before.hash == after.hash => continue,
            (Some(_), Some(_)) => Action::Changed,
            (Some(_), None) => Action::Removed,
            _ => Action::Added,
        };
        let mut fields = Fields::default();
        fields.resource(before, after);
        changes.push(Change {
            action,
            key: key.clone(),
            fields: fields.found,
            fields_omitted: fields.omitted,
        });
    }
    changes
}

#[derive(Default)]
struct Fields {
    found: Vec<FieldChange>,
    omitted: u32,
}

impl Fields {
    fn note(&mut self, path: &str, before: Option<&Value>, after: Option<&Value>) {
        self.note_text(path, before.map(ToString::to_string), after.map(ToString::to_string));
    }

    fn note_text(&mut self, path: &str, before: Option<String>, after: Option<String>) {
        if self.found.len() < FIELDS_MAX {
            self.found.push(FieldChange { path: path.into(), before, after });
        } else {
            self.omitted = self.omitted.saturating_add(1);
        }
    }

    fn resource(&mut self, before: Option<&Arc<Resource>>, after: Option<&Arc<Resource>>) {
        let has_rules = before.or(after).is_some_and(|resource| resource.key.kind.has_rules());
        if let (true, Some(old), Some(new)) = (has_rules, pieces(before), pieces(after)) {
            self.objects("", &object(&old.head_text()), &object(&new.head_text()));
            self.rules(&old, &new);
            return;
        }
        let value = |resource: Option<&Arc<Resource>>| match resource.map(|resource| resource.value()) {
            Some(Value::Object(members)) => members,
            _ => Map::new(),
        };
        self.objects("", &value(before), &value(after));
    }

    fn objects(&mut self, path: &str, before: &Map<String, Value>, after: &Map<String, Value>) {
        let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for key in keys {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            match (before.get(key), after.get(key)) {
                (before, after) if before == after => {}
                (Some(Value::Object(before)), Some(Value::Object(after))) => {
                    self.objects(&path, before, after);
                }
                (before, after) => self.values(&path, before, after),
            }
        }
    }

    fn values(&mut self, path: &str, before: Option<&Value>, after: Option<&Value>) {
        let (Some(old), Some(new)) = (named(before), named(after)) else {
            return self.note(path, before, after);
        };
        let names: BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
        for name in names {
            let path = format!("{path}[name={name}]");
            match (old.get(name), new.get(name)) {
                (Some(before), Some(after)) => self.objects(&path, before, after),
                (before, after) => self.note_text(
                    &path,
                    before.and_then(|members| serde_json::to_string(members).ok()),
                    after.and_then(|members| serde_json::to_string(members).ok()),
                ),
            }
        }
    }

    fn rules(&mut self, old: &Pieces<'_>, new: &Pieces<'_>) {
        let (old_places, new_places) = (old.places(), new.places());
        let mut path = String::new();
        for rule in old.rules.iter().filter(|rule| !new_places.contains_key(rule.id.as_ref())) {
            self.note_text(&format!("rules[id={}]", rule.id), Some(rule.text.clone().into_owned()), None);
        }
        let moved = moved(old, new);
        for (place, rule) in new.rules.iter().enumerate() {
            path.clear();
            let _ = write!(path, "rules[id={}]", rule.id);
            let Some(earlier) = old_places.get(rule.id.as_ref()) else {
                self.note_text(&path, None, Some(rule.text.clone().into_owned()));
                continue;
            };
            let Some(before) = old.rules.get(*earlier) else { continue };
            if before.text != rule.text {
                self.objects(&path, &object(&before.text), &object(&rule.text));
            }
            if moved.contains(rule.id.as_ref()) {
                let _ = write!(path, ".position");
                self.note_text(&path, Some((earlier + 1).to_string()), Some((place + 1).to_string()));
            }
        }
    }
}

/// The pieces of a body; none of an absent one.
fn pieces(resource: Option<&Arc<Resource>>) -> Option<Pieces<'_>> {
    resource.map_or_else(|| Some(Pieces::default()), |resource| Pieces::of(&resource.body))
}

fn object(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap_or_default()
}

/// A list of objects that all have a name, by that name; an absent one is empty.
fn named(value: Option<&Value>) -> Option<BTreeMap<&str, &Map<String, Value>>> {
    let Some(value) = value else { return Some(BTreeMap::new()) };
    let items = value.as_array()?;
    let mut found = BTreeMap::new();
    for item in items {
        let members = item.as_object()?;
        found.insert(members.get("name")?.as_str()?, members);
    }
    (found.len() == items.len() && !items.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests;
