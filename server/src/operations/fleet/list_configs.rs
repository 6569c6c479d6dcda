//! Configs without their content.

use crate::domain::fleet::ConfigRow;
use crate::domain::page::{Page, PageRequest};
use crate::error::ApiError;
use crate::operations::Deps;
use crate::store::fleet::configs;
use uuid::Uuid;

/// A page of configs, newest first.
///
/// # Errors
/// None of its own.
pub async fn list_configs(deps: &Deps, page: &PageRequest<Uuid>) -> Result<Page<ConfigRow, Uuid>, ApiError> {
    let rows = configs::list(&mut deps.store.read().await?, page).await?;
    Ok(Page::cut(rows, page.size, |config| Uuid::from_bytes(config.id.0)))
}
