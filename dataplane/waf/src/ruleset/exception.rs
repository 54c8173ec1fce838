//! Directives that change other rules, applied before anything is compiled.
//!
//! Owns: `SecRuleRemoveBy...`, `SecRuleUpdateTargetBy...`, `SecRuleUpdateActionById`. They hold for the whole set,
//! wherever they stand. A target that is taken from a rule is taken from every link of its chain; one that is added
//! joins the head.

use std::borrow::Cow;

use crate::seclang::ast::{Action, DefaultAction, Directive, IdRange, Rule, Target};

/// What is left to compile, in order.
pub(super) enum Entry<'a> {
    Rule(Cow<'a, Rule>),
    Marker(&'a str),
    DefaultAction(&'a DefaultAction),
}

pub(super) fn applied(directives: &[Directive]) -> Vec<Entry<'_>> {
    let exceptions: Vec<&Directive> = directives.iter().filter(|directive| is_exception(directive)).collect();
    directives
        .iter()
        .filter_map(|directive| match directive {
            Directive::Rule(rule) => changed(rule, &exceptions).map(Entry::Rule),
            Directive::Marker(name) => Some(Entry::Marker(name)),
            Directive::DefaultAction(default) => Some(Entry::DefaultAction(default)),
            _ => None,
        })
        .collect()
}

const fn is_exception(directive: &Directive) -> bool {
    !matches!(directive, Directive::Rule(_) | Directive::Marker(_) | Directive::DefaultAction(_))
}

/// The rule with all exceptions applied; none when it is removed.
fn changed<'a>(rule: &'a Rule, exceptions: &[&Directive]) -> Option<Cow<'a, Rule>> {
    let mut rule = Cow::Borrowed(rule);
    for exception in exceptions {
        match exception {
            Directive::RemoveById(ids) if has_id(&rule, ids) => return None,
            Directive::RemoveByTag(tag) if has_tag(&rule, tag) => return None,
            Directive::RemoveByMsg(message) if has_message(&rule, message) => return None,
            Directive::UpdateTargetById(ids, targets) if has_id(&rule, ids) => {
                retarget(rule.to_mut(), targets);
            }
            Directive::UpdateTargetByTag(tag, targets) if has_tag(&rule, tag) => {
                retarget(rule.to_mut(), targets);
            }
            Directive::UpdateTargetByMsg(message, targets) if has_message(&rule, message) => {
                retarget(rule.to_mut(), targets);
            }
            Directive::UpdateActionById(id, link, actions)
                if has_id(&rule, &[IdRange { first: *id, last: *id }]) =>
            {
                react(rule.to_mut(), usize::from(*link), actions);
            }
            _ => {}
        }
    }
    Some(rule)
}

fn has_id(rule: &Rule, ids: &[IdRange]) -> bool {
    rule.actions
        .iter()
        .any(|action| matches!(action, Action::Id(id) if ids.iter().any(|range| range.contains(*id))))
}

fn has_tag(rule: &Rule, wanted: &str) -> bool {
    rule.actions.iter().any(|action| matches!(action, Action::Tag(tag) if tag.as_text() == Some(wanted)))
}

fn has_message(rule: &Rule, wanted: &str) -> bool {
    rule.actions.iter().any(|action| matches!(action, Action::Msg(text) if text.as_text() == Some(wanted)))
}

fn retarget(rule: &mut Rule, targets: &[Target]) {
    for target in targets {
        if target.is_exclusion {
            for part in
                core::iter::once(&mut rule.targets).chain(rule.links.iter_mut().map(|link| &mut link.targets))
            {
                // A list that does not name the variable stays as it is, and shares with its like.
                if part.iter().any(|own| own.variable == target.variable) {
                    part.push(target.clone());
                }
            }
        } else if !rule.targets.contains(target) {
            rule.targets.push(target.clone());
        }
    }
}

/// Replaces actions of the same kind and adds the others; `id` and `phase` stay.
fn react(rule: &mut Rule, link: usize, actions: &[Action]) {
    let part = if link == 0 { Some(rule) } else { rule.links.get_mut(link - 1) };
    let Some(part) = part else { return };
    for action in actions {
        if matches!(action, Action::Id(_) | Action::Phase(_)) {
            continue;
        }
        if action.is_disruptive() {
            part.actions.retain(|own| !own.is_disruptive());
        } else if is_single(action) {
            let kind = core::mem::discriminant(action);
            part.actions.retain(|own| core::mem::discriminant(own) != kind);
        }
        part.actions.push(action.clone());
    }
}

/// Whether a rule has at most one of its kind.
const fn is_single(action: &Action) -> bool {
    matches!(
        action,
        Action::Msg(_)
            | Action::LogData(_)
            | Action::Severity(_)
            | Action::Rev(_)
            | Action::Ver(_)
            | Action::Status(_)
            | Action::Maturity(_)
            | Action::Accuracy(_)
            | Action::Tarpit(_)
    )
}
