//! TLS of sessions (its owner fills this file).

/// Certificates and protocol versions, shared by all workers.
#[derive(Debug, Default)]
pub struct Acceptor {}
