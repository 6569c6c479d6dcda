//! `MachineSyncService` on the wire.

mod answer;
mod enroll;
mod parse;
mod watch;

use crate::auth::{Caller, MachineCaller};
use crate::error::{ApiError, Reason};
use crate::operations::Deps;
use crate::operations::fleet::reenroll_token;
use crate::operations::sync::SyncOperation;
use crate::telemetry;
use std::time::Duration;
use tonic::{Request, Response, Status};
use vendfleet_proto::v1;
use vendfleet_proto::v1::machine_sync_service_server::MachineSyncService;

/// The service. Generated code calls it; every call is parsed here and decided in `operations`.
pub struct MachineSyncGrpc {
    deps: Deps,
    sync: SyncOperation,
    settings: MachineSyncSettings,
}

/// What an operator can set of it.
#[derive(Clone, Copy, Debug)]
pub struct MachineSyncSettings {
    /// How long devices keep what is durable, days.
    pub keep_days: u32,
    /// Most records of one Sync.
    pub max_records: usize,
    /// Most bytes of record bodies of one Sync.
    pub max_body_bytes: usize,
    /// A stream of hints sends something at least so often.
    pub watch_heartbeat: Duration,
}

impl MachineSyncGrpc {
    /// The service over these.
    #[must_use]
    pub fn new(deps: Deps, sync: SyncOperation, settings: MachineSyncSettings) -> Self {
        Self { deps, sync, settings }
    }

    async fn answer(&self, request: Request<v1::SyncRequest>) -> Result<v1::SyncResponse, ApiError> {
        let edge = parse::Edge {
            caller: machine(&request)?,
            incarnation: self.sync.incarnation(),
            received_at_ms: self.deps.context.now_ms(),
            trace_id: telemetry::current().map(|trace| trace.id).unwrap_or_default(),
            max_records: self.settings.max_records,
            max_body_bytes: self.settings.max_body_bytes,
        };
        let call = parse::sync_call(request.into_inner(), edge)?;
        let epoch = call.epoch;
        let answered = self.sync.sync(call).await?;
        let token = answered.answer.reenroll_as.map(|machine| reenroll_token(&self.deps.key, machine, epoch));
        Ok(answer::response(answered, self.settings.keep_days, token))
    }
}

#[tonic::async_trait]
impl MachineSyncService for MachineSyncGrpc {
    async fn enroll(
        &self,
        request: Request<v1::EnrollRequest>,
    ) -> Result<Response<v1::EnrollResponse>, Status> {
        Ok(Response::new(enroll::enroll(&self.deps, request.into_inner()).await?))
    }

    async fn sync(&self, request: Request<v1::SyncRequest>) -> Result<Response<v1::SyncResponse>, Status> {
        Ok(Response::new(self.answer(request).await?))
    }

    type WatchStream = watch::HintStream;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let caller = machine(&request)?;
        Ok(Response::new(watch::open(self, caller, request.get_ref()).await?))
    }
}

fn machine<T>(request: &Request<T>) -> Result<MachineCaller, ApiError> {
    request.extensions().get::<Caller>().and_then(Caller::machine).copied().ok_or_else(|| {
        ApiError::new(Reason::PermissionDenied, "only a machine's credential may make this call")
    })
}
