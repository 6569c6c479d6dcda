//! Takes a machine for a customer.

use super::committer::Granted;
use super::get_session::{SessionNow, now};
use super::refusal::{NoIdle, no_idle, refused};
use super::token::token;
use crate::domain::ids::SessionId;
use crate::domain::pool::{Pick, Refusal, Start};
use crate::domain::request::RequestKey;
use crate::error::ApiError;
use crate::operations::Deps;
use crate::operations::deps::trace;
use crate::store::pool as store;
use std::time::Duration;

/// What a caller asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewStart {
    /// Makes it safe to repeat.
    pub key: RequestKey,
    /// Who it is for.
    pub customer: String,
    /// Which machine is wanted.
    pub pick: Pick,
    /// How long to wait for one.
    pub wait: Duration,
}

/// A session, with its token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Begun {
    /// As it is now.
    pub now: SessionNow,
    /// Secret.
    pub token: String,
    /// Begun by an earlier call.
    pub already: bool,
}

/// Holds the idle machine lowest in (usage, last picked, id) that fits, once per request id.
///
/// # Errors
/// NO_IDLE_MACHINE, PRODUCT_NOT_FOUND, PRODUCT_ARCHIVED, IDEMPOTENCY_KEY_REUSED, LOCK_CONFLICT, OVERLOADED.
pub async fn start_work(deps: &Deps, new: NewStart) -> Result<Begun, ApiError> {
    deps.store.expect_room()?;
    let wait = new.wait;
    let start = Start {
        session: SessionId(deps.context.new_id()),
        customer: new.customer,
        pick: new.pick,
        caller: new.key.caller,
        request_id: new.key.request_id,
        fingerprint: new.key.fingerprint,
        at_ms: deps.context.now_ms(),
        trace_id: trace().0,
    };
    let request_id = start.request_id;
    let granted = grant(deps, start, wait).await?;
    let (session, already, pooled) = match granted {
        Granted::Session { session, already, pooled } => (session, already, pooled),
        Granted::Refused { refusal: Refusal::NoIdleMachine, fitting, .. } => {
            return Err(no_idle(NoIdle::AtOnce, fitting, &deps.context));
        }
        Granted::Refused { refusal, .. } => {
            return Err(match refusal {
                Refusal::RequestReused(_) => refused(refusal).with("key", request_id),
                other => refused(other),
            });
        }
    };
    let now = match pooled {
        // Just begun: there is nothing to read.
        Some(pooled) => SessionNow::new(&session, None, &pooled, session.lease_until_ms.saturating_sub(1)),
        None => Box::pin(now(deps, session.id)).await?,
    };
    let token = token(&deps.key, now.session.id, (now.session.machine, now.kind));
    Ok(Begun { now, token, already })
}

async fn grant(deps: &Deps, start: Start, wait: Duration) -> Result<Granted, ApiError> {
    let pool = &deps.pool;
    let mut looked = None;
    if pool.queue.count() == 0 {
        if wait.is_zero() {
            return pool.starts.submit(pool.starts.any_lane(), start).await;
        }
        match pool.starts.submit(pool.starts.any_lane(), start.clone()).await? {
            Granted::Refused { refusal: Refusal::NoIdleMachine, fitting, .. } => looked = Some(fitting),
            granted => return Ok(granted),
        }
    } else {
        // What it had begun before is not waited for.
        let mut session = deps.store.read().await?;
        if let Some(begun) = store::find_started(&mut session, &start.caller, &start.request_id).await? {
            return Ok(if begun.fingerprint == start.fingerprint {
                Granted::Session { session: begun, already: true, pooled: None }
            } else {
                Granted::refused(Refusal::RequestReused(begun.id.0))
            });
        }
    }
    Box::pin(pool.queue.wait(start, wait, looked)).await
}
