//! `PolicyService`.

use secbeat_proto::v1;
use secbeat_proto::v1::policy_service_server::PolicyService;
use tonic::{Request, Response, Status};

use super::{Answers, Grpc, answers};
use crate::service::policy;

#[tonic::async_trait]
impl PolicyService for Grpc {
    type WatchRolloutStream = Answers<v1::RolloutStatus>;
    type WatchStream = Answers<v1::PolicyEvent>;

    async fn apply(&self, request: Request<v1::ApplyRequest>) -> Result<Response<v1::ApplyResponse>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(policy::apply(&self.o, &caller, request.into_inner()).await?))
    }

    async fn diff(&self, request: Request<v1::DiffRequest>) -> Result<Response<v1::DiffResponse>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(policy::diff(&self.o, &caller, request.into_inner()).await?))
    }

    async fn get(
        &self,
        request: Request<v1::GetPolicyRequest>,
    ) -> Result<Response<v1::GetPolicyResponse>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(policy::get(&self.o, &caller, request.into_inner()).await?))
    }

    async fn history(
        &self,
        request: Request<v1::HistoryRequest>,
    ) -> Result<Response<v1::HistoryResponse>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(policy::history(&self.o, &caller, request.into_inner()).await?))
    }

    async fn rollback(
        &self,
        request: Request<v1::RollbackRequest>,
    ) -> Result<Response<v1::ApplyResponse>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(policy::rollback(&self.o, &caller, request.into_inner()).await?))
    }

    async fn confirm(
        &self,
        request: Request<v1::ConfirmRequest>,
    ) -> Result<Response<v1::RolloutStatus>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(policy::confirm(&self.o, &caller, request.into_inner()).await?))
    }

    async fn cancel(
        &self,
        request: Request<v1::CancelRequest>,
    ) -> Result<Response<v1::RolloutStatus>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(policy::cancel(&self.o, &caller, request.into_inner()).await?))
    }

    async fn get_rollout(
        &self,
        request: Request<v1::GetRolloutRequest>,
    ) -> Result<Response<v1::RolloutStatus>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(policy::get_rollout(&self.o, &caller, request.into_inner()).await?))
    }

    async fn change_rules(
        &self,
        request: Request<v1::ChangeRulesRequest>,
    ) -> Result<Response<v1::ApplyResponse>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(policy::change_rules(&self.o, &caller, request.into_inner()).await?))
    }

    async fn watch_rollout(
        &self,
        request: Request<v1::GetRolloutRequest>,
    ) -> Result<Response<Self::WatchRolloutStream>, Status> {
        let caller = self.caller(&request)?;
        Ok(answers(policy::watch_rollout(&self.o, &caller, request.into_inner()).await?))
    }

    async fn watch(
        &self,
        request: Request<v1::WatchPolicyRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let caller = self.caller(&request)?;
        Ok(answers(policy::watch(&self.o, &caller, request.into_inner()).await?))
    }
}
