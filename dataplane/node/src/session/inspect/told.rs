//! What a transaction found, for reports and counters.
//!
//! Owns: the choice of the rule that is named, and what is counted. Does not own: the kinds of rules (`crate::waf`).

use core::sync::atomic::Ordering;
use std::sync::Arc;

use secbeat_waf::transaction::{Interruption, Limit, Transaction};

use super::NAME;
use crate::event::AttackKind;
use crate::telemetry::counters::{Counter, WorkerCounters};
use crate::waf::Waf;

/// What was found and by which rule: the one that decided, or, when that only adds up scores, the worst that matched.
pub(super) fn told(waf: &Waf, tx: &Transaction, interruption: &Interruption) -> (AttackKind, Arc<str>) {
    let decided = waf.rule(interruption.id);
    if let Some(known) = decided
        && let Some(kind) = known.kind
    {
        return (kind, Arc::clone(&known.name));
    }
    if let Some(found) = worst(waf, tx) {
        return found;
    }
    let name = decided.map_or_else(|| NAME.into(), |known| Arc::clone(&known.name));
    (AttackKind::WebAttack, name)
}

/// The worst match that says what it found.
pub(super) fn worst(waf: &Waf, tx: &Transaction) -> Option<(AttackKind, Arc<str>)> {
    tx.matches(&waf.ruleset)
        .filter_map(|found| {
            let known = waf.rule(found.id)?;
            Some((found.severity.unwrap_or(u8::MAX), known.kind?, &known.name))
        })
        .min_by_key(|(severity, ..)| *severity)
        .map(|(_, kind, name)| (kind, Arc::clone(name)))
}

/// What a bound is counted as.
fn limit_counter(limit: Limit) -> Counter {
    match limit {
        Limit::Work => Counter::WafLimitWork,
        Limit::Data => Counter::WafLimitData,
        Limit::Arguments => Counter::WafLimitArguments,
        Limit::RequestBody => Counter::WafLimitRequestBody,
        Limit::ResponseBody => Counter::WafLimitResponseBody,
        Limit::Matches => Counter::WafLimitMatches,
    }
}

/// Counts what rules found.
pub(super) fn count(waf: &Waf, tx: &Transaction, page: &WorkerCounters) {
    page.count(Counter::WafTransactions);
    for found in tx.matches(&waf.ruleset) {
        if let Some(known) = waf.rule(found.id) {
            known.hit.fetch_add(1, Ordering::Relaxed);
        }
    }
    if tx.interruption().is_some() {
        page.count(Counter::WafInterrupted);
    } else if tx.detected().is_some() {
        page.count(Counter::WafDetected);
    }
    for limit in Limit::ALL.into_iter().filter(|limit| tx.limits().contains(*limit)) {
        page.count(limit_counter(limit));
    }
}
