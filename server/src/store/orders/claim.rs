//! Workers take orders that are due: each goes to one of them, for the length of a lease.

use super::rows::{order, order_columns};
use super::write::write;
use crate::domain::ids::{Ids, OrderId};
use crate::domain::order::{self, Order, View, Writes};
use crate::store::{Engine, StoreError, Tx, clock};
use sqlx::AssertSqlSafe;

/// Orders nobody has had before, first come first served.
const FRESH: &str = "WHERE due_at_ms = 1 AND due_at_ms <= $1 ORDER BY order_id LIMIT $2";
/// Orders that were claimed before: the claim lapsed, or it is time to ask again.
const AGAIN: &str = "WHERE due_at_ms > 1 AND due_at_ms <= $1 ORDER BY due_at_ms, order_id LIMIT $2";

/// Claims due orders, those that have waited longest first; fresh ones and those that come again have half of the room each,
/// and what the other leaves: neither keeps the other waiting under load. What another worker is just claiming is passed by.
/// `own_ms` is this server's clock.
pub async fn claim(
    tx: &mut Tx,
    limit: usize,
    lease_ms: i64,
    own_ms: i64,
    ids: &mut (dyn Ids + Send),
) -> Result<Vec<Order>, StoreError> {
    let mut view = View { clock_ms: clock::clock_ms(tx, own_ms).await?, ..View::default() };
    let mut again = look(tx, AGAIN, view.clock_ms, limit).await?;
    let mut fresh = look(tx, FRESH, view.clock_ms, limit).await?;
    again.truncate(limit.div_ceil(2).max(limit.saturating_sub(fresh.len())));
    fresh.truncate(limit.saturating_sub(again.len()));
    let mut due: Vec<OrderId> = Vec::with_capacity(limit);
    for order in again.into_iter().chain(fresh) {
        due.push(order.id);
        view.orders.insert(order.id, order);
    }
    let mut writes = Writes::default();
    for id in &due {
        order::claim(&mut view, *id, lease_ms, own_ms, ids, &mut writes);
    }
    write(tx, &view, &writes).await?;
    // As they are after all of it.
    Ok(due.iter().filter_map(|id| view.orders.remove(id)).collect())
}

async fn look(tx: &mut Tx, which: &str, clock_ms: i64, limit: usize) -> Result<Vec<Order>, StoreError> {
    let lock = match tx.engine() {
        Engine::Sqlite => "",
        Engine::Postgres => " FOR NO KEY UPDATE SKIP LOCKED",
    };
    // Both statements take the clock, so that one shape of arguments serves both.
    let select = concat!("SELECT ", order_columns!(), " FROM orders");
    let sql = format!("{select} {which}{lock}");
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    tx.all(AssertSqlSafe(sql), &[clock_ms.into(), limit.into()]).await?.iter().map(order).collect()
}
