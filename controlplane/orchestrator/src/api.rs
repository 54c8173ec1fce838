//! The faces of the orchestrator: gRPC for nodes and the command line tool, REST for people and programs.
//!
//! Owns: connections, TLS, who a caller is, the form of requests and answers. Does not own: what a request does
//! (`service`).

pub mod auth;
pub mod counters;
pub mod grpc;
pub mod rate;
pub mod rest;
pub mod tls;

#[cfg(test)]
pub(crate) mod tests;
