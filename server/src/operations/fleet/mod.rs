//! The operator's side of the fleet.

mod archive_machine;
mod assign_config;
mod create_claim_token;
mod create_config;
mod create_machine;
mod enroll;
mod get_config;
mod get_machine;
mod list_claim_tokens;
mod list_config_statuses;
mod list_configs;
mod list_credentials;
mod list_groups;
mod list_machines;
mod reenroll;
mod revoke_claim_token;
mod revoke_credential;
mod update_machine;

pub use archive_machine::archive_machine;
pub use assign_config::{Assigned, assign_config};
pub use create_claim_token::{MadeClaim, create_claim_token};
pub use create_config::create_config;
pub use create_machine::create_machine;
pub use enroll::{Enrolled, NewEnrolment, enroll};
pub use get_config::get_config;
pub use get_machine::get_machine;
pub use list_claim_tokens::list_claim_tokens;
pub use list_config_statuses::list_config_statuses;
pub use list_configs::list_configs;
pub use list_credentials::list_credentials;
pub use list_groups::list_groups;
pub use list_machines::list_machines;
pub use reenroll::reenroll_token;
pub use revoke_claim_token::revoke_claim_token;
pub use revoke_credential::revoke_credential;
pub use update_machine::update_machine;

use crate::domain::fleet::{MachineDetail, MachineKind};
use crate::domain::ids::MachineId;
use crate::error::{ApiError, Reason};
use crate::operations::Deps;
use crate::operations::deps::{Failure, WriteError};
use crate::store::fleet::{configs, machines};
use crate::store::{StoreError, Tx, UniqueKey};
use uuid::Uuid;
use vend_core::id::ConfigId;

fn machine_not_found(id: MachineId) -> ApiError {
    ApiError::new(Reason::MachineNotFound, "machine_id: there is no such machine").with("machine_id", id)
}

fn config_not_found(id: ConfigId) -> ApiError {
    let id = Uuid::from_bytes(id.0);
    ApiError::new(Reason::ConfigNotFound, "config_id: there is no such config").with("config_id", id)
}

/// A real machine in use, or why it is none.
fn expect_real(detail: MachineDetail) -> Result<MachineDetail, ApiError> {
    let (id, kind) = (detail.machine.id, detail.machine.kind);
    if kind != MachineKind::Real {
        return Err(ApiError::new(Reason::MachineKindMismatch, "machine_id: must be a real machine")
            .with("machine_id", id)
            .with("kind", kind.name()));
    }
    Ok(detail)
}

fn expect_in_use(detail: MachineDetail) -> Result<MachineDetail, ApiError> {
    let id = detail.machine.id;
    if detail.machine.is_archived() {
        return Err(ApiError::new(Reason::MachineArchived, "the machine is archived").with("machine_id", id));
    }
    Ok(detail)
}

/// The machine, its hot row locked.
async fn lock_machine(tx: &mut Tx, id: MachineId) -> Result<MachineDetail, Failure> {
    Ok(machines::lock(tx, id).await?.ok_or_else(|| machine_not_found(id))?)
}

/// The machine as it is now.
async fn reread(tx: &mut Tx, id: MachineId) -> Result<MachineDetail, Failure> {
    Ok(machines::find(tx, id).await?.ok_or_else(|| machine_not_found(id))?)
}

/// What a machine of this group gets: the group's config, else the default one, which is that of the group without name.
async fn group_config(tx: &mut Tx, group: &str) -> Result<Option<ConfigId>, StoreError> {
    if !group.is_empty()
        && let Some(config) = configs::of_group(tx, group).await?
    {
        return Ok(Some(config));
    }
    configs::of_group(tx, "").await
}

/// A write that met another machine's serial says whose it is.
async fn name_serial_holder(deps: &Deps, serial: &str, error: WriteError) -> ApiError {
    let WriteError::Store(StoreError::Taken(UniqueKey::Serial)) = error else { return error.into() };
    let refusal = ApiError::new(Reason::SerialExists, "serial: another machine that is not archived has it")
        .with("serial", serial);
    let holder = async { machines::find_by_serial(&mut deps.store.read().await?, serial).await };
    match holder.await {
        Ok(Some(id)) => refusal.with("machine_id", id),
        // It was archived meanwhile, or can't be read: the refusal stands all the same.
        Ok(None) | Err(_) => refusal,
    }
}

fn resource(id: &str) -> Result<Uuid, ApiError> {
    Uuid::try_parse(id).map_err(ApiError::internal)
}

/// Tells connected machines that something waits; whoever is connected elsewhere hears it at the next poll.
async fn hint(deps: &Deps, machines: &[MachineId]) {
    match deps.store.waiting(machines).await {
        Ok(waiting) => waiting.into_iter().for_each(|(machine, waiting)| deps.hints.tell(machine, waiting)),
        Err(error) => tracing::debug!(%error, "no hint was given"),
    }
}
