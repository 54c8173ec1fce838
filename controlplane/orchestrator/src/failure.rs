//! Why a request was not carried out, for every face alike.
//!
//! Owns: kinds of failures. Does not own: status codes (`api::grpc`, `api::rest` map them).

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nobody, or an unknown, expired or revoked token. gRPC UNAUTHENTICATED, HTTP 401.
    #[error("{0}")]
    Unauthenticated(String),
    /// Known, but without the scope. PERMISSION_DENIED, 403.
    #[error("{0}")]
    Denied(String),
    /// INVALID_ARGUMENT, 422 (400 when the request itself cannot be read).
    #[error("{0}")]
    Invalid(String),
    /// NOT_FOUND, 404.
    #[error("{0}")]
    NotFound(String),
    /// Another revision by now, or the same request id with another request. ABORTED, 409.
    #[error("{0}")]
    Conflict(String),
    /// Not in this state: an allowlisted address, a rollout that ended. FAILED_PRECONDITION, 409.
    #[error("{0}")]
    Refused(String),
    /// A limit: rate, size, number. RESOURCE_EXHAUSTED, 429.
    #[error("{0}")]
    Exhausted(String),
    /// The store cannot write, the webhook does not answer. UNAVAILABLE, 503.
    #[error("{0}")]
    Unavailable(String),
    /// A defect here. INTERNAL, 500.
    #[error("{0}")]
    Internal(String),
}

impl From<crate::store::Error> for Failure {
    fn from(error: crate::store::Error) -> Self {
        tracing::error!(%error, "store");
        Self::Unavailable(format!("the store: {error}"))
    }
}
