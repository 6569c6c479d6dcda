//! The stream of hints. Its age is bounded by the shell, as every stream's is.

use super::MachineSyncGrpc;
use crate::auth::{MachineCaller, Standing};
use crate::domain::ids::MachineId;
use crate::error::ApiError;
use crate::operations::presence::Present;
use crate::operations::watch::{Subscription, Waiting};
use std::pin::Pin;
use std::time::Duration;
use tokio_stream::Stream;
use tonic::Status;
use vendfleet_proto::v1;

pub(super) type HintStream = Pin<Box<dyn Stream<Item = Result<v1::WatchResponse, Status>> + Send>>;

pub(super) async fn open(
    service: &MachineSyncGrpc,
    caller: MachineCaller,
    request: &v1::WatchRequest,
) -> Result<HintStream, ApiError> {
    for (field, bytes) in [("epoch", &request.epoch), ("boot_id", &request.boot_id)] {
        if bytes.len() != 16 {
            return Err(ApiError::invalid_field(field, format!("exactly 16 bytes, got {}", bytes.len())));
        }
    }
    let machine = MachineId(caller.machine_id);
    let subscription = service.deps.hints.subscribe(machine);
    let first = match caller.standing {
        Standing::Active => service.sync.waiting(machine).await?,
        // Nothing is ever told to a credential that may only upload.
        Standing::UploadOnly { .. } => Waiting::default(),
    };
    // A device that may only upload is not there for anybody.
    let present = match caller.standing {
        Standing::Active => Some(service.deps.hints.presence().open(machine)),
        Standing::UploadOnly { .. } => None,
    };
    let state = State {
        subscription,
        _present: present,
        context: service.deps.context.clone(),
        first: Some(first),
        heartbeat: service.settings.watch_heartbeat,
    };
    Ok(Box::pin(stream(state)))
}

struct State {
    subscription: Subscription,
    /// Ends with the stream.
    _present: Option<Present>,
    context: crate::context::Context,
    first: Option<Waiting>,
    /// Sent when nothing else was for so long, so that both ends notice a dead link.
    heartbeat: Duration,
}

fn stream(state: State) -> impl Stream<Item = Result<v1::WatchResponse, Status>> + Send {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        tokio::select! {
            () = pump(state, &sender) => {}
            // The caller went away: its subscription goes with it.
            () = sender.closed() => {}
        }
    });
    tokio_stream::wrappers::ReceiverStream::new(receiver)
}

async fn pump(mut state: State, sender: &tokio::sync::mpsc::Sender<Result<v1::WatchResponse, Status>>) {
    let mut waiting = state.first.take().unwrap_or_default();
    loop {
        let hint = v1::WatchResponse { server_time_ms: state.context.now_ms(), reasons: reasons(waiting) };
        if sender.send(Ok(hint)).await.is_err() {
            return;
        }
        tokio::select! {
            changed = state.subscription.waiting.changed() => {
                if changed.is_err() {
                    return;
                }
                waiting = *state.subscription.waiting.borrow_and_update();
            }
            () = tokio::time::sleep(state.heartbeat) => waiting = Waiting::default(),
        }
    }
}

fn reasons(waiting: Waiting) -> Vec<i32> {
    let mut reasons = Vec::new();
    if waiting.config_number != 0 {
        reasons.push(v1::WatchReason::Config.into());
    }
    if waiting.command_number != 0 {
        reasons.push(v1::WatchReason::Command.into());
    }
    if waiting.verdict_number != 0 {
        reasons.push(v1::WatchReason::Verdict.into());
    }
    reasons
}
