//! The rows of quarantined branches and their records.

use crate::domain::fleet::{BranchFilter, BranchRecord, BranchSummary};
use crate::domain::ids::MachineId;
use crate::domain::page::PageRequest;
use crate::domain::sync::{BranchKey, BranchReason, BranchState};
use crate::store::sync::codes::Coded;
use crate::store::sync::rows::{branch, branch_columns};
use crate::store::{Arg, Row, Session, StoreError, Tx, int};
use bytes::Bytes;
use sqlx::AssertSqlSafe;
use std::fmt::Write as _;
use uuid::Uuid;
use vend_core::id::Epoch;

macro_rules! columns {
    () => {
        concat!(
            "branch_id, machine_id, updated_at_ms, ended_at_ms, ended_by, note, applied_records, \
             dead_lettered_records, ",
            branch_columns!()
        )
    };
}

fn summary(row: &Row) -> Result<BranchSummary, StoreError> {
    let mut c = row.columns();
    Ok(BranchSummary {
        id: c.uuid()?,
        machine: MachineId(c.uuid()?),
        updated_at_ms: c.int()?,
        ended_at_ms: c.int()?,
        ended_by: c.text()?.to_owned(),
        note: c.text()?.to_owned(),
        applied_records: c.number()?,
        dead_lettered_records: c.number()?,
        branch: branch(&mut c)?,
    })
}

/// One branch.
pub async fn find(session: &mut Session, id: Uuid) -> Result<Option<BranchSummary>, StoreError> {
    let sql = concat!("SELECT ", columns!(), " FROM branches WHERE branch_id = $1");
    session.optional(sql, &[(&id).into()]).await?.as_ref().map(summary).transpose()
}

/// Branches in the order they began.
pub async fn list(
    session: &mut Session,
    filter: &BranchFilter,
    page: &PageRequest<Uuid>,
) -> Result<Vec<BranchSummary>, StoreError> {
    let after = page.after.unwrap_or(Uuid::nil());
    let mut args: Vec<Arg<'_>> = vec![(&after).into(), page.limit().into()];
    let mut sql = concat!("SELECT ", columns!(), " FROM branches WHERE branch_id > $1").to_owned();
    if let Some(machine) = &filter.machine {
        args.push((&machine.0).into());
        let _ = write!(sql, " AND machine_id = ${}", args.len());
    }
    if let Some(state) = filter.state {
        args.push(state.code().into());
        let _ = write!(sql, " AND state = ${}", args.len());
    }
    if let Some(reason) = filter.reason {
        args.push(reason.code().into());
        let _ = write!(sql, " AND reason = ${}", args.len());
    }
    sql.push_str(" ORDER BY branch_id LIMIT $2");
    session.all(AssertSqlSafe(sql), &args).await?.iter().map(summary).collect()
}

/// Every branch of a machine, in the order they began.
pub async fn of_machine(session: &mut Session, machine: MachineId) -> Result<Vec<BranchSummary>, StoreError> {
    let sql = concat!("SELECT ", columns!(), " FROM branches WHERE machine_id = $1 ORDER BY branch_id");
    session.all(sql, &[(&machine.0).into()]).await?.iter().map(summary).collect()
}

/// Records of a branch in the order of their seqs, after this one.
pub async fn records(
    session: &mut Session,
    machine: MachineId,
    key: &BranchKey,
    after: u64,
    limit: i64,
) -> Result<Vec<BranchRecord>, StoreError> {
    let sql = "SELECT seq, kind, schema_no, body, hash, received_at_ms, earliest_ms, latest_ms \
               FROM quarantined_records WHERE machine_id = $1 AND epoch = $2 AND first_hash = $3 AND seq > $4 \
               ORDER BY seq LIMIT $5";
    let args = [
        (&machine.0).into(),
        (&key.epoch.0).into(),
        (&key.first_hash).into(),
        int(after)?.into(),
        limit.into(),
    ];
    let rows = session.all(sql, &args).await?;
    rows.iter()
        .map(|row| {
            let mut c = row.columns();
            Ok(BranchRecord {
                seq: c.number()?,
                kind: c.number()?,
                schema: c.number()?,
                body: Bytes::copy_from_slice(c.bytes()?),
                hash: c.array()?,
                received_at_ms: c.int()?,
                earliest_ms: c.int()?,
                latest_ms: c.int()?,
            })
        })
        .collect()
}

/// Writes what an operator did with a branch.
pub async fn end(tx: &mut Tx, b: &BranchSummary) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE branches SET state = $4, ended_at_ms = $5, ended_by = $6, note = $7, applied_records = $8, \
         dead_lettered_records = $9 WHERE machine_id = $1 AND epoch = $2 AND first_hash = $3",
        &[
            (&b.machine.0).into(),
            (&b.branch.key.epoch.0).into(),
            (&b.branch.key.first_hash).into(),
            b.branch.state.code().into(),
            b.ended_at_ms.into(),
            (&b.ended_by).into(),
            (&b.note).into(),
            int(b.applied_records)?.into(),
            int(b.dead_lettered_records)?.into(),
        ],
    )
    .await?;
    Ok(())
}

/// Hands the branches of an epoch that nobody has judged yet, with their records, to another machine. Gives how many.
pub async fn hand_over(tx: &mut Tx, from: MachineId, to: MachineId, epoch: Epoch) -> Result<u64, StoreError> {
    let (held, cloned) = (BranchState::Held.code(), BranchReason::Cloned.code());
    tx.execute(
        "UPDATE quarantined_records SET machine_id = $2 WHERE machine_id = $1 AND epoch = $3 AND first_hash IN \
         (SELECT first_hash FROM branches WHERE machine_id = $1 AND epoch = $3 AND state = $4 AND reason = $5)",
        &[(&from.0).into(), (&to.0).into(), (&epoch.0).into(), held.into(), cloned.into()],
    )
    .await?;
    tx.execute(
        "UPDATE branches SET machine_id = $2 WHERE machine_id = $1 AND epoch = $3 AND state = $4 AND reason = $5",
        &[(&from.0).into(), (&to.0).into(), (&epoch.0).into(), held.into(), cloned.into()],
    )
    .await
}
