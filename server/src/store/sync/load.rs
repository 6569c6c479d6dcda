//! Loading the views of a batch.

use super::rows::{
    branch, branch_columns, epoch, epoch_columns, machine, machine_columns, slot, slot_columns, verdict,
    verdict_columns,
};
use super::{Aside, HotTx, commands};
use crate::domain::ids::MachineId;
use crate::domain::sync::{BranchKey, EpochStatus, MachineView, SyncCall, hashes_needed};
use crate::store::StoreError;
use crate::store::bulk::{Bulk, Kind};
use crate::store::keyed::Keyed;
use crate::store::value::int;
use std::collections::{BTreeMap, HashMap};
use vend_core::id::{Epoch, TransactionId};

use Kind::{Bool, Bytes, Int, Text};

/// Locked in the order of ids, so that two batches never wait for each other in a circle.
static MACHINES: Keyed = Keyed::new(
    concat!("SELECT ", machine_columns!(), ", has_branches FROM machine_sync WHERE machine_id"),
    &[
        Bytes, Int, Bytes, Int, Int, Int, Bytes, Int, Bytes, Int, Int, Bytes, Int, Int, Int, Text, Int, Bool,
        Bool, Int, Int, Bool,
    ],
)
.then_on_postgres("ORDER BY machine_id FOR UPDATE");

static EPOCHS: Keyed = Keyed::new(
    concat!("SELECT machine_id, ", epoch_columns!(), " FROM epochs WHERE machine_id"),
    &[
        Bytes, Bytes, Int, Int, Bytes, Int, Int, Int, Int, Int, Bytes, Bytes, Bytes, Text, Int, Int, Int,
        Int, Bytes,
    ],
);

static SLOTS: Keyed = Keyed::new(
    concat!("SELECT machine_id, ", slot_columns!(), " FROM slots WHERE machine_id"),
    &[Bytes, Int, Bytes, Int, Int, Bytes, Int, Int, Bool, Bytes, Int, Int, Int],
);

static VERDICTS: Keyed = Keyed::new(
    concat!("SELECT machine_id, ", verdict_columns!(), " FROM verdicts WHERE machine_id"),
    &[Bytes, Int, Bytes, Int, Int, Int, Text],
);

static BRANCHES: Keyed = Keyed::new(
    concat!("SELECT machine_id, ", branch_columns!(), " FROM branches WHERE machine_id"),
    &[Bytes, Bytes, Bytes, Int, Bytes, Int, Bytes, Int, Int, Int, Bytes, Int, Int, Text],
);

static FALLEN: Keyed =
    Keyed::new("SELECT machine_id FROM credentials WHERE state <> 1 AND credential_id", &[Bytes]);

static MAIN_HASHES: Bulk = Bulk::new(
    "WITH input (machine_id, epoch, first_seq, last_seq) AS (",
    &[Bytes, Bytes, Int, Int],
    ") SELECT r.machine_id, r.epoch, r.seq, r.hash FROM input i CROSS JOIN records r \
     WHERE r.machine_id = i.machine_id AND r.epoch = i.epoch AND r.seq BETWEEN i.first_seq AND i.last_seq",
);

static BRANCH_HASHES: Bulk = Bulk::new(
    "WITH input (machine_id, epoch, first_seq, last_seq) AS (",
    &[Bytes, Bytes, Int, Int],
    ") SELECT q.machine_id, q.epoch, q.first_hash, q.seq, q.hash FROM input i CROSS JOIN quarantined_records q \
     WHERE q.machine_id = i.machine_id AND q.epoch = i.epoch AND q.seq BETWEEN i.first_seq AND i.last_seq",
);

static COUNTED: Bulk = Bulk::new(
    "WITH input (machine_id, transaction_id, kind) AS (",
    &[Bytes, Bytes, Int],
    ") SELECT r.machine_id, r.transaction_id, r.kind FROM input i CROSS JOIN records r \
     WHERE r.machine_id = i.machine_id AND r.transaction_id = i.transaction_id AND r.kind = i.kind",
);

impl HotTx {
    /// Locks the machines of these calls (at most one call each) and loads what a fold over them needs. A machine that does
    /// not exist is not in the answer: its call is refused by whoever asked.
    ///
    /// `check_counted` also loads which transactions of the batch count already: only after
    /// [`StoreError::UniqueCounted`], since it costs a look per record.
    pub async fn load_sync(
        &mut self,
        calls: &[SyncCall],
        check_counted: bool,
    ) -> Result<HashMap<MachineId, MachineView>, StoreError> {
        let by_machine: BTreeMap<MachineId, &SyncCall> = calls.iter().map(|c| (c.machine, c)).collect();
        debug_assert_eq!(by_machine.len(), calls.len(), "a batch holds at most one call of a machine");
        let ids: Vec<&[u8; 16]> = by_machine.keys().map(MachineId::as_bytes).collect();
        let mut views = self.lock_machines(&ids, &by_machine).await?;
        for row in EPOCHS.fetch(&mut self.tx, &ids).await? {
            let mut columns = row.columns();
            if let Some(view) = views.get_mut(&MachineId(columns.uuid()?)) {
                let row = epoch(&mut columns)?;
                view.epochs.insert(row.epoch, row);
            }
        }
        self.load_fallen(&mut views, calls).await?;
        for row in SLOTS.fetch(&mut self.tx, &ids).await? {
            let mut columns = row.columns();
            if let Some(view) = views.get_mut(&MachineId(columns.uuid()?)) {
                let row = slot(&mut columns)?;
                view.slots.insert(row.slot, row);
            }
        }
        self.load_verdicts(&mut views).await?;
        self.load_branches(&mut views, &by_machine).await?;
        self.load_hashes(&mut views, calls).await?;
        commands::load(&mut self.tx, &mut views, calls, self.store.context.now_ms()).await?;
        if check_counted {
            self.load_counted(&mut views, calls).await?;
        }
        Ok(views)
    }

    async fn lock_machines(
        &mut self,
        ids: &[&[u8; 16]],
        calls: &BTreeMap<MachineId, &SyncCall>,
    ) -> Result<HashMap<MachineId, MachineView>, StoreError> {
        let mut views = HashMap::with_capacity(ids.len());
        for row in MACHINES.fetch(&mut self.tx, ids).await? {
            let mut columns = row.columns();
            let machine = machine(&mut columns)?;
            let id = machine.machine;
            let Some(call) = calls.get(&id) else { continue };
            let has_branches = columns.bool()?;
            self.asides
                .insert(id, Aside { spoke_epoch: call.epoch, spoke_last_seq: call.last_seq, has_branches });
            views.insert(id, MachineView { is_heard: true, ..MachineView::of(machine) });
        }
        Ok(views)
    }

    /// A replaced epoch that brings news makes its machine a clone, unless it is the board that was swapped: then its
    /// credential is upload-only, which the caller's look-up may be seconds too old to know.
    async fn load_fallen(
        &mut self,
        views: &mut HashMap<MachineId, MachineView>,
        calls: &[SyncCall],
    ) -> Result<(), StoreError> {
        let replaced = |call: &&SyncCall| {
            let epoch = views.get(&call.machine).and_then(|view| view.epochs.get(&call.epoch));
            epoch.is_some_and(|epoch| epoch.status == EpochStatus::Replaced)
        };
        let credentials: Vec<&[u8; 16]> =
            calls.iter().filter(replaced).map(|call| call.credential.0.as_bytes()).collect();
        for row in FALLEN.fetch(&mut self.tx, &credentials).await? {
            if let Some(view) = views.get_mut(&MachineId(row.columns().uuid()?)) {
                view.upload_only = true;
            }
        }
        Ok(())
    }

    async fn load_verdicts(&mut self, views: &mut HashMap<MachineId, MachineView>) -> Result<(), StoreError> {
        let untold: Vec<MachineId> = views
            .values()
            .filter(|view| view.machine.verdict_number > view.machine.verdicts_seen)
            .map(|view| view.machine.machine)
            .collect();
        let ids: Vec<&[u8; 16]> = untold.iter().map(MachineId::as_bytes).collect();
        for row in VERDICTS.fetch(&mut self.tx, &ids).await? {
            let mut columns = row.columns();
            if let Some(view) = views.get_mut(&MachineId(columns.uuid()?)) {
                let row = verdict(&mut columns)?;
                if row.number > view.machine.verdicts_seen {
                    view.verdicts.insert(row.number, row);
                }
            }
        }
        Ok(())
    }

    /// Branches of the epochs that the calls name.
    async fn load_branches(
        &mut self,
        views: &mut HashMap<MachineId, MachineView>,
        calls: &BTreeMap<MachineId, &SyncCall>,
    ) -> Result<(), StoreError> {
        let branched: Vec<MachineId> =
            self.asides.iter().filter(|(_, aside)| aside.has_branches).map(|(id, _)| *id).collect();
        let ids: Vec<&[u8; 16]> = branched.iter().map(MachineId::as_bytes).collect();
        for row in BRANCHES.fetch(&mut self.tx, &ids).await? {
            let mut columns = row.columns();
            let id = MachineId(columns.uuid()?);
            if let (Some(view), Some(call)) = (views.get_mut(&id), calls.get(&id)) {
                let row = branch(&mut columns)?;
                if row.key.epoch == call.epoch {
                    view.branches.insert(row.key, row);
                }
            }
        }
        Ok(())
    }

    async fn load_hashes(
        &mut self,
        views: &mut HashMap<MachineId, MachineView>,
        calls: &[SyncCall],
    ) -> Result<(), StoreError> {
        let mut main = MAIN_HASHES.rows(0);
        let mut branches = BRANCH_HASHES.rows(0);
        for call in calls {
            let Some(view) = views.get(&call.machine) else { continue };
            let Some(range) = hashes_needed(view, call) else { continue };
            let row = [
                call.machine.as_bytes().into(),
                (&call.epoch.0).into(),
                int(*range.start())?.into(),
                int(*range.end())?.into(),
            ];
            main.push(row);
            if !view.branches.is_empty() {
                branches.push(row);
            }
        }
        for row in main.fetch(&mut self.tx).await? {
            let mut columns = row.columns();
            if let Some(view) = views.get_mut(&MachineId(columns.uuid()?)) {
                let (epoch, seq) = (Epoch(columns.array()?), columns.number()?);
                view.main_hashes.insert((epoch, seq), columns.array()?);
            }
        }
        for row in branches.fetch(&mut self.tx).await? {
            let mut columns = row.columns();
            if let Some(view) = views.get_mut(&MachineId(columns.uuid()?)) {
                let key = BranchKey { epoch: Epoch(columns.array()?), first_hash: columns.array()? };
                let seq = columns.number()?;
                view.branch_hashes.insert((key, seq), columns.array()?);
            }
        }
        Ok(())
    }

    async fn load_counted(
        &mut self,
        views: &mut HashMap<MachineId, MachineView>,
        calls: &[SyncCall],
    ) -> Result<(), StoreError> {
        let transactions: Vec<(MachineId, TransactionId, u32)> = calls
            .iter()
            .flat_map(|call| {
                call.records.iter().filter_map(|record| {
                    let transaction = record.meaning.as_ref().ok()?.body.transaction()?;
                    Some((call.machine, transaction, record.kind))
                })
            })
            .collect();
        let mut rows = COUNTED.rows(transactions.len());
        for (machine, transaction, kind) in &transactions {
            rows.push([machine.as_bytes().into(), (&transaction.0).into(), (*kind).into()]);
        }
        for row in rows.fetch(&mut self.tx).await? {
            let mut columns = row.columns();
            if let Some(view) = views.get_mut(&MachineId(columns.uuid()?)) {
                view.counted.insert((TransactionId(columns.array()?), columns.number()?));
            }
        }
        Ok(())
    }
}
