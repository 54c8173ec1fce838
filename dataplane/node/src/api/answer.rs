//! Answers: status, JSON or text, and errors that name what was wrong.

use serde::Serialize;
use serde_json::{Value, json};

use super::request::BadRequest;
use crate::lists::Refusal;

/// An answer before it is written.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    /// A further header line, without its end.
    pub(super) field: Option<&'static str>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(status: u16, value: &impl Serialize) -> Self {
        // Values of ours have string keys and no failing serializers.
        let mut body = serde_json::to_vec(value).unwrap_or_else(|_| b"null".to_vec());
        body.push(b'\n');
        Self { status, content_type: "application/json", field: None, body }
    }

    pub(super) fn text(content_type: &'static str, text: String) -> Self {
        Self { status: 200, content_type, field: None, body: text.into_bytes() }
    }

    /// The answer as bytes. `head_only` for HEAD: the length is that of the body which is left out.
    pub(super) fn encode(&self, keep_alive: bool, head_only: bool) -> Vec<u8> {
        let mut out = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
             X-Content-Type-Options: nosniff\r\nConnection: {}\r\n",
            self.status,
            phrase(self.status),
            self.content_type,
            self.body.len(),
            if keep_alive { "keep-alive" } else { "close" },
        );
        if let Some(field) = self.field {
            out.push_str(field);
            out.push_str("\r\n");
        }
        out.push_str("\r\n");
        let mut out = out.into_bytes();
        if !head_only {
            out.extend_from_slice(&self.body);
        }
        out
    }
}

/// Why a request is not done. `code` is for programs, `message` for people.
#[derive(Debug, Default)]
pub(super) struct Failure {
    status: u16,
    code: &'static str,
    message: String,
    /// The value that is refused.
    refused: Option<Box<Refused>>,
    field: Option<&'static str>,
}

#[derive(Debug)]
struct Refused {
    key: String,
    value: Value,
    allowed: String,
}

impl Failure {
    pub(super) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), ..Self::default() }
    }

    /// A value of the request that is refused.
    pub(super) fn value(key: &str, value: Value, allowed: &str) -> Self {
        let message = format!("`{key}` must be {allowed}");
        let refused = Box::new(Refused { key: key.into(), value, allowed: allowed.into() });
        Self { refused: Some(refused), ..Self::new(400, "invalid_value", message) }
    }

    /// The path exists, but not for this method; `field` is the line that says which it takes.
    pub(super) fn method(field: &'static str) -> Self {
        let allowed = field.trim_start_matches("Allow: ");
        let failure = Self::new(405, "method_not_allowed", format!("this path takes {allowed}"));
        Self { field: Some(field), ..failure }
    }

    pub(super) fn unauthorized() -> Self {
        let failure =
            Self::new(401, "unauthorized", "present the token of [api] as `Authorization: Bearer ...`");
        Self { field: Some("WWW-Authenticate: Bearer"), ..failure }
    }

    pub(super) fn answer(self) -> Answer {
        let mut error = json!({"code": self.code, "message": self.message});
        if let (Some(refused), Some(error)) = (self.refused, error.as_object_mut()) {
            error.insert("key".into(), refused.key.into());
            error.insert("value".into(), refused.value);
            error.insert("allowed".into(), refused.allowed.into());
        }
        Answer { field: self.field, ..Answer::json(self.status, &json!({"error": error})) }
    }
}

impl From<BadRequest> for Failure {
    fn from(bad: BadRequest) -> Self {
        let code = match bad {
            BadRequest::Syntax => "bad_request",
            BadRequest::HeadTooLong => "head_too_long",
            BadRequest::BodyTooLong => "body_too_long",
            BadRequest::Method => "unknown_method",
            BadRequest::Target => "bad_target",
            BadRequest::Framing => "bad_framing",
        };
        Self::new(bad.status(), code, bad.to_string())
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let (status, code) = match &refusal {
            Refusal::Allowlisted { .. } => (409, "allowlisted"),
            Refusal::TooWide { .. } => (400, "too_wide"),
            Refusal::Full { .. } => (507, "lists_full"),
            Refusal::NotBanned { .. } => (404, "not_banned"),
            Refusal::Configured { .. } => (409, "configured"),
        };
        Self::new(status, code, refusal.to_string())
    }
}

fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        507 => "Insufficient Storage",
        _ => "Unknown",
    }
}
