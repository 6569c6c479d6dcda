//! Stored rows of a machine as the domain knows them. Each list of columns stands beside the function that reads it.

use super::codes::{Coded, verdict_reason};
use super::totals;
use crate::domain::ids::{CredentialId, MachineId};
use crate::domain::sync::{
    Branch, BranchKey, BranchReason, BranchState, Disposition, EpochRow, EpochStatus, LastContact, Ledger,
    MachineRow, MachineStanding, Seldom, SlotRow, Sold, Verdict,
};
use crate::store::{Columns, StoreError};
use vend_core::id::{BootId, ConfigId, Epoch, ProductId};
use vend_core::money::Currency;
use vend_core::record::EpochReason;
use vend_core::time::ClockQuality;

macro_rules! machine_columns {
    () => {
        "machine_id, standing, current_epoch, verdict_number, verdicts_seen, desired_number, desired_config, \
         applied_number, applied_config, rejected_number, commands_done_through, last_boot, last_uptime_ms, \
         last_contact_ms, sync_count, firmware, command_number, has_commands, out_of_service, clock_offset_ms, \
         clock_quality"
    };
}

macro_rules! epoch_columns {
    () => {
        "epoch, ordinal, status, parent, parent_last_common, parent_highest, reason, accepted_through, \
         durable_through, last_hash, opening, expected, expected_currency, diverged_seq, opened_at_ms, replaced_at_ms, \
         spoke_at_ms, moved_to"
    };
}

macro_rules! slot_columns {
    () => {
        "slot, product, derived, derived_seq, reported_product, reported, reported_seq, faulted, epoch, agreed_seq, \
         drift_seq, reserved"
    };
}

macro_rules! verdict_columns {
    () => {
        "number, epoch, first_seq, last_seq, disposition, reason"
    };
}

macro_rules! branch_columns {
    () => {
        "epoch, first_hash, first_seq, root_hash, last_seq, last_hash, reason, state, opened_at_ms, credential_id, vends, vends_minor, \
         currency"
    };
}

pub(in crate::store) use {branch_columns, epoch_columns, machine_columns, slot_columns, verdict_columns};

/// Reads `machine_columns!`.
pub(in crate::store) fn machine(columns: &mut Columns<'_>) -> Result<MachineRow, StoreError> {
    Ok(MachineRow {
        machine: MachineId(columns.uuid()?),
        standing: MachineStanding::read(columns)?,
        current_epoch: columns.opt_array()?.map(Epoch),
        verdict_number: columns.number()?,
        verdicts_seen: columns.number()?,
        desired_number: columns.number()?,
        desired_config: columns.opt_array()?.map(ConfigId),
        applied_number: columns.number()?,
        applied_config: columns.opt_array()?.map(ConfigId),
        rejected_number: columns.number()?,
        commands_done_through: columns.number()?,
        last_contact: {
            let boot = columns.opt_array()?.map(BootId);
            let (uptime_ms, at_ms) = (columns.number()?, columns.int()?);
            boot.map(|boot| LastContact { boot, uptime_ms, at_ms })
        },
        sync_count: columns.number()?,
        firmware: columns.text()?.to_owned(),
        seldom: Seldom {
            command_number: columns.number()?,
            has_commands: columns.bool()?,
            out_of_service: columns.bool()?,
            clock_offset_ms: columns.int()?,
            clock: ClockQuality::read(columns)?,
        },
    })
}

/// Reads `epoch_columns!`.
pub(in crate::store) fn epoch(columns: &mut Columns<'_>) -> Result<EpochRow, StoreError> {
    Ok(EpochRow {
        epoch: Epoch(columns.array()?),
        ordinal: columns.number()?,
        status: EpochStatus::read(columns)?,
        parent: columns.opt_array()?.map(Epoch),
        parent_last_common: columns.number()?,
        parent_highest: columns.number()?,
        reason: EpochReason::read(columns)?,
        accepted_through: columns.number()?,
        durable_through: columns.number()?,
        last_hash: columns.opt_array()?,
        opening: totals::read(columns)?,
        expected: {
            let totals = totals::read(columns)?;
            let currency = currency(columns)?;
            totals.map(|totals| Ledger { currency, totals })
        },
        diverged_seq: columns.number()?,
        opened_at_ms: columns.int()?,
        replaced_at_ms: columns.int()?,
        spoke_at_ms: columns.int()?,
        moved_to: columns.opt_uuid()?.map(MachineId),
    })
}

/// Reads `slot_columns!`.
pub(in crate::store) fn slot(columns: &mut Columns<'_>) -> Result<SlotRow, StoreError> {
    Ok(SlotRow {
        slot: columns.number()?,
        product: columns.opt_array()?.map(ProductId),
        derived: columns.int()?,
        derived_seq: columns.number()?,
        reported_product: columns.opt_array()?.map(ProductId),
        reported: columns.opt_number()?,
        reported_seq: columns.number()?,
        faulted: columns.bool()?,
        epoch: Epoch(columns.array()?),
        agreed_seq: columns.number()?,
        drift_seq: columns.number()?,
        reserved: columns.number()?,
    })
}

/// Reads `verdict_columns!`.
pub(in crate::store) fn verdict(columns: &mut Columns<'_>) -> Result<Verdict, StoreError> {
    Ok(Verdict {
        number: columns.number()?,
        epoch: Epoch(columns.array()?),
        first_seq: columns.number()?,
        last_seq: columns.number()?,
        disposition: Disposition::read(columns)?,
        reason: verdict_reason(columns)?,
    })
}

/// Reads `branch_columns!`.
pub(in crate::store) fn branch(columns: &mut Columns<'_>) -> Result<Branch, StoreError> {
    Ok(Branch {
        key: BranchKey { epoch: Epoch(columns.array()?), first_hash: columns.array()? },
        first_seq: columns.number()?,
        root_hash: columns.array()?,
        last_seq: columns.number()?,
        last_hash: columns.array()?,
        reason: BranchReason::read(columns)?,
        state: BranchState::read(columns)?,
        opened_at_ms: columns.int()?,
        credential: CredentialId(columns.uuid()?),
        sold: Sold { vends: columns.number()?, minor: columns.int()?, currency: currency(columns)? },
    })
}

fn currency(columns: &mut Columns<'_>) -> Result<Currency, StoreError> {
    let code = columns.text()?;
    Currency::parse(code).ok_or_else(|| columns.damaged(format_args!("{code} is no currency code")))
}
