//! Markers, and directives that change rules read before or after them.
//!
//! Owns: their words. Does not own: the change; the compiler carries it out.

use super::ast::{Action, Directive, IdRange, Target};
use super::diagnostics::quoted;
use super::line::Word;
use super::reader::one;
use super::rule::Problem;
use super::{action, control, target};

/// One directive, which stands on this line.
pub(super) fn read(name: &str, words: &[Word], line: u32) -> Result<Directive, Vec<Problem>> {
    Ok(match (name, words) {
        ("SecMarker", [marker]) => Directive::Marker(marker.text.clone()),
        ("SecRuleRemoveById", [_, ..]) => Directive::RemoveById(remove_ids(words)?),
        ("SecRuleRemoveByTag", [tag]) => Directive::RemoveByTag(tag.text.clone()),
        ("SecRuleRemoveByMsg", [msg]) => Directive::RemoveByMsg(msg.text.clone()),
        ("SecRuleUpdateTargetById", [ids, targets]) => {
            Directive::UpdateTargetById(remove_ids(std::slice::from_ref(ids))?, update_targets(targets)?)
        }
        ("SecRuleUpdateTargetByTag", [tag, targets]) => {
            Directive::UpdateTargetByTag(tag.text.clone(), update_targets(targets)?)
        }
        ("SecRuleUpdateTargetByMsg", [msg, targets]) => {
            Directive::UpdateTargetByMsg(msg.text.clone(), update_targets(targets)?)
        }
        ("SecRuleUpdateActionById", [id, actions]) => update_actions(id, actions)?,
        _ => {
            let message = format!("{name} takes {}, not {} words", expected(name), words.len());
            return Err(one(line, message));
        }
    })
}

fn expected(directive: &str) -> &'static str {
    match directive {
        "SecMarker" => "a name",
        "SecDefaultAction" => "actions",
        "SecRuleRemoveById" => "identifiers",
        "SecRuleRemoveByTag" => "a tag",
        "SecRuleRemoveByMsg" => "a message",
        "SecRuleUpdateTargetById" => "identifiers and targets",
        "SecRuleUpdateTargetByTag" => "a tag and targets",
        "SecRuleUpdateTargetByMsg" => "a message and targets",
        _ => "an identifier and actions",
    }
}

fn remove_ids(words: &[Word]) -> Result<Vec<IdRange>, Vec<Problem>> {
    let mut ranges = Vec::new();
    for word in words {
        ranges.extend(control::ids(&word.text).map_err(|message| one(word.line(0), message))?);
    }
    Ok(ranges)
}

fn update_targets(word: &Word) -> Result<Vec<Target>, Vec<Problem>> {
    target::parse(&word.text).map_err(|fault| one(word.line(fault.at), fault.message))
}

/// `100 "deny"`, or `100:2 "..."` for the second link of its chain.
fn update_actions(id: &Word, actions: &Word) -> Result<Directive, Vec<Problem>> {
    let (rule, link) = id.text.split_once(':').unwrap_or((&id.text, "0"));
    let number = action::decimal(rule)
        .filter(|id| *id > 0)
        .zip(action::decimal(link).and_then(|link| link.try_into().ok()));
    let Some((rule, link)) = number else {
        return Err(one(
            id.line(0),
            format!("{} is not a rule id, or an id and a link as in 100:1", quoted(&id.text)),
        ));
    };
    let (found, faults) = action::parse(&actions.text);
    let mut problems: Vec<Problem> =
        faults.into_iter().map(|fault| Problem::new(actions.line(fault.at), fault.message)).collect();
    let is_fixed = |action: &Action| matches!(action, Action::Id(_) | Action::Phase(_));
    if found.is_chain || found.list.iter().any(is_fixed) {
        problems.push(Problem::new(id.line(0), "'id', 'phase' and 'chain' of a rule cannot be changed"));
    }
    if problems.is_empty() { Ok(Directive::UpdateActionById(rule, link, found.list)) } else { Err(problems) }
}
