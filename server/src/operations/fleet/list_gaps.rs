//! Records nobody can deliver any more.

use crate::domain::fleet::Gap;
use crate::domain::ids::MachineId;
use crate::domain::page::{Page, PageRequest};
use crate::domain::sync::GapReason;
use crate::error::ApiError;
use crate::operations::Deps;
use crate::store::fleet::chains;
use uuid::Uuid;

/// A page of gaps, in the order they were named.
///
/// # Errors
/// None of its own.
pub async fn list_gaps(
    deps: &Deps,
    machine: Option<MachineId>,
    reason: Option<GapReason>,
    page: &PageRequest<Uuid>,
) -> Result<Page<Gap, Uuid>, ApiError> {
    let rows = chains::gaps(&mut deps.store.read().await?, machine, reason, page).await?;
    Ok(Page::cut(rows, page.size, |gap| gap.id))
}
