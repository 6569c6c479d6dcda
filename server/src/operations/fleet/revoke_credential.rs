//! Ends a device's access.

use super::list_credentials::still_unsent;
use super::lock_machine;
use crate::domain::fleet::{AlertChange, Credential, REVOKED_UNSENT, Revocation, RevokeRefusal, revoke};
use crate::domain::ids::{AlertId, CredentialId};
use crate::error::{ApiError, Reason};
use crate::operations::Deps;
use crate::operations::deps::{Failure, origin, write};
use crate::store::events::{self, Happening, Origin};
use crate::store::fleet::credentials;
use crate::store::{Tx, alerts};

/// Ends a device's access: upload-only for a drain time, or at once. Gives the credential and what is still unsent.
///
/// # Errors
/// CREDENTIAL_NOT_FOUND, UNSENT_RECORDS.
pub async fn revoke_credential(
    deps: &Deps,
    id: CredentialId,
    how: Revocation,
) -> Result<(Credential, u64), ApiError> {
    let (now_ms, alert) = (deps.context.now_ms(), AlertId(deps.context.new_id()));
    let revoked = write(deps, "revoke_credential", origin(), move |tx, origin| {
        Box::pin(end(tx, id, how, (alert, origin), now_ms))
    });
    Ok(revoked.await?)
}

async fn end(
    tx: &mut Tx,
    id: CredentialId,
    how: Revocation,
    (alert, origin): (AlertId, &Origin),
    now_ms: i64,
) -> Result<(Credential, u64), Failure> {
    let not_found = || {
        ApiError::new(Reason::CredentialNotFound, "credential_id: there is no such credential")
            .with("credential_id", id)
    };
    let machine = credentials::find(tx, id).await?.ok_or_else(not_found)?.machine;
    // Locked before it is read again: a Sync of the machine changes what is unsent.
    lock_machine(tx, machine).await?;
    let before = credentials::find(tx, id).await?.ok_or_else(not_found)?;
    let unsent = credentials::unsent(tx, machine).await?;
    let after = revoke(&before, how, unsent, now_ms).map_err(|RevokeRefusal::Unsent(unsent)| {
        let records = unsent.records();
        let text = format!(
            "the device was last heard to hold {records} records that never came; revoke with a drain time, or confirm_unsent {records}"
        );
        ApiError::new(Reason::UnsentRecords, text)
            .with("credential_id", id)
            .with("unsent_records", records)
            .with("last_seq", unsent.last_seq)
            .with("accepted_through", unsent.received_through)
    })?;
    if after != before {
        credentials::update_end(tx, &after).await?;
    }
    let still = still_unsent(tx, &after).await?;
    if after != before && still > 0 {
        let detail = format!("credential {id} was revoked while {still} records of its device had not come");
        let raise = alerts::Raise {
            id: alert,
            machine,
            kind: REVOKED_UNSENT,
            key: &id.to_string(),
            detail: &detail,
            product: None,
            order: None,
            purchase: None,
            at_ms: now_ms,
            trace_id: &origin.trace_id,
        };
        let raised = alerts::raise(tx, &raise).await?;
        let happening =
            raised.map(|raised| Happening::alert(AlertChange::Raised, &raised, origin)).transpose()?;
        events::write(tx, happening.as_slice()).await?;
    }
    Ok((after, still))
}
