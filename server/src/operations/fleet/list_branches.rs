//! Runs of records stored apart.

use crate::domain::fleet::{BranchFilter, BranchSummary};
use crate::domain::page::{Page, PageRequest};
use crate::error::ApiError;
use crate::operations::Deps;
use crate::store::fleet::branches;
use uuid::Uuid;

/// A page of branches, in the order they began.
///
/// # Errors
/// None of its own.
pub async fn list_branches(
    deps: &Deps,
    filter: &BranchFilter,
    page: &PageRequest<Uuid>,
) -> Result<Page<BranchSummary, Uuid>, ApiError> {
    let rows = branches::list(&mut deps.store.read().await?, filter, page).await?;
    Ok(Page::cut(rows, page.size, |branch| branch.id))
}
