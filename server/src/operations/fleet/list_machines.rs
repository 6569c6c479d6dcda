//! Machines in order of their creation.

use crate::domain::fleet::{MachineDetail, MachineFilter};
use crate::domain::page::{Page, PageRequest};
use crate::error::ApiError;
use crate::operations::Deps;
use crate::store::fleet::machines;
use uuid::Uuid;

/// A page of machines.
///
/// # Errors
/// None of its own.
pub async fn list_machines(
    deps: &Deps,
    filter: &MachineFilter,
    page: &PageRequest<Uuid>,
) -> Result<Page<MachineDetail, Uuid>, ApiError> {
    let rows = machines::list(&mut deps.store.read().await?, filter, page).await?;
    Ok(Page::cut(rows, page.size, |detail| detail.machine.id.0))
}
