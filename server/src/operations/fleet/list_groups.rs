//! Groups in use.

use crate::domain::fleet::Group;
use crate::domain::page::{Page, PageRequest};
use crate::error::ApiError;
use crate::operations::Deps;
use crate::store::fleet::machines;

/// A page of groups, with the config assigned to each.
///
/// # Errors
/// None of its own.
pub async fn list_groups(deps: &Deps, page: &PageRequest<String>) -> Result<Page<Group, String>, ApiError> {
    let rows = machines::groups(&mut deps.store.read().await?, page).await?;
    Ok(Page::cut(rows, page.size, |group| group.name.clone()))
}
