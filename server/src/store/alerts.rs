//! Alerts that operations raise and end. Those of a Sync are written with its batch.

use super::{Arg, Row, Session, StoreError, Tx};
use crate::domain::fleet::{Alert, AlertFilter, AlertState};
use crate::domain::ids::{AlertId, MachineId, OrderId, PurchaseId};
use crate::domain::page::PageRequest;
use sqlx::AssertSqlSafe;
use std::fmt::Write as _;
use uuid::Uuid;
use vend_core::id::{Epoch, ProductId};

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
    /// The order concerned.
    pub order: Option<OrderId>,
    /// The purchase concerned.
    pub purchase: Option<PurchaseId>,
    /// When, ms since the Unix epoch.
    pub at_ms: i64,
    /// Trace that raised it.
    pub trace_id: &'a str,
}

/// The machine of alerts about none.
pub const NO_MACHINE: MachineId = MachineId(Uuid::nil());

/// An alert's columns, qualified: what an UPDATE ... FROM returns would be ambiguous otherwise.
macro_rules! columns {
    () => {
        "alerts.machine_id, alerts.alert_id, alerts.kind, alerts.alert_key, alerts.detail, alerts.epoch, alerts.seq, \
         alerts.product_id, alerts.order_id, alerts.purchase_id, alerts.occurrences, alerts.created_at_ms, \
         alerts.last_at_ms, alerts.acknowledged_by, alerts.acknowledged_at_ms, alerts.resolved_by, \
         alerts.resolved_at_ms, alerts.note, alerts.trace_id"
    };
}
pub(super) use columns;

/// Raises an alert, or counts it up. Gives the alert when it is new: that is an event, being counted up is none.
pub async fn raise(tx: &mut Tx, new: &Raise<'_>) -> Result<Option<Alert>, StoreError> {
    let sql = concat!(
        "INSERT INTO alerts (machine_id, alert_id, kind, alert_key, detail, product_id, created_at_ms, last_at_ms, \
         trace_id, order_id, purchase_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8, $9, $10) \
         ON CONFLICT (machine_id, kind, alert_key) WHERE resolved_at_ms = 0 \
         DO UPDATE SET occurrences = alerts.occurrences + 1, last_at_ms = excluded.last_at_ms, \
         detail = excluded.detail RETURNING ",
        columns!()
    );
    let args = [
        (&new.machine.0).into(),
        (&new.id.0).into(),
        new.kind.into(),
        new.key.into(),
        new.detail.into(),
        new.product.as_ref().map(|p| &p.0).into(),
        new.at_ms.into(),
        new.trace_id.into(),
        new.order.as_ref().map(OrderId::as_bytes).into(),
        new.purchase.as_ref().map(PurchaseId::as_bytes).into(),
    ];
    let raised = alert(&tx.one(sql, &args).await?)?;
    Ok((raised.id == new.id).then_some(raised))
}

/// Ends an open alert by itself. Gives it when there was one.
pub async fn end(
    tx: &mut Tx,
    machine: MachineId,
    kind: &str,
    key: &str,
    now_ms: i64,
) -> Result<Option<Alert>, StoreError> {
    let sql = concat!(
        "UPDATE alerts SET resolved_at_ms = $4 \
         WHERE machine_id = $1 AND kind = $2 AND alert_key = $3 AND resolved_at_ms = 0 RETURNING ",
        columns!()
    );
    let row = tx.optional(sql, &[(&machine.0).into(), kind.into(), key.into(), now_ms.into()]).await?;
    row.as_ref().map(alert).transpose()
}

/// Ends every open alert of a kind about a machine, on somebody's behalf. Gives those it ended.
pub async fn end_all(
    tx: &mut Tx,
    machine: MachineId,
    kind: &str,
    by: &str,
    now_ms: i64,
) -> Result<Vec<Alert>, StoreError> {
    let sql = concat!(
        "UPDATE alerts SET resolved_at_ms = $4, resolved_by = $3 \
         WHERE machine_id = $1 AND kind = $2 AND resolved_at_ms = 0 RETURNING ",
        columns!()
    );
    let rows = tx.all(sql, &[(&machine.0).into(), kind.into(), by.into(), now_ms.into()]).await?;
    rows.iter().map(alert).collect()
}

const SELECT: &str = concat!("SELECT ", columns!(), " FROM alerts");

pub(super) fn alert(row: &Row) -> Result<Alert, StoreError> {
    let mut c = row.columns();
    let machine = MachineId(c.uuid()?);
    Ok(Alert {
        machine: (machine != NO_MACHINE).then_some(machine),
        id: AlertId(c.uuid()?),
        kind: c.text()?.to_owned(),
        key: c.text()?.to_owned(),
        detail: c.text()?.to_owned(),
        epoch: c.opt_array()?.map(Epoch),
        seq: c.number()?,
        product: c.opt_array()?.map(ProductId),
        order: c.opt_uuid()?,
        purchase: c.opt_uuid()?,
        occurrences: c.number()?,
        created_at_ms: c.int()?,
        last_at_ms: c.int()?,
        acknowledged_by: c.text()?.to_owned(),
        acknowledged_at_ms: c.int()?,
        resolved_by: c.text()?.to_owned(),
        resolved_at_ms: c.int()?,
        note: c.text()?.to_owned(),
        trace_id: c.text()?.to_owned(),
    })
}

/// One alert.
pub async fn find(session: &mut Session, id: AlertId) -> Result<Option<Alert>, StoreError> {
    let sql = AssertSqlSafe(format!("{SELECT} WHERE alert_id = $1"));
    session.optional(sql, &[(&id.0).into()]).await?.as_ref().map(alert).transpose()
}

/// Alerts, newest first.
pub async fn list(
    session: &mut Session,
    filter: &AlertFilter,
    page: &PageRequest<Uuid>,
) -> Result<Vec<Alert>, StoreError> {
    let before = page.after.unwrap_or(Uuid::max());
    let mut args: Vec<Arg<'_>> = vec![(&before).into(), page.limit().into()];
    let mut sql = format!("{SELECT} WHERE alert_id < $1");
    sql.push_str(match filter.state {
        None => "",
        Some(AlertState::Open) => " AND resolved_at_ms = 0 AND acknowledged_at_ms = 0",
        Some(AlertState::Acknowledged) => " AND resolved_at_ms = 0 AND acknowledged_at_ms <> 0",
        Some(AlertState::Resolved) => " AND resolved_at_ms <> 0",
    });
    if let Some(kinds) = &filter.kinds {
        let places: Vec<String> = (1..=kinds.len()).map(|n| format!("${}", args.len() + n)).collect();
        args.extend(kinds.iter().map(|kind| Arg::from(*kind)));
        // No kind is meant: the list is empty, and `IN ()` is no SQL.
        let list = if places.is_empty() { "NULL".to_owned() } else { places.join(", ") };
        let _ = write!(sql, " AND kind IN ({list})");
    }
    if let Some(machine) = &filter.machine {
        args.push((&machine.0).into());
        let _ = write!(sql, " AND machine_id = ${}", args.len());
    }
    if let Some(product) = &filter.product {
        args.push((&product.0).into());
        let _ = write!(sql, " AND product_id = ${}", args.len());
    }
    sql.push_str(" ORDER BY alert_id DESC LIMIT $2");
    session.all(AssertSqlSafe(sql), &args).await?.iter().map(alert).collect()
}

/// Notes who is on it, unless somebody is or it is over. Gives the alert when this changed it.
pub async fn acknowledge(
    tx: &mut Tx,
    id: AlertId,
    by: &str,
    now_ms: i64,
) -> Result<Option<Alert>, StoreError> {
    let sql = concat!(
        "UPDATE alerts SET acknowledged_by = $2, acknowledged_at_ms = $3 \
         WHERE alert_id = $1 AND acknowledged_at_ms = 0 AND resolved_at_ms = 0 RETURNING ",
        columns!()
    );
    let row = tx.optional(sql, &[(&id.0).into(), by.into(), now_ms.into()]).await?;
    row.as_ref().map(alert).transpose()
}

/// Notes that it is over, unless it is. Gives the alert when this changed it.
pub async fn resolve(
    tx: &mut Tx,
    id: AlertId,
    by: &str,
    note: &str,
    now_ms: i64,
) -> Result<Option<Alert>, StoreError> {
    let sql = concat!(
        "UPDATE alerts SET resolved_by = $2, note = $3, resolved_at_ms = $4 \
         WHERE alert_id = $1 AND resolved_at_ms = 0 RETURNING ",
        columns!()
    );
    let row = tx.optional(sql, &[(&id.0).into(), by.into(), note.into(), now_ms.into()]).await?;
    row.as_ref().map(alert).transpose()
}
