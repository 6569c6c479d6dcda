//! What devices prove themselves with.

use crate::domain::fleet::{Credential, CredentialState, Unsent};
use crate::domain::ids::MachineId;
use crate::domain::page::{Page, PageRequest};
use crate::error::ApiError;
use crate::operations::Deps;
use crate::store::fleet::credentials;
use crate::store::{Session, StoreError};
use uuid::Uuid;

/// A page of credentials, newest first, each with the records that were known unsent at its end and have not come since.
///
/// # Errors
/// None of its own.
pub async fn list_credentials(
    deps: &Deps,
    machine: Option<MachineId>,
    state: Option<CredentialState>,
    page: &PageRequest<Uuid>,
) -> Result<Page<(Credential, u64), Uuid>, ApiError> {
    let now_ms = deps.context.now_ms();
    let mut session = deps.store.read().await?;
    let rows = credentials::list(&mut session, machine, state, now_ms, page).await?;
    let page = Page::cut(rows, page.size, |credential| credential.id.0);
    let mut items = Vec::with_capacity(page.items.len());
    for credential in page.items {
        let unsent = still_unsent(&mut session, &credential).await?;
        items.push((credential, unsent));
    }
    Ok(Page { items, next: page.next })
}

/// Of the records that were known unsent when a credential ended, those that have not come since.
pub(super) async fn still_unsent(session: &mut Session, credential: &Credential) -> Result<u64, StoreError> {
    let Some(unsent) = credential.unsent_at_revoke else { return Ok(0) };
    let received_through = credentials::received_through(session, credential.machine, unsent.epoch).await?;
    Ok(Unsent { received_through, ..unsent }.records())
}
