//! The catalogue: products and central stock.

mod adjust_stock;
mod archive_product;
mod create_product;
mod get_product;
mod list_products;
mod low_stock;
mod update_product;

pub use adjust_stock::adjust_stock;
pub use archive_product::archive_product;
pub use create_product::create_product;
pub use get_product::get_product;
pub use list_products::list_products;
pub use update_product::update_product;

use crate::domain::catalog::Product;
use crate::error::{ApiError, Reason};
use crate::operations::Deps;
use crate::operations::deps::WriteError;
use crate::store::{StoreError, UniqueKey, catalog as store};
use uuid::Uuid;
use vend_core::id::ProductId;

fn shown(id: ProductId) -> Uuid {
    Uuid::from_bytes(id.0)
}

fn not_found(id: ProductId) -> ApiError {
    ApiError::new(Reason::ProductNotFound, "product_id: there is no such product")
        .with("product_id", shown(id))
}

fn archived(id: ProductId) -> ApiError {
    ApiError::new(Reason::ProductArchived, "the product is archived").with("product_id", shown(id))
}

fn parse_resource(id: &str) -> Result<ProductId, ApiError> {
    let id = Uuid::try_parse(id).map_err(ApiError::internal)?;
    Ok(ProductId(id.into_bytes()))
}

/// A write that met another product's article number says whose it is.
async fn name_sku_holder(deps: &Deps, sku: &str, error: WriteError) -> ApiError {
    let WriteError::Store(StoreError::Taken(UniqueKey::Sku)) = error else { return error.into() };
    let refusal =
        ApiError::new(Reason::SkuExists, "sku: another product that is not archived has it").with("sku", sku);
    let holder = async { store::find_by_sku(&mut deps.store.read().await?, sku).await };
    match holder.await {
        Ok(Some(Product { id, .. })) => refusal.with("product_id", shown(id)),
        // It was archived meanwhile, or can't be read: the refusal stands all the same.
        Ok(None) | Err(_) => refusal,
    }
}
