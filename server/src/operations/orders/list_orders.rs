//! Orders, newest first.

use crate::domain::order::{Order, OrderFilter};
use crate::domain::page::{Page, PageRequest};
use crate::error::ApiError;
use crate::operations::Deps;
use crate::store::orders as store;
use uuid::Uuid;

/// A page of orders.
///
/// # Errors
/// None of its own.
pub async fn list_orders(
    deps: &Deps,
    filter: &OrderFilter,
    page: &PageRequest<Uuid>,
) -> Result<Page<Order, Uuid>, ApiError> {
    let rows = store::list(&mut deps.store.read().await?, filter, page).await?;
    Ok(Page::cut(rows, page.size, |order| order.id.0))
}
