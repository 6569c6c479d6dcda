//! The stream of hints.

use super::MachineSyncGrpc;
use crate::auth::caller::{MachineCaller, Standing};
use crate::domain::ids::MachineId;
use crate::error::ApiError;
use crate::operations::watch::Subscription;
use crate::store::Waiting;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use tokio_stream::Stream;
use tonic::Status;
use vendfleet_proto::v1;

/// A heartbeat when nothing else was sent, so that both ends notice a dead link.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// A stream ends itself between these ages, so that a fleet does not reconnect as one.
const MIN_AGE: Duration = Duration::from_secs(25 * 60);
const AGE_JITTER: Duration = Duration::from_secs(10 * 60);

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
    let subscription = service.hints.subscribe(machine);
    let first = match caller.standing {
        Standing::Active => service.sync.waiting(machine).await?,
        // Nothing is ever told to a credential that may only upload.
        Standing::UploadOnly { .. } => Waiting::default(),
    };
    let ends_at = Instant::now() + MIN_AGE + service.context.jitter(AGE_JITTER);
    let state = State { subscription, context: service.context.clone(), first: Some(first), ends_at };
    Ok(Box::pin(stream(state)))
}

struct State {
    subscription: Subscription,
    context: crate::context::Context,
    first: Option<Waiting>,
    ends_at: Instant,
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
        let hint =
            v1::WatchResponse { server_time_ms: state.context.now_ms(), reasons: reasons(waiting) };
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
            () = tokio::time::sleep(HEARTBEAT) => waiting = Waiting::default(),
            () = sleep_until(state.ends_at) => return,
        }
    }
}

fn reasons(waiting: Waiting) -> Vec<i32> {
    let mut reasons = Vec::new();
    if waiting.config_number != 0 {
        reasons.push(v1::WatchReason::Config.into());
    }
    if waiting.verdict_number != 0 {
        reasons.push(v1::WatchReason::Verdict.into());
    }
    reasons
}
