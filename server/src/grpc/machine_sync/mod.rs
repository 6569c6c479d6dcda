//! `MachineSyncService` on the wire.

mod answer;
mod enroll;
mod parse;
mod watch;

use crate::auth::{Caller, MachineCaller};
use crate::domain::sync::{RecordIn, SyncCall};
use crate::error::{ApiError, Reason};
use crate::limits::{MachineBudgets, OverBudget, Spending};
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
    budgets: MachineBudgets,
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
    pub fn new(
        deps: Deps,
        sync: SyncOperation,
        settings: MachineSyncSettings,
        budgets: MachineBudgets,
    ) -> Self {
        Self { deps, sync, settings, budgets }
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
        let (machine, epoch, spending) = (call.machine.0, call.epoch, spending(&call));
        self.budgets.take(machine, &spending).map_err(over_budget)?;
        let answered =
            self.sync.sync(call).await.inspect_err(|_| self.budgets.give_back(machine, &spending))?;
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

/// Bytes kept beside a record's body: hash, position, times.
const BYTES_BESIDE_BODY: u64 = 64;

fn spending(call: &SyncCall) -> Spending {
    let bytes = |record: &RecordIn| u64::try_from(record.body.len()).unwrap_or(u64::MAX) + BYTES_BESIDE_BODY;
    Spending {
        epoch: call.epoch.0,
        records: u64::try_from(call.records.len()).unwrap_or(u64::MAX),
        bytes: call.records.iter().map(bytes).sum(),
        dead_letter_bytes: call.records.iter().filter(|record| record.meaning.is_err()).map(bytes).sum(),
    }
}

fn over_budget(over: OverBudget) -> ApiError {
    let words = format!(
        "this machine has sent more than its budget ({}); nothing of this call was stored",
        over.limit
    );
    ApiError::new(Reason::MachineBudget, words)
        .with("limit", over.limit)
        .with("most", over.most)
        .with("window_ms", over.window.as_millis())
        .retry_after(over.retry_after)
}

fn machine<T>(request: &Request<T>) -> Result<MachineCaller, ApiError> {
    request.extensions().get::<Caller>().and_then(Caller::machine).copied().ok_or_else(|| {
        ApiError::new(Reason::PermissionDenied, "only a machine's credential may make this call")
    })
}
