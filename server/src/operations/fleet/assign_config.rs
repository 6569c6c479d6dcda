//! Publishes a config: makes it the desired one of machines or of a group.

use super::{config_not_found, expect_in_use, expect_real, hint, machine_not_found};
use crate::domain::fleet::{AssignmentTarget, DesiredCause, MachineDetail};
use crate::domain::ids::MachineId;
use crate::domain::request::RequestKey;
use crate::error::ApiError;
use crate::operations::Deps;
use crate::operations::deps::{Failure, write};
use crate::operations::request::begin;
use crate::store::fleet::{configs, machines};
use crate::store::{Tx, requests};
use vend_core::id::ConfigId;

/// Machines whose state is in the answer, at most.
const MAX_STATUSES: i64 = 500;

/// What was assigned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assigned {
    /// Machines whose desired config is now this one.
    pub machines: u64,
    /// The first of them, by id.
    pub statuses: Vec<MachineDetail>,
}

/// Assigns a config now, each machine under its own next number, all in one commit.
///
/// # Errors
/// CONFIG_NOT_FOUND, MACHINE_NOT_FOUND, MACHINE_ARCHIVED, MACHINE_KIND_MISMATCH, IDEMPOTENCY_KEY_REUSED.
pub async fn assign_config(
    deps: &Deps,
    key: RequestKey,
    config: ConfigId,
    target: AssignmentTarget,
) -> Result<Assigned, ApiError> {
    let now_ms = deps.context.now_ms();
    let assigned = write(deps, "assign_config", (key, target), move |tx, (key, target)| {
        Box::pin(assign(tx, key, config, target, now_ms))
    })
    .await?;
    let told: Vec<MachineId> = assigned.statuses.iter().map(|detail| detail.machine.id).collect();
    hint(deps, &told).await;
    Ok(assigned)
}

async fn assign(
    tx: &mut Tx,
    key: &RequestKey,
    config: ConfigId,
    target: &AssignmentTarget,
    now_ms: i64,
) -> Result<Assigned, Failure> {
    let name = uuid::Uuid::from_bytes(config.0).to_string();
    let known = begin(tx, key, &name, now_ms).await?;
    let ids = match target {
        AssignmentTarget::Machines(ids) => ids.clone(),
        AssignmentTarget::Group(group) => {
            machines::of_group(tx, group.as_str(), MachineId(uuid::Uuid::nil()), MAX_STATUSES).await?
        }
    };
    if let Some(known) = known {
        let machines = known.response.try_into().map(u64::from_be_bytes).unwrap_or(0);
        return Ok(Assigned { machines, statuses: details(tx, &ids).await? });
    }
    if !configs::exists(tx, config).await? {
        return Err(config_not_found(config).into());
    }
    let machines = match target {
        AssignmentTarget::Machines(ids) => {
            machines::lock_all(tx, ids).await?;
            for detail in details(tx, ids).await? {
                expect_in_use(expect_real(detail)?)?;
            }
            configs::assign(tx, ids, config, DesiredCause::Machine, now_ms).await?
        }
        AssignmentTarget::Group(group) => {
            configs::set_group(tx, group.as_str(), config, now_ms).await?;
            machines::lock_group(tx, group.as_str()).await?;
            configs::assign_group(tx, group.as_str(), config, now_ms).await?
        }
    };
    requests::note_response(tx, key, &machines.to_be_bytes()).await?;
    Ok(Assigned { machines, statuses: details(tx, &ids).await? })
}

async fn details(tx: &mut Tx, ids: &[MachineId]) -> Result<Vec<MachineDetail>, Failure> {
    let found = machines::find_all(tx, ids).await?;
    let missing = ids.iter().find(|id| !found.iter().any(|detail| detail.machine.id == **id));
    match missing {
        Some(id) => Err(machine_not_found(*id).into()),
        None => Ok(found),
    }
}
