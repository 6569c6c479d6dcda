//! Alerts that purchases raise and end.

use crate::domain::fleet::{AlertChange, LOW_STOCK};
use crate::domain::ids::PurchaseId;
use crate::domain::order::GATEWAY_CONTRADICTION;
use crate::domain::pool::{PoolAlert, StockCrossing, View, Writes};
use crate::domain::stock::Crossing;
use crate::domain::sync::AlertKind;
use crate::store::alerts::{NO_MACHINE, Raise, end, raise};
use crate::store::events::{Happening, Origin};
use crate::store::{StoreError, Tx};
use uuid::Uuid;

/// What is said of a purchase's money while it can't be settled.
const UNSETTLED: [&str; 2] = [AlertKind::DeadLetter.as_str(), GATEWAY_CONTRADICTION];

/// Raises and ends alerts, in order, then those about money that is settled now, and gives the events of those that are new or
/// over. One by one: they are rare.
pub(super) async fn apply(
    tx: &mut Tx,
    view: &View,
    writes: &Writes,
    settled: &[(PurchaseId, i64)],
) -> Result<Vec<Happening>, StoreError> {
    let mut happened = Vec::new();
    for alert in &writes.alerts {
        happened.extend(about_machine(tx, alert).await?);
    }
    for (id, at_ms) in settled {
        let Some(purchase) = view.purchases.get(id) else { continue };
        for kind in UNSETTLED {
            let over = end(tx, purchase.machine, kind, &id.to_string(), *at_ms).await?;
            let trace = (purchase.trace_id.as_str(), purchase.traceparent.as_str());
            happened.extend(told(AlertChange::Resolved, over, trace)?);
        }
    }
    for crossing in &writes.crossings {
        happened.extend(low_stock(tx, view, crossing).await?);
    }
    Ok(happened)
}

async fn about_machine(tx: &mut Tx, alert: &PoolAlert) -> Result<Option<Happening>, StoreError> {
    let PoolAlert { machine, kind, key, at_ms, .. } = alert;
    let (change, now) = match alert.raise {
        Some(id) => {
            let new = Raise {
                id,
                machine: *machine,
                kind,
                key,
                detail: &alert.detail,
                product: None,
                order: None,
                purchase: alert.purchase,
                at_ms: *at_ms,
                trace_id: &alert.trace_id,
            };
            (AlertChange::Raised, raise(tx, &new).await?)
        }
        None => (AlertChange::Resolved, end(tx, *machine, kind, key, *at_ms).await?),
    };
    told(change, now, (&alert.trace_id, &alert.traceparent))
}

async fn low_stock(
    tx: &mut Tx,
    view: &View,
    crossing: &StockCrossing,
) -> Result<Option<Happening>, StoreError> {
    let key = Uuid::from_bytes(crossing.product.0).to_string();
    let (change, now) = match (crossing.crossing, view.shelf.get(crossing.product)) {
        (Crossing::Fell, Some(product)) => {
            let detail = format!(
                "{} ({}): {} units left, the threshold is {}",
                product.name, product.sku, crossing.left, product.low_stock_threshold
            );
            let new = Raise {
                id: crossing.alert,
                machine: NO_MACHINE,
                kind: LOW_STOCK,
                key: &key,
                detail: &detail,
                product: Some(crossing.product),
                order: None,
                purchase: None,
                at_ms: crossing.at_ms,
                trace_id: &crossing.trace_id,
            };
            (AlertChange::Raised, raise(tx, &new).await?)
        }
        _ => (AlertChange::Resolved, end(tx, NO_MACHINE, LOW_STOCK, &key, crossing.at_ms).await?),
    };
    told(change, now, (&crossing.trace_id, &crossing.traceparent))
}

fn told(
    change: AlertChange,
    now: Option<crate::domain::fleet::Alert>,
    (trace_id, traceparent): (&str, &str),
) -> Result<Option<Happening>, StoreError> {
    let origin = Origin { trace_id: trace_id.to_owned(), traceparent: traceparent.to_owned() };
    now.map(|alert| Happening::alert(change, &alert, &origin)).transpose()
}
