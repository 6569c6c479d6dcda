//! Ends a session from any state.

use super::get_session::{SessionNow, now};
use super::refusal::refused;
use crate::context::Context;
use crate::domain::fleet::MachineDetail;
use crate::domain::ids::{MachineId, SessionId};
use crate::domain::pool::{self, Answer, Command, Reset, Settings as Rules, View, Writes};
use crate::domain::request::RequestKey;
use crate::error::ApiError;
use crate::operations::deps::{ContextIds, Failure, trace, write};
use crate::operations::request::begin;
use crate::operations::{Deps, fleet};
use crate::store::{Tx, pool as store, requests};

/// What was ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WasReset {
    /// As it is now.
    pub now: SessionNow,
    /// As it is now.
    pub machine: MachineDetail,
    /// Units given back then.
    pub units_returned: u32,
}

struct Input {
    key: RequestKey,
    reset: Reset,
    context: Context,
    rules: Rules,
}

/// Ends the named session, once per request id.
///
/// # Errors
/// MACHINE_NOT_FOUND, SESSION_NOT_FOUND, MACHINE_ALREADY_IDLE, SESSION_ENDED, IDEMPOTENCY_KEY_REUSED, LOCK_CONFLICT.
pub async fn reset_machine(
    deps: &Deps,
    key: RequestKey,
    machine: MachineId,
    session: SessionId,
    note: String,
) -> Result<WasReset, ApiError> {
    let (trace_id, traceparent) = trace();
    let (operator, why) = (key.caller.clone(), note.clone());
    let reset = Reset { machine, session, note, at_ms: deps.context.now_ms(), trace_id, traceparent };
    let input = Input { key, reset, context: deps.context.clone(), rules: *deps.pool.rules() };
    let (units_returned, done) =
        write(deps, "reset_machine", input, |tx, input| Box::pin(end(tx, input))).await?;
    if let Some((view, writes)) = done {
        // Only a purchase that the reset fails keeps the operator's words.
        tracing::info!(%operator, session_id = %session, machine_id = %machine, note = why, "a session was reset");
        deps.pool.after.commit(&view, &writes);
    }
    Ok(WasReset {
        now: now(deps, session).await?,
        machine: fleet::get_machine(deps, machine).await?,
        units_returned,
    })
}

/// Gives the units, and what was written now.
async fn end(tx: &mut Tx, input: &Input) -> Result<(u32, Option<(View, Writes)>), Failure> {
    let Input { key, reset, context, rules } = input;
    if let Some(known) = begin(tx, key, &reset.session.to_string(), reset.at_ms).await? {
        return Ok((known.response.first().copied().map_or(0, u32::from), None));
    }
    let command = Command::Reset(reset.clone());
    let mut view = store::load(tx, std::slice::from_ref(&command), reset.at_ms).await?;
    let mut writes = Writes::default();
    match pool::fold(&mut view, &command, rules, &mut ContextIds(context), &mut writes) {
        Answer::Reset { units_returned, .. } => {
            let response = [u8::try_from(units_returned).unwrap_or(u8::MAX)];
            requests::note_response(tx, key, &response).await?;
            store::write(tx, &view, &writes).await?;
            Ok((units_returned, Some((view, writes))))
        }
        Answer::Refused(refusal) => Err(refused(refusal).into()),
        other => Err(ApiError::internal(format!("a reset was answered with {other:?}")).into()),
    }
}
