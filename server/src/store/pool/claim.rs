//! Workers take purchases that are due: each goes to one of them, for the length of a lease.

use super::rows::{purchase, purchase_columns};
use super::write::write;
use crate::domain::ids::{MachineId, PurchaseId};
use crate::domain::pool::{self, Job, Purchase, View, Writes};
use crate::domain::share::Shares;
use crate::store::orders::without;
use crate::store::{Arg, Engine, Session, StoreError, Tx, clock, commands};
use sqlx::AssertSqlSafe;

/// Claims due purchases, those that have waited longest first, of no customer more than its share. What another worker, or a change of it, holds just now is passed
/// by. `own_ms` is this server's clock.
pub async fn claim_due(
    tx: &mut Tx,
    limit: usize,
    lease_ms: i64,
    shares: &Shares,
    own_ms: i64,
) -> Result<Vec<Job>, StoreError> {
    let mut view = View { clock_ms: clock::clock_ms(tx, own_ms).await?, ..View::default() };
    let lock = match tx.engine() {
        Engine::Sqlite => "",
        Engine::Postgres => " FOR NO KEY UPDATE SKIP LOCKED",
    };
    let mut pick = shares.pick(limit);
    loop {
        let full: Vec<String> = pick.full().map(str::to_owned).collect();
        let others = without(&full, "u.customer_id", 3);
        let select = concat!(
            "SELECT ",
            purchase_columns!(),
            " FROM purchases u WHERE u.due_at_ms > 0 AND u.due_at_ms <= $1"
        );
        let sql = format!("{select}{others} ORDER BY u.due_at_ms, u.purchase_id LIMIT $2{lock}");
        let mut args: Vec<Arg<'_>> =
            vec![view.clock_ms.into(), i64::try_from(pick.wants()).unwrap_or(i64::MAX).into()];
        args.extend(full.iter().map(Arg::from));
        let found = tx.all(AssertSqlSafe(sql), &args).await?;
        let found = found
            .iter()
            .map(|row| purchase(&mut row.columns()).map(|purchase| (purchase.customer.clone(), purchase)));
        if !pick.offer(found.collect::<Result<_, _>>()?) {
            break;
        }
    }
    let mut due: Vec<PurchaseId> = Vec::new();
    for purchase in pick.picked() {
        due.push(purchase.id);
        view.purchases.insert(purchase.id, purchase);
    }
    let mut writes = Writes::default();
    let claimed: Vec<_> =
        due.iter().filter_map(|id| pool::claim(&mut view, *id, lease_ms, &mut writes)).collect();
    write(tx, &view, &writes).await?;
    let asked = claimed.iter().filter(|purchase| purchase.command_number > 0);
    let asked: Vec<(MachineId, u64)> =
        asked.map(|purchase| (purchase.machine, purchase.command_number)).collect();
    let mut said = commands::said(tx, &asked).await?;
    let job = |purchase: Purchase| {
        let said = said.remove(&(purchase.machine, purchase.command_number));
        Job { purchase, said }
    };
    Ok(claimed.into_iter().map(job).collect())
}

/// Machines whose lease or rest is over and which nobody has set free yet, at most so many.
pub async fn overdue(session: &mut Session, limit: i64, own_ms: i64) -> Result<Vec<MachineId>, StoreError> {
    let now_ms = clock::clock_ms(session, own_ms).await?;
    let sql = "SELECT machine_id FROM pool WHERE free_at_ms > 0 AND free_at_ms < 9223372036854775807 \
               AND free_at_ms <= $1 ORDER BY free_at_ms LIMIT $2";
    let rows = session.all(sql, &[now_ms.into(), limit.into()]).await?;
    rows.iter().map(|row| Ok(MachineId(row.columns().uuid()?))).collect()
}

/// How long until the next purchase is due, ms, zero or below when one is; `None`: none is waiting for anything.
pub async fn next_due(session: &mut Session, own_ms: i64) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT MIN(due_at_ms) FROM purchases WHERE due_at_ms > 0";
    let Some(due_at_ms) = session.one(sql, &[]).await?.columns().opt_int()? else { return Ok(None) };
    Ok(Some(due_at_ms.saturating_sub(clock::clock_ms(session, own_ms).await?)))
}
