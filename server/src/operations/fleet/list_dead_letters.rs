//! What was set aside because it could not be finished: records that can't be applied, payments without a definite answer.

use super::dead_letter_not_found;
use crate::domain::fleet::{DeadLetterFilter, SetAside, SetAsideKind};
use crate::domain::page::{Page, PageRequest};
use crate::error::ApiError;
use crate::operations::Deps;
use crate::store::fleet::dead_letters;
use crate::store::{Session, StoreError, orders, pool};
use uuid::Uuid;

/// A page of dead letters of all kinds, in the order they were set aside.
///
/// # Errors
/// None of its own.
pub async fn list_dead_letters(
    deps: &Deps,
    filter: &DeadLetterFilter,
    page: &PageRequest<Uuid>,
) -> Result<Page<SetAside, Uuid>, ApiError> {
    let is = |kinds: &[SetAsideKind]| filter.kind.is_none_or(|kind| kinds.contains(&kind));
    let mut session = deps.store.read().await?;
    let mut rows = Vec::new();
    if is(&[SetAsideKind::Record]) && filter.order.is_none() {
        let records = dead_letters::list(&mut session, filter, page).await?;
        rows.extend(records.into_iter().map(SetAside::Record));
    }
    if is(&[SetAsideKind::Order, SetAsideKind::Payment]) && filter.machine.is_none() {
        let letters = orders::list_letters(&mut session, filter, page).await?;
        rows.extend(letters.into_iter().map(SetAside::Order));
    }
    if is(&[SetAsideKind::Payment]) && filter.machine.is_none() && filter.order.is_none() {
        let letters = pool::list_letters(&mut session, filter, page).await?;
        rows.extend(letters.into_iter().map(SetAside::Purchase));
    }
    // Each table gave enough to fill the page from it alone; ids rise with the time they were made.
    rows.sort_unstable_by_key(SetAside::id);
    Ok(Page::cut(rows, page.size, SetAside::id))
}

/// One dead letter.
///
/// # Errors
/// DEAD_LETTER_NOT_FOUND.
pub async fn get_dead_letter(deps: &Deps, id: Uuid) -> Result<SetAside, ApiError> {
    find(&mut deps.store.read().await?, id).await?.ok_or_else(|| dead_letter_not_found(id))
}

/// A dead letter of whichever kind.
pub(super) async fn find(session: &mut Session, id: Uuid) -> Result<Option<SetAside>, StoreError> {
    if let Some(letter) = dead_letters::find(session, id).await? {
        return Ok(Some(SetAside::Record(letter)));
    }
    if let Some(letter) = orders::find_letter(session, id).await? {
        return Ok(Some(SetAside::Order(letter)));
    }
    Ok(pool::find_letter(session, id).await?.map(SetAside::Purchase))
}
