//! Makes a machine.

use super::{group_config, machine_not_found, name_serial_holder, reread, resource};
use crate::domain::fleet::{DesiredCause, Machine, MachineDetail, MachineKind, NewMachine};
use crate::domain::ids::MachineId;
use crate::domain::request::RequestKey;
use crate::error::ApiError;
use crate::operations::Deps;
use crate::operations::deps::write;
use crate::operations::request::begin;
use crate::store::fleet::{configs, machines};

/// Makes a machine, or gives the one this request made before, as it is now. A real one gets its group's config, else the
/// default one.
///
/// # Errors
/// SERIAL_EXISTS, IDEMPOTENCY_KEY_REUSED.
pub async fn create_machine(
    deps: &Deps,
    key: RequestKey,
    new: NewMachine,
) -> Result<MachineDetail, ApiError> {
    let now_ms = deps.context.now_ms();
    let machine = Machine::create(MachineId(deps.context.new_id()), new, now_ms);
    let serial = machine.serial.clone();
    let made = write(deps, "create_machine", (key, machine), move |tx, (key, machine)| {
        Box::pin(async move {
            if let Some(known) = begin(tx, key, &machine.id.to_string(), now_ms).await? {
                let id = MachineId(resource(&known.resource_id)?);
                return Ok(machines::find(tx, id).await?.ok_or_else(|| machine_not_found(id))?);
            }
            machines::insert(tx, machine).await?;
            if machine.kind == MachineKind::Real
                && let Some(config) = group_config(tx, &machine.group).await?
            {
                configs::assign(tx, &[machine.id], config, DesiredCause::GroupMove, now_ms).await?;
            }
            reread(tx, machine.id).await
        })
    })
    .await;
    match made {
        Ok(machine) => Ok(machine),
        Err(error) => Err(name_serial_holder(deps, &serial, error).await),
    }
}
