//! Use cases: one function per call of `secbeat.v1`, the same for gRPC and REST.
//!
//! Each takes the caller and the request, checks rights (`Caller::require`), limits and meaning, and answers. A
//! function that changes something goes through `mutation::carry_out`: repetition by `request_id`, dry run, audit
//! log before the answer.
//!
//! ```text
//! service/policy.rs   apply diff get history rollback confirm cancel get_rollout watch_rollout watch change_rules
//! service/fleet.rs    list_nodes get_node watch_nodes get_fleet_stats order_nodes scale cleanup get_server_info
//! service/explain.rs  explain
//! service/ban.rs      add_ban remove_ban list_bans import_bans watch_bans
//! service/event.rs    list_events watch_events acknowledge_events get_event_stats list_threats
//! service/access.rs   create_token list_tokens revoke_token
//! service/audit.rs    list_audit verify_audit
//! service/node.rs     attach enroll renew
//! ```
//!
//! Shape: `pub async fn apply(o: &Orchestrator, caller: &Caller, request: v1::ApplyRequest) ->
//! Result<v1::ApplyResponse, Failure>`; streams: `-> Result<Stream<v1::PolicyEvent>, Failure>`.

use core::pin::Pin;

use tokio_stream::Stream as AnyStream;

use crate::failure::Failure;

pub mod access;
pub mod audit;
pub mod ban;
pub mod enrol;
pub mod event;
pub mod explain;
pub mod fleet;
pub mod mutation;
pub mod node;
pub mod policy;

/// What a watch answers with. Dropping it ends the watch.
pub type Stream<T> = Pin<Box<dyn AnyStream<Item = Result<T, Failure>> + Send + 'static>>;

/// Runs what blocks (the store) beside the runtime's own threads.
///
/// # Errors
/// Those of `work`; `Internal` when it panicked.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Failure::Internal(format!("a blocking task: {error}"))),
    }
}
