//! Machines in the pool, sessions and purchases as they are now.

use super::load::{SESSIONS, started_before};
use super::rows::{
    POOL_KINDS, PURCHASE_KINDS, pool_columns, pooled, purchase, purchase_columns, session as session_row,
};
use crate::domain::ids::{MachineId, PurchaseId, SessionId};
use crate::domain::pool::{Pooled, Purchase, Session as Held, Standing};
use crate::store::keyed::Keyed;
use crate::store::{Engine, Session, StoreError, Tx, clock};
use std::collections::HashMap;
use uuid::Uuid;

static POOL: Keyed =
    Keyed::new(concat!("SELECT ", pool_columns!(), " FROM pool p WHERE p.machine_id"), &POOL_KINDS);

static PURCHASES: Keyed = Keyed::new(
    concat!("SELECT ", purchase_columns!(), " FROM purchases u WHERE u.purchase_id"),
    &PURCHASE_KINDS,
);

/// One session.
pub async fn find_session(session: &mut Session, id: SessionId) -> Result<Option<Held>, StoreError> {
    let rows = SESSIONS.fetch(session, &[id.as_bytes()]).await?;
    rows.first().map(|row| session_row(&mut row.columns())).transpose()
}

/// The session that this call had begun before.
pub async fn find_started(
    session: &mut Session,
    caller: &str,
    request_id: &Uuid,
) -> Result<Option<Held>, StoreError> {
    Ok(started_before(session, [(caller, request_id)]).await?.pop())
}

/// One purchase.
pub async fn find_purchase(session: &mut Session, id: PurchaseId) -> Result<Option<Purchase>, StoreError> {
    let rows = PURCHASES.fetch(session, &[id.as_bytes()]).await?;
    rows.first().map(|row| purchase(&mut row.columns())).transpose()
}

/// A machine's part in remote purchases, and the session its row names, which may be over by now.
pub async fn of_machine(
    session: &mut Session,
    machine: MachineId,
) -> Result<Option<(Pooled, Option<Held>)>, StoreError> {
    let rows = POOL.fetch(session, &[machine.as_bytes()]).await?;
    let Some(pooled) = rows.first().map(|row| pooled(&mut row.columns())).transpose()? else {
        return Ok(None);
    };
    let held = match pooled.session {
        Some(id) => find_session(session, id).await?,
        None => None,
    };
    Ok(Some((pooled, held)))
}

/// The parts of many machines in remote purchases, in any order; each named once.
pub async fn of_machines(session: &mut Session, machines: &[MachineId]) -> Result<Vec<Pooled>, StoreError> {
    let keys: Vec<&[u8; 16]> = machines.iter().map(MachineId::as_bytes).collect();
    POOL.fetch(session, &keys).await?.iter().map(|row| pooled(&mut row.columns())).collect()
}

/// Machines in use by where they stand at this moment; `own_ms` is this server's clock.
pub async fn count_by_standing(
    session: &mut Session,
    own_ms: i64,
) -> Result<HashMap<Standing, i64>, StoreError> {
    let clock_ms = clock::clock_ms(session, own_ms).await?;
    let sql = "SELECT CAST(CASE WHEN p.free_at_ms > $1 THEN p.state \
               WHEN p.kind = 1 OR (p.fit AND p.connected_until_ms > $1) THEN 1 ELSE 6 END AS BIGINT) AS standing, \
               COUNT(*) FROM pool p WHERE p.state <> 6 GROUP BY standing";
    let mut counts = HashMap::new();
    for row in session.all(sql, &[clock_ms.into()]).await? {
        let mut c = row.columns();
        let standing = Standing::from_number(c.int()?).ok_or_else(|| c.damaged("not a standing"))?;
        counts.insert(standing, c.int()?);
    }
    Ok(counts)
}

/// A machine's part, locked until the end of the transaction. Its hot row is locked before.
pub async fn lock_machine(tx: &mut Tx, machine: MachineId) -> Result<Option<Pooled>, StoreError> {
    let sql = match tx.engine() {
        Engine::Sqlite => concat!("SELECT ", pool_columns!(), " FROM pool p WHERE p.machine_id = $1"),
        Engine::Postgres => {
            concat!("SELECT ", pool_columns!(), " FROM pool p WHERE p.machine_id = $1 FOR NO KEY UPDATE")
        }
    };
    let row = tx.optional(sql, &[machine.as_bytes().into()]).await?;
    row.map(|row| pooled(&mut row.columns())).transpose()
}
