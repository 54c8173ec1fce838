//! Errors as RFC 9457 writes them: `application/problem+json`.
//!
//! Owns: which status and code a failure has. Does not own: the text, which is the failure's.

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::failure::Failure;

/// Media type of errors.
pub(super) const MEDIA_TYPE: &str = "application/problem+json";
/// Lines of a message that stand alone in `errors`; what is beyond stands in `detail` only.
const ERRORS_MAX: usize = 100;

/// Why a request was not carried out (RFC 9457).
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "type": "about:blank",
    "title": "Not Found",
    "status": 404,
    "code": "not_found",
    "detail": "there is no ban of 203.0.113.7/32",
    "errors": []
}))]
pub(super) struct Problem {
    /// Always `about:blank`: `code` says which problem it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// For programs: `unauthenticated`, `denied`, `invalid`, `unreadable`, `not_found`, `conflict`, `refused`,
    /// `exhausted`, `too_large`, `unavailable`, `timeout`, `internal`, or the status in words.
    code: String,
    /// For people: what is wrong, and what to do.
    detail: String,
    /// Each mistake alone, when there are several.
    errors: Vec<String>,
    /// Seconds after which a repetition may succeed.
    #[serde(skip)]
    retry_after_s: Option<u32>,
}

impl Problem {
    /// A problem of this status.
    pub(super) fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let lines: Vec<String> = detail.lines().take(ERRORS_MAX).map(str::to_owned).collect();
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code: code.to_owned(),
            detail,
            errors: if lines.len() > 1 { lines } else { Vec::new() },
            retry_after_s: None,
        }
    }

    /// What a status that nobody explained means.
    pub(super) fn of_status(status: StatusCode) -> Self {
        let words =
            status.canonical_reason().unwrap_or("error").to_ascii_lowercase().replace([' ', '-'], "_");
        let detail = match status {
            StatusCode::NOT_FOUND => "there is nothing at this path; see /api/v1/openapi.json",
            StatusCode::METHOD_NOT_ALLOWED => {
                "this path does not know the method; `Allow` says which it knows"
            }
            StatusCode::PAYLOAD_TOO_LARGE => "the body is longer than allowed here",
            _ => "the request cannot be served",
        };
        Self::new(status, &words, detail)
    }

    /// The same, with the time after which a repetition may succeed.
    pub(super) fn after(self, seconds: u32) -> Self {
        Self { retry_after_s: Some(seconds.max(1)), ..self }
    }

    /// The request cannot be read.
    pub(super) fn unreadable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "unreadable", detail)
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let detail = failure.to_string();
        match failure {
            Failure::Unauthenticated(_) => Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail),
            Failure::Denied(_) => Self::new(StatusCode::FORBIDDEN, "denied", detail),
            Failure::Invalid(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail),
            Failure::NotFound(_) => Self::new(StatusCode::NOT_FOUND, "not_found", detail),
            Failure::Conflict(_) => Self::new(StatusCode::CONFLICT, "conflict", detail),
            Failure::Refused(_) => Self::new(StatusCode::CONFLICT, "refused", detail),
            Failure::Exhausted(_) => Self::new(StatusCode::TOO_MANY_REQUESTS, "exhausted", detail).after(60),
            Failure::Unavailable(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).after(5)
            }
            Failure::Internal(_) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail),
        }
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        let code = match rejection.status() {
            StatusCode::UNPROCESSABLE_ENTITY => "invalid",
            StatusCode::PAYLOAD_TOO_LARGE => "too_large",
            _ => "unreadable",
        };
        Self::new(rejection.status(), code, rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::unreadable(rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::unreadable(rejection.body_text())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"secbeat\""));
        }
        response
    }
}
