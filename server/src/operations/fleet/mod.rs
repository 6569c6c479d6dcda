//! The operator's side of the fleet.

mod adopt_branch;
mod alerts;
mod archive_machine;
mod assign_config;
mod body;
mod create_claim_token;
mod create_config;
mod create_machine;
mod discard_branch;
mod enroll;
mod get_config;
mod get_inventory;
mod get_machine;
mod get_totals;
mod list_branch_records;
mod list_branches;
mod list_claim_tokens;
mod list_commands;
mod list_config_statuses;
mod list_configs;
mod list_credentials;
mod list_dead_letters;
mod list_epochs;
mod list_gaps;
mod list_groups;
mod list_machines;
mod redrive_dead_letter;
mod redrive_order;
mod reenroll;
mod revoke_claim_token;
mod revoke_credential;
mod send_command;
mod server_info;
mod split_machine;
mod transactions;
mod update_machine;

pub use adopt_branch::adopt_branch;
pub use alerts::{acknowledge_alert, list_alerts, resolve_alert};
pub use archive_machine::archive_machine;
pub use assign_config::{Assigned, assign_config};
pub use create_claim_token::{MadeClaim, create_claim_token};
pub use create_config::create_config;
pub use create_machine::create_machine;
pub use discard_branch::discard_branch;
pub use enroll::{Enrolled, NewEnrolment, enroll};
pub use get_config::get_config;
pub use get_inventory::{get_inventory, list_discrepancies};
pub use get_machine::get_machine;
pub use get_totals::get_totals;
pub use list_branch_records::list_branch_records;
pub use list_branches::list_branches;
pub use list_claim_tokens::list_claim_tokens;
pub use list_commands::list_commands;
pub use list_config_statuses::list_config_statuses;
pub use list_configs::list_configs;
pub use list_credentials::list_credentials;
pub use list_dead_letters::{get_dead_letter, list_dead_letters};
pub use list_epochs::list_epochs;
pub use list_gaps::list_gaps;
pub use list_groups::list_groups;
pub use list_machines::list_machines;
pub use redrive_dead_letter::redrive_dead_letter;
pub use reenroll::reenroll_token;
pub use revoke_claim_token::revoke_claim_token;
pub use revoke_credential::revoke_credential;
pub use send_command::send_command;
pub use server_info::{ServerInfo, server_info};
pub use split_machine::split_machine;
pub use transactions::{get_transaction, list_transactions};
pub use update_machine::update_machine;

use crate::domain::fleet::{AlertChange, BranchSummary, MachineDetail, MachineKind};
use crate::domain::ids::MachineId;
use crate::domain::sync::{AlertKind, BranchState, MachineStanding};
use crate::error::{ApiError, Reason};
use crate::operations::Deps;
use crate::operations::deps::{Failure, WriteError, origin};
use crate::store::alerts as stored_alerts;
use crate::store::events::Happening;
use crate::store::fleet::{branches, configs, machines};
use crate::store::{StoreError, Tx, UniqueKey};
use uuid::Uuid;
use vend_core::id::{ConfigId, TransactionId};

fn machine_not_found(id: MachineId) -> ApiError {
    ApiError::new(Reason::MachineNotFound, "machine_id: there is no such machine").with("machine_id", id)
}

fn config_not_found(id: ConfigId) -> ApiError {
    let id = Uuid::from_bytes(id.0);
    ApiError::new(Reason::ConfigNotFound, "config_id: there is no such config").with("config_id", id)
}

fn branch_not_found(id: Uuid) -> ApiError {
    ApiError::new(Reason::BranchNotFound, "branch_id: there is no such branch").with("branch_id", id)
}

fn dead_letter_not_found(id: Uuid) -> ApiError {
    let text = "dead_letter_id: there is no such dead letter";
    ApiError::new(Reason::DeadLetterNotFound, text).with("dead_letter_id", id)
}

fn transaction_not_found(machine: MachineId, id: TransactionId) -> ApiError {
    ApiError::new(Reason::TransactionNotFound, "transaction_id: no such transaction counts on this machine")
        .with("machine_id", machine)
        .with("transaction_id", Uuid::from_bytes(id.0))
}

/// A branch nobody has judged yet, its machine's hot row locked; the machine is not cloned.
async fn lock_open_branch(tx: &mut Tx, id: Uuid) -> Result<BranchSummary, Failure> {
    let unlocked = branches::find(tx, id).await?.ok_or_else(|| branch_not_found(id))?;
    let machine = lock_machine(tx, unlocked.machine).await?;
    let branch = branches::find(tx, id).await?.ok_or_else(|| branch_not_found(id))?;
    let state = match branch.branch.state {
        BranchState::Held => {
            if machine.device.is_some_and(|device| device.standing == Some(MachineStanding::Cloned)) {
                let text = "two devices speak as this machine: split it first";
                return Err(ApiError::new(Reason::MachineCloned, text)
                    .with("machine_id", branch.machine)
                    .into());
            }
            return Ok(branch);
        }
        BranchState::Adopted => "ADOPTED",
        BranchState::Discarded => "DISCARDED",
    };
    let text = "the branch was adopted or discarded before";
    Err(ApiError::new(Reason::BranchNotOpen, text).with("branch_id", id).with("state", state).into())
}

/// Ends the alert that a branch's records came after another had been judged: now it is judged as well. To be written before
/// event heads are locked.
async fn end_late_alert(
    tx: &mut Tx,
    branch: &BranchSummary,
    now_ms: i64,
) -> Result<Vec<Happening>, StoreError> {
    let kind = AlertKind::RecordsAfterJudgement.as_str();
    let ended = stored_alerts::end(tx, branch.machine, kind, &branch.branch.key.alert_key(), now_ms).await?;
    let happening = |alert| Happening::alert(AlertChange::Resolved, &alert, &origin());
    ended.into_iter().map(happening).collect()
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

/// The group without a name: its config is what new machines get whose own group has none.
pub const DEFAULT_GROUP: &str = "";

/// What a machine of this group gets: the group's config, else that of [`DEFAULT_GROUP`].
async fn group_config(tx: &mut Tx, group: &str) -> Result<Option<ConfigId>, StoreError> {
    if !group.is_empty()
        && let Some(config) = configs::of_group(tx, group).await?
    {
        return Ok(Some(config));
    }
    configs::of_group(tx, DEFAULT_GROUP).await
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
    deps.hints.look(&deps.store, machines).await;
}
