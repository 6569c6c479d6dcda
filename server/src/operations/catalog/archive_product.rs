//! Takes a product out of sale for good.

use super::{low_stock, not_found};
use crate::domain::catalog::Product;
use crate::error::ApiError;
use crate::operations::Deps;
use crate::operations::deps::write;
use crate::store::{catalog as store, events};
use vend_core::id::ProductId;

/// Archives a product; one that is archived stays as it is.
///
/// # Errors
/// PRODUCT_NOT_FOUND.
pub async fn archive_product(deps: &Deps, id: ProductId) -> Result<Product, ApiError> {
    let now_ms = deps.context.now_ms();
    let input = low_stock::NewAlert::new(deps);
    let archived = write(deps, "archive_product", input, move |tx, alert| {
        Box::pin(async move {
            let before = store::lock(tx, id).await?.ok_or_else(|| not_found(id))?;
            if before.is_archived() {
                return Ok(before);
            }
            let was_low = before.is_low();
            store::archive(tx, id, now_ms).await?;
            let after = store::find(tx, id).await?.ok_or_else(|| not_found(id))?;
            let happening = low_stock::note(tx, &after, was_low, alert, now_ms).await?;
            events::write(tx, happening.as_slice()).await?;
            Ok(after)
        })
    });
    Ok(archived.await?)
}
