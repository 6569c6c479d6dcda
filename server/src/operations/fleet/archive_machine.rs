//! Takes a machine out of use for good.

use super::{lock_machine, reread};
use crate::domain::fleet::MachineDetail;
use crate::domain::ids::MachineId;
use crate::error::{ApiError, Reason};
use crate::operations::Deps;
use crate::operations::deps::write;
use crate::store::fleet::{credentials, machines};

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
