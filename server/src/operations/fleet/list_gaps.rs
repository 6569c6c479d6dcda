//! Records nobody can deliver any more.

use crate::domain::fleet::{Gap, GapKind};
use crate::domain::ids::MachineId;
use crate::domain::page::{Page, PageRequest};
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
    kind: Option<GapKind>,
    page: &PageRequest<Uuid>,
) -> Result<Page<Gap, Uuid>, ApiError> {
    let rows = chains::gaps(&mut deps.store.read().await?, machine, kind, page).await?;
    Ok(Page::cut(rows, page.size, |gap| gap.id))
}
