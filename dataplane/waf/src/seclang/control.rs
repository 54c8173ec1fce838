//! `ctl:option=value`: settings changed for one transaction.
//!
//! Owns: names of options and their values, identifiers in lists. Does not own: effect.
//!
//! Sources: ModSecurity reference manual v3, "ctl"; Coraza's list of options.

use super::action::{decimal, unquoted};
use super::ast::{AuditMode, BodyProcessor, Control, EngineMode, IdRange};
use super::diagnostics::{quoted, unknown};
use super::target;

/// Options that are known.
const OPTIONS: &[&str] = &[
    "auditEngine",
    "auditLogParts",
    "debugLogLevel",
    "forceRequestBodyVariable",
    "requestBodyAccess",
    "requestBodyLimit",
    "requestBodyProcessor",
    "responseBodyAccess",
    "responseBodyLimit",
    "ruleEngine",
    "ruleRemoveById",
    "ruleRemoveByMsg",
    "ruleRemoveByTag",
    "ruleRemoveTargetById",
    "ruleRemoveTargetByMsg",
    "ruleRemoveTargetByTag",
];

/// Options of other engines that are refused, and why.
const REFUSED: &[(&str, &str)] = &[
    ("hashEngine", "links are not signed"),
    ("hashEnforcement", "links are not signed"),
    ("parseXmlIntoArgs", "XML is not turned into arguments"),
    ("forceResponseBodyVariable", "the response body is there when SecResponseBodyAccess is On"),
    ("responseBodyProcessor", "response bodies are not taken apart"),
];

const PROCESSORS: [BodyProcessor; 4] =
    [BodyProcessor::UrlEncoded, BodyProcessor::Multipart, BodyProcessor::Json, BodyProcessor::Xml];

/// Letters of audit log parts.
const AUDIT_PARTS: &str = "ABCDEFGHIJKZ";

/// One option.
pub(super) fn parse(text: &str) -> Result<Control, String> {
    let Some((name, value)) = text.split_once('=') else {
        return Err(format!("'ctl' needs an option and a value as in ruleEngine=Off, not {}", quoted(text)));
    };
    let (name, value) = (name.trim_ascii(), unquoted(value.trim_ascii()));
    if let Some((refused, why)) = REFUSED.iter().find(|(refused, _)| refused.eq_ignore_ascii_case(name)) {
        return Err(format!("'ctl:{refused}' is not supported: {why}"));
    }
    let Some(option) = OPTIONS.iter().find(|option| option.eq_ignore_ascii_case(name)) else {
        return Err(unknown("option of 'ctl'", name, OPTIONS.iter().copied()));
    };
    if value.is_empty() {
        return Err(format!("'ctl:{option}' needs a value"));
    }
    let of_option = |message: String| format!("'ctl:{option}': {message}");
    if let Some(by) = option.strip_prefix("ruleRemoveTargetBy") {
        return remove_target(by, &value).map_err(of_option);
    }
    single(option, &value).map_err(of_option)
}

fn single(option: &str, value: &str) -> Result<Control, String> {
    Ok(match option {
        "auditEngine" => Control::AuditEngine(audit_mode(value)?),
        "auditLogParts" => {
            let (sign, parts) = match value.as_bytes().first() {
                Some(b'+') => (Some(true), value.get(1..).unwrap_or_default()),
                Some(b'-') => (Some(false), value.get(1..).unwrap_or_default()),
                _ => (None, value),
            };
            Control::AuditLogParts(sign, audit_parts(parts)?)
        }
        "debugLogLevel" => Control::DebugLogLevel(
            decimal(value)
                .and_then(|level| u8::try_from(level).ok())
                .filter(|level| *level <= 9)
                .ok_or_else(|| format!("a level from 0 to 9 is needed, not {}", quoted(value)))?,
        ),
        "forceRequestBodyVariable" => Control::ForceRequestBodyVariable(on_off(value)?),
        "requestBodyAccess" => Control::RequestBodyAccess(on_off(value)?),
        "responseBodyAccess" => Control::ResponseBodyAccess(on_off(value)?),
        "requestBodyLimit" => Control::RequestBodyLimit(bytes(value)?),
        "responseBodyLimit" => Control::ResponseBodyLimit(bytes(value)?),
        "requestBodyProcessor" => Control::RequestBodyProcessor(
            PROCESSORS.iter().copied().find(|known| known.name().eq_ignore_ascii_case(value)).ok_or_else(
                || unknown("body processor", value, PROCESSORS.iter().map(|known| known.name())),
            )?,
        ),
        "ruleEngine" => Control::RuleEngine(engine_mode(value)?),
        "ruleRemoveById" => Control::RuleRemoveById(ids(value)?),
        "ruleRemoveByTag" => Control::RuleRemoveByTag(value.to_owned()),
        "ruleRemoveByMsg" => Control::RuleRemoveByMsg(value.to_owned()),
        _ => return Err(format!("unknown option {}", quoted(option))),
    })
}

/// `942100;ARGS:name`
fn remove_target(by: &str, value: &str) -> Result<Control, String> {
    let Some((which, targets)) = value.split_once(';') else {
        return Err(format!(
            "a rule and a target are needed as in '942100;ARGS:name', not {}",
            quoted(value)
        ));
    };
    let which = which.trim_ascii();
    if which.is_empty() {
        return Err("no rule is named before ';'".into());
    }
    let targets = target::parse(targets).map_err(|fault| fault.message)?;
    let [target] = targets.as_slice() else {
        return Err("one target is needed; write the action again for others".into());
    };
    if target.is_count || target.is_exclusion {
        return Err("the target is written without '!' and '&'".into());
    }
    let target = target.clone();
    Ok(match by {
        "Id" => Control::RuleRemoveTargetById(ids(which)?, target),
        "Tag" => Control::RuleRemoveTargetByTag(which.to_owned(), target),
        _ => Control::RuleRemoveTargetByMsg(which.to_owned(), target),
    })
}

/// `1 2-5,7`: blanks or commas between.
pub(super) fn ids(text: &str) -> Result<Vec<IdRange>, String> {
    let mut ranges = Vec::new();
    for word in text.split([' ', '\t', ',']).filter(|word| !word.is_empty()) {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        match (decimal(first), decimal(last)) {
            (Some(first), Some(last)) if first <= last => ranges.push(IdRange { first, last }),
            _ => return Err(format!("{} is not a rule id or a range as in 100-199", quoted(word))),
        }
    }
    if ranges.is_empty() { Err("a rule id is missing".into()) } else { Ok(ranges) }
}

/// `On` or `Off`.
pub(super) fn on_off(value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("On or Off is needed, not {}", quoted(value))),
    }
}

pub(super) fn engine_mode(value: &str) -> Result<EngineMode, String> {
    match value.to_ascii_lowercase().as_str() {
        "on" => Ok(EngineMode::On),
        "off" => Ok(EngineMode::Off),
        "detectiononly" => Ok(EngineMode::DetectionOnly),
        _ => Err(format!("On, Off or DetectionOnly is needed, not {}", quoted(value))),
    }
}

pub(super) fn audit_mode(value: &str) -> Result<AuditMode, String> {
    match value.to_ascii_lowercase().as_str() {
        "on" => Ok(AuditMode::On),
        "off" => Ok(AuditMode::Off),
        "relevantonly" => Ok(AuditMode::RelevantOnly),
        _ => Err(format!("On, Off or RelevantOnly is needed, not {}", quoted(value))),
    }
}

/// Letters of audit log parts, in upper case.
pub(super) fn audit_parts(value: &str) -> Result<String, String> {
    let parts = value.to_ascii_uppercase();
    match parts.chars().find(|part| !AUDIT_PARTS.contains(*part)) {
        Some(part) => Err(format!("'{}' is not a part of the audit log: {AUDIT_PARTS}", part.escape_debug())),
        None if parts.is_empty() => Err(format!("parts of the audit log are needed: {AUDIT_PARTS}")),
        None => Ok(parts),
    }
}

/// A size in bytes.
pub(super) fn bytes(value: &str) -> Result<u64, String> {
    decimal(value).ok_or_else(|| format!("a number of bytes is needed, not {}", quoted(value)))
}
