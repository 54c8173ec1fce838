//! The control plane of a SecBeat fleet: one process with an embedded store and nothing else to install.
//!
//! ```text
//!  nodes --NodeService--> session --.                       .--> policy, rollout
//!  secbeat (CLI) --gRPC--> api::grpc --> service::<noun> ---+--> registry      --> store
//!  people, programs --REST--> api::rest -'   (use cases)    +--> ban, event, audit
//!                                                           '--> access (tokens, authority)
//!                 task: reconcilers, run on a signal and on a period
//! ```
//!
//! Owns: what the fleet shall do, who may say so, what became of it. Does not own: the data plane (no crate of it is
//! a dependency), what a policy's keys mean (`secbeat-config`). gRPC and REST are two faces of `service`: each use
//! case is one function there that takes a [`caller::Caller`] and a request of `secbeat.v1` and answers with a
//! response or a [`failure::Failure`]; rights, idempotency and the audit log are part of it, not of the face.
#![forbid(unsafe_code)]

pub mod access;
pub mod api;
pub mod audit;
pub mod ban;
pub mod batch;
pub mod caller;
pub mod cli;
pub mod command;
pub mod event;
mod export;
pub mod failure;
pub mod metrics;
pub mod orchestrator;
pub mod policy;
pub mod registry;
pub mod request;
pub mod service;
pub mod session;
pub mod store;
pub mod task;

pub use orchestrator::Orchestrator;
