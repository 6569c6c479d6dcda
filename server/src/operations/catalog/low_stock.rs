//! The alert that a product is at or below its threshold: raised once per crossing, ended by a restock above it.

use super::shown;
use crate::domain::catalog::Product;
use crate::domain::fleet::{AlertChange, LOW_STOCK};
use crate::domain::ids::AlertId;
use crate::operations::Deps;
use crate::operations::deps::origin;
use crate::store::events::{Happening, Origin};
use crate::store::{StoreError, Tx, alerts};
use uuid::Uuid;

/// What an alert needs that is asked before the write begins.
pub(super) struct NewAlert {
    id: Uuid,
    pub(super) origin: Origin,
}

impl NewAlert {
    pub(super) fn new(deps: &Deps) -> Self {
        Self { id: deps.context.new_id(), origin: origin() }
    }
}

/// Raises or ends the alert when a product has crossed its threshold. `was_low`: before the change. Gives the event of it, for
/// the end of the transaction.
pub(super) async fn note(
    tx: &mut Tx,
    product: &Product,
    was_low: bool,
    alert: &NewAlert,
    now_ms: i64,
) -> Result<Option<Happening>, StoreError> {
    let key = shown(product.id).to_string();
    let changed = match (was_low, product.is_low() && !product.is_archived()) {
        (false, true) => {
            let detail = format!(
                "{} ({}): {} units left, the threshold is {}",
                product.name, product.sku, product.stock, product.low_stock_threshold
            );
            let raise = alerts::Raise {
                id: AlertId(alert.id),
                machine: alerts::NO_MACHINE,
                kind: LOW_STOCK,
                key: &key,
                detail: &detail,
                product: Some(product.id),
                order: None,
                purchase: None,
                at_ms: now_ms,
                trace_id: &alert.origin.trace_id,
            };
            alerts::raise(tx, &raise).await?.map(|raised| (AlertChange::Raised, raised))
        }
        (true, false) => alerts::end(tx, alerts::NO_MACHINE, LOW_STOCK, &key, now_ms)
            .await?
            .map(|ended| (AlertChange::Resolved, ended)),
        _ => None,
    };
    changed.map(|(change, now)| Happening::alert(change, &now, &alert.origin)).transpose()
}
