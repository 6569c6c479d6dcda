//! What purchases become by commands that were put in an answer and by what machines' journals say of them: decided by
//! `domain::pool`, on locked rows. The machines' hot rows are locked, and the pool rows of those that are told something.

use super::load::{POOL, PURCHASES};
use super::rows::{pooled, purchase};
use super::write::{write_pool, write_purchases};
use crate::domain::ids::{MachineId, PurchaseId};
use crate::domain::pool::{self, View, Writes};
use crate::domain::sync::HandOut;
use crate::store::{StoreError, Tx, clock};
use std::collections::BTreeSet;

/// Writes both. Nothing is read where there is nothing; purchases that are gone are passed over. `own_ms` is this server's
/// clock.
pub(in crate::store) async fn tell(
    tx: &mut Tx,
    handed_out: &[HandOut],
    heard: &[PurchaseId],
    own_ms: i64,
) -> Result<(), StoreError> {
    if handed_out.is_empty() && heard.is_empty() {
        return Ok(());
    }
    let mut view = View::default();
    if !handed_out.is_empty() {
        view.clock_ms = clock::clock_ms(tx, own_ms).await?;
        let machines: BTreeSet<MachineId> = handed_out.iter().map(|out| out.machine).collect();
        let machines: Vec<&[u8; 16]> = machines.iter().map(MachineId::as_bytes).collect();
        for row in POOL.fetch(tx, &machines).await? {
            let pooled = pooled(&mut row.columns())?;
            view.pool.insert(pooled.id, pooled);
        }
    }
    let ids: BTreeSet<PurchaseId> =
        handed_out.iter().map(|out| out.purchase).chain(heard.iter().copied()).collect();
    let ids: Vec<&[u8; 16]> = ids.iter().map(PurchaseId::as_bytes).collect();
    for row in PURCHASES.fetch(tx, &ids).await? {
        let purchase = purchase(&mut row.columns())?;
        view.purchases.insert(purchase.id, purchase);
    }
    let mut writes = Writes::default();
    let clock_ms = view.clock_ms;
    for out in handed_out {
        let found = view.purchases.get_mut(&out.purchase).zip(view.pool.get_mut(&out.machine));
        let Some((purchase, pooled)) = found else { continue };
        pool::hand_out(purchase, pooled, out.look_again_in_ms, clock_ms, own_ms);
        writes.pool.insert(out.machine);
        writes.purchases.insert(out.purchase);
    }
    for id in heard {
        if let Some(purchase) = view.purchases.get_mut(id) {
            pool::hear(purchase, own_ms);
            writes.purchases.insert(*id);
        }
    }
    write_pool(tx, &view, &writes).await?;
    write_purchases(tx, &view, &writes).await
}
