//! Directives that set something for the whole set.
//!
//! Owns: their names and values. Does not own: directives about rules ([`super::reader`]), or those of other engines
//! ([`super::foreign`]).
//!
//! Sources: ModSecurity reference manual v3, "Configuration Directives"; Coraza's list of directives.

use super::action::number;
use super::control::{audit_mode, audit_parts, bytes, engine_mode, on_off};
use super::diagnostics::quoted;
use super::settings::{AuditFormat, LimitAction, Settings};
use crate::limits::PATTERN_BYTES_MAX;

/// Names of the directives that [`apply`] knows.
pub(super) const NAMES: &[&str] = &[
    "SecArgumentSeparator",
    "SecArgumentsLimit",
    "SecAuditEngine",
    "SecAuditLog",
    "SecAuditLogFormat",
    "SecAuditLogParts",
    "SecAuditLogRelevantStatus",
    "SecAuditLogType",
    "SecCollectionTimeout",
    "SecComponentSignature",
    "SecCookieFormat",
    "SecRequestBodyAccess",
    "SecRequestBodyJsonDepthLimit",
    "SecRequestBodyLimit",
    "SecRequestBodyLimitAction",
    "SecRequestBodyNoFilesLimit",
    "SecResponseBodyAccess",
    "SecResponseBodyLimit",
    "SecResponseBodyLimitAction",
    "SecResponseBodyMimeType",
    "SecResponseBodyMimeTypesClear",
    "SecRuleEngine",
    "SecServerSignature",
    "SecUploadFileLimit",
    "SecWebAppId",
];

/// Most types of response bodies: servers use a few dozen.
const TYPES_MAX: usize = 256;

/// What was seen of directives that add up.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The first list of types replaces the default, the others join it.
    types: bool,
}

/// Carries out one directive of [`NAMES`]; a note when part of it has no effect.
pub(super) fn apply(
    settings: &mut Settings,
    seen: &mut Seen,
    name: &str,
    words: &[&str],
) -> Result<Option<&'static str>, String> {
    match name {
        "SecResponseBodyMimeType" => return types(settings, seen, words).map(|()| None),
        "SecResponseBodyMimeTypesClear" => {
            seen.types = true;
            settings.response_body_types.clear();
            return if words.is_empty() { Ok(None) } else { Err(format!("{name} takes no value")) };
        }
        _ => {}
    }
    let [value] = words else {
        return Err(format!("{name} takes one value, not {}", words.len()));
    };
    let of_directive = |message: String| format!("{name}: {message}");
    body(settings, name, value)
        .or_else(|| audit(settings, name, value))
        .or_else(|| other(settings, name, value).map(|result| result.map(|()| None)))
        .unwrap_or_else(|| Err("not a setting".into()))
        .map_err(of_directive)
}

fn types(settings: &mut Settings, seen: &mut Seen, words: &[&str]) -> Result<(), String> {
    if words.is_empty() {
        return Err("SecResponseBodyMimeType needs a type".into());
    }
    if !std::mem::replace(&mut seen.types, true) {
        settings.response_body_types.clear();
    }
    for name in words.iter().flat_map(|word| word.split_ascii_whitespace()) {
        let is_new = !settings.response_body_types.iter().any(|known| known.eq_ignore_ascii_case(name));
        if is_new && settings.response_body_types.len() >= TYPES_MAX {
            return Err(format!("SecResponseBodyMimeType: more than {TYPES_MAX} types"));
        }
        if is_new {
            settings.response_body_types.push(name.to_owned());
        }
    }
    Ok(())
}

type Outcome = Option<Result<Option<&'static str>, String>>;

fn body(settings: &mut Settings, name: &str, value: &str) -> Outcome {
    let result = match name {
        "SecRequestBodyAccess" => on_off(value).map(|on| settings.request_body_access = on),
        "SecRequestBodyLimit" => bytes(value).map(|limit| settings.request_body_bytes_max = limit),
        "SecRequestBodyNoFilesLimit" => {
            bytes(value).map(|limit| settings.request_body_no_files_bytes_max = limit)
        }
        "SecRequestBodyLimitAction" => {
            limit_action(value).map(|action| settings.request_body_limit_action = action)
        }
        "SecRequestBodyJsonDepthLimit" => {
            number("the depth", value, 1, 10_000).map(|depth| settings.request_body_json_depth_max = depth)
        }
        "SecResponseBodyAccess" => on_off(value).map(|on| settings.response_body_access = on),
        "SecResponseBodyLimit" => bytes(value).map(|limit| settings.response_body_bytes_max = limit),
        "SecResponseBodyLimitAction" => {
            limit_action(value).map(|action| settings.response_body_limit_action = action)
        }
        "SecUploadFileLimit" => {
            number("the limit", value, 0, 100_000).map(|limit| settings.upload_files_max = limit)
        }
        _ => return None,
    };
    Some(result.map(|()| None))
}

fn audit(settings: &mut Settings, name: &str, value: &str) -> Outcome {
    let result = match name {
        "SecAuditEngine" => audit_mode(value).map(|mode| settings.audit = mode),
        "SecAuditLogParts" => audit_parts(value).map(|parts| settings.audit_parts = parts),
        "SecAuditLog" => {
            if value.starts_with('|') {
                Err("logs are not piped into programs".into())
            } else {
                settings.audit_path = Some(value.to_owned());
                Ok(())
            }
        }
        "SecAuditLogRelevantStatus" => {
            if value.len() > PATTERN_BYTES_MAX {
                Err(format!("the pattern has more than {PATTERN_BYTES_MAX} bytes"))
            } else {
                settings.audit_relevant_status = Some(value.to_owned());
                Ok(())
            }
        }
        "SecAuditLogFormat" => match value.to_ascii_lowercase().as_str() {
            "json" => {
                settings.audit_format = AuditFormat::Json;
                Ok(())
            }
            "native" => {
                settings.audit_format = AuditFormat::Native;
                Ok(())
            }
            _ => Err(format!("JSON or Native is needed, not {}", quoted(value))),
        },
        "SecAuditLogType" => {
            return Some(match value.to_ascii_lowercase().as_str() {
                "serial" => Ok(None),
                "parallel" | "concurrent" => {
                    Ok(Some("SecAuditLogType Parallel: the audit log is one file, as with Serial"))
                }
                _ => Err(format!("Serial or Parallel is needed, not {}", quoted(value))),
            });
        }
        _ => return None,
    };
    Some(result.map(|()| None))
}

fn other(settings: &mut Settings, name: &str, value: &str) -> Option<Result<(), String>> {
    Some(match name {
        "SecRuleEngine" => {
            engine_mode(value).map(|mode| (settings.engine, settings.is_engine_set) = (mode, true))
        }
        "SecArgumentsLimit" => {
            number("the limit", value, 1, 1_000_000).map(|limit| settings.arguments_max = limit)
        }
        "SecArgumentSeparator" => match value.as_bytes() {
            [separator] => {
                settings.argument_separator = *separator;
                Ok(())
            }
            _ => Err(format!("one ASCII character is needed, not {}", quoted(value))),
        },
        "SecCookieFormat" => number("the format", value, 0, 1).map(|format| settings.cookie_format = format),
        "SecCollectionTimeout" => {
            number("the time", value, 1, u32::MAX).map(|seconds| settings.collection_timeout_s = seconds)
        }
        "SecComponentSignature" => {
            settings.component_signatures.push(value.to_owned());
            Ok(())
        }
        "SecServerSignature" => {
            settings.server_signature = Some(value.to_owned());
            Ok(())
        }
        "SecWebAppId" => {
            value.clone_into(&mut settings.web_app_id);
            Ok(())
        }
        _ => return None,
    })
}

fn limit_action(value: &str) -> Result<LimitAction, String> {
    match value.to_ascii_lowercase().as_str() {
        "reject" => Ok(LimitAction::Reject),
        "processpartial" => Ok(LimitAction::ProcessPartial),
        _ => Err(format!("Reject or ProcessPartial is needed, not {}", quoted(value))),
    }
}
