//! Workers take orders that are due: each goes to one of them, for the length of a lease.

use super::rows::{order, order_columns};
use super::write::write;
use crate::domain::ids::{Ids, OrderId};
use crate::domain::order::{self, Order, View, Writes};
use crate::domain::share::Shares;
use crate::store::{Arg, Engine, StoreError, Tx, clock};
use sqlx::AssertSqlSafe;

/// Orders nobody has had before, first come first served.
const FRESH: Which = Which { due: "due_at_ms = 1 AND due_at_ms <= $1", first: "order_id" };
/// Orders that were claimed before: the claim lapsed, or it is time to ask again.
const AGAIN: Which = Which { due: "due_at_ms > 1 AND due_at_ms <= $1", first: "due_at_ms, order_id" };

struct Which {
    due: &'static str,
    first: &'static str,
}

/// Claims due orders, those that have waited longest first; fresh ones and those that come again have half of the room each,
/// and what the other leaves: neither keeps the other waiting under load. No customer gets more than its share, so nobody waits
/// behind another's many. What another worker is just claiming is passed by. `own_ms` is this server's clock.
pub async fn claim(
    tx: &mut Tx,
    limit: usize,
    lease_ms: i64,
    shares: &Shares,
    own_ms: i64,
    ids: &mut (dyn Ids + Send),
) -> Result<Vec<Order>, StoreError> {
    let mut view = View { clock_ms: clock::clock_ms(tx, own_ms).await?, ..View::default() };
    let mut again = look(tx, &AGAIN, view.clock_ms, limit, shares).await?;
    let mut both = shares.clone();
    for order in &again {
        *both.busy.entry(order.customer.clone()).or_default() += 1;
    }
    let mut fresh = look(tx, &FRESH, view.clock_ms, limit, &both).await?;
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

async fn look(
    tx: &mut Tx,
    which: &Which,
    clock_ms: i64,
    limit: usize,
    shares: &Shares,
) -> Result<Vec<Order>, StoreError> {
    let lock = match tx.engine() {
        Engine::Sqlite => "",
        Engine::Postgres => " FOR NO KEY UPDATE SKIP LOCKED",
    };
    let mut pick = shares.pick(limit);
    loop {
        let full: Vec<String> = pick.full().map(str::to_owned).collect();
        let Which { due, first } = which;
        let others = without(&full, "customer_id", 3);
        let select = concat!("SELECT ", order_columns!(), " FROM orders WHERE ");
        let sql = format!("{select}{due}{others} ORDER BY {first} LIMIT $2{lock}");
        let mut args: Vec<Arg<'_>> =
            vec![clock_ms.into(), i64::try_from(pick.wants()).unwrap_or(i64::MAX).into()];
        args.extend(full.iter().map(Arg::from));
        let found = tx.all(AssertSqlSafe(sql), &args).await?;
        let found = found.iter().map(|row| order(row).map(|order| (order.customer.clone(), order)));
        if !pick.offer(found.collect::<Result<_, _>>()?) {
            return Ok(pick.picked());
        }
    }
}

/// ` AND <column> NOT IN ($<first>, ...)`, or nothing for nobody.
pub(in crate::store) fn without(names: &[String], column: &str, first: usize) -> String {
    if names.is_empty() {
        return String::new();
    }
    let marks: Vec<String> = (first..first + names.len()).map(|n| format!("${n}")).collect();
    format!(" AND {column} NOT IN ({})", marks.join(", "))
}
