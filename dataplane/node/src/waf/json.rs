//! JSON rules as rules of the set.
//!
//! Owns: where a JSON rule looks, what its action means. Does not own: the file's shape (`secbeat_config::waf_rules`).
//! Each becomes one rule of phase 2, asked when head and body are there, with a number from [`FIRST_ID`] up.

use secbeat_config::waf_rules::{self, Severity};
use secbeat_waf::seclang::ast::{
    Action, Configuration, Directive, OperatorCall, Phase, Position, Rule, Selector, Target, Template,
};
use secbeat_waf::transform::Transformation;
use secbeat_waf::variable::Variable;

/// Number of the first JSON rule; sets in SecLang have theirs below.
pub const FIRST_ID: u64 = 2_000_000;

/// Where a rule looks that names nothing.
const EVERYWHERE: &[waf_rules::Target] = &[
    waf_rules::Target::Path,
    waf_rules::Target::Args,
    waf_rules::Target::Cookies,
    waf_rules::Target::Headers,
    waf_rules::Target::Body,
];

/// The variables of a part of a request.
const fn variables(part: waf_rules::Target) -> &'static [Variable] {
    match part {
        waf_rules::Target::Path => &[Variable::RequestFilename],
        waf_rules::Target::Args => &[Variable::ArgsGet, Variable::ArgsGetNames],
        waf_rules::Target::Cookies => &[Variable::RequestCookies, Variable::RequestCookiesNames],
        waf_rules::Target::Headers => &[Variable::RequestHeaders],
        waf_rules::Target::Body => {
            &[Variable::ArgsPost, Variable::ArgsPostNames, Variable::Files, Variable::FilesNames]
        }
    }
}

/// Fields that are structured and would only be found by mistake, or that are looked at elsewhere.
const FIELDS_LEFT_OUT: &[&str] = &[
    "Accept",
    "Accept-Charset",
    "Accept-Encoding",
    "Accept-Language",
    "Authorization",
    "Cache-Control",
    "Connection",
    "Content-Length",
    "Cookie",
    "Date",
    "Host",
    "If-Modified-Since",
    "If-None-Match",
    "If-Range",
    "Range",
    "Transfer-Encoding",
    "Upgrade",
];

/// The place of a rule among the JSON rules, by its number.
pub(super) fn index(id: u64) -> Option<usize> {
    let index = usize::try_from(id.checked_sub(FIRST_ID)?).ok()?;
    (index < waf_rules::RULES_MAX * 2).then_some(index)
}

/// Adds rules to what was read; `before`: how many JSON rules stand before them.
pub(super) fn append(
    configuration: &mut Configuration,
    file: &str,
    rules: &[waf_rules::Rule],
    before: usize,
) {
    if rules.is_empty() {
        return;
    }
    let number = configuration.files.len();
    configuration.files.push(file.to_owned());
    for (index, rule) in rules.iter().enumerate() {
        let position = Position { file: u16::try_from(number).unwrap_or(u16::MAX), line: index as u32 + 1 };
        let id = FIRST_ID + (before + index) as u64;
        configuration.directives.push(Directive::Rule(Box::new(compiled(rule, id, position))));
    }
}

fn compiled(rule: &waf_rules::Rule, id: u64, position: Position) -> Rule {
    let target =
        |variable, selector, is_exclusion| Target { variable, selector, is_count: false, is_exclusion };
    let parts = if rule.targets.is_empty() { EVERYWHERE } else { rule.targets.as_slice() };
    let mut targets = Vec::new();
    for part in parts {
        targets.extend(variables(*part).iter().map(|variable| target(*variable, Selector::All, false)));
    }
    // The whole target as sent, for patterns that span its parts. What is cleaned is looked at value by value.
    if rule.targets.is_empty() && rule.action != waf_rules::Action::Sanitize {
        targets.push(target(Variable::RequestUriRaw, Selector::All, false));
    }
    if parts.contains(&waf_rules::Target::Headers) {
        for field in FIELDS_LEFT_OUT {
            targets.push(target(Variable::RequestHeaders, Selector::Name((*field).to_owned()), true));
        }
    }
    if parts.contains(&waf_rules::Target::Body) {
        targets.push(target(Variable::Xml, Selector::Name("/*".to_owned()), false));
        targets.push(target(Variable::Xml, Selector::Name("//@*".to_owned()), false));
    }
    let mut actions = vec![
        Action::Id(id),
        Action::Phase(Phase::RequestBody),
        Action::Label(rule.id.clone()),
        Action::Msg(Template::text(&rule.name)),
        Action::LogData(Template(vec![secbeat_waf::seclang::ast::TemplatePart::Macro(
            Variable::MatchedVarName,
            None,
        )])),
        Action::Severity(severity(rule.severity)),
        Action::TransformNone,
        Action::Transform(Transformation::UrlDecodeUni),
        Action::Transform(Transformation::HtmlEntityDecode),
        Action::Transform(Transformation::RemoveNulls),
    ];
    actions.push(match rule.action {
        waf_rules::Action::Block => Action::Deny,
        waf_rules::Action::Sanitize => Action::Sanitize,
        waf_rules::Action::Log => Action::Pass,
    });
    let operator =
        OperatorCall { is_negated: false, name: "rx".to_owned(), argument: Template::text(&rule.pattern) };
    Rule { position, targets, operator: Some(operator), actions, links: Vec::new() }
}

/// As SecLang counts: 0 is the worst.
const fn severity(severity: Severity) -> u8 {
    match severity {
        Severity::Critical => 2,
        Severity::High => 3,
        Severity::Medium => 4,
        Severity::Low => 5,
    }
}
