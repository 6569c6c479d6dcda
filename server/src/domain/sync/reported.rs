//! What a machine says of itself now: levels and config in force. Safe to lose, stamped with its seq, never overwriting
//! what the server derived.

use super::alerts::{over, raise_keyed};
use super::call::{ReportedSlot, SyncCall};
use super::view::{MachineView, SlotRow};
use super::writes::{AlertKind, AssignmentCause, AssignmentRow, Writes};
use crate::domain::ids::Ids;
use vend_core::id::Epoch;

/// The row of a slot, made when the slot is new.
pub(super) fn slot_row(view: &mut MachineView, epoch: Epoch, slot: u16) -> &mut SlotRow {
    view.slots.entry(slot).or_insert(SlotRow {
        slot,
        product: None,
        derived: 0,
        derived_seq: 0,
        reported_product: None,
        reported: None,
        reported_seq: 0,
        faulted: false,
        epoch,
        agreed_seq: 0,
        drift_seq: 0,
        reserved: 0,
    })
}

/// Takes the reported levels. `through` is the main chain's mark: only levels as of exactly there can be compared.
pub(super) fn take_slots(
    view: &mut MachineView,
    call: &SyncCall,
    through: u64,
    ids: &mut dyn Ids,
    writes: &mut Writes,
) {
    let Some(reported) = &call.slots else { return };
    if reported.as_of_seq > through {
        return; // stamped with records that were not sent yet
    }
    for slot in &reported.slots {
        let row = slot_row(view, call.epoch, slot.slot);
        let newer = row.epoch != call.epoch || reported.as_of_seq >= row.reported_seq;
        if !newer {
            continue;
        }
        let before = row.clone();
        if row.epoch != call.epoch {
            (row.epoch, row.agreed_seq, row.drift_seq) = (call.epoch, 0, 0);
        }
        row.reported = Some(slot.units);
        row.reported_product = Some(slot.product);
        row.faulted = slot.faulted;
        if reported.as_of_seq == through {
            compare(row, slot, through, call, ids, writes);
        }
        // A heartbeat that says the same again is not worth a write.
        let same =
            SlotRow { reported_seq: before.reported_seq, agreed_seq: before.agreed_seq, ..row.clone() }
                == before;
        if same {
            *row = before;
        } else {
            row.reported_seq = reported.as_of_seq;
            view.slots_dirty.insert(slot.slot);
        }
    }
}

fn compare(
    row: &mut SlotRow,
    slot: &ReportedSlot,
    through: u64,
    call: &SyncCall,
    ids: &mut dyn Ids,
    writes: &mut Writes,
) {
    if row.product != Some(slot.product) {
        return; // nothing derived for this product yet: an audit or refill starts it
    }
    let key = slot.slot.to_string();
    if row.derived == i64::from(slot.units) {
        row.agreed_seq = through;
        if row.drift_seq != 0 {
            row.drift_seq = 0;
            over(writes, call, AlertKind::SlotDrift, key);
        }
    } else if row.drift_seq == 0 {
        row.drift_seq = through;
        let detail = format!(
            "slot {}: the machine reports {} units, its records add up to {}; they parted after seq {} and by seq {through}",
            slot.slot, slot.units, row.derived, row.agreed_seq
        );
        raise_keyed(writes, ids, call, AlertKind::SlotDrift, key, through, detail);
    }
}

/// Takes the reported config. A machine that knows a higher number than the server, or another config under the same one,
/// makes the server re-issue above it: it comes from another life, of the server's data or as another machine.
pub(super) fn take_applied(view: &mut MachineView, call: &SyncCall, writes: &mut Writes) {
    let machine = &mut view.machine;
    if call.commands_done_through > machine.commands_done_through {
        machine.commands_done_through = call.commands_done_through;
        view.machine_dirty = true;
    }
    let Some(applied) = call.applied else { return };
    machine.seldom.out_of_service = call.out_of_service;
    let facts = (applied.number, applied.config, machine.rejected_number.max(applied.rejected_number));
    if facts != (machine.applied_number, machine.applied_config, machine.rejected_number) {
        (machine.applied_number, machine.applied_config, machine.rejected_number) = facts;
        view.machine_dirty = true;
    }
    let highest = applied.number.max(applied.rejected_number);
    let another = applied.number == machine.desired_number && applied.config != machine.desired_config;
    if (highest > machine.desired_number || (another && highest > 0))
        && let Some(config) = machine.desired_config
    {
        machine.desired_number = highest + 1;
        view.machine_dirty = true;
        writes.assignments.push(AssignmentRow {
            machine: call.machine,
            number: machine.desired_number,
            config,
            cause: AssignmentCause::Reissue,
            at_ms: call.received_at_ms,
        });
    }
}
