//! The records of a branch.

use super::branch_not_found;
use crate::domain::fleet::BranchRecord;
use crate::domain::page::{Page, PageRequest};
use crate::error::ApiError;
use crate::operations::Deps;
use crate::store::fleet::branches;
use uuid::Uuid;

/// A page of a branch's records, in order of seq.
///
/// # Errors
/// BRANCH_NOT_FOUND.
pub async fn list_branch_records(
    deps: &Deps,
    id: Uuid,
    page: &PageRequest<u64>,
) -> Result<Page<BranchRecord, u64>, ApiError> {
    let mut session = deps.store.read().await?;
    let branch = branches::find(&mut session, id).await?.ok_or_else(|| branch_not_found(id))?;
    let after = page.after.unwrap_or(0);
    let rows =
        branches::records(&mut session, branch.machine, &branch.branch.key, after, page.limit()).await?;
    Ok(Page::cut(rows, page.size, |record| record.seq))
}
