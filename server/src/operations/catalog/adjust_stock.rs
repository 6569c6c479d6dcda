//! Adds to or takes from central stock.

use super::{archived, low_stock, not_found, shown};
use crate::domain::catalog::{Adjustment, MAX_STOCK, NewAdjustment, Product, StockRefusal, adjusted};
use crate::domain::request::RequestKey;
use crate::domain::stock::{StockCause, StockMove};
use crate::error::{ApiError, Reason};
use crate::operations::Deps;
use crate::operations::deps::{Failure, write};
use crate::operations::request::begin;
use crate::store::events::{self, Happening};
use crate::store::{Tx, catalog as store};
use uuid::Uuid;

/// Adjusts stock once per request id. Gives the product as it is now, and what was done.
///
/// # Errors
/// PRODUCT_NOT_FOUND, PRODUCT_ARCHIVED, INSUFFICIENT_STOCK, STOCK_LIMIT_EXCEEDED, IDEMPOTENCY_KEY_REUSED.
pub async fn adjust_stock(
    deps: &Deps,
    key: RequestKey,
    new: NewAdjustment,
) -> Result<(Product, Adjustment), ApiError> {
    let now_ms = deps.context.now_ms();
    let adjustment = Adjustment {
        id: deps.context.new_id(),
        product: new.product,
        delta: new.delta,
        stock_after: 0,
        reason: new.reason,
        note: new.note.into_string(),
        by: new.by,
        at_ms: now_ms,
    };
    let alert = low_stock::NewAlert::new(deps);
    let done = write(deps, "adjust_stock", (key, adjustment, alert), |tx, (key, adjustment, alert)| {
        Box::pin(adjust(tx, key, adjustment, alert))
    });
    Ok(done.await?)
}

async fn adjust(
    tx: &mut Tx,
    key: &RequestKey,
    adjustment: &Adjustment,
    alert: &low_stock::NewAlert,
) -> Result<(Product, Adjustment), Failure> {
    let product = adjustment.product;
    let known = begin(tx, key, &adjustment.id.to_string(), adjustment.at_ms).await?;
    let mut row = store::lock(tx, product).await?.ok_or_else(|| not_found(product))?;
    if let Some(known) = known {
        let id = Uuid::try_parse(&known.resource_id).map_err(ApiError::internal)?;
        let before = store::adjustment(tx, product, id).await?;
        return Ok((
            row,
            before.ok_or_else(|| ApiError::internal("an adjustment that was made is missing"))?,
        ));
    }
    if row.is_archived() {
        return Err(archived(product).into());
    }
    let stock_after = adjusted(row.stock, adjustment.delta).map_err(|refusal| match refusal {
        StockRefusal::Insufficient => ApiError::new(
            Reason::InsufficientStock,
            format!("delta: takes {} units of {}", adjustment.delta.unsigned_abs(), row.stock),
        )
        .with("product_id", shown(product))
        .with("requested", adjustment.delta.unsigned_abs())
        .with("available", row.stock),
        StockRefusal::AboveLimit => ApiError::new(
            Reason::StockLimitExceeded,
            format!("delta: would lift stock above {MAX_STOCK} units"),
        )
        .with("product_id", shown(product))
        .with("stock", row.stock)
        .with("limit", MAX_STOCK),
    })?;
    let adjustment = Adjustment { stock_after, ..adjustment.clone() };
    store::set_stock(tx, &adjustment).await?;
    let was_low = row.is_low();
    row.stock = stock_after;
    let moved = StockMove { product, delta: adjustment.delta, after: stock_after };
    let cause = StockCause::Adjusted(adjustment.clone());
    let mut happenings = vec![Happening::stock(&moved, &cause, adjustment.at_ms, &alert.origin)?];
    happenings.extend(low_stock::note(tx, &row, was_low, alert, adjustment.at_ms).await?);
    events::write(tx, &happenings).await?;
    Ok((row, adjustment))
}
