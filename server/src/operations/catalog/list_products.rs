//! Products in order of their creation.

use crate::domain::catalog::{Product, ProductFilter};
use crate::domain::page::{Page, PageRequest};
use crate::error::ApiError;
use crate::operations::Deps;
use crate::store::catalog as store;
use uuid::Uuid;

/// A page of products.
///
/// # Errors
/// None of its own.
pub async fn list_products(
    deps: &Deps,
    filter: &ProductFilter,
    page: &PageRequest<Uuid>,
) -> Result<Page<Product, Uuid>, ApiError> {
    let rows = store::list(&mut deps.store.read().await?, filter, page).await?;
    Ok(Page::cut(rows, page.size, |product| super::shown(product.id)))
}
