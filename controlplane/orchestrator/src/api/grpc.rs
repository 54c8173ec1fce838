//! gRPC: every call recognises its caller, calls the use case, and maps a failure to a status.
//!
//! Owns: services of `secbeat.v1` for tonic, reflection, limits of messages and connections. Does not own: listeners
//! and TLS, who a caller is (`api::auth`), what a call does (`service`).

use std::time::Duration;

use secbeat_proto::{DESCRIPTOR, v1};
use tokio_stream::StreamExt as _;
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status};

use crate::api::auth::caller_of;
use crate::api::tls::accept::{Listener, Peer};
use crate::caller::Caller;
use crate::failure::Failure;
use crate::orchestrator::Orchestrator;
use crate::service::Stream;

mod access;
mod ban;
mod event;
mod fleet;
mod node;
mod policy;

/// Bytes of a message of a person or program: a policy file of 16 MiB and its frame.
pub const REQUEST_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes of a message of a node: a greeting with 4,096 digests is 500 KB, a batch of events less.
pub const NODE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of an answer: a policy with 4,096 resources.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Streams of one connection at once: a person's client has a few, a node one.
const STREAMS_MAX: u32 = 128;
/// Time between pings on a silent connection, and how long the answer may take.
const PING_PERIOD: Duration = Duration::from_secs(20);
const PING_WAIT: Duration = Duration::from_secs(10);

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let code = match &failure {
            Failure::Unauthenticated(_) => Code::Unauthenticated,
            Failure::Denied(_) => Code::PermissionDenied,
            Failure::Invalid(_) => Code::InvalidArgument,
            Failure::NotFound(_) => Code::NotFound,
            Failure::Conflict(_) => Code::Aborted,
            Failure::Refused(_) => Code::FailedPrecondition,
            Failure::Exhausted(_) => Code::ResourceExhausted,
            Failure::Unavailable(_) => Code::Unavailable,
            Failure::Internal(_) => Code::Internal,
        };
        Self::new(code, cut(&failure.to_string()))
    }
}

/// Bytes of an error text: it travels in a header, and clients refuse headers above 16 KiB.
const ERROR_BYTES_MAX: usize = 4_096;

fn cut(text: &str) -> String {
    if text.len() <= ERROR_BYTES_MAX {
        return text.to_owned();
    }
    let end = (0..=ERROR_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}\n... ({} bytes in all)", &text[..end], text.len())
}

/// A stream of the service as tonic wants it.
type Answers<T> = core::pin::Pin<Box<dyn tokio_stream::Stream<Item = Result<T, Status>> + Send + 'static>>;

fn answers<T: Send + 'static>(stream: Stream<T>) -> Response<Answers<T>> {
    Response::new(Box::pin(stream.map(|item| item.map_err(Status::from))))
}

/// Every service for one orchestrator.
#[derive(Clone, Debug)]
pub struct Grpc {
    o: Orchestrator,
}

impl Grpc {
    /// Of an orchestrator.
    pub fn new(o: Orchestrator) -> Self {
        Self { o }
    }

    fn caller<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        let peer = request.extensions().get::<Peer>();
        let peer = peer.ok_or_else(|| Status::internal("the connection says nothing of its peer"))?;
        let authorization = request.metadata().get("authorization");
        let authorization = authorization.map(|value| value.to_str()).transpose();
        let authorization = authorization
            .map_err(|_| Failure::Unauthenticated("the authorization is not readable".into()))?;
        Ok(caller_of(&self.o, peer, authorization)?)
    }
}

/// Serves on a listener until `stop` ends.
///
/// # Errors
/// What the listener says.
pub async fn serve(
    o: Orchestrator,
    listener: Listener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let grpc = Grpc::new(o);
    // Tools speak one of both; the older one is more common.
    let reflection =
        || tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(DESCRIPTOR);
    let (reflection, earlier) = (reflection().build_v1()?, reflection().build_v1alpha()?);
    Server::builder()
        .http2_keepalive_interval(Some(PING_PERIOD))
        .http2_keepalive_timeout(Some(PING_WAIT))
        .max_concurrent_streams(STREAMS_MAX)
        .add_service(
            v1::policy_service_server::PolicyServiceServer::new(grpc.clone())
                .max_decoding_message_size(REQUEST_BYTES_MAX)
                .max_encoding_message_size(ANSWER_BYTES_MAX),
        )
        .add_service(
            v1::fleet_service_server::FleetServiceServer::new(grpc.clone())
                .max_encoding_message_size(ANSWER_BYTES_MAX),
        )
        .add_service(
            v1::ban_service_server::BanServiceServer::new(grpc.clone())
                .max_decoding_message_size(REQUEST_BYTES_MAX)
                .max_encoding_message_size(ANSWER_BYTES_MAX),
        )
        .add_service(
            v1::event_service_server::EventServiceServer::new(grpc.clone())
                .max_encoding_message_size(ANSWER_BYTES_MAX),
        )
        .add_service(v1::access_service_server::AccessServiceServer::new(grpc.clone()))
        .add_service(
            v1::node_service_server::NodeServiceServer::new(grpc)
                .max_decoding_message_size(NODE_BYTES_MAX)
                .max_encoding_message_size(ANSWER_BYTES_MAX),
        )
        .add_service(reflection)
        .add_service(earlier)
        .serve_with_incoming_shutdown(listener.connections(), stop)
        .await?;
    Ok(())
}
