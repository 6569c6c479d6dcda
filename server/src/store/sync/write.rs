//! Writing what a batch leaves behind.

use super::codes::Coded;
use super::statements::{
    ASSIGNMENTS, BRANCHES, DEAD_LETTERS, EPOCHS, GAPS, MACHINES, QUARANTINED, RECORDS, SLOTS, VERDICTS,
    VERDICTS_SEEN,
};
use super::totals::{self, Packed};
use super::{Aside, HotTx};
use crate::domain::fleet::{branch_id, dead_letter_id, gap_id};
use crate::domain::ids::MachineId;
use crate::domain::sync::{EpochRow, MachineView, Writes};
use crate::store::events::{self, Happening, NewEvent};
use crate::store::value::{Arg, int};
use crate::store::{StoreError, Tx};
use std::collections::HashMap;
use uuid::Uuid;
use vend_core::money::Currency;

impl HotTx {
    /// Writes the dirty rows of the views and all of `writes`; events are numbered last.
    ///
    /// [`StoreError::UniqueCounted`]: some transaction of the batch counts already. Nothing of the batch is kept: roll back,
    /// load again with `check_counted`, and fold anew.
    pub async fn write_sync(
        &mut self,
        views: &HashMap<MachineId, MachineView>,
        writes: &Writes,
    ) -> Result<(), StoreError> {
        let now_ms = self.store.context.now_ms();
        write_all(&mut self.tx, views, &self.asides, writes, now_ms).await
    }
}

/// Writes the dirty rows of views whose machines are locked in this transaction, and all of `writes`; events last.
pub(in crate::store) async fn write_all(
    tx: &mut Tx,
    views: &HashMap<MachineId, MachineView>,
    asides: &HashMap<MachineId, Aside>,
    writes: &Writes,
    now_ms: i64,
) -> Result<(), StoreError> {
    write_records(tx, writes).await?;
    write_quarantined(tx, writes).await?;
    write_machines(tx, views, asides).await?;
    super::commands::write(tx, views, writes, now_ms).await?;
    write_epochs(tx, views).await?;
    write_slots(tx, views).await?;
    write_branches(tx, views).await?;
    write_set_aside(tx, writes).await?;
    write_verdicts(tx, writes).await?;
    let happenings = super::alerts::write(tx, writes, now_ms).await?;
    write_assignments(tx, writes).await?;
    write_events(tx, writes, &happenings).await
}

async fn write_records(tx: &mut Tx, writes: &Writes) -> Result<(), StoreError> {
    let mut rows = RECORDS.rows(writes.records.len());
    for record in &writes.records {
        rows.push([
            record.machine.as_bytes().into(),
            (&record.epoch.0).into(),
            int(record.seq)?.into(),
            record.kind.into(),
            record.schema.into(),
            record.body.as_ref().into(),
            (&record.hash).into(),
            record.transaction.as_ref().map(|t| &t.0).into(),
            record.disposition.code().into(),
            record.received_at_ms.into(),
            record.earliest_ms.into(),
            record.latest_ms.into(),
        ]);
    }
    rows.write(tx).await?;
    Ok(())
}

async fn write_quarantined(tx: &mut Tx, writes: &Writes) -> Result<(), StoreError> {
    let mut rows = QUARANTINED.rows(writes.quarantined.len());
    for record in &writes.quarantined {
        rows.push([
            record.machine.as_bytes().into(),
            (&record.branch.epoch.0).into(),
            (&record.branch.first_hash).into(),
            int(record.seq)?.into(),
            record.kind.into(),
            record.schema.into(),
            record.body.as_ref().into(),
            (&record.hash).into(),
            record.received_at_ms.into(),
            record.earliest_ms.into(),
            record.latest_ms.into(),
        ]);
    }
    rows.write(tx).await?;
    Ok(())
}

async fn write_machines(
    tx: &mut Tx,
    views: &HashMap<MachineId, MachineView>,
    asides: &HashMap<MachineId, Aside>,
) -> Result<(), StoreError> {
    let mut rows = MACHINES.rows(views.len());
    for view in views.values().filter(|view| view.machine_dirty || !view.branches_dirty.is_empty()) {
        let machine = &view.machine;
        let aside = asides.get(&machine.machine).ok_or_else(|| {
            StoreError::Data("a view that was not loaded in this transaction can't be written".to_owned())
        })?;
        let contact = machine.last_contact.as_ref();
        rows.push([
            machine.machine.as_bytes().into(),
            machine.standing.code().into(),
            machine.current_epoch.as_ref().map(|e| &e.0).into(),
            int(machine.verdict_number)?.into(),
            int(machine.verdicts_seen)?.into(),
            int(machine.desired_number)?.into(),
            machine.desired_config.as_ref().map(|c| &c.0).into(),
            int(machine.applied_number)?.into(),
            machine.applied_config.as_ref().map(|c| &c.0).into(),
            int(machine.rejected_number)?.into(),
            int(machine.commands_done_through)?.into(),
            contact.map(|c| &c.boot.0).into(),
            int(contact.map_or(0, |c| c.uptime_ms))?.into(),
            contact.map_or(0, |c| c.at_ms).into(),
            int(machine.sync_count)?.into(),
            (&machine.firmware).into(),
            (&aside.spoke_epoch.0).into(),
            int(aside.spoke_last_seq)?.into(),
            (aside.has_branches || !view.branches_dirty.is_empty()).into(),
        ]);
    }
    rows.write(tx).await?;
    Ok(())
}

/// An epoch's row with its totals packed, so that the statement can borrow them.
struct PackedEpoch<'v> {
    machine: &'v MachineId,
    row: &'v EpochRow,
    opening: Option<Packed>,
    expected: Option<Packed>,
    currency: Currency,
}

async fn write_epochs(tx: &mut Tx, views: &HashMap<MachineId, MachineView>) -> Result<(), StoreError> {
    let dirty = views.iter().flat_map(|(machine, view)| {
        view.epochs_dirty.iter().filter_map(|epoch| view.epochs.get(epoch)).map(move |row| PackedEpoch {
            machine,
            row,
            opening: row.opening.as_ref().map(totals::pack),
            expected: row.expected.as_ref().map(|ledger| totals::pack(&ledger.totals)),
            currency: row.expected.map_or(Currency::NONE, |ledger| ledger.currency),
        })
    });
    let dirty: Vec<PackedEpoch<'_>> = dirty.collect();
    let mut rows = EPOCHS.rows(dirty.len());
    for PackedEpoch { machine, row, opening, expected, currency } in &dirty {
        rows.push([
            machine.as_bytes().into(),
            (&row.epoch.0).into(),
            int(row.ordinal)?.into(),
            row.status.code().into(),
            row.parent.as_ref().map(|p| &p.0).into(),
            int(row.parent_last_common)?.into(),
            int(row.parent_highest)?.into(),
            row.reason.code().into(),
            int(row.accepted_through)?.into(),
            int(row.durable_through)?.into(),
            row.last_hash.as_ref().into(),
            opening.as_ref().into(),
            expected.as_ref().into(),
            currency.as_str().into(),
            int(row.diverged_seq)?.into(),
            row.opened_at_ms.into(),
            row.replaced_at_ms.into(),
            row.spoke_at_ms.into(),
            row.moved_to.as_ref().map(MachineId::as_bytes).into(),
        ]);
    }
    rows.write(tx).await?;
    Ok(())
}

async fn write_slots(tx: &mut Tx, views: &HashMap<MachineId, MachineView>) -> Result<(), StoreError> {
    let mut rows = SLOTS.rows(0);
    for (machine, view) in views {
        for row in view.slots_dirty.iter().filter_map(|slot| view.slots.get(slot)) {
            rows.push([
                machine.as_bytes().into(),
                row.slot.into(),
                row.product.as_ref().map(|p| &p.0).into(),
                row.derived.into(),
                int(row.derived_seq)?.into(),
                row.reported_product.as_ref().map(|p| &p.0).into(),
                row.reported.map(i64::from).into(),
                int(row.reported_seq)?.into(),
                row.faulted.into(),
                (&row.epoch.0).into(),
                int(row.agreed_seq)?.into(),
                int(row.drift_seq)?.into(),
                row.reserved.into(),
            ]);
        }
    }
    rows.write(tx).await?;
    Ok(())
}

async fn write_branches(tx: &mut Tx, views: &HashMap<MachineId, MachineView>) -> Result<(), StoreError> {
    let mut dirty = Vec::new();
    for (machine, view) in views {
        let updated_at_ms = view.machine.last_contact.map_or(0, |contact| contact.at_ms);
        for branch in view.branches_dirty.iter().filter_map(|key| view.branches.get(key)) {
            dirty.push((
                machine,
                branch,
                branch_id(*machine, &branch.key, branch.opened_at_ms),
                updated_at_ms,
            ));
        }
    }
    let mut rows = BRANCHES.rows(dirty.len());
    for (machine, branch, id, updated_at_ms) in &dirty {
        rows.push([
            machine.as_bytes().into(),
            (&branch.key.epoch.0).into(),
            (&branch.key.first_hash).into(),
            id.into(),
            int(branch.first_seq)?.into(),
            (&branch.root_hash).into(),
            int(branch.last_seq)?.into(),
            (&branch.last_hash).into(),
            branch.reason.code().into(),
            branch.state.code().into(),
            branch.opened_at_ms.into(),
            (*updated_at_ms).max(branch.opened_at_ms).into(),
            (&branch.credential.0).into(),
            int(branch.sold.vends)?.into(),
            branch.sold.minor.into(),
            branch.sold.currency.as_str().into(),
        ]);
    }
    rows.write(tx).await?;
    Ok(())
}

/// Dead letters and gaps.
async fn write_set_aside(tx: &mut Tx, writes: &Writes) -> Result<(), StoreError> {
    let ids: Vec<Uuid> =
        writes.dead_letters.iter().map(|d| dead_letter_id(d.machine, d.epoch, d.seq, d.at_ms)).collect();
    let mut rows = DEAD_LETTERS.rows(ids.len());
    for (letter, id) in writes.dead_letters.iter().zip(&ids) {
        rows.push([
            letter.machine.as_bytes().into(),
            (&letter.epoch.0).into(),
            int(letter.seq)?.into(),
            id.into(),
            letter.reason.as_str().into(),
            (&letter.detail).into(),
            letter.at_ms.into(),
            (&letter.trace_id).into(),
        ]);
    }
    rows.write(tx).await?;
    let ids: Vec<Uuid> =
        writes.gaps.iter().map(|g| gap_id(g.machine, g.epoch, g.first_seq, g.at_ms)).collect();
    let mut rows = GAPS.rows(ids.len());
    for (gap, id) in writes.gaps.iter().zip(&ids) {
        rows.push([
            gap.machine.as_bytes().into(),
            (&gap.epoch.0).into(),
            int(gap.first_seq)?.into(),
            int(gap.last_seq)?.into(),
            id.into(),
            gap.reason.code().into(),
            gap.at_ms.into(),
        ]);
    }
    rows.write(tx).await?;
    Ok(())
}

async fn write_verdicts(tx: &mut Tx, writes: &Writes) -> Result<(), StoreError> {
    let mut rows = VERDICTS_SEEN.rows(writes.verdicts_seen.len());
    for (machine, through) in &writes.verdicts_seen {
        rows.push([machine.as_bytes().into(), int(*through)?.into()]);
    }
    rows.write(tx).await?;
    let mut rows = VERDICTS.rows(writes.verdicts.len());
    for (machine, verdict) in &writes.verdicts {
        rows.push([
            machine.as_bytes().into(),
            int(verdict.number)?.into(),
            (&verdict.epoch.0).into(),
            int(verdict.first_seq)?.into(),
            int(verdict.last_seq)?.into(),
            verdict.disposition.code().into(),
            verdict.reason.as_str().into(),
        ]);
    }
    rows.write(tx).await?;
    Ok(())
}

async fn write_assignments(tx: &mut Tx, writes: &Writes) -> Result<(), StoreError> {
    let mut rows = ASSIGNMENTS.rows(writes.assignments.len());
    for assignment in &writes.assignments {
        rows.push([
            assignment.machine.as_bytes().into(),
            int(assignment.number)?.into(),
            (&assignment.config.0).into(),
            assignment.cause.code().into(),
            assignment.at_ms.into(),
        ]);
    }
    rows.write(tx).await?;
    // Rare, and in order: a config may be applied and rolled back in one batch.
    for fact in &writes.config_facts {
        let sql = if fact.applied {
            "UPDATE assignments SET applied_at_ms = $3 WHERE machine_id = $1 AND number = $2"
        } else {
            "UPDATE assignments SET refused_at_ms = $3, refusals = $4 WHERE machine_id = $1 AND number = $2"
        };
        let args: [Arg<'_>; 4] = [
            fact.machine.as_bytes().into(),
            int(fact.number)?.into(),
            fact.at_ms.into(),
            (&fact.refusals).into(),
        ];
        tx.execute(sql, if fact.applied { &args[..3] } else { &args }).await?;
    }
    Ok(())
}

/// Records before the alerts they raise. All of it is about machines, so of one shard.
async fn write_events(tx: &mut Tx, writes: &Writes, happenings: &[Happening]) -> Result<(), StoreError> {
    let records = writes.events.iter().map(|event| NewEvent {
        id: event.id,
        kind: events::KIND_RECORDS,
        machine: Some(event.machine),
        epoch: Some(event.epoch),
        first_seq: event.first_seq,
        last_seq: event.last_seq,
        at_ms: event.at_ms,
        trace_id: &event.trace_id,
        traceparent: "",
        subject: None,
        customer: None,
        body: None,
    });
    let events: Vec<NewEvent<'_>> = records.chain(happenings.iter().map(Happening::event)).collect();
    events::append(tx, events::SYNC_SHARD, &events).await
}
