//! Which machine has which config desired, applied and rejected.

use crate::domain::fleet::{MachineDetail, StatusFilter};
use crate::domain::page::{Page, PageRequest};
use crate::error::ApiError;
use crate::operations::Deps;
use crate::store::fleet::machines;
use uuid::Uuid;

/// A page of real machines in use, in order of their ids.
///
/// # Errors
/// None of its own.
pub async fn list_config_statuses(
    deps: &Deps,
    filter: &StatusFilter,
    page: &PageRequest<Uuid>,
) -> Result<Page<MachineDetail, Uuid>, ApiError> {
    let rows = machines::statuses(&mut deps.store.read().await?, filter, page).await?;
    Ok(Page::cut(rows, page.size, |detail| detail.machine.id.0))
}
