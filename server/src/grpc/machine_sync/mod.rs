//! `MachineSyncService` on the wire.

mod answer;
mod parse;
mod watch;

use crate::auth::caller::{Caller, MachineCaller};
use crate::context::Context;
use crate::error::{ApiError, Reason};
use crate::operations::enroll::EnrollOperation;
use crate::operations::sync::SyncOperation;
use crate::operations::watch::Hints;
use crate::telemetry;
use tonic::{Request, Response, Status};
use vendfleet_proto::v1;
use vendfleet_proto::v1::machine_sync_service_server::MachineSyncService;

/// The service. Generated code calls it; every call it answers is parsed here and decided in `operations`.
pub struct MachineSyncGrpc {
    /// Identities.
    pub enroll: EnrollOperation,
    /// The one call.
    pub sync: SyncOperation,
    /// What waits for machines.
    pub hints: Hints,
    /// Time and ids.
    pub context: Context,
    /// How long devices keep what is durable, days.
    pub keep_days: u32,
}

impl MachineSyncGrpc {
    async fn answer(&self, request: Request<v1::SyncRequest>) -> Result<v1::SyncResponse, ApiError> {
        let caller = machine(&request)?;
        let trace_id = telemetry::current().map(|trace| trace.id).unwrap_or_default();
        let incarnation = self.sync.incarnation();
        let edge = parse::Edge { caller, incarnation, received_at_ms: self.context.now_ms(), trace_id };
        let call = parse::sync_call(request.into_inner(), edge)?;
        let epoch = call.epoch;
        let answered = self.sync.sync(call).await?;
        let claim_token = answered.answer.reenroll_as.map(|machine| self.enroll.reenroll_token(machine, epoch));
        Ok(answer::response(answered, self.keep_days, claim_token))
    }
}

#[tonic::async_trait]
impl MachineSyncService for MachineSyncGrpc {
    async fn enroll(&self, request: Request<v1::EnrollRequest>) -> Result<Response<v1::EnrollResponse>, Status> {
        super::enroll::enroll(&self.enroll, request).await.map(Response::new).map_err(Status::from)
    }

    async fn sync(&self, request: Request<v1::SyncRequest>) -> Result<Response<v1::SyncResponse>, Status> {
        self.answer(request).await.map(Response::new).map_err(Status::from)
    }

    type WatchStream = watch::HintStream;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let caller = machine(&request).map_err(Status::from)?;
        watch::open(self, caller, request.get_ref()).await.map(Response::new).map_err(Status::from)
    }
}

fn machine<T>(request: &Request<T>) -> Result<MachineCaller, ApiError> {
    request
        .extensions()
        .get::<Caller>()
        .and_then(Caller::machine)
        .copied()
        .ok_or_else(|| ApiError::new(Reason::PermissionDenied, "only a machine's credential may make this call"))
}
