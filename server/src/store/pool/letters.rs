//! Dead letters of purchases: money that can't be settled.

use crate::domain::pool::{Doubt, Mode, View};
use crate::store::bulk::{Bulk, Kind};
use crate::store::{StoreError, Tx};
use Kind::{Bytes, Int};

/// None is there for most.
static DONE: Bulk = Bulk::new(
    "WITH input (purchase_id, at_ms) AS (",
    &[Bytes, Int],
    ") UPDATE purchase_dead_letters SET state = 3, updated_at_ms = input.at_ms FROM input \
     WHERE purchase_dead_letters.purchase_id = input.purchase_id AND purchase_dead_letters.state <> 3",
);

/// A purchase is done after all that was open, so those that are done come last.
pub(super) async fn write(tx: &mut Tx, view: &View, doubts: &[Doubt]) -> Result<(), StoreError> {
    let mut done = DONE.rows(0);
    for doubt in doubts {
        match doubt {
            Doubt::Open { id, purchase, trouble, detail, at_ms, trace_id } => {
                let sql = "INSERT INTO purchase_dead_letters (dead_letter_id, purchase_id, state, reason, detail, \
                           created_at_ms, updated_at_ms, trace_id) VALUES ($1, $2, 1, $3, $4, $5, $5, $6) \
                           ON CONFLICT (purchase_id) DO UPDATE SET state = 1, reason = excluded.reason, \
                           detail = excluded.detail, updated_at_ms = excluded.updated_at_ms";
                let args = [
                    id.into(),
                    purchase.as_bytes().into(),
                    trouble.reason().into(),
                    detail.into(),
                    (*at_ms).into(),
                    trace_id.into(),
                ];
                tx.execute(sql, &args).await?;
            }
            // Nothing is asked of a gateway for the others.
            Doubt::Done(purchase, at_ms) => {
                if view.purchases.get(purchase).is_some_and(|purchase| purchase.mode == Mode::Gateway) {
                    done.push([purchase.as_bytes().into(), (*at_ms).into()]);
                }
            }
        }
    }
    done.write(tx).await?;
    Ok(())
}
