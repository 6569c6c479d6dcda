//! Orders as they are now.

use super::rows::{ORDER_KINDS, order, order_columns};
use crate::domain::ids::OrderId;
use crate::domain::order::{Order, OrderFilter};
use crate::domain::page::PageRequest;
use crate::store::keyed::Keyed;
use crate::store::{Arg, Session, StoreError};
use sqlx::AssertSqlSafe;
use std::fmt::Write as _;
use uuid::Uuid;

static MANY: Keyed =
    Keyed::new(concat!("SELECT ", order_columns!(), " FROM orders WHERE order_id"), &ORDER_KINDS);

/// One order, whosever it is.
pub async fn find(session: &mut Session, id: OrderId) -> Result<Option<Order>, StoreError> {
    let sql = concat!("SELECT ", order_columns!(), " FROM orders WHERE order_id = $1");
    session.optional(sql, &[id.as_bytes().into()]).await?.as_ref().map(order).transpose()
}

/// Those of these orders that exist, in any order; each id named once.
pub async fn find_many(session: &mut Session, ids: &[OrderId]) -> Result<Vec<Order>, StoreError> {
    let keys: Vec<&[u8; 16]> = ids.iter().map(OrderId::as_bytes).collect();
    MANY.fetch(session, &keys).await?.iter().map(order).collect()
}

/// Orders, newest first.
pub async fn list(
    session: &mut Session,
    filter: &OrderFilter,
    page: &PageRequest<Uuid>,
) -> Result<Vec<Order>, StoreError> {
    let before = page.after.unwrap_or(Uuid::max());
    let mut args: Vec<Arg<'_>> = vec![(&before).into(), page.limit().into()];
    let mut sql = concat!("SELECT ", order_columns!(), " FROM orders WHERE order_id < $1").to_owned();
    if let Some(customer) = &filter.customer {
        args.push(customer.into());
        let _ = write!(sql, " AND customer_id = ${}", args.len());
    }
    if !filter.statuses.is_empty() {
        let first = args.len() + 1;
        args.extend(filter.statuses.iter().map(|status| Arg::Int(*status as i64)));
        let places: Vec<String> = (first..=args.len()).map(|n| format!("${n}")).collect();
        let _ = write!(sql, " AND status IN ({})", places.join(", "));
    }
    if filter.unsettled_only {
        sql.push_str(" AND unsettled");
    }
    sql.push_str(" ORDER BY order_id DESC LIMIT $2");
    session.all(AssertSqlSafe(sql), &args).await?.iter().map(order).collect()
}
