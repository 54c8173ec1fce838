//! `AccessService`.

use secbeat_proto::v1;
use secbeat_proto::v1::access_service_server::AccessService;
use tonic::{Request, Response, Status};

use super::Grpc;
use crate::service::{access, audit};

#[tonic::async_trait]
impl AccessService for Grpc {
    async fn create_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Result<Response<v1::CreateTokenResponse>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(access::create_token(&self.o, &caller, request.into_inner()).await?))
    }

    async fn list_tokens(
        &self,
        request: Request<v1::ListTokensRequest>,
    ) -> Result<Response<v1::ListTokensResponse>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(access::list_tokens(&self.o, &caller, request.into_inner()).await?))
    }

    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Result<Response<v1::RevokeTokenResponse>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(access::revoke_token(&self.o, &caller, request.into_inner()).await?))
    }

    async fn list_audit(
        &self,
        request: Request<v1::ListAuditRequest>,
    ) -> Result<Response<v1::ListAuditResponse>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(audit::list_audit(&self.o, &caller, request.into_inner()).await?))
    }

    async fn verify_audit(
        &self,
        request: Request<v1::VerifyAuditRequest>,
    ) -> Result<Response<v1::VerifyAuditResponse>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(audit::verify_audit(&self.o, &caller, request.into_inner()).await?))
    }
}
