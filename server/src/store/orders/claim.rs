//! Workers take orders that are due: each goes to one of them, for the length of a lease.

use super::rows::{order, order_columns};
use super::write::write;
use crate::domain::ids::{Ids, OrderId};
use crate::domain::order::{self, Order, View, Writes};
use crate::store::{Engine, StoreError, Tx, clock};

/// Claims due orders, those that have waited longest first. What another worker is just claiming is passed by. `own_ms` is
/// this server's clock.
pub async fn claim(
    tx: &mut Tx,
    limit: usize,
    lease_ms: i64,
    own_ms: i64,
    ids: &mut (dyn Ids + Send),
) -> Result<Vec<Order>, StoreError> {
    let mut view = View { clock_ms: clock::clock_ms(tx, own_ms).await?, ..View::default() };
    let sql = match tx.engine() {
        Engine::Sqlite => concat!(
            "SELECT ",
            order_columns!(),
            " FROM orders WHERE due_at_ms > 0 AND due_at_ms <= $1 ORDER BY due_at_ms, order_id LIMIT $2"
        ),
        Engine::Postgres => concat!(
            "SELECT ",
            order_columns!(),
            " FROM orders WHERE due_at_ms > 0 AND due_at_ms <= $1 ORDER BY due_at_ms, order_id LIMIT $2 \
             FOR NO KEY UPDATE SKIP LOCKED"
        ),
    };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut due: Vec<OrderId> = Vec::new();
    for row in tx.all(sql, &[view.clock_ms.into(), limit.into()]).await? {
        let order = order(&row)?;
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
