//! Actions: `"id:1,phase:2,t:none,msg:'...',setvar:tx.score=+5"`.
//!
//! Owns: the grammar of the list, names of actions and their values, and which actions of other engines are refused.
//! `ctl` is in [`super::control`], `setvar` and its like in [`super::assignment`]. Does not own: what actions do.
//!
//! Sources: ModSecurity reference manual v3, "Actions"; ModSecurity's regression tests.

use super::ast::{Action, AllowScope, Phase, Template};
use super::diagnostics::{Fault, quoted, unknown};
use super::line::closing;
use super::template::{self, Macros};
use super::{assignment, control};
use crate::limits::{ACTIONS_MAX, TRANSFORMATIONS_MAX};
use crate::transform::Transformation;

/// Longest delay of `tarpit`, seconds: a held connection costs the node memory too.
const TARPIT_S_MAX: u16 = 60;

/// Actions that take no value.
const PLAIN: &[(&str, Option<Action>)] = &[
    ("chain", None),
    ("block", Some(Action::Block)),
    ("deny", Some(Action::Deny)),
    ("drop", Some(Action::Drop)),
    ("pass", Some(Action::Pass)),
    ("log", Some(Action::Log)),
    ("nolog", Some(Action::NoLog)),
    ("auditlog", Some(Action::AuditLog)),
    ("noauditlog", Some(Action::NoAuditLog)),
    ("capture", Some(Action::Capture)),
    ("multiMatch", Some(Action::MultiMatch)),
    ("sanitiseMatched", Some(Action::SanitiseMatched)),
    ("sanitizeMatched", Some(Action::SanitiseMatched)),
    ("challenge", Some(Action::Challenge)),
];

/// Actions that take a value, or may.
const VALUED: &[&str] = &[
    "accuracy",
    "allow",
    "ctl",
    "expirevar",
    "id",
    "initcol",
    "logdata",
    "maturity",
    "msg",
    "phase",
    "proxy",
    "redirect",
    "rev",
    "sanitiseArg",
    "sanitizeArg",
    "sanitiseMatchedBytes",
    "sanitizeMatchedBytes",
    "sanitiseRequestHeader",
    "sanitizeRequestHeader",
    "sanitiseResponseHeader",
    "sanitizeResponseHeader",
    "setenv",
    "setrsc",
    "setsid",
    "setuid",
    "setvar",
    "severity",
    "skip",
    "skipAfter",
    "status",
    "t",
    "tag",
    "tarpit",
    "ver",
    "xmlns",
];

/// Actions of other engines that are refused, and why.
const REFUSED: &[(&str, &str)] = &[
    ("exec", "scripts and programs are not run"),
    ("append", "responses are not changed"),
    ("prepend", "responses are not changed"),
    ("pause", "use 'tarpit:SECONDS'"),
    ("deprecatevar", "use 'expirevar'"),
];

const SEVERITIES: [&str; 8] =
    ["EMERGENCY", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG"];

/// The actions of a rule.
#[derive(Debug, Default)]
pub(super) struct Actions {
    pub(super) list: Vec<Action>,
    /// `chain`: the next rule is a link.
    pub(super) is_chain: bool,
    /// Offset of each action of `list` in the text.
    pub(super) offsets: Vec<usize>,
}

/// `name:value` as written, quotes around the value taken off.
#[derive(Debug, PartialEq, Eq)]
struct Item {
    at: usize,
    name: String,
    value: Option<String>,
}

/// All actions of the text, and what is wrong with the others.
pub(super) fn parse(text: &str) -> (Actions, Vec<Fault>) {
    let mut actions = Actions::default();
    let mut faults = Vec::new();
    let items = items(text).unwrap_or_else(|fault| {
        faults.push(fault);
        Vec::new()
    });
    for item in items {
        match one(&item) {
            Ok(Meaning::Chain) => actions.is_chain = true,
            Ok(Meaning::Action(action)) => {
                actions.offsets.push(item.at);
                actions.list.push(action);
            }
            Err(message) => faults.push(Fault::new(item.at, message)),
        }
    }
    let transformations = actions.list.iter().filter(|action| matches!(action, Action::Transform(_))).count();
    if transformations > TRANSFORMATIONS_MAX {
        faults.push(Fault::new(0, format!("more than {TRANSFORMATIONS_MAX} transformations")));
    }
    (actions, faults)
}

/// Apart at the commas that stand outside single quotes.
fn items(text: &str) -> Result<Vec<Item>, Fault> {
    let bytes = text.as_bytes();
    let mut items = Vec::new();
    if text.trim_ascii().is_empty() {
        return Ok(items);
    }
    let mut at = 0;
    loop {
        let start = at;
        while let Some(byte) = bytes.get(at).filter(|byte| **byte != b',') {
            let is_opening = *byte == b'\'' && opens(text.get(start..at).unwrap_or_default());
            if is_opening {
                at = closing(bytes, at + 1, b'\'')
                    .ok_or_else(|| Fault::new(at, "the single quote is not closed"))?;
            }
            at += 1;
        }
        let piece = text.get(start..at).unwrap_or_default();
        let indent = piece.len() - piece.trim_ascii_start().len();
        if items.len() >= ACTIONS_MAX {
            return Err(Fault::new(start, format!("more than {ACTIONS_MAX} actions")));
        }
        items.push(item(start + indent, piece.trim_ascii())?);
        if at >= bytes.len() {
            return Ok(items);
        }
        at += 1;
    }
}

/// Whether a quote after this text opens a quoted value: after `:`, `=` or at the start.
fn opens(before: &str) -> bool {
    matches!(before.trim_ascii_end().as_bytes().last(), None | Some(b':' | b'='))
}

fn item(at: usize, piece: &str) -> Result<Item, Fault> {
    if piece.is_empty() {
        return Err(Fault::new(at, "an action is missing"));
    }
    // A whole action in quotes, `'msg:text'`, is taken for the action.
    let piece = unquoted(piece);
    let (name, value) = match piece.split_once(':') {
        Some((name, value)) => (name, Some(value.trim_ascii())),
        None => (piece.as_str(), None),
    };
    let value = value.map(|value| {
        if value.starts_with('\'') && closing(value.as_bytes(), 1, b'\'') != Some(value.len() - 1) {
            return Err(Fault::new(at, format!("{} is followed by more after its quote", quoted(name))));
        }
        Ok(unquoted(value))
    });
    Ok(Item { at, name: name.trim_ascii().to_owned(), value: value.transpose()? })
}

/// Without single quotes around it; `\'` inside them is a quote.
pub(super) fn unquoted(text: &str) -> String {
    match text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        Some(inner) => inner.replace("\\'", "'"),
        None => text.to_owned(),
    }
}

enum Meaning {
    Chain,
    Action(Action),
}

fn one(item: &Item) -> Result<Meaning, String> {
    let name = item.name.as_str();
    if let Some((refused, why)) = REFUSED.iter().find(|(refused, _)| refused.eq_ignore_ascii_case(name)) {
        return Err(format!("action '{refused}' is not supported: {why}"));
    }
    if let Some((plain, action)) = PLAIN.iter().find(|(plain, _)| plain.eq_ignore_ascii_case(name)) {
        if item.value.is_some() {
            return Err(format!("action '{plain}' takes no value"));
        }
        return Ok(action.clone().map_or(Meaning::Chain, Meaning::Action));
    }
    let Some(known) = VALUED.iter().find(|known| known.eq_ignore_ascii_case(name)) else {
        let known = PLAIN.iter().map(|(plain, _)| *plain).chain(VALUED.iter().copied());
        return Err(unknown("action", name, known));
    };
    match (*known, item.value.as_deref()) {
        ("allow", value) => allow(value).map(|scope| Meaning::Action(Action::Allow(scope))),
        ("sanitiseMatchedBytes" | "sanitizeMatchedBytes", value) => {
            matched_bytes(value.unwrap_or("0/0")).map(Meaning::Action)
        }
        (known, None | Some("")) => Err(format!("action '{known}' needs a value")),
        (known, Some(value)) => valued(known, value).map(Meaning::Action),
    }
}

fn valued(name: &str, value: &str) -> Result<Action, String> {
    Ok(match name {
        "id" => Action::Id(id(value)?),
        "phase" => Action::Phase(phase(value)?),
        "severity" => Action::Severity(severity(value)?),
        "maturity" => Action::Maturity(number(name, value, 0, 9)?),
        "accuracy" => Action::Accuracy(number(name, value, 0, 9)?),
        "status" => Action::Status(number(name, value, 100, 599)?),
        "skip" => Action::Skip(number(name, value, 1, 1_000_000)?),
        "tarpit" => Action::Tarpit(number(name, value, 1, TARPIT_S_MAX)?),
        "rev" => Action::Rev(value.to_owned()),
        "ver" => Action::Ver(value.to_owned()),
        "skipAfter" => Action::SkipAfter(value.to_owned()),
        "sanitiseArg" | "sanitizeArg" => Action::SanitiseArg(value.to_owned()),
        "sanitiseRequestHeader" | "sanitizeRequestHeader" => Action::SanitiseRequestHeader(value.to_owned()),
        "sanitiseResponseHeader" | "sanitizeResponseHeader" => {
            Action::SanitiseResponseHeader(value.to_owned())
        }
        "t" => transformation(value)?,
        "msg" => Action::Msg(text(value)?),
        "logdata" => Action::LogData(text(value)?),
        "tag" => Action::Tag(text(value)?),
        "redirect" => Action::Redirect(text(value)?),
        "proxy" => Action::Proxy(text(value)?),
        "setsid" => Action::SetSid(text(value)?),
        "setuid" => Action::SetUid(text(value)?),
        "setrsc" => Action::SetRsc(text(value)?),
        "ctl" => Action::Control(control::parse(value)?),
        "setvar" => Action::SetVar(assignment::set_var(value)?),
        "setenv" => assignment::set_env(value)?,
        "expirevar" => assignment::expire_var(value)?,
        "initcol" => assignment::init_col(value)?,
        "xmlns" => assignment::xml_namespace(value)?,
        _ => return Err(format!("unknown action {}", quoted(name))),
    })
}

/// Text with macros.
pub(super) fn text(value: &str) -> Result<Template, String> {
    template::parse(value, Macros::All).map_err(|fault| fault.message)
}

fn id(value: &str) -> Result<u64, String> {
    match decimal(value) {
        Some(id) if id > 0 => Ok(id),
        _ => Err(format!("{} is not a rule id: a number from 1 to {}", quoted(value), i64::MAX)),
    }
}

/// Digits only, and no more than other tools can hold.
pub(super) fn decimal(value: &str) -> Option<u64> {
    let is_digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    if is_digits { value.parse::<i64>().ok()?.try_into().ok() } else { None }
}

/// A number within bounds.
pub(super) fn number<T>(name: &str, value: &str, min: T, max: T) -> Result<T, String>
where
    T: TryFrom<u64> + PartialOrd + std::fmt::Display,
{
    let found = decimal(value).and_then(|number| T::try_from(number).ok());
    match found {
        Some(number) if min <= number && number <= max => Ok(number),
        _ => Err(format!("'{name}' takes a number from {min} to {max}, not {}", quoted(value))),
    }
}

/// A phase by number or name.
fn phase(value: &str) -> Result<Phase, String> {
    Ok(match value.to_ascii_lowercase().as_str() {
        "1" => Phase::RequestHeaders,
        "2" | "request" => Phase::RequestBody,
        "3" => Phase::ResponseHeaders,
        "4" | "response" => Phase::ResponseBody,
        "5" | "logging" => Phase::Logging,
        _ => return Err(format!("{} is not a phase: 1 to 5, request, response or logging", quoted(value))),
    })
}

fn severity(value: &str) -> Result<u8, String> {
    if let Some(level) = SEVERITIES.iter().position(|name| name.eq_ignore_ascii_case(value)) {
        return Ok(u8::try_from(level).unwrap_or(u8::MAX));
    }
    if value.starts_with(|first: char| first.is_ascii_digit()) {
        return number("severity", value, 0, 7);
    }
    Err(unknown("severity", value, SEVERITIES))
}

fn transformation(value: &str) -> Result<Action, String> {
    if value.eq_ignore_ascii_case("none") {
        return Ok(Action::TransformNone);
    }
    Transformation::from_name(value).map(Action::Transform).ok_or_else(|| {
        let known = Transformation::ALL.iter().map(|known| known.name());
        unknown("transformation", value, known.chain(["none"]))
    })
}

fn allow(value: Option<&str>) -> Result<AllowScope, String> {
    match value.map(str::to_ascii_lowercase).as_deref() {
        None => Ok(AllowScope::Transaction),
        Some("phase") => Ok(AllowScope::Phase),
        Some("request") => Ok(AllowScope::Request),
        Some(other) => Err(format!("'allow' takes 'phase' or 'request', not {}", quoted(other))),
    }
}

/// `4/2`: so many bytes at the start and at the end stay.
fn matched_bytes(value: &str) -> Result<Action, String> {
    let ends = value.split_once('/').and_then(|(first, last)| {
        Some(Action::SanitiseMatchedBytes(decimal(first)?.try_into().ok()?, decimal(last)?.try_into().ok()?))
    });
    ends.ok_or_else(|| format!("'sanitiseMatchedBytes' takes two numbers as in '1/4', not {}", quoted(value)))
}
