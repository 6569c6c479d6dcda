//! What operators' verdicts and splits write with the machinery of a Sync.

use crate::domain::ids::MachineId;
use crate::domain::sync::{MachineView, Writes};
use crate::store::sync::rows::{
    branch, branch_columns, epoch, epoch_columns, machine, machine_columns, slot, slot_columns, verdict,
    verdict_columns,
};
use crate::store::sync::{Aside, commands, write::write_all};
use crate::store::{Session, StoreError, Tx};
use std::collections::HashMap;
use vend_core::id::Epoch;

/// Writes rows of a machine whose hot row is locked. Events are numbered last: nothing may follow.
pub async fn write(tx: &mut Tx, writes: &Writes) -> Result<(), StoreError> {
    write_all(tx, &HashMap::new(), &HashMap::new(), writes, 0).await
}

/// Takes the next verdict number of a machine whose hot row is locked.
pub async fn next_verdict(tx: &mut Tx, machine: MachineId) -> Result<u64, StoreError> {
    tx.execute(
        "UPDATE machine_sync SET verdict_number = verdict_number + 1 WHERE machine_id = $1",
        &[(&machine.0).into()],
    )
    .await?;
    let sql = "SELECT verdict_number FROM machine_sync WHERE machine_id = $1";
    tx.one(sql, &[(&machine.0).into()]).await?.columns().number()
}

/// A machine's whole view, its hot row locked: every epoch, branch, slot and untold verdict.
pub async fn load(tx: &mut Tx, id: MachineId) -> Result<Option<MachineView>, StoreError> {
    let by_id = [(&id.0).into()];
    let sql = concat!("SELECT ", machine_columns!(), " FROM machine_sync WHERE machine_id = $1");
    let Some(row) = tx.optional(sql, &by_id).await? else { return Ok(None) };
    let mut view = MachineView::of(machine(&mut row.columns())?);
    let sql = concat!("SELECT ", epoch_columns!(), " FROM epochs WHERE machine_id = $1");
    for row in tx.all(sql, &by_id).await? {
        let row = epoch(&mut row.columns())?;
        view.epochs.insert(row.epoch, row);
    }
    let sql = concat!("SELECT ", branch_columns!(), " FROM branches WHERE machine_id = $1");
    for row in tx.all(sql, &by_id).await? {
        let row = branch(&mut row.columns())?;
        view.branches.insert(row.key, row);
    }
    let sql = concat!("SELECT ", slot_columns!(), " FROM slots WHERE machine_id = $1");
    for row in tx.all(sql, &by_id).await? {
        let row = slot(&mut row.columns())?;
        view.slots.insert(row.slot, row);
    }
    let sql = concat!("SELECT ", verdict_columns!(), " FROM verdicts WHERE machine_id = $1");
    for row in tx.all(sql, &by_id).await? {
        let row = verdict(&mut row.columns())?;
        view.verdicts.insert(row.number, row);
    }
    for known in commands::of_machine(tx, id).await? {
        view.commands.insert(known.command.number, known);
    }
    Ok(Some(view))
}

/// Where a machine's device was last heard, kept beside its view.
pub async fn last_said(session: &mut Session, machine: MachineId) -> Result<(Epoch, u64), StoreError> {
    Ok(super::chains::last_said(session, machine).await?.unwrap_or((Epoch::default(), 0)))
}

/// Writes views and what their folds left. `said`: as [`last_said`].
pub async fn write_views(
    tx: &mut Tx,
    views: &HashMap<MachineId, MachineView>,
    said: &HashMap<MachineId, (Epoch, u64)>,
    writes: &Writes,
    now_ms: i64,
) -> Result<(), StoreError> {
    let asides = views
        .iter()
        .map(|(machine, view)| {
            let (spoke_epoch, spoke_last_seq) = said.get(machine).copied().unwrap_or_default();
            let has_branches = !view.branches.is_empty();
            (*machine, Aside { spoke_epoch, spoke_last_seq, has_branches })
        })
        .collect();
    write_all(tx, views, &asides, writes, now_ms).await
}
