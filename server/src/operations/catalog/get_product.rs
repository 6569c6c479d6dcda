//! One product, archived or not.

use super::not_found;
use crate::domain::catalog::Product;
use crate::error::ApiError;
use crate::operations::Deps;
use crate::store::catalog as store;
use vend_core::id::ProductId;

/// One product.
///
/// # Errors
/// PRODUCT_NOT_FOUND.
pub async fn get_product(deps: &Deps, id: ProductId) -> Result<Product, ApiError> {
    store::find(&mut deps.store.read().await?, id).await?.ok_or_else(|| not_found(id))
}
