//! Reading epochs and gaps.

use crate::domain::fleet::Gap;
use crate::domain::ids::MachineId;
use crate::domain::page::PageRequest;
use crate::domain::sync::{EpochRow, GapReason};
use crate::store::sync::codes::Coded;
use crate::store::sync::rows::{epoch, epoch_columns};
use crate::store::{Arg, Row, Session, StoreError};
use sqlx::AssertSqlSafe;
use std::fmt::Write as _;
use uuid::Uuid;
use vend_core::id::Epoch;

/// A machine's epochs in the order they were opened, after this ordinal.
pub async fn epochs(
    session: &mut Session,
    machine: MachineId,
    page: &PageRequest<u64>,
) -> Result<Vec<EpochRow>, StoreError> {
    let after = i64::try_from(page.after.unwrap_or(0)).unwrap_or(i64::MAX);
    let sql = concat!(
        "SELECT ",
        epoch_columns!(),
        " FROM epochs WHERE machine_id = $1 AND ordinal > $2 ORDER BY ordinal LIMIT $3"
    );
    let rows = session.all(sql, &[(&machine.0).into(), after.into(), page.limit().into()]).await?;
    rows.iter().map(|row| epoch(&mut row.columns())).collect()
}

/// What of an epoch's main chain is not counted, and what is beside it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Uncounted {
    /// Dead letters that are not done.
    pub dead_lettered: u64,
    /// Records named in gaps.
    pub missing: u64,
    /// Records on branches.
    pub quarantined: u64,
}

/// What of an epoch is not counted.
pub async fn uncounted(
    session: &mut Session,
    machine: MachineId,
    epoch: Epoch,
) -> Result<Uncounted, StoreError> {
    let row = session
        .one(
            "SELECT (SELECT COUNT(*) FROM dead_letters WHERE machine_id = $1 AND epoch = $2 AND state <> 3), \
             CAST((SELECT COALESCE(SUM(last_seq - first_seq + 1), 0) FROM gaps \
                   WHERE machine_id = $1 AND epoch = $2) AS BIGINT), \
             CAST((SELECT COALESCE(SUM(last_seq - first_seq + 1), 0) FROM branches \
                   WHERE machine_id = $1 AND epoch = $2) AS BIGINT)",
            &[(&machine.0).into(), (&epoch.0).into()],
        )
        .await?;
    let mut c = row.columns();
    Ok(Uncounted { dead_lettered: c.number()?, missing: c.number()?, quarantined: c.number()? })
}

/// The epoch a device last spoke in, and the last seq it said it had allotted there.
pub async fn last_said(
    session: &mut Session,
    machine: MachineId,
) -> Result<Option<(Epoch, u64)>, StoreError> {
    let sql = "SELECT spoke_epoch, spoke_last_seq FROM machine_sync WHERE machine_id = $1";
    let Some(row) = session.optional(sql, &[(&machine.0).into()]).await? else { return Ok(None) };
    let mut c = row.columns();
    let epoch = c.opt_array()?.map(Epoch);
    let seq = c.number()?;
    Ok(epoch.map(|epoch| (epoch, seq)))
}

fn gap(row: &Row) -> Result<Gap, StoreError> {
    let mut c = row.columns();
    Ok(Gap {
        id: c.uuid()?,
        machine: MachineId(c.uuid()?),
        epoch: Epoch(c.array()?),
        first_seq: c.number()?,
        last_seq: c.number()?,
        reason: GapReason::read(&mut c)?,
        created_at_ms: c.int()?,
    })
}

/// Gaps in the order they were named.
pub async fn gaps(
    session: &mut Session,
    machine: Option<MachineId>,
    reason: Option<GapReason>,
    page: &PageRequest<Uuid>,
) -> Result<Vec<Gap>, StoreError> {
    let after = page.after.unwrap_or(Uuid::nil());
    let mut args: Vec<Arg<'_>> = vec![(&after).into(), page.limit().into()];
    let mut sql = "SELECT gap_id, machine_id, epoch, first_seq, last_seq, reason, created_at_ms FROM gaps \
                   WHERE gap_id > $1"
        .to_owned();
    if let Some(machine) = &machine {
        args.push((&machine.0).into());
        let _ = write!(sql, " AND machine_id = ${}", args.len());
    }
    if let Some(reason) = reason {
        args.push(reason.code().into());
        let _ = write!(sql, " AND reason = ${}", args.len());
    }
    sql.push_str(" ORDER BY gap_id LIMIT $2");
    session.all(AssertSqlSafe(sql), &args).await?.iter().map(gap).collect()
}

/// Runs of seqs of a machine that do not count: gaps, and dead letters that are not done. At most so many.
pub async fn holes(
    session: &mut Session,
    machine: MachineId,
    limit: i64,
) -> Result<Vec<(Epoch, u64, u64)>, StoreError> {
    let sql = "SELECT epoch, first_seq, last_seq FROM gaps WHERE machine_id = $1 \
               UNION ALL SELECT epoch, seq AS first_seq, seq AS last_seq FROM dead_letters \
               WHERE machine_id = $1 AND state <> 3 ORDER BY epoch, first_seq LIMIT $2";
    let rows = session.all(sql, &[(&machine.0).into(), limit.into()]).await?;
    rows.iter()
        .map(|row| {
            let mut c = row.columns();
            Ok((Epoch(c.array()?), c.number()?, c.number()?))
        })
        .collect()
}
