//! Patches of sets of rules: how they are made and applied.
//!
//! A patch names rules that go and rules that come. A rule that comes and was there keeps its place, unless it says
//! `"@after":"<id>"` (the empty id = first), as new and moved rules do. The id `""` among the upserts is the set itself
//! without its rules. Rules that are neither new nor moved keep their order: they are the longest run that both orders
//! share, so that moving one rule of ten thousand is one entry.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{RulePatch, State, Update};
use crate::policy::RULES_MAX;
use crate::policy::body;
use crate::policy::resource::Resource;
use crate::policy::rules::{Piece, Pieces, members, text_of};
use crate::reader::json;

/// The key of an upsert that says which rule it follows. Sorts before every key of a rule.
const AFTER: &str = "@after";

/// About how many bytes a patch has on the wire.
pub(super) fn bytes(patch: &RulePatch) -> usize {
    // Lengths, tags and the base's hash.
    const ENTRY: usize = 8;
    let upserts: usize = patch.upserts.iter().map(|(id, text)| id.len() + text.len() + ENTRY).sum();
    upserts + patch.removals.iter().map(|id| id.len() + ENTRY).sum::<usize>() + 40
}

/// The patch that makes `new` of `old`.
pub(super) fn between(old: &Resource, new: &Resource) -> Option<RulePatch> {
    let (before, after) = (Pieces::of(&old.body)?, Pieces::of(&new.body)?);
    let mut patch = RulePatch { base: old.hash, upserts: Vec::new(), removals: Vec::new() };
    if before.head != after.head {
        patch.upserts.push((String::new(), after.head_text().into()));
    }
    let range = differing(&before, &after);
    let (places, wanted) = (places(&before, &range.old), places(&after, &range.new));
    let gone = before.rules.get(range.old.clone())?.iter();
    patch.removals = gone
        .filter(|rule| !wanted.contains_key(rule.id.as_ref()))
        .map(|rule| rule.id.clone().into_owned())
        .collect();
    let moved = moved(&before, &after);
    let mut previous = range.new.start.checked_sub(1).and_then(|index| after.rules.get(index));
    for rule in after.rules.get(range.new)? {
        let earlier = places.get(rule.id.as_ref()).and_then(|place| before.rules.get(*place));
        let follows = previous.map_or("", |rule| rule.id.as_ref());
        let text: Option<Arc<str>> = match earlier {
            Some(_) if moved.contains(rule.id.as_ref()) => Some(placed(&rule.text, follows)),
            Some(earlier) if earlier.text == rule.text => None,
            Some(_) => Some(Arc::from(rule.text.as_ref())),
            None => Some(placed(&rule.text, follows)),
        };
        patch.upserts.extend(text.map(|text| (rule.id.clone().into_owned(), text)));
        previous = Some(rule);
    }
    Some(patch)
}

/// A rule with the id of the one it follows.
fn placed(rule: &str, follows: &str) -> Arc<str> {
    let mut text = String::with_capacity(rule.len() + follows.len() + 16);
    text.push_str("{\"@after\":");
    json::write_text(&mut text, follows);
    text.push(',');
    text.push_str(rule.strip_prefix('{').unwrap_or(rule));
    text.into()
}

/// Where the rules of a range stand. Others are the same on both sides, so that none of the range is among them.
fn places<'p>(pieces: &'p Pieces<'_>, range: &core::ops::Range<usize>) -> HashMap<&'p str, usize> {
    let rules = pieces.rules.get(range.clone()).unwrap_or_default();
    (range.start..).zip(rules).map(|(place, rule)| (rule.id.as_ref(), place)).collect()
}

struct Differing {
    old: core::ops::Range<usize>,
    new: core::ops::Range<usize>,
}

/// What is left without the rules that both have at the start and at the end.
fn differing(old: &Pieces<'_>, new: &Pieces<'_>) -> Differing {
    let (a, b) = (&old.rules, &new.rules);
    let start = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let rest = a.len().min(b.len()) - start;
    let end = a.iter().rev().zip(b.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    Differing { old: start..a.len() - end, new: start..b.len() - end }
}

/// Ids of rules that both have and that are not part of the longest run in the same order.
pub(in crate::policy) fn moved<'p>(old: &Pieces<'_>, new: &'p Pieces<'_>) -> HashSet<&'p str> {
    let range = differing(old, new);
    let places = places(old, &range.old);
    let both: Vec<(&str, usize)> = new
        .rules
        .get(range.new)
        .unwrap_or_default()
        .iter()
        .filter_map(|rule| Some((rule.id.as_ref(), *places.get(rule.id.as_ref())?)))
        .collect();
    let stays = longest_increasing(&both);
    both.iter().enumerate().filter(|(index, _)| !stays.contains(index)).map(|(_, (id, _))| *id).collect()
}

/// Indexes of a longest increasing run, by patience sorting: n log n.
fn longest_increasing(items: &[(&str, usize)]) -> HashSet<usize> {
    let mut tails: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(items.len());
    let place = |index: usize| items.get(index).map(|(_, place)| *place);
    for (index, (_, at)) in items.iter().enumerate() {
        let pile = tails.partition_point(|tail| place(*tail) < Some(*at));
        before.push(pile.checked_sub(1).and_then(|pile| tails.get(pile).copied()));
        match tails.get_mut(pile) {
            Some(tail) => *tail = index,
            None => tails.push(index),
        }
    }
    let mut run = HashSet::with_capacity(tails.len());
    let mut at = tails.last().copied();
    while let Some(index) = at {
        run.insert(index);
        at = before.get(index).copied().flatten();
    }
    run
}

/// The resource that a patch makes of the one held. Only what the patch brings is read: the rest was, when it came.
pub(super) fn apply(
    held: Option<&Resource>,
    update: &Update,
    patch: &RulePatch,
) -> Result<Resource, (State, String)> {
    let whole = |why: &str| (State::NeedsWhole, format!("{}: {why}", update.key));
    let held = held.ok_or_else(|| whole("the patch is for a body that is not held"))?;
    if held.hash != patch.base {
        return Err(whole("the patch is for another body than the one held"));
    }
    let pieces = Pieces::of(&held.body).filter(|_| update.key.kind.has_rules());
    let mut pieces = pieces.ok_or_else(|| whole("only sets of rules can be patched"))?;
    let head = patch.upserts.iter().find(|(id, _)| id.is_empty()).map(|(_, text)| text);
    if let Some(text) = head {
        pieces.head = members(text).ok_or_else(|| whole("the patch is damaged"))?;
    }
    place(&mut pieces, patch).ok_or_else(|| whole("the patch does not fit"))?;
    let count = pieces.rules.len();
    if count > RULES_MAX {
        let why =
            format!("{}: rules: {count} entries are out of range: must be at most {RULES_MAX}", update.key);
        return Err((State::Rejected, why));
    }
    let body = pieces.join();
    if Resource::hash_of(&update.key, &body) != update.hash {
        return Err(whole("the patch leads to a body with another hash than announced"));
    }
    if body.len() > crate::policy::BODY_BYTES_MAX {
        return Err((State::Rejected, format!("{}: the body would be too large", update.key)));
    }
    body::check_patch(&update.key, &pieces, patch).map_err(|error| (State::Rejected, error.to_string()))?;
    Ok(Resource { key: update.key.clone(), body: body.into(), hash: update.hash })
}

/// Puts rules in their places; `None` when one follows a rule that is not there, or goes and was not there.
fn place<'b>(pieces: &mut Pieces<'b>, patch: &'b RulePatch) -> Option<()> {
    let mut changed: HashMap<&str, Piece<'b>> = HashMap::new();
    let mut coming: Vec<(Cow<'b, str>, Piece<'b>)> = Vec::new();
    for (id, text) in patch.upserts.iter().filter(|(id, _)| !id.is_empty()) {
        let members = members(text)?;
        let own = members.iter().find(|member| member.key == "id")?.value;
        if text_of(own)?.as_ref() != id {
            return None;
        }
        match members.first() {
            Some(first) if first.key == AFTER => {
                // `{"@after":"x",` goes.
                let rest = text.get(AFTER.len() + 5 + first.value.len()..)?;
                let rule = Piece { id: Cow::Borrowed(id), text: Cow::Owned(format!("{{{rest}")) };
                coming.push((text_of(first.value)?, rule));
            }
            _ => {
                changed.insert(id, Piece { id: Cow::Borrowed(id), text: Cow::Borrowed(text) });
            }
        }
    }
    let mut leaving: HashSet<&str> = patch.removals.iter().map(String::as_str).collect();
    leaving.extend(coming.iter().map(|(_, rule)| match &rule.id {
        Cow::Borrowed(id) => *id,
        Cow::Owned(_) => "",
    }));
    let mut follow: HashMap<Cow<'b, str>, Vec<Piece<'b>>> = HashMap::new();
    let count = coming.len();
    for (after, rule) in coming {
        follow.entry(after).or_default().push(rule);
    }
    let mut rules = Vec::with_capacity(pieces.rules.len() + count);
    let mut used = append_following(&mut rules, &mut follow, "");
    for rule in pieces.rules.drain(..) {
        if leaving.contains(rule.id.as_ref()) {
            continue;
        }
        let rule = changed.remove(rule.id.as_ref()).unwrap_or(rule);
        let id = rule.id.clone();
        rules.push(rule);
        used += append_following(&mut rules, &mut follow, &id);
    }
    pieces.rules = rules;
    (used == count && changed.is_empty()).then_some(())
}

/// Appends the rules that follow `id`, and those that follow them; says how many.
fn append_following<'b>(
    rules: &mut Vec<Piece<'b>>,
    follow: &mut HashMap<Cow<'b, str>, Vec<Piece<'b>>>,
    id: &str,
) -> usize {
    // The last one on top: what follows it stands right behind it.
    let mut waiting: Vec<Piece<'b>> = follow.remove(id).unwrap_or_default();
    let mut used = 0;
    while let Some(rule) = waiting.pop() {
        waiting.extend(follow.remove(rule.id.as_ref()).unwrap_or_default());
        rules.push(rule);
        used += 1;
    }
    used
}
