//! Central stock and its adjustments.

use crate::domain::catalog::{Adjustment, AdjustmentReason};
use crate::store::{Session, StoreError, Tx};
use uuid::Uuid;
use vend_core::id::ProductId;

/// Sets the stock of a product whose row is locked, and notes the adjustment that did it.
pub async fn set_stock(tx: &mut Tx, a: &Adjustment) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE products SET stock = $2 WHERE product_id = $1",
        &[(&a.product.0).into(), a.stock_after.into()],
    )
    .await?;
    tx.execute(
        "INSERT INTO stock_adjustments (product_id, adjustment_id, delta, stock_after, reason, note, adjusted_by, \
         adjusted_at_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        &[
            (&a.product.0).into(),
            (&a.id).into(),
            a.delta.into(),
            a.stock_after.into(),
            (a.reason as i64).into(),
            (&a.note).into(),
            (&a.by).into(),
            a.at_ms.into(),
        ],
    )
    .await?;
    Ok(())
}

/// One adjustment.
pub async fn adjustment(
    session: &mut Session,
    product: ProductId,
    id: Uuid,
) -> Result<Option<Adjustment>, StoreError> {
    let row = session
        .optional(
            "SELECT delta, stock_after, reason, note, adjusted_by, adjusted_at_ms FROM stock_adjustments \
             WHERE product_id = $1 AND adjustment_id = $2",
            &[(&product.0).into(), (&id).into()],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let mut c = row.columns();
    Ok(Some(Adjustment {
        id,
        product,
        delta: c.int()?,
        stock_after: c.int()?,
        reason: AdjustmentReason::from_number(c.int()?).ok_or_else(|| c.damaged("not a reason"))?,
        note: c.text()?.to_owned(),
        by: c.text()?.to_owned(),
        at_ms: c.int()?,
    }))
}
