//! `BanService`.

use secbeat_proto::v1;
use secbeat_proto::v1::ban_service_server::BanService;
use tonic::{Request, Response, Status};

use super::{Answers, Grpc, answers};
use crate::service::ban;

#[tonic::async_trait]
impl BanService for Grpc {
    type WatchBansStream = Answers<v1::BanEvent>;

    async fn add_ban(
        &self,
        request: Request<v1::AddBanRequest>,
    ) -> Result<Response<v1::AddBanResponse>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(ban::add_ban(&self.o, &caller, request.into_inner()).await?))
    }

    async fn remove_ban(
        &self,
        request: Request<v1::RemoveBanRequest>,
    ) -> Result<Response<v1::RemoveBanResponse>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(ban::remove_ban(&self.o, &caller, request.into_inner()).await?))
    }

    async fn list_bans(
        &self,
        request: Request<v1::ListBansRequest>,
    ) -> Result<Response<v1::ListBansResponse>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(ban::list_bans(&self.o, &caller, request.into_inner()).await?))
    }

    async fn import_bans(
        &self,
        request: Request<v1::ImportBansRequest>,
    ) -> Result<Response<v1::ImportBansResponse>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(ban::import_bans(&self.o, &caller, request.into_inner()).await?))
    }

    async fn watch_bans(
        &self,
        request: Request<v1::WatchBansRequest>,
    ) -> Result<Response<Self::WatchBansStream>, Status> {
        let caller = self.caller(&request)?;
        Ok(answers(ban::watch_bans(&self.o, &caller, request.into_inner()).await?))
    }
}
