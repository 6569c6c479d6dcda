//! Alerts that orders and central stock raise and end.

use crate::domain::fleet::AlertChange;
use crate::domain::order::AlertOp;
use crate::store::alerts::{NO_MACHINE, Raise, end, raise};
use crate::store::events::{Happening, Origin};
use crate::store::{StoreError, Tx};

/// Raises and ends alerts, in order, and gives the events of those that are new or over. One by one: they are rare.
pub(super) async fn apply(tx: &mut Tx, ops: &[AlertOp]) -> Result<Vec<Happening>, StoreError> {
    let mut happened = Vec::new();
    for op in ops {
        let (change, alert, trace_id) = match op {
            AlertOp::Raise(new) => {
                let alert = Raise {
                    id: new.id,
                    machine: NO_MACHINE,
                    kind: new.kind,
                    key: &new.key,
                    detail: &new.detail,
                    product: new.product,
                    order: new.order,
                    purchase: None,
                    at_ms: new.at_ms,
                    trace_id: &new.trace_id,
                };
                (AlertChange::Raised, raise(tx, &alert).await?, &new.trace_id)
            }
            AlertOp::End(over) => {
                let ended = end(tx, NO_MACHINE, over.kind, &over.key, over.at_ms).await?;
                (AlertChange::Resolved, ended, &over.trace_id)
            }
        };
        if let Some(alert) = alert {
            let origin = Origin { trace_id: trace_id.clone(), traceparent: String::new() };
            happened.push(Happening::alert(change, &alert, &origin)?);
        }
    }
    Ok(happened)
}
