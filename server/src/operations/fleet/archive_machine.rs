//! Takes a machine out of use for good.

use super::{lock_machine, reread};
use crate::domain::fleet::MachineDetail;
use crate::domain::ids::MachineId;
use crate::error::{ApiError, Reason};
use crate::operations::Deps;
use crate::operations::deps::write;
use crate::store::fleet::{credentials, machines};
use crate::store::{clock, pool};

/// Archives a machine no device can speak as any more; one that is archived stays as it is.
///
/// # Errors
/// MACHINE_NOT_FOUND, MACHINE_IN_USE.
pub async fn archive_machine(deps: &Deps, id: MachineId) -> Result<MachineDetail, ApiError> {
    let now_ms = deps.context.now_ms();
    let archived = write(deps, "archive_machine", (), move |tx, ()| {
        Box::pin(async move {
            let before = lock_machine(tx, id).await?;
            if before.machine.is_archived() {
                return Ok(before);
            }
            if let Some(credential) = credentials::standing(tx, id, now_ms).await?.first() {
                let text = "a credential of the machine is not revoked";
                return Err(ApiError::new(Reason::MachineInUse, text)
                    .with("machine_id", id)
                    .with("credential_id", credential.id)
                    .into());
            }
            let now = clock::clock_ms(tx, now_ms).await?;
            if let Some(pooled) = pool::lock_machine(tx, id).await?.filter(|pooled| pooled.is_held(now)) {
                let error = ApiError::new(Reason::MachineInUse, "a purchase on the machine is under way");
                let error = error.with("machine_id", id);
                return Err(match pooled.session {
                    Some(session) => error.with("session_id", session),
                    None => error,
                }
                .into());
            }
            let mut machine = before.machine;
            machine.archived_at_ms = now_ms;
            machine.updated_at_ms = now_ms;
            machine.version = machine.version.saturating_add(1);
            machines::update(tx, &machine).await?;
            reread(tx, id).await
        })
    });
    Ok(archived.await?)
}
