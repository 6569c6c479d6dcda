//! gRPC health as the protocol has it: tonic-health ends a Watch of a service it does not know with NOT_FOUND, where the
//! protocol says SERVICE_UNKNOWN, and goes on (https://github.com/grpc/grpc/blob/master/doc/health-checking.md).

use std::pin::Pin;

use tokio_stream::{Stream, StreamExt as _};
use tonic::{Code, Request, Response, Status};
use tonic_health::{
    pb::{
        HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server::Health,
    },
    server::{HealthReporter, HealthService},
};

/// Health over what a reporter was told.
pub struct StandardHealth(HealthService);

impl StandardHealth {
    /// Shows what this reporter is told.
    pub fn new(reporter: HealthReporter) -> Self {
        Self(HealthService::from_health_reporter(reporter))
    }
}

type Statuses = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Health for StandardHealth {
    type WatchStream = Statuses;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        self.0.check(request).await
    }

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Statuses>, Status> {
        match self.0.watch(request).await {
            Ok(known) => {
                let statuses: Statuses = Box::pin(known.into_inner());
                Ok(Response::new(statuses))
            }
            // The services of this server are known from its start: it never becomes one.
            Err(status) if status.code() == Code::NotFound => {
                let unknown = HealthCheckResponse { status: ServingStatus::ServiceUnknown.into() };
                let statuses: Statuses =
                    Box::pin(tokio_stream::once(Ok(unknown)).chain(tokio_stream::pending()));
                Ok(Response::new(statuses))
            }
            Err(status) => Err(status),
        }
    }
}
