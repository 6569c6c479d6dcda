//! One machine, archived or not.

use super::machine_not_found;
use crate::domain::fleet::MachineDetail;
use crate::domain::ids::MachineId;
use crate::error::ApiError;
use crate::operations::Deps;
use crate::store::fleet::machines;

/// One machine.
///
/// # Errors
/// MACHINE_NOT_FOUND.
pub async fn get_machine(deps: &Deps, id: MachineId) -> Result<MachineDetail, ApiError> {
    machines::find(&mut deps.store.read().await?, id).await?.ok_or_else(|| machine_not_found(id))
}
