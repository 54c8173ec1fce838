//! What came of a transaction.
//!
//! Owns: [`Match`]es, [`Interruption`]s, limits reached, and what rules changed for this transaction only.

use super::Transaction;
use super::evaluate::Evaluation;
use super::value::ValueId;
use crate::ruleset::{RuleView, Ruleset, Tags, Text};
use crate::seclang::ast::{AllowScope, AuditMode, EngineMode, Phase};
use crate::variable::Variable;

/// Longest value that a match keeps for logs, bytes: enough to see what it was.
const VALUE_SHOWN_BYTES_MAX: usize = 512;
/// Most values of `MATCHED_VARS`: beyond, further matches only count.
const MATCHED_VARS_MAX: usize = 1_024;

/// What becomes of a request that rules refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterruptionKind {
    /// It is answered with a status.
    Deny,
    /// Its connection ends without an answer.
    Drop,
    /// The client is sent elsewhere.
    Redirect,
    /// The client must solve a challenge first.
    Challenge,
}

/// A rule's decision that a request or response does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interruption {
    pub(crate) rule: u32,
    /// The rule's number.
    pub id: u64,
    /// What becomes of the request.
    pub kind: InterruptionKind,
    /// The status of the answer.
    pub status: u16,
    /// How late the answer is to be, seconds.
    pub tarpit_s: u16,
    pub(crate) location: Option<ValueId>,
    /// Set when no rule but a bound of the budget decided.
    pub limit: Option<Limit>,
}

/// A bound that a transaction reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Limit {
    /// Bytes read by rules.
    Work,
    /// Bytes kept.
    Data,
    /// Number of arguments.
    Arguments,
    /// Length of the request body.
    RequestBody,
    /// Length of the response body.
    ResponseBody,
    /// Number of matches noted.
    Matches,
}

impl Limit {
    /// Every bound.
    pub const ALL: [Self; 6] =
        [Self::Work, Self::Data, Self::Arguments, Self::RequestBody, Self::ResponseBody, Self::Matches];

    /// As metrics and logs name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Data => "data",
            Self::Arguments => "arguments",
            Self::RequestBody => "request_body",
            Self::ResponseBody => "response_body",
            Self::Matches => "matches",
        }
    }
}

/// The bounds that a transaction reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits(u8);

impl Limits {
    pub(crate) fn insert(&mut self, limit: Limit) {
        self.0 |= 1 << limit as u8;
    }

    /// Whether this one was reached.
    #[must_use]
    pub const fn contains(self, limit: Limit) -> bool {
        self.0 & (1 << limit as u8) != 0
    }
}

/// A rule that matched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Match {
    pub(crate) rule: u32,
    message: ValueId,
    data: ValueId,
    name: ValueId,
    value: ValueId,
    is_logged: bool,
    is_audited: bool,
}

/// A match as it is shown to people.
#[derive(Clone, Copy, Debug)]
pub struct MatchView<'a> {
    /// The rule's number.
    pub id: u64,
    /// Its name, if it has one beside the number.
    pub label: Option<&'a str>,
    /// When it matched.
    pub phase: Phase,
    /// 0 (emergency) to 7 (debug).
    pub severity: Option<u8>,
    /// Its message, macros replaced.
    pub message: &'a [u8],
    /// Its log data, macros replaced.
    pub data: &'a [u8],
    /// Where the value came from, `ARGS:name`.
    pub name: &'a [u8],
    /// The value as the operator saw it, cut after 512 bytes.
    pub value: &'a [u8],
    /// Its tags without macros.
    pub tags: Tags<'a>,
    /// The rule's file and line.
    pub file: &'a str,
    /// From 1.
    pub line: u32,
    /// Whether the rule wants to be seen in the log.
    pub is_logged: bool,
    /// Whether it wants to be seen in the audit log.
    pub is_audited: bool,
}

/// What came of a transaction.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) engine: EngineMode,
    pub(crate) audit: AuditMode,
    pub(crate) audit_parts: Option<Box<str>>,
    pub(crate) request_body_access: bool,
    pub(crate) response_body_access: bool,
    pub(crate) force_request_body: bool,
    pub(crate) request_body_bytes_max: u64,
    pub(crate) response_body_bytes_max: u64,
    pub(crate) interruption: Option<Interruption>,
    /// What would have interrupted it, had the engine not been only looking.
    pub(crate) detected: Option<Interruption>,
    pub(crate) matches: Vec<Match>,
    pub(crate) matches_count: u32,
    pub(crate) matched_in_rule: u32,
    pub(crate) highest_severity: u8,
    pub(crate) limits: Limits,
    pub(crate) removed: Vec<u64>,
    pub(crate) has_removed: bool,
    /// Pairs of selection and list: see `ctl:ruleRemoveTargetBy...`.
    pub(crate) untargeted: Vec<(u32, u32)>,
    /// Phases up to this one are not run any more.
    pub(crate) allowed_to: u8,
    pub(crate) phase: u8,
    pub(crate) phase_now: u8,
    pub(crate) work_bytes: u64,
    pub(crate) sanitised: Vec<super::sanitize::Masked>,
    pub(crate) removals: Vec<super::sanitize::Removal>,
    pub(crate) collections: super::persistent::Open,
}

impl Default for Outcome {
    fn default() -> Self {
        Self {
            engine: EngineMode::Off,
            audit: AuditMode::Off,
            audit_parts: None,
            request_body_access: false,
            response_body_access: false,
            force_request_body: false,
            request_body_bytes_max: 0,
            response_body_bytes_max: 0,
            interruption: None,
            detected: None,
            matches: Vec::new(),
            matches_count: 0,
            matched_in_rule: 0,
            highest_severity: u8::MAX,
            limits: Limits::default(),
            removed: Vec::new(),
            has_removed: false,
            untargeted: Vec::new(),
            allowed_to: 0,
            phase: 0,
            phase_now: 0,
            work_bytes: 0,
            sanitised: Vec::new(),
            removals: Vec::new(),
            collections: super::persistent::Open::default(),
        }
    }
}

impl Outcome {
    pub(crate) fn reset(&mut self, set: &Ruleset) {
        let settings = set.settings();
        self.engine = settings.engine;
        self.audit = settings.audit;
        self.audit_parts = None;
        self.request_body_access = settings.request_body_access;
        self.response_body_access = settings.response_body_access;
        self.force_request_body = false;
        self.request_body_bytes_max = settings.request_body_bytes_max;
        self.response_body_bytes_max = settings.response_body_bytes_max;
        self.interruption = None;
        self.detected = None;
        self.matches.clear();
        self.matches_count = 0;
        self.matched_in_rule = 0;
        self.highest_severity = u8::MAX;
        self.limits = Limits::default();
        if self.has_removed || self.removed.len() * 64 < set.rules.len() {
            self.removed.clear();
            self.removed.resize(set.rules.len().div_ceil(64), 0);
        }
        self.has_removed = false;
        self.untargeted.clear();
        self.allowed_to = 0;
        self.phase = 0;
        self.phase_now = 0;
        self.work_bytes = 0;
        self.sanitised.clear();
        self.removals.clear();
        self.collections.clear();
    }

    /// Whether a phase is run: not one that `allow` lets pass, nor any but the last after an interruption.
    pub(crate) fn runs(&self, phase: Phase) -> bool {
        phase == Phase::Logging || (phase as u8 > self.allowed_to && self.interruption.is_none())
    }

    pub(crate) fn allow(&mut self, scope: AllowScope, now: Phase) {
        self.allowed_to = match scope {
            AllowScope::Transaction => Phase::ResponseBody as u8,
            AllowScope::Request => Phase::RequestBody as u8,
            AllowScope::Phase => now as u8,
        };
    }
}

impl Evaluation<'_> {
    /// Notes the value that matched: `MATCHED_VAR` and its kin.
    pub(super) fn matched(&mut self, seen: super::workspace::Seen, text: ValueId) {
        let data = &mut self.tx.data;
        let variable = seen.variable.name().as_bytes();
        let prefix: &[u8] = if seen.is_count { b"&" } else { b"" };
        let name = match seen.name {
            Some(name) => data.values.add_before(&[prefix, variable, b":"], name),
            None => data.values.add_parts(&[prefix, variable]),
        };
        data.set_single(Variable::MatchedVar, text);
        data.set_single(Variable::MatchedVarName, name);
        if self.tx.outcome.matched_in_rule == 0 {
            data.clear(super::data::Store::MatchedVars);
        }
        self.tx.outcome.matched_in_rule = self.tx.outcome.matched_in_rule.saturating_add(1);
        if data.members(super::data::Store::MatchedVars).len() < MATCHED_VARS_MAX {
            data.add(super::data::Store::MatchedVars, name, text);
        }
    }

    /// Notes that all of a chain matched.
    pub(super) fn note_match(&mut self, head: usize) {
        let set = self.set;
        let rule = &set.rules[head];
        let links = &set.rules[head + 1..=head + usize::from(rule.links)];
        if let Some(severity) = rule.severity {
            self.tx.outcome.highest_severity = self.tx.outcome.highest_severity.min(severity);
        }
        let is_disruptive = !matches!(rule.disruption, crate::ruleset::Disruption::Pass);
        if !rule.is_logged && !rule.is_audited && !is_disruptive {
            return;
        }
        self.tx.outcome.matches_count = self.tx.outcome.matches_count.saturating_add(1);
        if self.tx.outcome.matches.len() >= self.budget.matches_max as usize {
            self.tx.outcome.limits.insert(Limit::Matches);
            return;
        }
        // A link may carry the message of its chain.
        let last = |pick: fn(&crate::ruleset::Rule) -> Option<&Text>| {
            pick(rule).or_else(|| links.iter().rev().find_map(pick))
        };
        let message = last(|rule| rule.message.as_ref());
        let data = last(|rule| rule.log_data.as_ref());
        let message = message.map_or(ValueId::EMPTY, |text| self.expanded_value(text));
        let data = data.map_or(ValueId::EMPTY, |text| self.expanded_value(text));
        let is_asked = !matches!(rule.test, crate::ruleset::Test::Always);
        let (name, value) = if is_asked {
            let name = self.tx.data.single(Variable::MatchedVarName);
            let value = self.tx.data.single(Variable::MatchedVar);
            (name, self.tx.data.values.part(value, 0..VALUE_SHOWN_BYTES_MAX))
        } else {
            (ValueId::EMPTY, ValueId::EMPTY)
        };
        self.tx.outcome.matches.push(Match {
            rule: head as u32,
            message,
            data,
            name,
            value,
            is_logged: rule.is_logged,
            is_audited: rule.is_audited,
        });
    }
}

impl Transaction {
    /// What rules decided, if they decided against it.
    #[must_use]
    pub const fn interruption(&self) -> Option<Interruption> {
        self.outcome.interruption
    }

    /// What would have interrupted it, had the engine not been only looking.
    #[must_use]
    pub const fn detected(&self) -> Option<Interruption> {
        self.outcome.detected
    }

    /// Where an interruption that redirects leads.
    #[must_use]
    pub fn location(&self, interruption: &Interruption) -> &[u8] {
        interruption.location.map_or(b"", |location| self.data.values.get(location))
    }

    /// The rules that matched and want to be seen, in order.
    pub fn matches<'a>(&'a self, set: &'a Ruleset) -> impl Iterator<Item = MatchView<'a>> {
        self.outcome.matches.iter().map(|found| {
            let RuleView { id, label, phase, severity, tags, file, line, .. } = set.view(found.rule as usize);
            MatchView {
                id,
                label,
                phase,
                severity,
                message: self.data.values.get(found.message),
                data: self.data.values.get(found.data),
                name: self.data.values.get(found.name),
                value: self.data.values.get(found.value),
                tags,
                file,
                line,
                is_logged: found.is_logged,
                is_audited: found.is_audited,
            }
        })
    }

    /// How many rules matched, those beyond the bound of noted ones included.
    #[must_use]
    pub const fn matches_count(&self) -> u32 {
        self.outcome.matches_count
    }

    /// The bounds it reached.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        self.outcome.limits
    }

    /// Whether it is to be written into the audit log, given the status of the answer.
    #[must_use]
    pub fn wants_audit(&self, is_status_relevant: bool) -> bool {
        match self.outcome.audit {
            AuditMode::On => true,
            AuditMode::Off => false,
            AuditMode::RelevantOnly => {
                is_status_relevant || self.outcome.matches.iter().any(|found| found.is_audited)
            }
        }
    }

    /// What a `TX` variable holds, as text; for scores and the like.
    #[must_use]
    pub fn tx_number(&self, set: &Ruleset, name: &str) -> Option<i64> {
        let id = set.names.find(name.to_ascii_lowercase().as_bytes())?;
        self.data.tx_number(self.data.tx(id))
    }

    /// Bytes that rules read.
    #[must_use]
    pub const fn work_bytes(&self) -> u64 {
        self.outcome.work_bytes
    }
}
