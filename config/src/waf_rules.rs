//! `config/waf_rules.json`: patterns of a JSON rule set.
//!
//! Owns: the shape of the file and its checks. Does not own: compiling and matching patterns (the WAF).
//!
//! A pattern is an expression of the `regex` crate over bytes, without Unicode classes: `\w`, `\s`, `\b` and
//! `(?i)` mean ASCII. It is applied to one decoded value at a time, never to a whole request: `^` and `$` are
//! the ends of a value.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Most rules of a file. Each pattern costs time per request; the largest public sets have about a thousand.
pub const RULES_MAX: usize = 10_000;
/// Longest pattern in bytes.
pub const PATTERN_BYTES_MAX: usize = 4_096;
/// Longest id or name in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Most examples of one kind that a rule carries. They are documentation and test, not data.
pub const EXAMPLES_MAX: usize = 32;

/// A rule set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSet {
    /// The rules, ids unique.
    pub rules: Vec<Rule>,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Unique; appears in logs and metrics.
    pub id: String,
    /// For people.
    pub name: String,
    /// Regular expression.
    pub pattern: String,
    /// What is done with a request that matches.
    pub action: Action,
    /// How bad a match is.
    pub severity: Severity,
    /// Where the pattern is looked for; everywhere if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
    /// Values that show what the pattern is for; none if left out. The tests of the file hold it to them.
    #[serde(default, skip_serializing_if = "Examples::is_empty")]
    pub examples: Examples,
}

/// A part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// The path, as sent and decoded, without the query.
    Path,
    /// Names and values of the query string.
    Args,
    /// Names and values of cookies.
    Cookies,
    /// Values of header fields that carry text of a client, such as User-Agent and Referer.
    Headers,
    /// Names and values of a form, of JSON, XML and multipart, and names of files.
    Body,
}

/// Values that show what a pattern is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Examples {
    /// The pattern must match each.
    #[serde(default, rename = "match", skip_serializing_if = "Vec::is_empty")]
    pub matching: Vec<String>,
    /// The pattern must match none.
    #[serde(default, rename = "pass", skip_serializing_if = "Vec::is_empty")]
    pub passing: Vec<String>,
}

/// What is done with a request that matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Answered with 403.
    Block,
    /// The match is taken out.
    Sanitize,
    /// Only noted.
    Log,
}

/// How bad a match is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Curious.
    Low,
    /// Suspicious.
    Medium,
    /// An attempt.
    High,
    /// An attempt that must not reach the server.
    Critical,
}

/// Why a rule set is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Not the JSON we expect; the message names line and column.
    #[error("WAF rules: {0}")]
    Json(String),
    /// Too many rules.
    #[error("WAF rules: {count} rules; at most {RULES_MAX}")]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// Two rules of one id.
    #[error("WAF rules: the id `{0}` is used twice")]
    DuplicateId(String),
    /// More examples than anyone reads.
    #[error("WAF rule `{id}`: more than {EXAMPLES_MAX} examples of one kind")]
    Examples {
        /// The rule.
        id: String,
    },
    /// A field is empty or too long.
    #[error("WAF rule `{id}`: {field} must have 1 to {max} bytes")]
    Length {
        /// The rule.
        id: String,
        /// Which field.
        field: &'static str,
        /// Longest allowed.
        max: usize,
    },
}

impl Rule {
    /// Parses and checks one rule.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let rule: Self = serde_json::from_str(text).map_err(|error| {
            // A rule is one line: where in it says nothing.
            let text = error.to_string();
            RuleError::Json(text.split(" at line ").next().unwrap_or(&text).into())
        })?;
        rule.check().map(|()| rule)
    }

    /// The id of a rule that may be wrong otherwise.
    pub(crate) fn id_of(text: &str) -> Option<String> {
        #[derive(Deserialize)]
        struct Id {
            id: String,
        }
        serde_json::from_str::<Id>(text).ok().map(|rule| rule.id)
    }

    fn check(&self) -> Result<(), RuleError> {
        for (field, value, max) in [
            ("id", &self.id, NAME_BYTES_MAX),
            ("name", &self.name, NAME_BYTES_MAX),
            ("pattern", &self.pattern, PATTERN_BYTES_MAX),
        ] {
            if value.is_empty() || value.len() > max {
                return Err(RuleError::Length { id: self.id.clone(), field, max });
            }
        }
        let examples = self.examples.matching.len().max(self.examples.passing.len());
        if examples > EXAMPLES_MAX {
            return Err(RuleError::Examples { id: self.id.clone() });
        }
        Ok(())
    }

    /// Whether the pattern is looked for in a part of a request.
    #[must_use]
    pub fn applies_to(&self, target: Target) -> bool {
        self.targets.is_empty() || self.targets.contains(&target)
    }
}

impl Examples {
    fn is_empty(&self) -> bool {
        self.matching.is_empty() && self.passing.is_empty()
    }
}

impl RuleSet {
    /// Parses and checks a rule file.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let set: Self = serde_json::from_str(text).map_err(|error| RuleError::Json(error.to_string()))?;
        if set.rules.len() > RULES_MAX {
            return Err(RuleError::TooMany { count: set.rules.len() });
        }
        let mut ids = BTreeSet::new();
        for rule in &set.rules {
            rule.check()?;
            if !ids.insert(&rule.id) {
                return Err(RuleError::DuplicateId(rule.id.clone()));
            }
        }
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(rules: &str) -> Result<RuleSet, RuleError> {
        RuleSet::parse(&format!("{{\"rules\":[{rules}]}}"))
    }

    const RULE: &str = r#"{"id":"a","name":"n","pattern":"p","action":"block","severity":"high"}"#;

    #[test]
    fn good_rule_is_read_and_bad_ones_are_refused_with_a_reason() {
        assert_eq!(set(RULE).unwrap().rules[0].action, Action::Block);
        assert_eq!(set(&format!("{RULE},{RULE}")).unwrap_err(), RuleError::DuplicateId("a".into()));
        let message = |rule: String| set(&rule).unwrap_err().to_string();
        assert!(
            message(RULE.replace("block", "explode"))
                .contains("unknown variant `explode`, expected one of `block`")
        );
        assert!(message(RULE.replace("\"id\"", "\"ids\"")).contains("unknown field `ids`"));
        assert_eq!(message(RULE.replace("\"p\"", "\"\"")), "WAF rule `a`: pattern must have 1 to 4096 bytes");
        let many = vec!["\"x\""; EXAMPLES_MAX + 1].join(",");
        let examples = format!("\"high\",\"examples\":{{\"pass\":[{many}]}}");
        assert!(message(RULE.replace("\"high\"", &examples)).contains("more than 32 examples"));
    }

    #[test]
    fn rule_without_targets_applies_everywhere_and_with_targets_only_there() {
        let everywhere = set(RULE).unwrap().rules[0].clone();
        assert!(everywhere.applies_to(Target::Path) && everywhere.applies_to(Target::Body));
        let narrow = RULE.replace("\"high\"", "\"high\",\"targets\":[\"path\",\"args\"]");
        let narrow = set(&narrow).unwrap().rules[0].clone();
        assert!(narrow.applies_to(Target::Args) && !narrow.applies_to(Target::Body));
        let unknown = RULE.replace("\"high\"", "\"high\",\"targets\":[\"trailer\"]");
        assert!(set(&unknown).unwrap_err().to_string().contains("unknown variant `trailer`"));
    }
}
