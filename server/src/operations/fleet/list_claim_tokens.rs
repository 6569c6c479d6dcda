//! Claim tokens, never with the token itself.

use crate::domain::fleet::{ClaimState, ClaimToken};
use crate::domain::ids::MachineId;
use crate::domain::page::{Page, PageRequest};
use crate::error::ApiError;
use crate::operations::Deps;
use crate::store::fleet::claims;
use uuid::Uuid;

/// A page of claim tokens, newest first.
///
/// # Errors
/// None of its own.
pub async fn list_claim_tokens(
    deps: &Deps,
    machine: Option<MachineId>,
    state: Option<ClaimState>,
    page: &PageRequest<Uuid>,
) -> Result<Page<ClaimToken, Uuid>, ApiError> {
    let now_ms = deps.context.now_ms();
    let rows = claims::list(&mut deps.store.read().await?, machine, state, now_ms, page).await?;
    Ok(Page::cut(rows, page.size, |claim| claim.id))
}
