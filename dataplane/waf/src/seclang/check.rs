//! What is known only when all files are read: identifiers that are given twice, places to skip to.
//!
//! Owns: these checks. Does not own: syntax.

use std::collections::HashMap;

use super::ast::{Action, Directive, Position, Rule};
use super::diagnostics::{quoted, unknown};
use crate::limits::DIAGNOSTICS_MAX;

/// Most markers among which a near one is looked for: enough for any rule set, little work for a hostile one.
const NEAR_MARKERS_MAX: usize = 1_000;

/// Errors with the place where each stands.
pub(super) fn errors(directives: &[Directive]) -> Vec<(Position, String)> {
    let mut errors = duplicates(directives);
    errors.extend(skips(directives));
    errors.sort_by_key(|(position, _)| (position.file, position.line));
    errors
}

fn rules(directives: &[Directive]) -> impl Iterator<Item = (usize, &Rule)> {
    directives.iter().enumerate().filter_map(|(index, directive)| match directive {
        Directive::Rule(rule) => Some((index, rule.as_ref())),
        _ => None,
    })
}

fn id(rule: &Rule) -> Option<u64> {
    rule.actions.iter().find_map(|action| match action {
        Action::Id(id) => Some(*id),
        _ => None,
    })
}

fn duplicates(directives: &[Directive]) -> Vec<(Position, String)> {
    let mut first = HashMap::new();
    let mut errors = Vec::new();
    for (_, rule) in rules(directives) {
        let Some(id) = id(rule) else { continue };
        match first.get(&id) {
            Some(line) => {
                errors.push((rule.position, format!("rule id {id} is given twice, first on line {line}")));
            }
            None => {
                first.insert(id, rule.position.line);
            }
        }
    }
    errors
}

fn skips(directives: &[Directive]) -> Vec<(Position, String)> {
    // The last place of each marker and of each rule: a skip must lead forward.
    let mut last: HashMap<String, usize> = HashMap::new();
    for (index, directive) in directives.iter().enumerate() {
        let name = match directive {
            Directive::Marker(name) => Some(name.clone()),
            Directive::Rule(rule) => id(rule).map(|id| id.to_string()),
            _ => None,
        };
        if let Some(name) = name {
            last.insert(name, index);
        }
    }
    let mut errors = Vec::new();
    for (index, rule) in rules(directives) {
        if errors.len() > DIAGNOSTICS_MAX {
            break;
        }
        for part in std::iter::once(rule).chain(&rule.links) {
            for action in &part.actions {
                let Action::SkipAfter(name) = action else { continue };
                match last.get(name) {
                    Some(place) if *place > index => {}
                    Some(_) => {
                        let message =
                            format!("'skipAfter' leads back: {} stands before this rule", quoted(name));
                        errors.push((part.position, message));
                    }
                    None => {
                        let markers = directives.iter().filter_map(|directive| match directive {
                            Directive::Marker(name) => Some(name.as_str()),
                            _ => None,
                        });
                        errors.push((
                            part.position,
                            unknown("SecMarker", name, markers.take(NEAR_MARKERS_MAX)),
                        ));
                    }
                }
            }
        }
    }
    errors
}
