//! Reading and re-judging records of main chains.

use crate::domain::fleet::{Chain, StoredRecord};
use crate::domain::ids::MachineId;
use crate::domain::sync::{BranchState, Disposition};
use crate::store::sync::codes::Coded;
use crate::store::{Columns, Session, StoreError, Tx, int};
use bytes::Bytes;
use vend_core::id::{Epoch, TransactionId};

macro_rules! columns {
    () => {
        "machine_id, epoch, seq, kind, schema_no, body, hash, received_at_ms, earliest_ms, latest_ms"
    };
}

pub(in crate::store) fn stored(c: &mut Columns<'_>) -> Result<StoredRecord, StoreError> {
    Ok(StoredRecord {
        machine: MachineId(c.uuid()?),
        chain: Epoch(c.array()?),
        seq: c.number()?,
        kind: c.number()?,
        schema: c.number()?,
        body: Bytes::copy_from_slice(c.bytes()?),
        hash: c.array()?,
        received_at_ms: c.int()?,
        earliest_ms: c.int()?,
        latest_ms: c.int()?,
    })
}

/// A machine's chains of counted records: its epochs in the order they were opened, each followed by what was adopted of
/// its branches.
pub async fn chains(session: &mut Session, machine: MachineId) -> Result<Vec<Chain>, StoreError> {
    let epochs = session
        .all("SELECT epoch FROM epochs WHERE machine_id = $1 ORDER BY ordinal", &[(&machine.0).into()])
        .await?;
    let adopted = session
        .all(
            "SELECT epoch, branch_id FROM branches WHERE machine_id = $1 AND state = $2 ORDER BY branch_id",
            &[(&machine.0).into(), BranchState::Adopted.code().into()],
        )
        .await?;
    let mut branches = Vec::with_capacity(adopted.len());
    for row in &adopted {
        let mut c = row.columns();
        branches.push(Chain { epoch: Epoch(c.array()?), id: Epoch(c.array()?) });
    }
    let mut chains = Vec::with_capacity(epochs.len() + branches.len());
    for row in &epochs {
        let epoch = Epoch(row.columns().array()?);
        chains.push(Chain { id: epoch, epoch });
        chains.extend(branches.iter().filter(|branch| branch.epoch == epoch));
        branches.retain(|branch| branch.epoch != epoch);
    }
    chains.extend(branches);
    Ok(chains)
}

/// Sales and cash without one that count, of one chain, in the order of their seqs, from `first` through `last`.
pub async fn transactions(
    session: &mut Session,
    machine: MachineId,
    chain: Epoch,
    (first, last): (u64, u64),
    limit: i64,
) -> Result<Vec<StoredRecord>, StoreError> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM records WHERE machine_id = $1 AND epoch = $2 AND seq BETWEEN $3 AND $4 \
          AND kind IN (2, 4) AND transaction_id IS NOT NULL ORDER BY seq LIMIT $5"
    );
    let (first, last) = (int(first)?, i64::try_from(last).unwrap_or(i64::MAX));
    let args = [(&machine.0).into(), (&chain.0).into(), first.into(), last.into(), limit.into()];
    session.all(sql, &args).await?.iter().map(|row| stored(&mut row.columns())).collect()
}

/// Counted records of these kinds at or after a seq of one chain, in the order of their seqs.
pub async fn of_kinds(
    session: &mut Session,
    machine: MachineId,
    chain: Epoch,
    kinds: Kinds,
    first: u64,
    limit: i64,
) -> Result<Vec<StoredRecord>, StoreError> {
    let sql = match kinds {
        Kinds::Settlements => concat!(
            "SELECT ",
            columns!(),
            " FROM records WHERE machine_id = $1 AND epoch = $2 AND seq >= $3 AND kind = 3 \
              AND disposition = 1 ORDER BY seq LIMIT $4"
        ),
        Kinds::Stock => concat!(
            "SELECT ",
            columns!(),
            " FROM records WHERE machine_id = $1 AND epoch = $2 AND seq >= $3 AND kind IN (2, 5, 6) \
              AND disposition = 1 ORDER BY seq LIMIT $4"
        ),
        Kinds::Totals => concat!(
            "SELECT ",
            columns!(),
            " FROM records WHERE machine_id = $1 AND epoch = $2 AND seq >= $3 AND kind IN (1, 2, 3, 4, 5, 6, 7) \
              AND disposition = 1 ORDER BY seq LIMIT $4"
        ),
    };
    let args = [(&machine.0).into(), (&chain.0).into(), int(first)?.into(), limit.into()];
    session.all(sql, &args).await?.iter().map(|row| stored(&mut row.columns())).collect()
}

/// Kinds of record that are read together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kinds {
    /// Later facts about money.
    Settlements,
    /// What moves a slot's level.
    Stock,
    /// What carries lifetime totals.
    Totals,
}

/// The record that counts for a transaction of this kind.
pub async fn by_transaction(
    session: &mut Session,
    machine: MachineId,
    transaction: TransactionId,
    kind: u32,
) -> Result<Option<StoredRecord>, StoreError> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM records WHERE machine_id = $1 AND transaction_id = $2 AND kind = $3"
    );
    let args = [(&machine.0).into(), (&transaction.0).into(), kind.into()];
    session.optional(sql, &args).await?.map(|row| stored(&mut row.columns())).transpose()
}

/// Ranges of records in the order they were received, after this position.
pub async fn received(session: &mut Session, after: i64, limit: i64) -> Result<Vec<Received>, StoreError> {
    let sql = "SELECT position, machine_id, epoch, first_seq, last_seq FROM events \
               WHERE shard = $1 AND kind = $2 AND position > $3 ORDER BY position LIMIT $4";
    let args = [
        crate::store::events::SYNC_SHARD.into(),
        crate::store::events::KIND_RECORDS.into(),
        after.into(),
        limit.into(),
    ];
    let rows = session.all(sql, &args).await?;
    rows.iter()
        .map(|row| {
            let mut c = row.columns();
            Ok(Received {
                position: c.int()?,
                machine: MachineId(c.uuid()?),
                chain: Epoch(c.array()?),
                first_seq: c.number()?,
                last_seq: c.number()?,
            })
        })
        .collect()
}

/// A range of records as it was received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received {
    /// Rises in the order of commits.
    pub position: i64,
    /// Whose.
    pub machine: MachineId,
    /// What they are stored under.
    pub chain: Epoch,
    /// First of them.
    pub first_seq: u64,
    /// Last of them.
    pub last_seq: u64,
}

/// One record, counted or not.
pub async fn find(
    session: &mut Session,
    machine: MachineId,
    chain: Epoch,
    seq: u64,
) -> Result<Option<StoredRecord>, StoreError> {
    let sql =
        concat!("SELECT ", columns!(), " FROM records WHERE machine_id = $1 AND epoch = $2 AND seq = $3");
    let args = [(&machine.0).into(), (&chain.0).into(), int(seq)?.into()];
    session.optional(sql, &args).await?.map(|row| stored(&mut row.columns())).transpose()
}

/// Whether `(machine, transaction, kind)` counts already.
pub async fn counts(
    session: &mut Session,
    machine: MachineId,
    transaction: TransactionId,
    kind: u32,
) -> Result<bool, StoreError> {
    let sql = "SELECT kind FROM records WHERE machine_id = $1 AND transaction_id = $2 AND kind = $3";
    let args = [(&machine.0).into(), (&transaction.0).into(), kind.into()];
    Ok(session.optional(sql, &args).await?.is_some())
}

/// Makes a stored record count after all.
pub async fn count(
    tx: &mut Tx,
    record: &StoredRecord,
    transaction: Option<TransactionId>,
) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE records SET disposition = $4, transaction_id = $5 WHERE machine_id = $1 AND epoch = $2 AND seq = $3",
        &[
            (&record.machine.0).into(),
            (&record.chain.0).into(),
            int(record.seq)?.into(),
            Disposition::Applied.code().into(),
            transaction.as_ref().map(|t| &t.0).into(),
        ],
    )
    .await?;
    Ok(())
}
