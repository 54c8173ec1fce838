//! Why an address is treated as it is: every list, ban, rule, limit and recent event that touches it.
//!
//! Owns: the look through the policy, the ban list and the events. Does not own: what nodes have in their own files.
//! Cost: linear in the lists and rules of the policy, a look-up in the bans, a page of events.

mod policy;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use ipnet::IpNet;
use secbeat_config::ban::Entry;
use secbeat_config::ban::wire::parse_prefix;
use secbeat_proto::v1;
use secbeat_proto::v1::explain_response::Finding;

use super::ban::shown;
use super::blocking;
use crate::caller::{Caller, Scope};
use crate::event::Filter;
use crate::failure::Failure;
use crate::orchestrator::{Orchestrator, now_ms};

/// Findings of each kind in one answer. More: the last one says how many.
pub const FINDINGS_MAX: usize = 200;

/// Events of an answer that names no number.
const EVENTS: u32 = 20;

/// Events of an answer at most; a larger wish gets this.
const EVENTS_MAX: u32 = 1_000;

/// How a finding reaches the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// It names all of it.
    Whole,
    /// It names a part of it.
    Part,
    /// It names nobody and means everybody.
    Everybody,
}

/// A finding, and how it reaches the target.
#[derive(Clone, Debug)]
struct Touch {
    finding: Finding,
    reach: Reach,
}

/// How `net` reaches `target`, if it does.
fn reach(net: &IpNet, target: &IpNet) -> Option<Reach> {
    if net.contains(target) { Some(Reach::Whole) } else { target.contains(net).then_some(Reach::Part) }
}

/// Explains an address or prefix.
///
/// # Errors
/// `Denied`; `Invalid` when the target is neither; what the store says.
pub async fn explain(
    o: &Orchestrator,
    caller: &Caller,
    request: v1::ExplainRequest,
) -> Result<v1::ExplainResponse, Failure> {
    caller.require(Scope::Read)?;
    let target = parse_prefix(&request.target).map_err(|error| Failure::Invalid(error.to_string()))?;
    let events_max = if request.events_max == 0 { EVENTS } else { request.events_max.min(EVENTS_MAX) };
    let shared = o.clone();
    let policy = blocking(move || Ok(policy::touching(&shared, &target))).await?;
    let bans = bans(o, target);
    let summary = summary(&bans, &policy);
    let client = v1::EventFilter { client: target.to_string(), ..Default::default() };
    let (filter, events) = (Filter::compile(Some(client))?, o.events.clone());
    let events = blocking(move || events.page(&filter, 0, events_max as usize)).await?.events;
    let mut findings = bounded(bans);
    for kind in ["list", "filter_rule", "limit"] {
        let of_kind = policy.iter().filter(|touch| touch.finding.what == kind);
        findings.extend(bounded(of_kind.cloned().collect()));
    }
    findings.extend(bounded(rules_hit(&events)));
    Ok(v1::ExplainResponse { target: target.to_string(), summary, findings, events })
}

/// At most [`FINDINGS_MAX`]; the last one says how many more there are.
fn bounded(touching: Vec<Touch>) -> Vec<Finding> {
    let more = touching.len().saturating_sub(FINDINGS_MAX);
    let mut findings: Vec<Finding> =
        touching.into_iter().take(FINDINGS_MAX).map(|touch| touch.finding).collect();
    if let Some(last) = findings.last_mut().filter(|_| more > 0) {
        last.explanation = format!("{}; {more} more are not shown", last.explanation);
    }
    findings
}

/// The short answer: what decides first on a node.
fn summary(bans: &[Touch], policy: &[Touch]) -> String {
    let whole = |touch: &&Touch, what: &str, effect: &str| {
        touch.reach == Reach::Whole && touch.finding.what == what && touch.finding.effect == effect
    };
    if let Some(Touch { finding, .. }) = policy.iter().find(|touch| whole(touch, "list", "allow")) {
        return format!("allowlisted by {}: {}", finding.name, finding.explanation);
    }
    if let Some(Touch { finding, .. }) = bans.iter().find(|touch| touch.reach == Reach::Whole) {
        return format!("banned as {}: {}", finding.name, finding.explanation);
    }
    if let Some(Touch { finding, .. }) = policy.iter().find(|touch| whole(touch, "list", "drop")) {
        return format!("blocked by {}: {}", finding.name, finding.explanation);
    }
    let named = |touch: &&Touch| touch.finding.what == "filter_rule" && touch.reach != Reach::Everybody;
    if let Some(Touch { finding, .. }) = policy.iter().find(named) {
        return format!("{} by filter rule {}: {}", finding.effect, finding.name, finding.explanation);
    }
    if bans.iter().chain(policy).any(|touch| touch.reach == Reach::Part) {
        return "parts of it are banned or listed".into();
    }
    match policy.len() {
        0 => "nothing touches it".into(),
        _ => "no list, ban or rule names it; what is for everybody applies".into(),
    }
}

/// Bans that cover the target, and those inside it.
fn bans(o: &Orchestrator, target: IpNet) -> Vec<Touch> {
    let mut entries = o.bans.covering(target);
    let page = o.bans.look(|replica| {
        let count_max = FINDINGS_MAX + 1;
        replica.page(Some(target), Some(target), &[], count_max, crate::ban::DECIDED_PER_LOCK * 4, now_ms())
    });
    entries.extend(page.entries);
    let touch = |entry: Entry| {
        let reach = reach(&entry.prefix, &target)?;
        Some(Touch { finding: of_ban(o, entry), reach })
    };
    entries.into_iter().filter_map(touch).collect()
}

fn of_ban(o: &Orchestrator, entry: Entry) -> Finding {
    let by = match entry.actor.as_str() {
        "" => format!("set by a {}", entry.origin.word().replace('_', " ")),
        actor => format!("set by {actor} ({})", entry.origin.word()),
    };
    let end = match entry.until_ms {
        Some(until_ms) => {
            let left = core::time::Duration::from_secs(until_ms.saturating_sub(now_ms()) / 1_000);
            format!("ends in {}", humantime::format_duration(left))
        }
        None => "never ends by itself".into(),
    };
    let reason = if entry.reason.is_empty() { "no reason given" } else { &entry.reason };
    let explanation = format!("{reason}; {by}, {end}");
    let (name, until_ms) = (entry.prefix.to_string(), entry.until_ms.unwrap_or(0));
    let ban = shown(o, entry, false);
    Finding {
        what: "ban".into(),
        name,
        effect: "drop".into(),
        explanation,
        until_ms,
        nodes_enforcing: ban.nodes_enforcing,
        hits: ban.hits,
    }
}

/// Rules that the events name: WAF rules know no addresses, so what they did is what can be said.
fn rules_hit(events: &[v1::Event]) -> Vec<Touch> {
    let mut rules = BTreeMap::<&str, (u64, u64)>::new();
    for event in events.iter().filter(|event| !event.rule_id.is_empty()) {
        let (hits, blocked) = rules.entry(&event.rule_id).or_default();
        *hits += 1;
        *blocked += u64::from(event.is_blocked);
    }
    let touch = |(id, (hits, blocked)): (&str, (u64, u64))| Touch {
        finding: Finding {
            what: "waf_rule".into(),
            name: id.into(),
            effect: if blocked > 0 { "drop" } else { "log" }.into(),
            explanation: format!("{hits} of the events shown, {blocked} of them refused"),
            hits,
            ..Default::default()
        },
        reach: Reach::Part,
    };
    rules.into_iter().map(touch).collect()
}
