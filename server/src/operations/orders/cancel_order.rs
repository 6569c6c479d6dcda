//! Cancels a PENDING order and gives its stock back.

use super::refused;
use crate::domain::ids::OrderId;
use crate::domain::order::{Answer, Cancel, Command, Order};
use crate::error::ApiError;
use crate::operations::Deps;
use crate::operations::deps::trace;

/// Cancels an order of this customer (`None`: of anybody). Gives it as it is now, and whether an earlier call had cancelled it.
///
/// # Errors
/// ORDER_NOT_FOUND, ORDER_NOT_CANCELLABLE, LOCK_CONFLICT, OVERLOADED.
pub async fn cancel_order(
    deps: &Deps,
    order: OrderId,
    customer: Option<String>,
) -> Result<(Order, bool), ApiError> {
    let (trace_id, traceparent) = trace();
    let cancel = Cancel { order, customer, at_ms: deps.context.now_ms(), trace_id, traceparent };
    match deps.orders.submit(Command::Cancel(cancel)).await? {
        Answer::Cancelled { order, already } => Ok((order, already)),
        Answer::Refused(refusal) => Err(refused(refusal)),
        other => Err(ApiError::internal(format!("a cancel was answered with {other:?}"))),
    }
}
