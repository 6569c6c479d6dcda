//! How much waits for workers; for metrics.

use crate::store::{Session, StoreError, clock};

/// Orders that a worker may take now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Backlog {
    /// How many, up to the bound that was asked for.
    pub orders: i64,
    /// Age of the first that will be taken, ms; 0 when there is none.
    pub oldest_age_ms: i64,
}

/// Counts the backlog up to `most`. `own_ms` is this server's clock.
pub async fn backlog(session: &mut Session, most: i64, own_ms: i64) -> Result<Backlog, StoreError> {
    let now_ms = clock::clock_ms(session, own_ms).await?;
    let row = session
        .one(
            "SELECT COUNT(*) FROM (SELECT 1 AS due FROM orders WHERE due_at_ms > 0 AND due_at_ms <= $1 LIMIT $2) d",
            &[now_ms.into(), most.into()],
        )
        .await?;
    let orders = row.columns().int()?;
    let first = session
        .optional(
            "SELECT created_at_ms FROM orders WHERE due_at_ms > 0 AND due_at_ms <= $1 \
             ORDER BY due_at_ms, order_id LIMIT 1",
            &[now_ms.into()],
        )
        .await?;
    let oldest_age_ms = match first {
        Some(row) => own_ms.saturating_sub(row.columns().int()?).max(0),
        None => 0,
    };
    Ok(Backlog { orders, oldest_age_ms })
}
