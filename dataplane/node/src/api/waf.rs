//! `/api/v1/waf/rules`: the JSON rules in force, and changes of them.
//!
//! Owns: [`WafRules`], [`WafFailure`], their JSON. Does not own: rules (`crate::waf`), how they change
//! (`start::rules`).

use secbeat_config::waf_rules::{Rule, RuleSet};
use secbeat_waf::seclang::ast::EngineMode;
use serde_json::{Value, json};

use super::Control;
use super::answer::{Answer, Failure};

/// The rules in force.
#[derive(Clone, Debug)]
pub struct WafRules {
    /// JSON rules, and whether the API added them.
    pub rules: Vec<(Rule, bool)>,
    /// How many rules the whole set has.
    pub count: usize,
    /// Its memory, bytes.
    pub bytes: usize,
    /// How often rules matched.
    pub hits: Vec<(String, u64)>,
    /// Whether they block.
    pub engine: EngineMode,
}

/// Why rules are not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WafFailure {
    /// Nothing is inspected.
    #[error("[waf] is not in use: it needs enable = true and a listener of mode \"l7\"")]
    Off,
    /// As many rules as may be added.
    #[error("{max} rules were added already; put rules into the file of [waf] rules_path")]
    Full {
        /// How many.
        max: usize,
    },
    /// There is no such rule.
    #[error("there is no rule `{id}`")]
    NotThere {
        /// The id.
        id: String,
    },
    /// It is of the file.
    #[error("rule `{id}` is in the file of [waf] rules_path; change it there and reload")]
    Configured {
        /// The id.
        id: String,
    },
    /// The rule cannot be compiled.
    #[error("{0}")]
    Wrong(String),
    /// It cannot be kept.
    #[error("the rule cannot be kept: {0}")]
    Unsaved(String),
}

impl From<WafFailure> for Failure {
    fn from(failure: WafFailure) -> Self {
        let (status, code) = match &failure {
            WafFailure::Off => (409, "waf_off"),
            WafFailure::Full { .. } => (507, "rules_full"),
            WafFailure::NotThere { .. } => (404, "no_rule"),
            WafFailure::Configured { .. } => (409, "configured"),
            WafFailure::Wrong(_) => (400, "rule_refused"),
            WafFailure::Unsaved(_) => (500, "not_saved"),
        };
        Self::new(status, code, failure.to_string())
    }
}

/// `GET`
pub(super) fn list(control: &dyn Control) -> Result<Answer, Failure> {
    let all = control.waf_rules().ok_or(WafFailure::Off)?;
    let engine = match all.engine {
        EngineMode::On => "on",
        EngineMode::Off => "off",
        EngineMode::DetectionOnly => "detect",
    };
    let hits = |id: &str| all.hits.iter().find(|(name, _)| name == id).map_or(0, |(_, count)| *count);
    let rules = all.rules.iter().map(|(rule, is_added)| {
        let mut value = shown(rule);
        value["origin"] = if *is_added { "api" } else { "file" }.into();
        value["hits"] = hits(&rule.id).into();
        value
    });
    let rules: Vec<Value> = rules.collect();
    let set = json!({"rules": all.count, "bytes": all.bytes, "engine": engine});
    Ok(Answer::json(200, &json!({"rules": rules, "set": set})))
}

/// `POST`
pub(super) fn add(control: &dyn Control, body: &[u8]) -> Result<Answer, Failure> {
    let rule = rule(body)?;
    let value = shown(&rule);
    control.add_waf_rule(rule)?;
    Ok(Answer::json(200, &json!({"added": value})))
}

/// `DELETE`
pub(super) fn remove(control: &dyn Control, id: &str) -> Result<Answer, Failure> {
    control.remove_waf_rule(id)?;
    Ok(Answer::json(200, &json!({"removed": id})))
}

/// One rule as the file has many.
fn rule(body: &[u8]) -> Result<Rule, Failure> {
    let bad = |message: String| Failure::new(400, "bad_rule", message);
    let text = core::str::from_utf8(body).map_err(|error| bad(error.to_string()))?;
    // Read by itself first, so that it cannot end the list it is put into.
    let value: Value =
        serde_json::from_str(text).map_err(|error| bad(format!("the body is not JSON: {error}")))?;
    let set =
        RuleSet::parse(&json!({"rules": [value]}).to_string()).map_err(|error| bad(error.to_string()))?;
    set.rules.into_iter().next().ok_or_else(|| bad("no rule".to_owned()))
}

fn shown(rule: &Rule) -> Value {
    // A rule has string keys and no failing serializers.
    serde_json::to_value(rule).unwrap_or(Value::Null)
}
