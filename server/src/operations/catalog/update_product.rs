//! Changes what a product is called and costs, never its stock.

use super::{archived, low_stock, name_sku_holder, not_found, shown};
use crate::domain::catalog::{Product, ProductChange};
use crate::domain::request::RequestKey;
use crate::error::{ApiError, Reason};
use crate::operations::Deps;
use crate::operations::deps::write;
use crate::operations::request::begin;
use crate::store::{catalog as store, events};
use vend_core::id::ProductId;

/// Changes a product whose etag is still the one that was read.
///
/// # Errors
/// PRODUCT_NOT_FOUND, PRODUCT_ARCHIVED, SKU_EXISTS, ETAG_MISMATCH, IDEMPOTENCY_KEY_REUSED.
pub async fn update_product(
    deps: &Deps,
    key: RequestKey,
    id: ProductId,
    etag: &str,
    change: ProductChange,
) -> Result<Product, ApiError> {
    let sku = change.sku.as_ref().map(|sku| sku.as_str().to_owned()).unwrap_or_default();
    let now_ms = deps.context.now_ms();
    let input = (key, etag.to_owned(), change, low_stock::NewAlert::new(deps));
    let changed = write(deps, "update_product", input, move |tx, (key, etag, change, alert)| {
        Box::pin(async move {
            let repeated = begin(tx, key, &shown(id).to_string(), now_ms).await?.is_some();
            let before = store::lock(tx, id).await?.ok_or_else(|| not_found(id))?;
            if repeated {
                return Ok(before);
            }
            if before.is_archived() {
                return Err(archived(id).into());
            }
            if before.version.to_string() != *etag {
                return Err(ApiError::new(
                    Reason::EtagMismatch,
                    "etag: the product has changed since it was read",
                )
                .with("resource_id", shown(id))
                .with("etag", before.version)
                .into());
            }
            let was_low = before.is_low();
            let after = before.changed(change.clone(), now_ms);
            store::update(tx, &after).await?;
            let happening = low_stock::note(tx, &after, was_low, alert, now_ms).await?;
            events::write(tx, happening.as_slice()).await?;
            Ok(after)
        })
    })
    .await;
    match changed {
        Ok(product) => Ok(product),
        Err(error) => Err(name_sku_holder(deps, &sku, error).await),
    }
}
