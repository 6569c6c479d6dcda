//! One order.

use super::refused;
use crate::domain::ids::OrderId;
use crate::domain::order::{Order, Refusal};
use crate::error::ApiError;
use crate::operations::Deps;
use crate::store::orders as store;

/// An order of this customer (`None`: of anybody).
///
/// # Errors
/// ORDER_NOT_FOUND, also for another customer's.
pub async fn get_order(deps: &Deps, id: OrderId, customer: Option<&str>) -> Result<Order, ApiError> {
    let found = store::find(&mut deps.store.read().await?, id).await?;
    found
        .filter(|order| customer.is_none_or(|whose| whose == order.customer))
        .ok_or_else(|| refused(Refusal::OrderNotFound(id)))
}
