//! Chooses what to buy: one unit, the purchase and its job, in one commit.

use super::committer::lane_of;
use super::get_session::{SessionNow, now};
use super::refusal::refused;
use super::token::place;
use crate::domain::ids::{PurchaseId, SessionId};
use crate::domain::pool::{Answer, Choose, Command, MachineKind, Mode, Purchase, Refusal};
use crate::domain::request::RequestKey;
use crate::error::ApiError;
use crate::operations::Deps;
use crate::operations::deps::trace;
use vend_core::id::ProductId;
use vend_core::money::{Currency, Minor};

/// What a caller asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewChoice {
    /// Makes it safe to repeat.
    pub key: RequestKey,
    /// The session.
    pub session: SessionId,
    /// From StartWork.
    pub token: String,
    /// What is bought.
    pub product: ProductId,
    /// The price the customer saw.
    pub expected_price: Option<(Currency, Minor)>,
    /// How it is paid.
    pub mode: Mode,
}

/// Buys once per request id. Gives the purchase as it was right after the commit, the session as it is now, and whether an
/// earlier call had made it.
///
/// # Errors
/// SESSION_NOT_FOUND, SESSION_TOKEN_MISMATCH, SESSION_EXPIRED, SESSION_ENDED, MACHINE_NOT_IN_STATE, MACHINE_UNREACHABLE,
/// MACHINE_CLONED, PRODUCT_NOT_FOUND, PRODUCT_ARCHIVED, PRODUCT_NOT_IN_MACHINE, INSUFFICIENT_STOCK, PRICE_CHANGED,
/// CURRENCY_MISMATCH, IDEMPOTENCY_KEY_REUSED, LOCK_CONFLICT, OVERLOADED.
pub async fn choose_product(deps: &Deps, new: NewChoice) -> Result<(Purchase, SessionNow, bool), ApiError> {
    let (trace_id, traceparent) = trace();
    let request_id = new.key.request_id;
    let command = Command::Choose(Choose {
        purchase: PurchaseId(deps.context.new_id()),
        session: new.session,
        on: place(&deps.key, new.session, &new.token),
        product: new.product,
        expected_price: new.expected_price,
        mode: new.mode,
        caller: new.key.caller,
        request_id,
        fingerprint: new.key.fingerprint,
        at_ms: deps.context.now_ms(),
        trace_id,
        traceparent,
    });
    let decided = deps.pool.changes.submit(lane_of(&command), command).await?;
    match decided.answer {
        Answer::Chosen { purchase, session, already } => {
            let made = purchase.as_made();
            let now = match decided.pooled {
                Some(pooled) => SessionNow::new(&session, Some(purchase), &pooled, decided.clock_ms),
                None => Box::pin(now(deps, session.id)).await?,
            };
            Ok((made, now, already))
        }
        Answer::Refused(refusal) => Err(match (&refusal, decided.pooled) {
            (Refusal::InsufficientStock(_), Some(pooled)) if pooled.kind == MachineKind::Real => {
                refused(refusal).with("machine_id", pooled.id)
            }
            (Refusal::RequestReused(_), _) => refused(refusal).with("key", request_id),
            _ => refused(refusal),
        }),
        other => Err(ApiError::internal(format!("a choice was answered with {other:?}"))),
    }
}
