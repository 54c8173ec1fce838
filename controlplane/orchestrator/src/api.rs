//! The faces of the orchestrator.
//!
//! Owns: nothing but the way from a protocol to `service` and back. gRPC is here first; listeners and recognition of
//! callers are theirs to share.

pub mod grpc;
