//! `FleetService`.

use secbeat_proto::v1;
use secbeat_proto::v1::fleet_service_server::FleetService;
use tonic::{Request, Response, Status};

use super::{Answers, Grpc, answers};
use crate::service::{explain, fleet};

#[tonic::async_trait]
impl FleetService for Grpc {
    type WatchNodesStream = Answers<v1::NodeEvent>;

    async fn list_nodes(
        &self,
        request: Request<v1::ListNodesRequest>,
    ) -> Result<Response<v1::ListNodesResponse>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(fleet::list_nodes(&self.o, &caller, request.into_inner()).await?))
    }

    async fn get_node(
        &self,
        request: Request<v1::GetNodeRequest>,
    ) -> Result<Response<v1::NodeDetail>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(fleet::get_node(&self.o, &caller, request.into_inner()).await?))
    }

    async fn get_fleet_stats(
        &self,
        request: Request<v1::GetFleetStatsRequest>,
    ) -> Result<Response<v1::FleetStats>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(fleet::get_fleet_stats(&self.o, &caller, request.into_inner()).await?))
    }

    async fn order_nodes(
        &self,
        request: Request<v1::OrderNodesRequest>,
    ) -> Result<Response<v1::OrderNodesResponse>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(fleet::order_nodes(&self.o, &caller, request.into_inner()).await?))
    }

    async fn scale(&self, request: Request<v1::ScaleRequest>) -> Result<Response<v1::ScaleResponse>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(fleet::scale(&self.o, &caller, request.into_inner()).await?))
    }

    async fn cleanup(
        &self,
        request: Request<v1::CleanupRequest>,
    ) -> Result<Response<v1::CleanupResponse>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(fleet::cleanup(&self.o, &caller, request.into_inner()).await?))
    }

    async fn get_server_info(
        &self,
        request: Request<v1::GetServerInfoRequest>,
    ) -> Result<Response<v1::ServerInfo>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(fleet::get_server_info(&self.o, &caller, request.into_inner()).await?))
    }

    async fn watch_nodes(
        &self,
        request: Request<v1::WatchNodesRequest>,
    ) -> Result<Response<Self::WatchNodesStream>, Status> {
        let caller = self.caller(&request)?;
        Ok(answers(fleet::watch_nodes(&self.o, &caller, request.into_inner()).await?))
    }

    async fn explain(
        &self,
        request: Request<v1::ExplainRequest>,
    ) -> Result<Response<v1::ExplainResponse>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(explain::explain(&self.o, &caller, request.into_inner()).await?))
    }
}
