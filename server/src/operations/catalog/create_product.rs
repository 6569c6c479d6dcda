//! Makes a product with its first stock.

use super::{low_stock, name_sku_holder, not_found, parse_resource, shown};
use crate::domain::catalog::{NewProduct, Product};
use crate::domain::request::RequestKey;
use crate::domain::stock::{StockCause, StockMove};
use crate::error::ApiError;
use crate::operations::Deps;
use crate::operations::deps::write;
use crate::operations::request::begin;
use crate::store::catalog as store;
use crate::store::events::{self, Happening};
use vend_core::id::ProductId;

/// Makes a product, or gives the one this request made before, as it is now.
///
/// # Errors
/// SKU_EXISTS, IDEMPOTENCY_KEY_REUSED.
pub async fn create_product(deps: &Deps, key: RequestKey, new: NewProduct) -> Result<Product, ApiError> {
    let sku = new.sku.as_str().to_owned();
    let now_ms = deps.context.now_ms();
    let product = Product::create(ProductId(deps.context.new_id().into_bytes()), new, now_ms);
    let alert = low_stock::NewAlert::new(deps);
    let made = write(deps, "create_product", (key, product, alert), move |tx, (key, product, alert)| {
        Box::pin(async move {
            if let Some(known) = begin(tx, key, &shown(product.id).to_string(), now_ms).await? {
                let id = parse_resource(&known.resource_id)?;
                return Ok(store::find(tx, id).await?.ok_or_else(|| not_found(id))?);
            }
            store::insert(tx, product).await?;
            let moved = StockMove { product: product.id, delta: product.stock, after: product.stock };
            let cause = StockCause::ProductCreated;
            let mut happenings = vec![Happening::stock(&moved, &cause, now_ms, &alert.origin)?];
            // Without a threshold nobody asked to be told of fewer units than there ever were.
            if product.low_stock_threshold > 0 {
                happenings.extend(low_stock::note(tx, product, false, alert, now_ms).await?);
            }
            events::write(tx, &happenings).await?;
            Ok(product.clone())
        })
    })
    .await;
    match made {
        Ok(product) => Ok(product),
        Err(error) => Err(name_sku_holder(deps, &sku, error).await),
    }
}
