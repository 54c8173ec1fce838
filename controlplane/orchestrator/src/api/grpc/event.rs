//! `EventService`.

use secbeat_proto::v1;
use secbeat_proto::v1::event_service_server::EventService;
use tonic::{Request, Response, Status};

use super::{Answers, Grpc, answers};
use crate::service::event;

#[tonic::async_trait]
impl EventService for Grpc {
    type WatchEventsStream = Answers<v1::WatchEventsResponse>;

    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(event::list_events(&self.o, &caller, request.into_inner()).await?))
    }

    async fn acknowledge_events(
        &self,
        request: Request<v1::AcknowledgeEventsRequest>,
    ) -> Result<Response<v1::AcknowledgeEventsResponse>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(event::acknowledge_events(&self.o, &caller, request.into_inner()).await?))
    }

    async fn get_event_stats(
        &self,
        request: Request<v1::GetEventStatsRequest>,
    ) -> Result<Response<v1::EventStats>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(event::get_event_stats(&self.o, &caller, request.into_inner()).await?))
    }

    async fn list_threats(
        &self,
        request: Request<v1::ListThreatsRequest>,
    ) -> Result<Response<v1::ListThreatsResponse>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(event::list_threats(&self.o, &caller, request.into_inner()).await?))
    }

    async fn watch_events(
        &self,
        request: Request<v1::WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        let caller = self.caller(&request)?;
        Ok(answers(event::watch_events(&self.o, &caller, request.into_inner()).await?))
    }
}
