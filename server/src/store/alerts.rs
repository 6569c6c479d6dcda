//! Alerts that operations raise and end. Those of a Sync are written with its batch.

use super::{StoreError, Tx};
use crate::domain::ids::{AlertId, MachineId};
use uuid::Uuid;
use vend_core::id::ProductId;

/// An alert to raise. One with the same `(machine, kind, key)` that is still open is counted up instead.
#[derive(Clone, Debug)]
pub struct Raise<'a> {
    /// Used when it is new.
    pub id: AlertId,
    /// Nil: about no machine.
    pub machine: MachineId,
    /// UPPER_SNAKE.
    pub kind: &'a str,
    /// Tells one alert of a kind from another.
    pub key: &'a str,
    /// One sentence for the operator.
    pub detail: &'a str,
    /// The product concerned.
    pub product: Option<ProductId>,
    /// When, ms since the Unix epoch.
    pub at_ms: i64,
}

/// The machine of alerts about none.
pub const NO_MACHINE: MachineId = MachineId(Uuid::nil());

/// Raises an alert, or counts it up.
pub async fn raise(tx: &mut Tx, alert: &Raise<'_>) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO alerts (machine_id, alert_id, kind, alert_key, detail, product_id, created_at_ms, last_at_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7) \
         ON CONFLICT (machine_id, kind, alert_key) WHERE resolved_at_ms = 0 \
         DO UPDATE SET occurrences = alerts.occurrences + 1, last_at_ms = excluded.last_at_ms, \
         detail = excluded.detail",
        &[
            (&alert.machine.0).into(),
            (&alert.id.0).into(),
            alert.kind.into(),
            alert.key.into(),
            alert.detail.into(),
            alert.product.as_ref().map(|p| &p.0).into(),
            alert.at_ms.into(),
        ],
    )
    .await?;
    Ok(())
}

/// Ends an open alert by itself.
pub async fn end(
    tx: &mut Tx,
    machine: MachineId,
    kind: &str,
    key: &str,
    now_ms: i64,
) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE alerts SET resolved_at_ms = $4 \
         WHERE machine_id = $1 AND kind = $2 AND alert_key = $3 AND resolved_at_ms = 0",
        &[(&machine.0).into(), kind.into(), key.into(), now_ms.into()],
    )
    .await?;
    Ok(())
}
