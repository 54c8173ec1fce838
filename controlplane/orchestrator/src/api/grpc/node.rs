//! `NodeService`.

use secbeat_proto::v1;
use secbeat_proto::v1::node_service_server::NodeService;
use tokio_stream::StreamExt as _;
use tonic::{Code, Request, Response, Status, Streaming};

use super::{Answers, Grpc, answers};
use crate::failure::Failure;
use crate::service::{enrol, node};

#[tonic::async_trait]
impl NodeService for Grpc {
    type AttachStream = Answers<v1::OrchestratorMessage>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::NodeMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let caller = self.caller(&request)?;
        let incoming = request.into_inner().map(|message| message.map_err(|status| failure(&status)));
        Ok(answers(node::attach(&self.o, &caller, Box::pin(incoming)).await?))
    }

    async fn enroll(
        &self,
        request: Request<v1::EnrollRequest>,
    ) -> Result<Response<v1::EnrollResponse>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(enrol::enroll(&self.o, &caller, request.into_inner()).await?))
    }

    async fn renew(
        &self,
        request: Request<v1::RenewRequest>,
    ) -> Result<Response<v1::EnrollResponse>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(enrol::renew(&self.o, &caller, request.into_inner()).await?))
    }
}

/// Why a stream from a node broke: what cannot be read is the node's mistake, all else the way's.
fn failure(status: &Status) -> Failure {
    match status.code() {
        Code::Internal | Code::InvalidArgument | Code::OutOfRange => {
            Failure::Invalid(format!("a message cannot be read: {}", status.message()))
        }
        _ => Failure::Unavailable(format!("the stream broke: {}", status.message())),
    }
}
