//! Records that were set aside because they could not be applied.

use super::dead_letter_not_found;
use crate::domain::fleet::{DeadLetter, DeadLetterFilter};
use crate::domain::page::{Page, PageRequest};
use crate::error::ApiError;
use crate::operations::Deps;
use crate::store::fleet::dead_letters;
use uuid::Uuid;

/// A page of dead letters, in the order they were set aside.
///
/// # Errors
/// None of its own.
pub async fn list_dead_letters(
    deps: &Deps,
    filter: &DeadLetterFilter,
    page: &PageRequest<Uuid>,
) -> Result<Page<DeadLetter, Uuid>, ApiError> {
    let rows = dead_letters::list(&mut deps.store.read().await?, filter, page).await?;
    Ok(Page::cut(rows, page.size, |letter| letter.id))
}

/// One dead letter.
///
/// # Errors
/// DEAD_LETTER_NOT_FOUND.
pub async fn get_dead_letter(deps: &Deps, id: Uuid) -> Result<DeadLetter, ApiError> {
    dead_letters::find(&mut deps.store.read().await?, id).await?.ok_or_else(|| dead_letter_not_found(id))
}
