//! Who does a thing that only one replica may do at a time, and how far it is.
//!
//! A lease says who should work, on the database's clock; the fence says whose work counts. Who was away for longer than its
//! lease finds that its fence is no longer the row's, and nothing it writes is kept.

use super::clock::clock_ms;
use super::{End, Session, Store, StoreError};

/// A lease that is held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    /// Rises with every holder.
    pub fence: i64,
    /// How far the thing is, in its own words; empty when it never began.
    pub state: String,
}

/// Takes a lease that nobody holds, or whose time is over. `holder` names this process, no other.
///
/// # Errors
/// The database can't be written.
pub async fn take(
    store: &Store,
    name: &'static str,
    holder: &str,
    lease_ms: i64,
) -> Result<Option<Lease>, StoreError> {
    let own_ms = store.context.now_ms();
    store
        .run_tx("take_lease", holder.to_owned(), move |tx, holder| {
            Box::pin(async move {
                let now_ms = clock_ms(tx, own_ms).await?;
                let sql = "INSERT INTO leases (name, holder, fence, until_ms) VALUES ($1, $2, 1, $4) \
                           ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, fence = leases.fence + 1, \
                           until_ms = excluded.until_ms WHERE leases.until_ms <= $3 RETURNING fence, state";
                let until_ms = now_ms.saturating_add(lease_ms);
                let args = [name.into(), holder.into(), now_ms.into(), until_ms.into()];
                let Some(row) = tx.optional(sql, &args).await? else { return Ok(End::RollBack(None)) };
                let mut c = row.columns();
                Ok(End::Commit(Some(Lease { fence: c.int()?, state: c.text()?.to_owned() })))
            })
        })
        .await
}

/// Notes how far the holder is, and holds the lease for longer. `false`: somebody else has it, and nothing was written.
///
/// # Errors
/// The database can't be written.
pub async fn advance(
    store: &Store,
    name: &'static str,
    fence: i64,
    state: &str,
    lease_ms: i64,
) -> Result<bool, StoreError> {
    let own_ms = store.context.now_ms();
    store
        .run_tx("advance_lease", state.to_owned(), move |tx, state| {
            Box::pin(async move {
                let until_ms = clock_ms(tx, own_ms).await?.saturating_add(lease_ms);
                let sql = "UPDATE leases SET state = $3, until_ms = $4 WHERE name = $1 AND fence = $2";
                let args = [name.into(), fence.into(), state.into(), until_ms.into()];
                Ok(End::Commit(tx.execute(sql, &args).await? == 1))
            })
        })
        .await
}

/// Gives a lease back, so that another may have it at once. Nothing happens when somebody else has it.
///
/// # Errors
/// The database can't be written.
pub async fn release(store: &Store, name: &'static str, fence: i64) -> Result<(), StoreError> {
    store
        .run_tx("release_lease", (), move |tx, ()| {
            Box::pin(async move {
                let sql = "UPDATE leases SET until_ms = 0 WHERE name = $1 AND fence = $2";
                tx.execute(sql, &[name.into(), fence.into()]).await?;
                Ok(End::Commit(()))
            })
        })
        .await
}

/// How far a thing is, whoever does it; empty when it never began.
///
/// # Errors
/// The database can't be read.
pub async fn state(session: &mut Session, name: &str) -> Result<String, StoreError> {
    let row = session.optional("SELECT state FROM leases WHERE name = $1", &[name.into()]).await?;
    row.map_or_else(|| Ok(String::new()), |row| Ok(row.columns().text()?.to_owned()))
}
