//! Takes stock and makes an order.

use super::refused;
use crate::domain::ids::OrderId;
use crate::domain::order::{Answer, Command, Create, NewOrder, Order};
use crate::error::ApiError;
use crate::operations::Deps;
use crate::operations::deps::trace;

/// Makes an order, once per key. Gives it as it is now, and whether an earlier call had made it.
///
/// # Errors
/// PRODUCT_NOT_FOUND, PRODUCT_ARCHIVED, INSUFFICIENT_STOCK, CURRENCY_MISMATCH, IDEMPOTENCY_KEY_REUSED, LOCK_CONFLICT,
/// OVERLOADED.
pub async fn create_order(deps: &Deps, new: NewOrder) -> Result<(Order, bool), ApiError> {
    deps.store.expect_room()?;
    let (trace_id, traceparent) = trace();
    let create = Create {
        id: OrderId(deps.context.new_id()),
        new,
        at_ms: deps.context.now_ms(),
        trace_id,
        traceparent,
    };
    match deps.orders.submit(Command::Create(create)).await? {
        Answer::Created(order) => Ok((order, false)),
        Answer::Existing(order) => Ok((order, true)),
        Answer::Refused(refusal) => Err(refused(refusal)),
        other => Err(ApiError::internal(format!("a create was answered with {other:?}"))),
    }
}
