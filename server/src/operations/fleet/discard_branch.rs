//! Leaves a branch out for good.

use super::{branch_not_found, end_late_alert, lock_open_branch};
use crate::domain::fleet::BranchSummary;
use crate::domain::request::RequestKey;
use crate::domain::sync::BranchState;
use crate::domain::text::Text;
use crate::error::ApiError;
use crate::operations::Deps;
use crate::operations::deps::write;
use crate::operations::request::begin;
use crate::store::events;
use crate::store::fleet::branches;
use uuid::Uuid;

/// Discards a branch. Its records stay stored.
///
/// # Errors
/// BRANCH_NOT_FOUND, BRANCH_NOT_OPEN, MACHINE_CLONED, IDEMPOTENCY_KEY_REUSED.
pub async fn discard_branch(
    deps: &Deps,
    key: RequestKey,
    id: Uuid,
    note: Text<1, 256>,
    by: String,
) -> Result<BranchSummary, ApiError> {
    let now_ms = deps.context.now_ms();
    let input = (key, note.into_string(), by);
    let discarded = write(deps, "discard_branch", input, move |tx, (key, note, by)| {
        Box::pin(async move {
            if begin(tx, key, &id.to_string(), now_ms).await?.is_some() {
                return Ok(branches::find(tx, id).await?.ok_or_else(|| branch_not_found(id))?);
            }
            let mut branch = lock_open_branch(tx, id).await?;
            branch.branch.state = BranchState::Discarded;
            branch.ended_at_ms = now_ms;
            branch.ended_by.clone_from(by);
            branch.note.clone_from(note);
            let over = end_late_alert(tx, &branch, now_ms).await?;
            branches::end(tx, &branch).await?;
            events::write(tx, &over).await?;
            Ok(branch)
        })
    });
    Ok(discarded.await?)
}
